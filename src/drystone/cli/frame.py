"""One picture of a run for a terminal of a given size: header, a row for each task, what does not fit as counts. Pure.

`live` draws it many times a second, `run_view` once at the end. Rows keep the order of the graph, so that none jumps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from drystone.cli import words
from drystone.core.run import Forecast, Instance, Run, UndoStatus
from drystone.core.states import RunStatus, TaskStatus

ACTIVE = frozenset(
    {TaskStatus.RUNNING, TaskStatus.WAITING, TaskStatus.RETRYING, TaskStatus.FAILED, TaskStatus.UNDOING, TaskStatus.UNDO_FAILED}
)
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
WORD_WIDTH, TIME_WIDTH = 11, 6
MOST_ID_SHARE = 0.4
"""Of the width, for the names of tasks; longer ones are cut in the middle, where fan-outs are alike."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is shown.

    progress: the last message of each attempt in flight.
    notice:   one line for the person, such as after Ctrl-C.
    forecast: how long the run has still to go, as it was reckoned a moment ago.
    """

    run: Run
    now: datetime
    progress: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    forecast: Forecast | None = None


def draw(scene: Scene, *, width: int, height: int | None) -> list[Text]:
    """The lines of the picture. `height` None shows every task."""
    head = header(scene, width)
    foot = [Text(cut(scene.notice, width), "yellow")] if scene.notice else []
    room = None if height is None else max(3, height - len(head) - len(foot) - 1)
    return [*head, *rows(scene, width=width, room=room), *foot]


# ---- header -----------------------------------------------------------------------------------------------------------


def header(scene: Scene, width: int) -> list[Text]:
    """Plan, run, environment, state and time; below it, how long it has still to go, or why it goes back and how far it is."""
    run = scene.run
    look = words.RUNS[run.status]
    right = f"{look.glyph} {look.word} {words.duration(words.elapsed(run, scene.now))}"
    names = [run.graph.plan.name, run.id, *([f"environment {run.environment}"] if run.environment else [])]
    left = cut("  ".join(names), width - cell_len(right) - 2)
    first = Text(left, "bold")
    first.append(" " * max(2, width - cell_len(left) - cell_len(right)))
    first.append(right, f"bold {look.colour}")
    return [first, *_phase(scene, width)]


def _phase(scene: Scene, width: int) -> list[Text]:
    run = scene.run
    if run.status is RunStatus.COMPENSATING:
        undos = [i.undo.status for i in run.in_order() if i.undo.status not in (None, UndoStatus.NOT_NEEDED)]
        ended = sum(status in (UndoStatus.SUCCEEDED, UndoStatus.FAILED, UndoStatus.LEFT) for status in undos)
        return [Text(cut(f"undoing {ended} of {len(undos)}{_because(run)}", width), "cyan")]
    if run.is_stopping and not run.status.is_final:
        return [Text(cut(f"stopping: what runs is let end{_because(run)}", width), "yellow")]
    if scene.forecast is not None and not run.status.is_final:
        return [Text(cut(f"eta {words.span(scene.forecast, '–')}", width), "bright_black")]
    return []


def _because(run: Run) -> str:
    error = run.error
    if error is None:
        return f", as {run.cause.value}" if run.cause else ""
    message = words.first_line(error["message"])
    return f", as {error['task']} failed: {message}" if error["task"] else f": {message}"


# ---- rows -------------------------------------------------------------------------------------------------------------


def rows(scene: Scene, *, width: int, room: int | None) -> list[Text]:
    """A row for each instance, or for those that matter most, with counts for the others."""
    everything = list(scene.run.in_order())
    before, chosen, after = choose(everything, room)
    # Over all of them, not over those shown: columns must not move while others come into view.
    id_width = min(int(width * MOST_ID_SHARE), max((cell_len(i.id) for i in everything), default=0))
    lines = [_row(scene, instance, width, id_width) for instance in chosen]
    return [*_counts(before, width), *lines, *_counts(after, width)]


def choose(instances: Sequence[Instance], room: int | None) -> tuple[Sequence[Instance], Sequence[Instance], Sequence[Instance]]:
    """What is counted above, what is shown, what is counted below, for `room` lines (at least 3).

    What failed goes first, then what is in flight, then what comes next and what ended last.
    """
    if room is None or len(instances) <= room:
        return (), instances, ()
    lines = room - 2
    active = [index for index, item in enumerate(instances) if is_active(item)]
    active = sorted(sorted(active, key=lambda index: not is_failure(instances[index]))[:lines])
    middle = active[0] if active else next((i for i, item in enumerate(instances) if not item.attempts), len(instances))
    shown = set(active)
    for index in _outwards(middle, len(instances)):
        if len(shown) >= lines:
            break
        shown.add(index)
    first, last = min(shown), max(shown)
    hidden = [i for i in range(len(instances)) if i not in shown]
    above = [instances[i] for i in hidden if i < first or (i < last and instances[i].status.is_settled)]
    below = [instances[i] for i in hidden if not (i < first or (i < last and instances[i].status.is_settled))]
    return above, [instances[i] for i in sorted(shown)], below


def _outwards(middle: int, size: int) -> Iterable[int]:
    """Indices by distance from the middle, three ahead for each one behind: what comes next tells more."""
    behind, ahead = middle - 1, middle
    while behind >= 0 or ahead < size:
        for _ in range(3):
            if ahead < size:
                yield ahead
                ahead += 1
        if behind >= 0:
            yield behind
            behind -= 1


def is_active(instance: Instance) -> bool:
    """True for what a person wants to see first."""
    return instance.status in ACTIVE or instance.undo.status in (UndoStatus.RUNNING, UndoStatus.RETRYING, UndoStatus.LEFT)


def is_failure(instance: Instance) -> bool:
    """True for what must not go under among many in flight."""
    failed = (TaskStatus.FAILED, TaskStatus.UNDO_FAILED)
    return instance.status in failed or instance.undo.status is UndoStatus.LEFT


def _counts(instances: Sequence[Instance], width: int) -> list[Text]:
    if not instances:
        return []
    counted = Counter(words.of_task(instance).word for instance in instances)
    text = ", ".join(f"{number} {word}" for word, number in counted.most_common())
    return [Text(cut(f"  … {text}", width), "bright_black")]


def _row(scene: Scene, instance: Instance, width: int, id_width: int) -> Text:
    look = words.of_task(instance)
    attempts = instance.undo.attempts or instance.attempts
    is_moving = instance.status in (TaskStatus.RUNNING, TaskStatus.UNDOING) and look.word != words.UNDO_RETRYING.word
    glyph = SPINNER[int(scene.now.timestamp() * 8) % len(SPINNER)] if is_moving else look.glyph
    line = Text(f"{glyph} ", look.colour)
    line.append(f"{fit(instance.id, id_width)}  ", "bright_black" if look.colour == "bright_black" else "default")
    line.append(f"{look.word:{WORD_WIDTH}} ", look.colour)
    line.append(f"{words.duration(words.took(attempts, scene.now)):>{TIME_WIDTH}}")
    text, colour = note(scene, instance)
    room = width - cell_len(line.plain) - 2
    if text and room > 3:
        line.append(f"  {cut(text, room)}", colour)
    line.rstrip()
    return line


def note(scene: Scene, instance: Instance) -> tuple[str, str]:
    """What there is to say about an instance: its last progress, its failure, its next attempt; and the colour."""
    failure = _failure(instance)
    match instance.status, instance.undo.status:
        case _, UndoStatus.RETRYING:
            return _retry(scene, instance, instance.undo.retry_at, len(instance.undo.attempts)), "yellow"
        case _, UndoStatus.LEFT:
            return instance.undo.reason, "red"
        case ((TaskStatus.RUNNING | TaskStatus.UNDOING), _):
            return _in_flight(scene, instance), "default"
        case TaskStatus.RETRYING, _:
            return _retry(scene, instance, instance.retry_at, len(instance.attempts)), "yellow"
        case ((TaskStatus.FAILED | TaskStatus.UNDO_FAILED), _) if failure:
            return failure, "red"
        case ((TaskStatus.FAILED | TaskStatus.SKIPPED | TaskStatus.BLOCKED), _):
            return instance.reason, "bright_black"
        case TaskStatus.SUCCEEDED, None if not instance.changed:
            return "nothing changed", "bright_black"
        case _:
            return "", "default"


def _failure(instance: Instance) -> str:
    attempt = words.last_attempt(instance)
    failure = attempt.failure if attempt else None
    return f"{failure.failure_class.value}: {words.first_line(failure.message)}" if failure else ""


def _in_flight(scene: Scene, instance: Instance) -> str:
    attempts = instance.undo.attempts if instance.status is TaskStatus.UNDOING else instance.attempts
    message = scene.progress.get(instance.id, "")
    if len(attempts) < 2:
        return message
    return f"attempt {_of(scene, instance, len(attempts))}" + (f"  {message}" if message else "")


def _retry(scene: Scene, instance: Instance, at: datetime | None, made: int) -> str:
    wait = f", next in {words.duration(at - scene.now)}" if at is not None else ""
    return f"attempt {_of(scene, instance, made)} failed{wait}  {_failure(instance)}"


def _of(scene: Scene, instance: Instance, number: int) -> str:
    task = scene.run.task_of(instance)
    policy = task.undo.retry if instance.undo.attempts else task.retry
    # Attempts before a resume, and those lost with their process, do not count against the policy.
    return f"{number}/{policy.attempts}" if number <= policy.attempts else str(number)


# ---- text -------------------------------------------------------------------------------------------------------------


def cut(text: str, width: int) -> str:
    """One line of at most `width` columns."""
    text = text.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + "…" if width > 0 else ""


def fit(text: str, width: int) -> str:
    """Exactly `width` columns: filled up, or cut in the middle."""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    head = (width - 1) // 2
    tail = width - 1 - head
    return f"{set_cell_size(text, head)}…{text[-tail:]}" if tail > 0 else set_cell_size(text, width)
