"""A run for a person: what became of it, why, what was undone in which order, what is left, and what to type next."""

from __future__ import annotations

import json as codec
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import typer

from drystone.app import describe, reading
from drystone.app.describe import masked
from drystone.app.reading import Look
from drystone.cli import tables, words
from drystone.cli.tables import paint
from drystone.core.run import Attempt, Instance, Run, UndoStatus
from drystone.core.states import RunStatus, TaskStatus
from drystone.ports import RunSummary

OUTPUT_LINES = 12
"""Of a failed attempt's log: enough to see the error, few enough to keep the rest on the screen."""

GONE = ", but its process is gone"
"""Said of a run that nobody goes on with."""

MOST_FAILURES = 3
"""Told at length; a fan-out whose instances all fail says the same thing many times."""


def show(look: Look, *, now: datetime, json: bool) -> None:
    """`drystone show`: the tasks and the summary, or the stable JSON."""
    if json:
        typer.echo(codec.dumps(describe.run_json(look.run, look.record, look.remaining(now)), indent=2))
        return
    for line in head(look, now):
        typer.echo(line)
    typer.echo("")
    for line in task_table(look.run, now):
        typer.echo(line)
    for line in summary(look, now):
        typer.echo(line)


def finish(look: Look, *, now: datetime, json: bool) -> None:
    """What stays on the screen after a run; with `json` the events have said it all."""
    if not json:
        for line in summary(look, now):
            typer.echo(line)


# ---- parts ------------------------------------------------------------------------------------------------------------


def head(look: Look, now: datetime) -> list[str]:
    """The facts of the run, a line each."""
    run, record, forecast = look.run, look.record, look.remaining(now)
    state = words.RUNS[run.status]
    facts = [
        ("run", run.id),
        ("plan", f"{record.plan} ({record.plan_file})"),
        ("environment", run.environment or ""),
        ("status", paint(f"{state.glyph} {state.word}{GONE if look.is_abandoned else ''}", state.colour)),
        ("started", f"{describe.instant(run.started_at or run.created_at)} by {record.created_by}"),
        ("took", words.duration(words.elapsed(run, now))),
        ("expected", words.left(forecast) if forecast else ""),
        ("inputs", ", ".join(f"{name}={_value(value)}" for name, value in masked(run.inputs).items())),
    ]
    return [f"{name:12} {text}" for name, text in facts if text]


def task_table(run: Run, now: datetime) -> list[str]:
    """A line for each instance."""
    rows = []
    for item in run.in_order():
        state = words.of_task(item)
        time = words.duration(words.took(item.undo.attempts or item.attempts, now))
        rows.append((f"{state.glyph} {item.id}", item.kind, state.word, str(len(item.attempts) or ""), time, _note(item)))
    lines = tables.lines(("  TASK", "KIND", "STATUS", "TRIES", "TIME", ""), rows, width=tables.width())
    colours = [words.of_task(item).colour for item in run.in_order()]
    return [lines[0], *(paint(line, colour) for line, colour in zip(lines[1:], colours, strict=True))]


def _note(item: Instance) -> str:
    attempt = words.last_attempt(item)
    match item.status, item.undo.status:
        case _, UndoStatus.LEFT:
            return item.undo.reason
        case ((TaskStatus.FAILED | TaskStatus.UNDO_FAILED), _) if attempt and attempt.failure:
            return f"{attempt.failure.failure_class.value}: {words.first_line(attempt.failure.message)}"
        case ((TaskStatus.SKIPPED | TaskStatus.BLOCKED | TaskStatus.FAILED | TaskStatus.CANCELLED), _):
            return item.reason
        case TaskStatus.SUCCEEDED, _ if not item.changed:
            return "nothing changed"
        case _:
            return ""


def summary(look: Look, now: datetime) -> Iterator[str]:
    """Why it failed with the last output, the way back, what is left, outputs, and the next command."""
    run = look.run
    failed = failures(run)
    for item, attempt in failed[:MOST_FAILURES]:
        yield ""
        yield from _failure(look, item, attempt)
    if more := [item.id for item, _ in failed[MOST_FAILURES:]]:
        yield ""
        yield f"{paint('✗', 'red')} failed too: {', '.join(more)}"
    yield from _way_back(run)
    yield from _left(run)
    yield from _outputs(run)
    yield ""
    yield _verdict(look, now)
    for line in next_steps(look):
        yield f"  {line}"


def failures(run: Run) -> list[tuple[Instance, Attempt | None]]:
    """What failed for good: the tasks in the order in which they failed, then the undos. Without an attempt: it could not begin."""
    stuck = [i for i in run.in_order() if i.status is TaskStatus.FAILED and not i.attempts]
    forward = [i for i in run.in_order() if _ended_in_failure(i.attempts) and i.status is not TaskStatus.RETRYING and not i.waived]
    back = [i for i in run.in_order() if i.undo.status is UndoStatus.FAILED and _ended_in_failure(i.undo.attempts)]
    first = sorted(((i, i.attempts[-1]) for i in forward), key=lambda pair: pair[1].started_at)
    return [*((i, None) for i in stuck), *first, *((i, i.undo.attempts[-1]) for i in back)]


def _ended_in_failure(attempts: Sequence[Attempt]) -> bool:
    return bool(attempts) and attempts[-1].failure is not None and attempts[-1].status.value == "failed"


