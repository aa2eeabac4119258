"""A run for a person: what became of it, why, what was undone in which order, what is left, and what to type next."""

from __future__ import annotations

import itertools
import json as codec
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import typer

from drystone.app import describe, reading
from drystone.app.describe import masked
from drystone.app.reading import Look
from drystone.cli import scene as scenes
from drystone.cli import stages, tables, task_view, waiting_view, words
from drystone.cli.next_steps import next_steps
from drystone.cli.scene import Scene
from drystone.cli.tables import paint
from drystone.core.run import Attempt, AttemptStatus, Instance, Run, UndoStatus, made
from drystone.core.states import RunStatus, TaskStatus
from drystone.ports import RunSummary

OUTPUT_LINES = 12
"""Of a failed attempt's log: enough to see the error, few enough to keep the rest on the screen."""

GONE = ", but its process is gone"
"""Said of a run that nobody goes on with."""

MOST_LINES, MOST_IN_A_ROW = 20, 5
"""What is left, and what was undone, of runs with hundreds of tasks: `drystone show` has them all."""

MOST_FAILURES = 3
"""Told at length; a fan-out whose instances all fail says the same thing many times."""


def show(look: Look, *, now: datetime, json: bool) -> None:
    """`drystone show`: the tasks and the summary, or the stable JSON."""
    if json:
        typer.echo(codec.dumps(describe.run_json(look.run, look.record, look.remaining(now), look.parts), indent=2))
        return
    for line in head(look, now):
        typer.echo(line)
    typer.echo("")
    for line in task_table(look.run, now, look.parts):
        typer.echo(line)
    _print(summary(look, now))


def finish(look: Look, *, now: datetime, json: bool) -> None:
    """What stays on the screen after a run; with `json` the events have said it all."""
    if not json:
        _print(summary(look, now))


def _print(lines: Iterable[str]) -> None:
    """Sentences are folded at the edge of the terminal; output and commands stay as they are, so that they can be copied."""
    width = tables.width()
    for line in lines:
        is_sentence = width is not None and len(line) > width and not line.startswith(" ")
        typer.echo(textwrap.fill(line, width, subsequent_indent="  ") if is_sentence and width else line)


# ---- parts ------------------------------------------------------------------------------------------------------------


def head(look: Look, now: datetime) -> list[str]:
    """The facts of the run, a line each."""
    run, record, forecast = look.run, look.record, look.remaining(now)
    state = words.RUNS[run.status]
    facts = [
        ("run", run.id),
        ("plan", f"{record.plan} ({record.plan_file})"),
        ("part of", f"run {record.parent}" if record.parent else ""),
        ("environment", run.environment or ""),
        ("bundle", record.bundle.removeprefix("sha256:")[:12]),
        ("preview", run.manner.preview.removeprefix("sha256:")[:12]),
        ("status", paint(f"{state.glyph} {state.word}{GONE if look.is_abandoned else ''}", state.colour)),
        ("started", f"{describe.instant(run.started_at or run.created_at)} by {record.created_by}"),
        ("took", words.duration(words.elapsed(run, now))),
        ("expected", words.left(forecast) if forecast else ""),
        ("inputs", ", ".join(f"{name}={_value(value)}" for name, value in masked(run.inputs).items())),
    ]
    return [f"{name:12} {text}" for name, text in facts if text]


def task_table(run: Run, now: datetime, parts: Mapping[str, str] = describe.NO_PARTS) -> list[str]:
    """A line for each instance. `parts`: instance -> the run that it is."""
    scene = Scene(run=run, now=now)
    name_of = stages.namer(run)
    rows = []
    for item in run.in_order():
        state = words.of_task(item)
        time = words.duration(words.took(item.undo.attempts or item.attempts, now))
        tries = str(made(item.attempts) or "")
        # The id in full: runs that begin in the same moment differ only at the end.
        note = ", ".join(filter(None, (f"run {parts[item.id]}" if item.id in parts else "", scenes.note(scene, item)[0])))
        rows.append((f"{state.glyph} {item.id}", stages.mark(name_of(item)), item.kind, state.word, tries, time, note))
    order = "WAVE" if run.back is None else "UNDO"
    lines = tables.lines(("  TASK", order, "KIND", "STATUS", "TRIES", "TIME", ""), rows, width=tables.width())
    colours = [words.of_task(item).colour for item in run.in_order()]
    return [lines[0], *(paint(line, colour) for line, colour in zip(lines[1:], colours, strict=True))]


def summary(look: Look, now: datetime) -> Iterator[str]:
    """Why it failed with the last output, the way back, what is left, outputs, and the next command."""
    run = look.run
    failed = failures(run)
    for item, attempt in failed[:MOST_FAILURES]:
        yield ""
        yield from _failure(look, item, attempt)
    if more := [item for item, _ in failed[MOST_FAILURES:]]:
        yield ""
        yield f"{paint('✗', 'red')} failed too: {several(more)}"
    yield from _way_back(run)
    yield from _left(run)
    yield from _outputs(run)
    yield from _waiting(look, now)
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
    return bool(attempts) and attempts[-1].failure is not None and attempts[-1].status in (AttemptStatus.FAILED, AttemptStatus.HELD)


