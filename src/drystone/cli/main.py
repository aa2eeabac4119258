"""The `drystone` command: the list of commands, what is common to all, and how an error reaches the person.

Nothing heavy is imported before a command runs: `drystone --help` must answer at once. Each command parses, calls one function of `app`
and hands the result to a view; what it returns is the exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from drystone import __version__
from drystone.cli import attention, env, evidence, exit_codes, lab, look, plans, previews, project, runs, schedule, serve
from drystone.cli.options import Session

DEBUG = "--debug"
HELP = """\
Runs Terraform, Ansible, SSH and more as tasks of a dependency graph, each with its own undo.

PLAN is a file, or a name looked up in the project's plans/ and then among those that ship.
RUN is an id, a unique beginning of one, or "last".
"""

app = typer.Typer(
    name="drystone",
    help=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for module in (project, plans, previews, runs, look, serve):
    for command in module.COMMANDS:
        first_line = (command.__doc__ or "").partition("\n")[0]
        app.command(short_help=first_line, epilog=module.EXAMPLES[command.__name__])(command)
for group, commands in (("attention", attention), ("env", env), ("evidence", evidence), ("lab", lab), ("schedule", schedule)):
    app.add_typer(commands.app, name=group, help=commands.HELP, short_help=commands.HELP)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drystone {__version__}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("-C", "--project", metavar="DIR", envvar="DRYSTONE_PROJECT", help="The project to work in."),
    ] = None,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error came from.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)] = False,
) -> None:
    """What every command knows."""
    ctx.obj = Session(folder=folder)


def run(argv: Sequence[str]) -> int:
    """Runs one command line and gives its exit code; nothing is raised."""
    # Wherever it stands: whoever runs a command again with --debug types it at the end.
    words = [word for word in argv if word != DEBUG] or ["--help"]
    try:
        result = app(args=words, prog_name="drystone", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, argv)
    return result if isinstance(result, int) else exit_codes.DONE


def main() -> NoReturn:
    """The entry point of the `drystone` script."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets another one, not a failed run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """Started with its output closed: a run is worth more than its report, and no file of ours may get the number of a stream."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _report(error: BaseException, argv: Sequence[str]) -> int:
    from drystone.cli import problems

    if DEBUG in argv and not isinstance(error, KeyboardInterrupt):
        import traceback

        traceback.print_exception(error)
    problems.show(error, json=_wants_json(argv))
    return exit_codes.of_error(error)


def _wants_json(argv: Sequence[str]) -> bool:
    """An error may come before the options were parsed, so this looks at the words themselves."""
    return "--json" in argv


def _reader_left() -> int:
    """`drystone events last | head`: the reader has all it wanted. Python would complain once more while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13
