"""What waits for a person's decision, as a table or as JSON."""

from __future__ import annotations

import json as codec
from collections.abc import Sequence

import typer

from drystone.app import describe
from drystone.app.attention import Letter
from drystone.cli import tables, words

COMMANDS = "drystone attention retry RUN [TASK], or drystone attention skip RUN TASK --reason TEXT; drystone undo RUN takes a run back"


def listing(letters: Sequence[Letter], *, json: bool) -> None:
    """`drystone attention list`."""
    if json:
        typer.echo(codec.dumps({"format": describe.FORMAT, "attention": [to_json(letter) for letter in letters]}, indent=2))
        return
    if not letters:
        typer.echo("nothing waits for a decision", err=True)
        return
    head = ("RUN", "PLAN", "ENVIRONMENT", "TASK", "SINCE", "WHY")
    for line in tables.lines(head, [_row(letter) for letter in letters], width=tables.width()):
        typer.echo(line)
    typer.echo(COMMANDS, err=True)


def to_json(letter: Letter) -> dict[str, str | None]:
    """One item. `way` is forward or back: which way the run was going when it got stuck."""
    item = letter.item
    return {
        "run": letter.run,
        "plan": letter.plan,
        "environment": letter.environment,
        "task": item.instance,
        "way": item.way.value,
        "why": item.why,
        "since": describe.instant(item.since),
    }


def _row(letter: Letter) -> tuple[str, ...]:
    item = letter.item
    since = item.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return words.short(letter.run), letter.plan, letter.environment or "", item.instance, since, words.first_line(item.why)
