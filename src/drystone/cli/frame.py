"""One picture of a run for a terminal of a given size: header, a row for each task, what does not fit as counts. Pure.

`live` draws it many times a second, `run_view` once at the end. Rows keep the order of the graph, so that none jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from drystone.cli import scene as scenes
from drystone.cli import stages, words
from drystone.cli.scene import Scene
from drystone.cli.stages import Stage
from drystone.core.run import Instance, UndoStatus
from drystone.core.states import TaskStatus

ACTIVE = frozenset(
    {TaskStatus.RUNNING, TaskStatus.WAITING, TaskStatus.RETRYING, TaskStatus.FAILED, TaskStatus.UNDOING, TaskStatus.UNDO_FAILED}
)
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
WORD_WIDTH, TIME_WIDTH = 11, 6
MOST_ID_SHARE = 0.4
"""Of the width, for the names of tasks; longer ones are cut in the middle, where fan-outs are alike."""
STAGES_SHARE = 3
"""One line in so many is for waves, where there is no room for all tasks."""


def draw(scene: Scene, *, width: int, height: int | None) -> list[Text]:
    """The lines of the picture. `height` None shows every task."""
    head = header(scene, width)
    answer = scenes.answer(scene)
    foot = [Text(cut(text, width), "yellow") for text in (answer, scene.notice) if text]
    room = None if height is None else max(3, height - len(head) - len(foot) - 1)
    return [*head, *rows(scene, width=width, room=room), *foot]


def header(scene: Scene, width: int) -> list[Text]:
    """Plan, run, environment, state and time; below it what the run as a whole waits for, why it goes back, or when it will end."""
    run = scene.run
    look = words.RUNS[run.status]
    right = f"{look.glyph} {look.word} {words.duration(words.elapsed(run, scene.now))}"
    names = [run.graph.plan.name, run.id, *([f"environment {run.environment}"] if run.environment else [])]
    left = cut("  ".join(names), width - cell_len(right) - 2)
    first = Text(left, "bold")
    first.append(" " * max(2, width - cell_len(left) - cell_len(right)))
    first.append(right, f"bold {look.colour}")
    text, colour = scenes.phase(scene)
    # Also when there is nothing to say: rows must not move when there is.
    return [first] if run.status.is_final else [first, Text(cut(text, width), colour)]


# ---- rows -------------------------------------------------------------------------------------------------------------


def rows(scene: Scene, *, width: int, room: int | None) -> list[Text]:
    """A row for each instance; where there is no room, a line for each wave and rows for those that matter most."""
    everything: Sequence[Instance] = list(scene.run.in_order())
    name_of = stages.namer(scene.run)
    mark_width = max((len(stages.mark(name_of(item))) for item in everything), default=0)
    # Over all of them, not over those shown: columns must not move while others come into view.
    id_width = min(int(width * MOST_ID_SHARE), max((cell_len(i.id) for i in everything), default=0))
    lines: list[Text] = []
    if room is not None and len(everything) > room:
        lines = _stage_lines(stages.stages(scene.run, max(2, room // STAGES_SHARE)), width)
        everything = choose(everything, room - len(lines))
    return [*lines, *(_row(scene, item, f"{stages.mark(name_of(item)):{mark_width}}", width, id_width) for item in everything)]


def _stage_lines(found: Sequence[Stage], width: int) -> list[Text]:
    """`wave 3   40 tasks   12 ✓  5 ▸  23 ·`."""
    name_width = max(len(stage.name) for stage in found)
    size_width = len(str(max(stage.size for stage in found)))
    lines = []
    for stage in found:
        line = Text(f"{stage.name:{name_width}}  {stage.size:{size_width}} task{'s' if stage.size != 1 else ' '} ", "bold")
        for look, count in sorted(stage.counts.items(), key=lambda item: words.ORDER[item[0]]):
            line.append(f"  {count} {look.glyph}", look.colour)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def choose(instances: Sequence[Instance], room: int) -> Sequence[Instance]:
    """Those that are shown where there is room for so many: what failed, then what is in flight, then what comes next or ended last."""
    active = [index for index, item in enumerate(instances) if is_active(item)]
    active = sorted(sorted(active, key=lambda index: not is_failure(instances[index]))[:room])
    middle = active[0] if active else next((i for i, item in enumerate(instances) if not item.attempts), len(instances))
    shown = set(active)
    for index in _outwards(middle, len(instances)):
        if len(shown) >= room:
            break
        shown.add(index)
    return [instances[i] for i in sorted(shown)]


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


def _row(scene: Scene, instance: Instance, mark: str, width: int, id_width: int) -> Text:
    look = words.of_task(instance)
    attempts = instance.undo.attempts or instance.attempts
    is_moving = instance.status in (TaskStatus.RUNNING, TaskStatus.UNDOING) and look.word != words.UNDO_RETRYING.word
    glyph = SPINNER[int(scene.now.timestamp() * 8) % len(SPINNER)] if is_moving else look.glyph
    line = Text(f"{mark} ", "bright_black")
    line.append(f"{glyph} ", look.colour)
    line.append(f"{fit(instance.id, id_width)}  ", "bright_black" if look.colour == "bright_black" else "default")
    line.append(f"{look.word:{WORD_WIDTH}} ", look.colour)
    line.append(f"{words.duration(words.took(attempts, scene.now)):>{TIME_WIDTH}}")
    text, colour = scenes.note(scene, instance)
    room = width - cell_len(line.plain) - 2
    if text and room > 3:
        line.append(f"  {cut(text, room)}", colour)
    line.rstrip()
    return line


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