def _failure(look: Look, item: Instance, attempt: Attempt | None) -> Iterator[str]:
    if attempt is None or attempt.failure is None:
        yield f"{paint('✗', 'red')} task {item.id} could not begin: {item.reason}"
        return
    failure = attempt.failure
    is_undo = attempt in item.undo.attempts
    what = f"the undo of {item.id}" if is_undo else f"task {item.id}"
    tries = made(item.undo.attempts if is_undo else item.attempts)
    times = f" after {tries} attempts" if tries > 1 else ""
    yield f"{paint('✗', 'red')} {what} failed{times} ({failure.failure_class.value}): {failure.message}"
    output = failure.detail.splitlines()[-OUTPUT_LINES:] or reading.tail(look.home, attempt, OUTPUT_LINES)
    # The log ends with the message that stands above it.
    output = [line for line in output if line != f"{failure.failure_class.value}: {failure.message}"]
    if output:
        yield f"  last output{f' ({words.shown_path(look.home / attempt.log)})' if attempt.log else ''}:"
        yield from (f"    {line}" for line in output)
    yield from (f"  {line}" for line in task_view.resources(attempt.result, task_view.MOST_RESOURCES, said=failure.message))
    yield from (f"  {line}" for line in task_view.hosts(attempt.result, task_view.MOST_HOSTS))
    if failure.hint:
        yield f"  {failure.hint}"


def undone(run: Run) -> list[Instance]:
    """What was undone, in the order in which the undos ended."""
    done = [i for i in run.in_order() if i.undo.status is UndoStatus.SUCCEEDED and i.undo.attempts]
    return sorted(done, key=lambda i: (i.undo.attempts[-1].finished_at or i.undo.attempts[-1].started_at, i.id))


def several(instances: Sequence[Instance]) -> str:
    """Their ids; of a fan-out how many, where many of its instances follow each other."""
    groups = [list(group) for _, group in itertools.groupby(instances, key=lambda item: item.task)]
    named = [f"{g[0].task} ({len(g)} instances)" if len(g) > MOST_IN_A_ROW else ", ".join(item.id for item in g) for g in groups]
    more = f", and {len(named) - MOST_LINES} more" if len(named) > MOST_LINES else ""
    return f"{', '.join(named[:MOST_LINES])}{more}"


def _way_back(run: Run) -> Iterator[str]:
    done = undone(run)
    if done:
        yield ""
        yield f"{paint('↺', 'blue')} undone, in this order: {several(done)}"
    elif run.status is RunStatus.COMPENSATED:
        yield ""
        yield f"{paint('↺', 'blue')} there was nothing to undo"


def _left(run: Run) -> Iterator[str]:
    if run.left:
        yield ""
        yield f"{paint('!', 'red')} left standing:"
        for id_ in run.left[:MOST_LINES]:
            item = run.instances.get(id_)
            failed = item is not None and item.undo.status is UndoStatus.FAILED
            reason = "" if item is None or run.passed_pivot else item.undo.reason or ("its undo failed" if failed else "")
            yield f"    {id_}{f': {reason}' if reason else ''}"
        if len(run.left) > MOST_LINES:
            yield f"    and {len(run.left) - MOST_LINES} more"


def _waiting(look: Look, now: datetime) -> Iterator[str]:
    if lines := list(waiting_view.waiting(look, now)):
        yield ""
        yield f"{paint('…', 'yellow')} {lines[0]}"
        yield from (f"  {line}" for line in lines[1:])


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
    after = "in" if run.status.is_final else "for"
    text = f"{state.glyph} {run.graph.plan.name} {state.word} {after} {words.duration(words.elapsed(run, now))}{tail}"
    return paint(text, state.colour)


# ---- many runs --------------------------------------------------------------------------------------------------------


def listing(
    summaries: Sequence[RunSummary], *, now: datetime, json: bool, behind: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> None:
    """`drystone runs`. `behind`: queued run -> the runs that it has to wait for."""
    if json:
        rows = [describe.summary_json(summary) for summary in summaries]
        typer.echo(codec.dumps({"format": describe.FORMAT, "runs": rows}, indent=2))
        return
    if not summaries:
        typer.echo("no runs yet; drystone run PLAN starts one", err=True)
        return
    head = ("RUN", "PLAN", "ENVIRONMENT", "STATUS", "TASKS", "STARTED", "TOOK", "")
    lines = tables.lines(head, [_summary_row(item, now, behind.get(item.id, ())) for item in summaries], width=tables.width())
    colours = [words.RUNS[item.status].colour for item in summaries]
    for line, colour in zip(lines, ["", *colours], strict=True):
        typer.echo(paint(line, colour) if colour else line)


def _summary_row(item: RunSummary, now: datetime, behind: Sequence[str]) -> tuple[str, ...]:
    started = item.started_at or item.created_at
    notes = [
        f"part of {item.parent}" if item.parent else "",
        words.queued(behind).removeprefix("queued ") if behind else "",
        f"{item.attention} to decide: drystone attention list" if item.attention else "",
        words.first_line(item.error or ""),
    ]
    return (
        item.id,
        item.plan,
        item.environment or "",
        words.RUNS[item.status].word + (GONE if item.owner is None and item.status in reading.UNDER_WAY else ""),
        f"{item.tasks_done}/{item.tasks_total}",
        started.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        words.duration((item.finished_at or now) - started),
        ", ".join(filter(None, notes)),
    )
