"""A preview as people read it, task by task, and as JSON."""

from __future__ import annotations

import json as codec
import sys
from collections.abc import Iterator, Mapping

import typer

from drystone.app.previews import Foretold
from drystone.cli import tables, words
from drystone.cli.terminal import has_colour
from drystone.core.foresight import Foreseen
from drystone.core.preview import Action, Certainty, Change

MARKS: Mapping[Action, tuple[str, str]] = {
    Action.ADD: ("+", "green"),
    Action.CHANGE: ("~", "yellow"),
    Action.REPLACE: ("-/+", "red"),
    Action.DESTROY: ("-", "red"),
    Action.RUN: ("▸", "cyan"),
}
CERTAINTIES: Mapping[Certainty, str] = {Certainty.EXACT: "green", Certainty.PARTIAL: "yellow", Certainty.DEFERRED: "bright_black"}
DETAIL_LINES = 40
"""Of one change; all of them are in --json."""


def show(found: Foretold, *, json: bool) -> None:
    """`drystone preview`."""
    if json:
        typer.echo(codec.dumps(found.to_json(), indent=2))
        return
    for line in lines(found):
        typer.echo(line)


def lines(found: Foretold) -> Iterator[str]:
    """Tasks, the way back, how long it takes, and the sum."""
    where = f" in environment {found.environment}" if found.environment else ""
    yield tables.paint(f"{found.graph.plan.name}{where}, as it would run now", "bright_white")
    for item in found.tasks:
        yield from _task(item)
    yield ""
    yield from _back(found)
    if found.duration is not None:
        yield f"expected: {words.span(found.duration)}"
    yield ""
    yield tables.paint(f"Preview: {found.summary}", "bright_white")


def _task(item: Foreseen) -> Iterator[str]:
    preview = item.preview
    yield ""
    if item.skipped:
        yield f"{item.id} ({item.kind}): skipped: {item.skipped}"
        return
    certainty = tables.paint(preview.certainty.value, CERTAINTIES[preview.certainty])
    yield f"{item.id} ({item.kind}), {certainty}: {preview.summary or 'nothing to do'}"
    if item.error:
        yield tables.paint(f"  ✗ a run would fail here: {item.error}", "red")
    elif preview.reason:
        yield f"  … {preview.reason}"
    for different in preview.changes:
        yield from change(different)


def change(item: Change) -> Iterator[str]:
    """One thing that would be different, and how."""
    mark, colour = MARKS[item.action]
    yield "  " + tables.paint(f"{mark} {item.what}", colour)
    detail = item.detail.splitlines()
    for line in detail[:DETAIL_LINES]:
        yield f"      {_diff(line)}"
    if len(detail) > DETAIL_LINES:
        yield f"      … {len(detail) - DETAIL_LINES} more lines; --json has them all"


def _diff(line: str) -> str:
    if not has_colour(sys.stdout) or line.startswith(("+++", "---")):
        return line
    colour = {"+": "green", "-": "red"}.get(line[:1])
    return tables.paint(line, colour) if colour else line


def _back(found: Foretold) -> Iterator[str]:
    back = found.way_back()
    yield "the way back:" if back else "the way back: nothing of it can be undone"
    for name, text in back:
        yield f"  ↺ {name}: {text}"
    for name in found.irreversible():
        yield tables.paint(f"  ! {name}: cannot be undone", "red")
