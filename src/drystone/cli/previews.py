"""The command that says what a run would do: preview."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Examples, Json, PlanWord, examples, session


def preview(
    ctx: typer.Context,
    word: PlanWord,
    pairs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input; may be given several times.")
    ] = None,
    inputs: Annotated[Path | None, typer.Option("--inputs", metavar="FILE", help="Inputs from a YAML or JSON file.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Keep it, sealed, for `drystone run --preview FILE`.")
    ] = None,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="0: nothing to do, 1: an error, 2: something would change.")
    ] = False,
    json: Json = False,
) -> int:
    """Say what a run would do, and what undoing it would do. Nothing is changed and no run is recorded.

    Terraform plans, Ansible checks hosts that can be reached, templates are compared. What depends on something that is not known yet is
    partial or deferred, and says for which value it waits.
    """
    from drystone import wiring
    from drystone.app import previews, runs, saved_previews
    from drystone.app.inputs import Given
    from drystone.cli import preview_view

    plan = session(ctx).plan(word)
    world = wiring.world(plan.project)
    prepared = runs.prepare(world, plan, Given(pairs=pairs or (), file=inputs))
    found = previews.preview(world, prepared)
    preview_view.show(found, json=json)
    if found.errors:
        return exit_codes.REFUSED
    if out is not None:
        saved_previews.save(world, out, prepared, previews.parts(found), summary=found.summary, vault=found.vault)
        if not json:
            typer.echo(f"kept in {out}; to do exactly this: drystone run --preview {out}", err=True)
    return exit_codes.CHANGES if detailed and found.changes_anything else exit_codes.DONE


COMMANDS = (preview,)
EXAMPLES: Examples = {
    "preview": examples(
        "drystone preview environment -i name=staging",
        "drystone preview environment -i name=staging --out staging.preview",
        "drystone preview shop --detailed-exitcode --json | jq .summary",
    )
}
