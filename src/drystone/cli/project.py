"""Commands on the project and the machine: init, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Examples, Json, examples, session


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made when it is not there.", show_default=False)] = Path(),
) -> None:
    """Make a new project: plans, modules, playbooks, jobs, inventories and settings, ready to run."""
    from drystone import wiring
    from drystone.app import scaffold

    made = scaffold.create(folder, wiring.library(), wiring.library_folders())
    typer.echo(f"made a project of {len(made)} files in {folder.resolve()}")
    typer.echo("next:")
    if folder.resolve() != Path.cwd():
        typer.echo(f"  cd {folder}")
    for line in ("drystone run hello", "drystone graph environment", "drystone run environment -i name=demo"):
        typer.echo(f"  {line}")


def doctor(ctx: typer.Context, json: Json = False) -> int:
    """Say what this machine has of what drystone needs, and how to mend what is missing."""
    from drystone import wiring
    from drystone.app import doctor
    from drystone.cli import plugin_view

    found = doctor.examine(wiring.machine(session(ctx).project()))
    plugin_view.checks(found, json=json)
    return exit_codes.DONE if all(check.ok or not check.needed for check in found) else exit_codes.REFUSED


COMMANDS = (init, doctor)
EXAMPLES: Examples = {
    "init": examples("drystone init shop && cd shop && drystone run hello"),
    "doctor": examples("drystone doctor", "drystone doctor --json"),
}
