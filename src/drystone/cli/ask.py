"""Questions to a person: inputs that are missing, whether a run is to be undone, what becomes of a failure. Only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from drystone.app.reading import Look
from drystone.core.inputs import from_text, problems_of
from drystone.core.plan import Input
from drystone.core.run import UndoStatus, attention
from drystone.errors import RefusedError


def is_possible() -> bool:
    """True when somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def inputs(missing: Sequence[Input]) -> dict[str, Any]:
    """Asks for each, again until it fits; a secret is not shown as it is typed."""
    return {item.name: _input(item) for item in missing}


def _input(item: Input) -> Any:
    text = f"{item.name} ({item.description})" if item.description else item.name
    while True:
        value = from_text(item, typer.prompt(text, hide_input=item.secret, err=True))
        problems = problems_of(item, value)
        if not problems:
            return value
        for _, problem in problems:
            typer.echo(f"  it {problem}", err=True)


def undo(look: Look, *, yes: bool) -> None:
    """Asks whether the run is to be taken back. Raises RefusedError when nobody agreed."""
    if yes or not look.run.status.is_final:
        return
    if not is_possible():
        raise RefusedError(f"nobody agreed to undo run {look.run.id}", hint="give --yes when nobody can answer")
    tasks = [item.id for item in look.run.in_order() if item.is_touched and item.undo.status is not UndoStatus.SUCCEEDED]
    where = f" in environment {look.run.environment}" if look.run.environment else ""
    typer.echo(f"run {look.run.id} of {look.record.plan}{where}; these tasks changed something: {', '.join(tasks)}", err=True)
    if not typer.confirm("undo them, in reverse order?", err=True):
        raise RefusedError("nothing was undone")


def destroy(environment: str, *, yes: bool) -> None:
    """Asks whether an environment is to be taken down; its name is the answer. Raises RefusedError when nobody agreed."""
    if yes:
        return
    if not is_possible():
        raise RefusedError(f'nobody agreed to take environment "{environment}" down', hint="give --yes when nobody can answer")
    if typer.prompt("type the environment's name to go on", default="", show_default=False, err=True) != environment:
        raise RefusedError("nothing was taken down")


def reconcile(environment: str, *, yes: bool) -> None:
    """Asks whether what has drifted is to be put back. Raises RefusedError when nobody agreed."""
    if yes:
        return
    if not is_possible():
        raise RefusedError(f'nobody agreed to put back what has drifted in "{environment}"', hint="give --yes when nobody can answer")
    if not typer.confirm("put it back?", err=True):
        raise RefusedError("nothing was put back")


def lab(network: str | None, *, yes: bool) -> None:
    """Asks whether what is alive in the lab is to be taken down. Raises RefusedError when nobody agreed."""
    if yes:
        return
    what = f'network "{network}" and all in it' if network is not None else "the whole lab"
    if not is_possible():
        raise RefusedError(f"nobody agreed to take {what} down", hint="give --yes when nobody can answer")
    if not typer.confirm(f"take {what} down?", err=True):
        raise RefusedError("nothing was taken away")


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What becomes of a run that waits for decisions: `skip` has the reasons; `undo` takes it all back."""

    retry: Sequence[str] = ()
    skip: Mapping[str, str]
    undo: bool = False


def decisions(look: Look) -> Decisions | None:
    """Asks what becomes of each failure that a person must decide about; None when the run is left as it is."""
    can_undo = look.run.passed_pivot is None
    choices = f"[r]etry, [s]kip, {'[u]ndo the run, ' if can_undo else ''}[l]eave it"
    retry: list[str] = []
    skip: dict[str, str] = {}
    try:
        for item in attention(look.run):
            match _choice(f"{item.instance}: {choices}", "rsul" if can_undo else "rsl"):
                case "r":
                    retry.append(item.instance)
                case "s":
                    skip[item.instance] = _text("why it is in order without it, for the record")
                case "u":
                    return Decisions(skip={}, undo=True)
                case _:
                    return None
    except typer.Abort:
        typer.echo("", err=True)
        return None
    return Decisions(retry=retry, skip=skip)


def _choice(text: str, letters: str) -> str:
    while True:
        answer = str(typer.prompt(text, default="l", show_default=False, err=True)).strip().lower()[:1]
        if answer and answer in letters:
            return answer
        typer.echo(f"  one of {', '.join(letters)}", err=True)


def _text(text: str) -> str:
    while not (answer := str(typer.prompt(f"  {text}", err=True)).strip()):
        pass
    return answer
