"""Schedules and their ticks, as tables or as JSON."""

from __future__ import annotations

import json as codec
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from drystone.app import describe
from drystone.app.schedules import Line, Schedule
from drystone.cli import tables, words
from drystone.plugin.triggers import Tick
from drystone.timetable import TickRow


def listing(lines: Sequence[Line], problems: Mapping[str, str], *, json: bool) -> None:
    """`drystone schedule list`."""
    if json:
        _print({"schedules": [_line_to_json(line) for line in lines], "problems": dict(problems)})
    elif lines:
        tables.show(("SCHEDULE", "WHEN", "NEXT", "LAST"), [_line(line) for line in lines])
    else:
        typer.echo("no plan has a schedule among its triggers", err=True)
    for file, problem in problems.items():
        typer.echo(f"not looked at: {file}: {problem}", err=True)


def upcoming(schedule: Schedule, ticks: Sequence[Tick], *, json: bool) -> None:
    """`drystone schedule preview`."""
    if json:
        _print({"schedule": schedule.id, "ticks": [_tick_to_json(tick) for tick in ticks]})
    elif ticks:
        rows = [(_local(tick.local), _delay(tick), _odd(tick)) for tick in ticks]
        tables.show((f"{schedule.id}: {schedule.summary()}", "FIRES", "NOTE"), rows)
    else:
        typer.echo(f"{schedule.id} ({schedule.summary()}): there is no such tick", err=True)


def changed(schedule: Schedule, what: str, *, json: bool) -> None:
    """`drystone schedule pause` and `resume`."""
    if json:
        _print({"schedule": schedule.id, "status": what})
    else:
        typer.echo(f"{schedule.id} is {what}")


def asked(schedule: Schedule, ticks: Sequence[Tick], *, json: bool) -> None:
    """`drystone schedule backfill`."""
    if json:
        _print({"schedule": schedule.id, "ticks": [_tick_to_json(tick) for tick in ticks]})
        return
    for tick in ticks:
        typer.echo(_local(tick.local))
    number = f"{len(ticks)} tick{'' if len(ticks) == 1 else 's'}" if ticks else "nothing"
    then = '; they fire one after the other while "drystone serve" runs' if ticks else ": of each tick in that range there is a run"
    typer.echo(f"asked for {number} of {schedule.id}{then}", err=True)


def history(ticks: Sequence[TickRow], *, json: bool) -> None:
    """`drystone schedule history`."""
    if json:
        _print({"ticks": [_row_to_json(tick) for tick in ticks]})
    elif ticks:
        rows = [
            (
                tick.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                tick.schedule,
                tick.status.value,
                words.short(tick.run) if tick.run else "",
                words.first_line(tick.reason),
            )
            for tick in ticks
        ]
        tables.show(("TICK", "SCHEDULE", "STATUS", "RUN", "WHY"), rows)
    else:
        typer.echo("no tick was seen yet; drystone serve looks for them", err=True)


def _line(line: Line) -> tuple[str, ...]:
    upcoming = "" if line.upcoming is None else _local(line.upcoming.local)
    if line.state is not None and line.state.paused_by is not None:
        upcoming = f"paused by {line.state.paused_by}"
    last = "" if line.last is None else f"{_local(line.last.at.astimezone(line.schedule.zone))} {line.last.status.value}"
    return line.schedule.id, line.schedule.summary(), upcoming, last


def _local(moment: datetime) -> str:
    """With the zone's short name, which tells the two hours apart that show the same."""
    return f"{moment:%a %Y-%m-%d %H:%M:%S %Z}"


def _delay(tick: Tick) -> str:
    if tick.skip:
        return "no"
    return "yes" if tick.due == tick.at else f"at {tick.due.astimezone(tick.local.tzinfo):%H:%M:%S}"


def _odd(tick: Tick) -> str:
    return "; ".join(filter(None, (tick.skip, tick.note)))


def _print(data: Mapping[str, Any]) -> None:
    typer.echo(codec.dumps({"format": describe.FORMAT, **data}, indent=2))


def _line_to_json(line: Line) -> dict[str, Any]:
    state = line.state
    return {
        "id": line.schedule.id,
        "plan": line.schedule.plan.name,
        "file": line.schedule.file.shown,
        "when": line.schedule.summary(),
        "next": None if line.upcoming is None else describe.instant(line.upcoming.at),
        "paused_by": None if state is None else state.paused_by,
        "paused_at": None if state is None else describe.instant(state.paused_at),
        "last": None if line.last is None else _row_to_json(line.last),
    }


def _tick_to_json(tick: Tick) -> dict[str, Any]:
    return {
        "at": describe.instant(tick.at),
        "local": tick.local.isoformat(),
        "fires_at": None if tick.skip else describe.instant(tick.due),
        "note": tick.note,
        "skip": tick.skip,
    }


def _row_to_json(tick: TickRow) -> dict[str, Any]:
    return {
        "schedule": tick.schedule,
        "at": describe.instant(tick.at),
        "due": describe.instant(tick.due),
        "status": tick.status.value,
        "reason": tick.reason,
        "run": tick.run,
        "asked_by": tick.asked_by,
    }
