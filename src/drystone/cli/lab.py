"""Commands on the laboratory: lab doctor, list, reap."""

from __future__ import annotations

from typing import Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Json, Yes, examples

HELP = "The laboratory: networks, subnets and VMs on this machine, for plans without a cloud."
app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
Mode = Annotated[str | None, typer.Option("--mode", metavar="MODE", help="The mode that must work: namespaces or loopback.")]


@app.callback()
def lab(ctx: typer.Context) -> None:
    """What `drystone lab` alone says."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command(epilog=examples("drystone lab doctor", "drystone lab doctor --mode namespaces"))
def doctor(mode: Mode = None, json: Json = False) -> int:
    """Say whether VMs can be made here, and how to mend what is missing."""
    from drystone.cli import lab_view
    from drystone.lab import manage

    checks = manage.doctor(mode)
    lab_view.checks(checks, json=json)
    return exit_codes.DONE if all(check.ok for check in checks) else exit_codes.REFUSED


@app.command("list", epilog=examples("drystone lab list", "drystone lab list --json"))
def list_(json: Json = False) -> None:
    """List the networks, subnets and VMs there are."""
    from drystone.cli import lab_view
    from drystone.lab import manage

    lab_view.objects(manage.list_objects(), json=json)


@app.command(epilog=examples("drystone lab reap", "drystone lab reap --force --yes"))
def reap(
    force: Annotated[bool, typer.Option("--force", help="Everything, also what is alive.")] = False,
    network: Annotated[str | None, typer.Option("--network", metavar="ID", help="With --force: only this network and all in it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take nothing away; say what would be.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take away what dead VMs left behind; with --force take the whole lab down."""
    from drystone.cli import ask, lab_view
    from drystone.lab import manage

    if force and not dry_run:
        ask.lab(network, yes=yes)
    lab_view.reaped(manage.reap(force=force, network=network, dry_run=dry_run), dry_run=dry_run, json=json)
