"""One task of a run: its attempts on both ways, and how far each got with the resources that it worked on."""

from __future__ import annotations

import json as codec
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from drystone.app import describe
from drystone.app.reading import Look
from drystone.cli import words
from drystone.cli.tables import paint
from drystone.core.run import Attempt, Instance

MOST_RESOURCES = 12
"""Shown of a failed attempt in a summary: what failed first; `drystone show RUN TASK` has them all."""
FATES: Mapping[str, tuple[str, str]] = {
    "failed": ("✗", "red"),
    "unknown": ("?", "yellow"),
    "not_reached": ("·", "bright_black"),
    "done": ("✓", "green"),
}
"""How far a resource got, the most urgent first: its glyph and colour."""


def show(look: Look, instances: Sequence[Instance], *, now: datetime, json: bool) -> None:
    """`drystone show RUN TASK`."""
    if json:
        tasks = [describe.task_json(look.run, item, look.parts.get(item.id)) for item in instances]
        typer.echo(codec.dumps({"format": describe.FORMAT, "id": look.run.id, "tasks": tasks}, indent=2))
        return
    for number, item in enumerate(instances):
        for line in ([""] if number else []) + list(lines(look, item, now)):
            typer.echo(line)


def lines(look: Look, item: Instance, now: datetime) -> Iterator[str]:
    """An instance, its attempts in the order in which they began, and its outputs."""
    state = words.of_task(item)
    yield paint(f"{state.glyph} {item.id} ({item.kind}) {state.word}", state.colour) + (f": {item.reason}" if item.reason else "")
    for attempt in item.attempts:
        yield from _attempt(look, attempt, f"attempt {attempt.number}", item, now)
    for attempt in item.undo.attempts:
        yield from _attempt(look, attempt, f"undo, attempt {attempt.number}", item, now)
    if item.undo.reason:
        yield f"undo: {item.undo.reason}"
    outputs = describe.masked(item.outputs)
    if isinstance(outputs, Mapping) and outputs:
        yield "outputs:"
        yield from (f"    {name} = {value if isinstance(value, str) else codec.dumps(value)}" for name, value in outputs.items())


def _attempt(look: Look, attempt: Attempt, name: str, item: Instance, now: datetime) -> Iterator[str]:
    took = words.duration(words.took((attempt,), now))
    failure = attempt.failure
    why = f" ({failure.failure_class.value}): {failure.message}" if failure is not None and failure.message else ""
    yield f"{name}: {attempt.status.value} after {took}{why}"
    if attempt.log:
        yield f"    log: {words.shown_path(look.home / attempt.log)}"
    if failure is not None and failure.hint:
        yield f"    {failure.hint}"
    result = attempt.result
    if result is None and failure is None and attempt in item.attempts[-1:]:
        result = item.result
    said = failure.message if failure is not None else ""
    yield from (f"    {line}" for line in resources(result, said=said))


def resources(result: Mapping[str, Any] | None, most: int | None = None, *, said: str = "") -> Iterator[str]:
    """What an attempt's result tells of resources, as a table; nothing when it tells of none.

    most: lines, the most urgent first.     said: what stands above it already, and is not told again.
    """
    known = [item for item in _listed(result) if isinstance(item, Mapping) and isinstance(item.get("address"), str)]
    if not known:
        return
    summary = (result or {}).get("summary")
    yield f"resources{f' ({summary})' if isinstance(summary, str) else ''}:"
    if most is not None and len(known) > most:
        order = list(FATES)
        shown = sorted(known, key=lambda item: order.index(item["status"]) if item.get("status") in order else len(order))[:most]
    else:
        shown = known
    rows = [_row(item, said) for item in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for item, (name, action, fate) in zip(shown, rows, strict=True):
        _, colour = FATES.get(str(item.get("status")), ("", ""))
        line = f"{name:{widths[0]}}  {action:{widths[1]}}  {fate}".rstrip()
        yield f"  {paint(line, colour) if colour else line}"
    if len(shown) < len(known):
        yield f"  and {len(known) - len(shown)} more"


def _listed(result: Mapping[str, Any] | None) -> Sequence[Any]:
    found = (result or {}).get("resources")
    return found if isinstance(found, list | tuple) else ()


def _row(item: Mapping[str, Any], said: str) -> tuple[str, str, str]:
    status = str(item.get("status", ""))
    glyph, _ = FATES.get(status, (" ", ""))
    message = words.first_line(str(describe.masked(item.get("message", ""))))
    fate = status.replace("_", " ") + (f": {message}" if message and message not in said else "")
    return f"{glyph} {item['address']}", str(item.get("action", "")), fate
