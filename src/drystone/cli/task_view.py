"""One task of a run: its attempts on both ways, and how far each got with the resources and the hosts that it worked on."""

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
_HOST_COLUMNS = ("ok", "changed", "failed", "unreachable", "skipped")
MOST_HOSTS = 12
"""Shown in a summary: those that were lost come first."""
HOST_STATUSES: Mapping[str, tuple[str, str]] = {
    "unreachable": ("✗", "red"),
    "failed": ("✗", "red"),
    "changed": ("✓", "yellow"),
    "ok": ("✓", "green"),
    "skipped": ("·", "bright_black"),
}
"""What a playbook came to on a host, the most urgent first: its glyph and colour."""
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
    yield from (f"    {line}" for line in (*resources(result, said=said), *hosts(result)))


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


def hosts(result: Mapping[str, Any] | None, most: int | None = None) -> Iterator[str]:
    """What an attempt's result tells of hosts, as a table of host, counts and reason; nothing when it tells of none.

    most: lines, the most urgent first.
    """
    found = (result or {}).get("hosts")
    known = {name: host for name, host in found.items() if _is_told(host)} if isinstance(found, Mapping) else {}
    if not known:
        return
    order = list(HOST_STATUSES)
    names = sorted(known, key=lambda name: order.index(known[name]["status"])) if most is not None and len(known) > most else list(known)
    shown = names[:most]
    counted = [status for status in order if any(host["status"] == status for host in known.values())]
    counts = (f"{sum(host['status'] == status for host in known.values())} {status}" for status in counted)
    yield f"hosts ({', '.join(counts)}):"
    rows = [_host_row(name, known[name]) for name in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, row in zip(shown, rows, strict=True):
        line = "  ".join([*(f"{text:{width}}" for text, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        yield f"  {paint(line, HOST_STATUSES[known[name]['status']][1])}"
    if len(shown) < len(known):
        yield f"  and {len(known) - len(shown)} more"


def _is_told(host: Any) -> bool:
    return isinstance(host, Mapping) and host.get("status") in HOST_STATUSES


def _host_row(name: str, host: Mapping[str, Any]) -> tuple[str, str, str, str]:
    counts = "  ".join(f"{column}={host[column]}" for column in _HOST_COLUMNS if isinstance(host.get(column), int))
    why = words.first_line(str(describe.masked(host.get("message", ""))))
    step = f'task "{host["step"]}": ' if host.get("step") else ""
    return f"{HOST_STATUSES[host['status']][0]} {name}", str(host["status"]), counts, f"{step}{why}" if why else ""


def _listed(result: Mapping[str, Any] | None) -> Sequence[Any]:
    found = (result or {}).get("resources")
    return found if isinstance(found, list | tuple) else ()


def _row(item: Mapping[str, Any], said: str) -> tuple[str, str, str]:
    status = str(item.get("status", ""))
    glyph, _ = FATES.get(status, (" ", ""))
    message = words.first_line(str(describe.masked(item.get("message", ""))))
    fate = status.replace("_", " ") + (f": {message}" if message and message not in said else "")
    return f"{glyph} {item['address']}", str(item.get("action", "")), fate
