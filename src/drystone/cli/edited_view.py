"""Tells whoever goes on with a run that its plan was changed since; on a terminal, asks."""

from __future__ import annotations

import typer

from drystone.app import edited
from drystone.app.reading import Look
from drystone.cli import ask
from drystone.errors import RefusedError


def check(look: Look, *, yes: bool) -> None:
    """Shows what was changed. Raises RefusedError when somebody was there to ask and did not agree to go on."""
    if not (difference := edited.since(look)):
        return
    typer.echo(f"the plan was changed since run {look.run.id} began; the run goes on with the version that it began with", err=True)
    typer.echo(difference, err=True)
    if yes or not ask.is_possible():
        return
    if not typer.confirm("go on with the version that it began with?", err=True):
        raise RefusedError("nothing was resumed", hint=f"the version as it is now comes with a new run: drystone run {look.record.plan}")