def _failure(look: Look, item: Instance, attempt: Attempt | None) -> Iterator[str]:
    if attempt is None or attempt.failure is None:
        yield f"{paint('✗', 'red')} task {item.id} could not begin: {item.reason}"
        return
    failure = attempt.failure
    is_undo = attempt in item.undo.attempts
    what = f"the undo of {item.id}" if is_undo else f"task {item.id}"
    times = f" after {attempt.number} attempts" if attempt.number > 1 else ""
    yield f"{paint('✗', 'red')} {what} failed{times} ({failure.failure_class.value}): {failure.message}"
    output = failure.detail.splitlines()[-OUTPUT_LINES:] or reading.tail(look.home, attempt, OUTPUT_LINES)
    # The log ends with the message that stands above it.
    output = [line for line in output if line != f"{failure.failure_class.value}: {failure.message}"]
    if output:
        yield f"  last output{f' ({_shown(look.home / attempt.log)})' if attempt.log else ''}:"
        yield from (f"    {line}" for line in output)
    if failure.hint:
        yield f"  {failure.hint}"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def undone(run: Run) -> list[Instance]:
    """What was undone, in the order in which the undos ended."""
    done = [i for i in run.in_order() if i.undo.status is UndoStatus.SUCCEEDED and i.undo.attempts]
    return sorted(done, key=lambda i: (i.undo.attempts[-1].finished_at or i.undo.attempts[-1].started_at, i.id))


def _way_back(run: Run) -> Iterator[str]:
    done = undone(run)
    if done:
        yield ""
        yield f"{paint('↺', 'blue')} undone, in this order: {', '.join(item.id for item in done)}"
    elif run.status is RunStatus.COMPENSATED:
        yield ""
        yield f"{paint('↺', 'blue')} there was nothing to undo"


def _left(run: Run) -> Iterator[str]:
    if run.left:
        yield ""
        yield f"{paint('!', 'red')} left standing:"
        for id_ in run.left:
            item = run.instances.get(id_)
            reason = "" if item is None or run.passed_pivot else item.undo.reason or "its undo failed"
            yield f"    {id_}{f': {reason}' if reason else ''}"


def _outputs(run: Run) -> Iterator[str]:
    if run.outputs:
        yield ""
        yield "outputs:"
        for name, value in masked(run.outputs).items():
            yield f"    {name} = {_value(value)}"


def _value(value: object) -> str:
    return value.rstrip("\n") if isinstance(value, str) else codec.dumps(value)


def _verdict(look: Look, now: datetime) -> str:
    run = look.run
    state = words.RUNS[run.status]
    if look.is_abandoned:
        return paint(f"{state.glyph} {run.graph.plan.name} {state.word}{GONE}", state.colour)
    changed = sum(item.changed for item in run.in_order())
    count = sum(1 for _ in run.in_order())
    tail = ""
    if run.status is RunStatus.SUCCEEDED:
        tail = f": {count} task{'' if count == 1 else 's'}, {f'{changed} changed something' if changed else 'nothing changed'}"
    elif run.reason:
        tail = f": {run.reason}"
    text = f"{state.glyph} {run.graph.plan.name} {state.word} in {words.duration(words.elapsed(run, now))}{tail}"
    return paint(text, state.colour)


def next_steps(look: Look) -> list[str]:
    """Commands worth typing now, as they must be typed here."""
    run = look.run
    command = "drystone" if _is_here(look.home) else f"drystone -C {shlex.quote(str(look.home.parent))}"
    id_ = words.short(run.id)
    again = f"{command} resume {id_}"
    undo = [] if run.passed_pivot else [f"{command} undo {id_}"]
    match run.status:
        case RunStatus.SUCCEEDED:
            steps = [f"{command} show {id_}"]
            return [*steps, *undo] if any(i.changed for i in run.in_order()) else steps
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return [f"{command} show {id_}", f"{again}      # goes on where it stopped", *undo]
        case RunStatus.COMPENSATED:
            return [f"{command} show {id_}", f"{command} logs {id_}"]
        case RunStatus.COMPENSATION_FAILED:
            return [f"{command} show {id_}", f"{again}      # tries again what could not be undone"]
        case _ if look.is_abandoned:
            return [f"{again}      # goes on with it", f"{command} cancel {id_}      # ends it"]
        case _:
            return [f"{command} logs {id_} -f", f"{command} cancel {id_}"]


def _is_here(home: Path) -> bool:
    from drystone.app import places

    return places.find_project(Path.cwd()) == home.parent.resolve()


# ---- many runs --------------------------------------------------------------------------------------------------------


def listing(summaries: Sequence[RunSummary], *, now: datetime, json: bool) -> None:
    """`drystone runs`."""
    if json:
        rows = [describe.summary_json(summary) for summary in summaries]
        typer.echo(codec.dumps({"format": describe.FORMAT, "runs": rows}, indent=2))
        return
    if not summaries:
        typer.echo("no runs yet; drystone run PLAN starts one", err=True)
        return
    head = ("RUN", "PLAN", "ENVIRONMENT", "STATUS", "TASKS", "STARTED", "TOOK", "")
    lines = tables.lines(head, [_summary_row(item, now) for item in summaries], width=tables.width())
    colours = [words.RUNS[item.status].colour for item in summaries]
    for line, colour in zip(lines, ["", *colours], strict=True):
        typer.echo(paint(line, colour) if colour else line)


def _summary_row(item: RunSummary, now: datetime) -> tuple[str, ...]:
    started = item.started_at or item.created_at
    return (
        item.id,
        item.plan,
        item.environment or "",
        words.RUNS[item.status].word + (GONE if item.owner is None and item.status in reading.UNDER_WAY else ""),
        f"{item.tasks_done}/{item.tasks_total}",
        started.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        words.duration((item.finished_at or now) - started),
        words.first_line(item.error or ""),
    )
