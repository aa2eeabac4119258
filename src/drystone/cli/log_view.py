"""Logs and events, line by line as they come."""

from __future__ import annotations

import json as codec
import sys
from collections.abc import Iterable

import typer

from drystone.app.reading import LogLine
from drystone.cli.tables import paint
from drystone.core.events import Event

COLOURS = ("cyan", "green", "yellow", "blue", "magenta")


def show(lines: Iterable[LogLine], *, json: bool) -> None:
    """Each line with its task before it, so that several can be told apart."""
    colours: dict[str, str] = {}
    for line in lines:
        if json:
            body = {"task": line.task, "attempt": line.attempt, "undo": line.undo, "line": line.text}
            typer.echo(codec.dumps(body))
        else:
            colour = colours.setdefault(line.task, COLOURS[len(colours) % len(COLOURS)])
            typer.echo(f"{paint(label(line), colour)} {line.text}")
        sys.stdout.flush()


def label(line: LogLine) -> str:
    """`vm[0] 2 undo |`: the attempt is told from the second on."""
    words = [line.task, *([str(line.attempt)] if line.attempt > 1 else []), *(["undo"] if line.undo else [])]
    return f"{' '.join(words)} |"


def events(found: Iterable[Event]) -> None:
    """One JSON object a line."""
    from drystone.core.codec import event_to_json

    for event in found:
        typer.echo(codec.dumps(event_to_json(event)))
        sys.stdout.flush()
