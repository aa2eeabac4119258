"""Commands for what was collected from hosts: evidence list, verify, key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Json, examples, session

HELP = "Evidence: what runs collected from hosts, and whether it is still as it was collected."

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

KeyFile = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="The public key to trust, kept elsewhere; this project's unless given.")
]


@app.callback()
def evidence(ctx: typer.Context) -> None:
    """What `drystone evidence` alone says."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list", epilog=examples("drystone evidence list", "drystone evidence list --json"))
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List what was collected: case, host, when, and where it is. Says nothing about whether it is intact."""
    from drystone.app import evidence as custody
    from drystone.cli import evidence_view

    evidence_view.listing(custody.verify(session(ctx).world(), None, key_file=None), json=json)


@app.command(epilog=examples("drystone evidence verify last", "drystone evidence verify /mnt/case-17 --key drystone-evidence.pem"))
def verify(
    ctx: typer.Context,
    word: Annotated[str, typer.Argument(metavar="RUN|DIR", help="A run, or a folder of evidence or with some in it.", show_default=False)],
    key: KeyFile = None,
    json: Json = False,
) -> int:
    """Say whether evidence is as it was collected. Exit code 4 when it is not: each thing that does not hold is named."""
    from drystone.app import evidence as custody
    from drystone.cli import evidence_view

    found = custody.verify(session(ctx).world(), word, key_file=key)
    evidence_view.verdicts(found, json=json)
    return exit_codes.DONE if all(item.verdict.is_intact for item in found) else exit_codes.LEFT


@app.command(epilog=examples("drystone evidence key > drystone-evidence.pem"))
def key(ctx: typer.Context, json: Json = False) -> None:
    """Print the public key that this project's evidence is signed for. Keep it elsewhere: it is what makes a signature worth something."""
    from drystone.app import evidence as custody
    from drystone.cli import evidence_view

    evidence_view.key(custody.public_key(session(ctx).world()), json=json)
