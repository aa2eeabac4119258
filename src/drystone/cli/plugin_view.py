"""What `drystone plugins` and `drystone doctor` say."""

from __future__ import annotations

import json as codec
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from drystone.app.plugins import Installed
from drystone.cli import tables

if TYPE_CHECKING:
    from drystone.app.doctor import Check

FORMAT = 1


def plugins(kinds: Sequence[Installed], *, json: bool) -> None:
    """One line for each kind."""
    if json:
        typer.echo(codec.dumps({"format": FORMAT, "kinds": [asdict(kind) for kind in kinds]}, indent=2))
        return
    rows = [(kind.name, f"{kind.distribution} {kind.version}".strip(), _undo(kind), kind.problem) for kind in kinds]
    tables.show(("KIND", "FROM", "OWN UNDO", ""), rows)


def _undo(kind: Installed) -> str:
    if kind.has_undo is None:
        return "cannot be loaded"
    return "yes" if kind.has_undo else "no" if kind.changes else "not needed"


def checks(found: Sequence[Check], *, json: bool) -> None:
    """One line for each thing looked at, and below it how to mend what is missing."""
    if json:
        rows = [{"name": c.name, "ok": c.ok, "needed": c.needed, "detail": c.detail, "mend": c.mend} for c in found]
        typer.echo(codec.dumps({"format": FORMAT, "ok": all(c.ok or not c.needed for c in found), "checks": rows}, indent=2))
        return
    width = max((len(check.name) for check in found), default=0)
    for check in found:
        word = "ok" if check.ok else "missing" if check.needed else "optional"
        typer.echo(f"{tables.paint(f'{word:8}', WORDS[word])}  {check.name:{width}}  {check.detail}".rstrip())
        if not check.ok and check.mend:
            typer.echo(f"{'':8}  {'':{width}}  {check.mend}")


WORDS = {"ok": "green", "missing": "red", "optional": "yellow"}
