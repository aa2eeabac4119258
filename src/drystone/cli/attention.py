"""Commands for what only a person can decide: attention list, retry, skip."""

from __future__ import annotations

from typing import Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Json, examples, session

HELP = "What drystone could not finish by itself, and a person must decide about."

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

RunWord = Annotated[str, typer.Argument(metavar="RUN", help='An id, a unique beginning of one, or "last".', show_default=False)]


@app.callback()
def attention(ctx: typer.Context) -> None:
    """What `drystone attention` alone says."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list", epilog=examples("drystone attention list", "drystone attention list --json"))
def list_(
    ctx: typer.Context,
    plan: Annotated[str | None, typer.Option("--plan", metavar="NAME", help="Only runs of this plan.")] = None,
    environment: Annotated[str | None, typer.Option("--environment", "-e", metavar="NAME", help="Only runs in this environment.")] = None,
    json: Json = False,
) -> None:
    """List what waits for a decision, that of the newest run first."""
    from drystone.app import attention as letters
    from drystone.cli import attention_view

    attention_view.listing(letters.letters(session(ctx).world(), plan=plan, environment=environment), json=json)


@app.command(epilog=examples("drystone attention retry last", "drystone attention retry 01JD3X7P2K 'vm[0]'"))
def retry(
    ctx: typer.Context,
    word: RunWord,
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Only this one; all of the run unless given.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """Try it again, and go on with the run, forwards or back."""
    from drystone.app import attention as letters
    from drystone.cli import runs

    world = session(ctx).world()
    code = runs.drive(world, letters.retry(world, word, task), json=json)
    return exit_codes.DONE if code == exit_codes.COMPENSATED else code


@app.command(epilog=examples("drystone attention skip last 'vm[0]' --reason 'removed by hand, see OPS-1234'"))
def skip(
    ctx: typer.Context,
    word: RunWord,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task, or the instance of it.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the record: why it is in order.", show_default=False)],
    json: Json = False,
) -> int:
    """Take it on: the run goes on as if the task, or its undo, had ended well. Nothing is done about it."""
    from drystone.app import attention as letters
    from drystone.cli import runs

    world = session(ctx).world()
    code = runs.drive(world, letters.skip(world, word, task, reason=reason), json=json)
    return exit_codes.DONE if code == exit_codes.COMPENSATED else code
