"""What `drystone lab` says."""

from __future__ import annotations

import json as codec
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from drystone.cli import plugin_view, tables

if TYPE_CHECKING:
    from drystone.lab.manage import Check, LabObject, Reaped

FORMAT = 1


def checks(found: Sequence[Check], *, json: bool) -> None:
    """As `drystone doctor` shows them: all of these are needed."""
    from drystone.app import doctor

    same = [doctor.Check(name=check.name, ok=check.ok, detail=check.detail, mend=check.mend) for check in found]
    plugin_view.checks(same, json=json)


def objects(found: Sequence[LabObject], *, json: bool) -> None:
    """One line for each network, subnet and VM."""
    if json:
        body = [{**asdict(item), "detail": dict(item.detail)} for item in found]
        typer.echo(codec.dumps({"format": FORMAT, "objects": body}, indent=2))
        return
    if not found:
        typer.echo("the lab is empty", err=True)
        return
    rows = [(item.kind, item.id, item.address, item.state) for item in found]
    tables.show(("KIND", "ID", "ADDRESS", "STATE"), rows)


def reaped(found: Sequence[Reaped], *, dry_run: bool, json: bool) -> None:
    """What was taken away, or would be."""
    if json:
        typer.echo(codec.dumps({"format": FORMAT, "reaped": [asdict(item) for item in found]}, indent=2))
        return
    for item in found:
        typer.echo(f"{'would take' if dry_run else 'took'} away {item.kind} {item.name}")
    if not found:
        typer.echo("there is nothing to take away", err=True)
