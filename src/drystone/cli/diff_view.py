"""How two runs differ, for eyes: first what is different at all, as `git diff --stat` has it, then how."""

from __future__ import annotations

import json as codec
from collections.abc import Iterator
from datetime import timedelta

import typer

from drystone.app.differences import Between, Part
from drystone.cli import tables, words
from drystone.cli.tables import paint

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def show(found: Between, *, json: bool) -> None:
    """`drystone diff`."""
    if json:
        typer.echo(codec.dumps(found.to_json(), indent=2))
        return
    for line in _lines(found):
        typer.echo(line)


def _lines(found: Between) -> Iterator[str]:
    parts = [*([found.plan] if found.plan else []), *(found.files or ())]
    yield f"run {words.short(found.old.run.id)} ({found.old.run.status.value}) -> {words.short(found.new.run.id)}" + (
        f" ({found.new.run.status.value})"
    )
    yield from _stat(parts)
    if found.files is None:
        yield "the files of one of the runs are not kept: it is from before there were bundles"
    elif not parts:
        yield "plan and files are the same"
    for name, (old, new) in found.inputs.items():
        yield f"input {name}: {codec.dumps(old, ensure_ascii=False)} -> {codec.dumps(new, ensure_ascii=False)}"
    if not found.inputs:
        yield "inputs are the same"
    yield ""
    rows = [(name, *_went(old), *_went(new)) for name, (old, new) in found.tasks.items()]
    yield from tables.lines(("TASK", "STATUS", "TOOK", "STATUS", "TOOK"), rows, width=tables.width())
    for part in parts:
        yield ""
        yield from (paint(line, _COLOURS[line[0]]) if line[:1] in _COLOURS else line for line in part.diff)
        if not part.diff:
            yield f"{part.name}: {part.change}, and no text that could be shown"
        if part.more:
            yield f"... {part.more} more lines"


def _stat(parts: list[Part]) -> Iterator[str]:
    width = max((len(part.name) for part in parts), default=0)
    for part in parts:
        yield f" {part.name:{width}} | {part.change:7} " + paint(f"+{part.plus}", "green") + " " + paint(f"-{part.minus}", "red")


def _went(task: tuple[str, float | None] | None) -> tuple[str, str]:
    if task is None:
        return "-", ""
    return task[0], "" if task[1] is None else words.duration(timedelta(seconds=task[1]))
