"""The parts of a run that come one after the other: its waves, and once it goes back the steps of the undo. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from drystone.cli import words
from drystone.cli.words import Look
from drystone.core.run import Instance, Run, UndoStatus

FINALLY, REST = "finally", "others"
"""What comes when all else is over, and what has no step on the way back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """`name` is `wave 3`, `undo 1`, `finally`, or `wave 4–9` for several; `counts`: how many instances have which look."""

    name: str
    size: int
    counts: Mapping[Look, int]
    is_over: bool


def stages(run: Run, most: int) -> list[Stage]:
    """At most so many (2 or more), in the order of time; those before and those behind the one at work are taken together."""
    found = _all(run)
    if len(found) <= most:
        return found
    at_work = next((index for index, stage in enumerate(found) if not stage.is_over), len(found) - 1)
    first = min(max(0, at_work - 1), len(found) - most)
    behind = first + most - 1
    return [_together(found[: first + 1]), *found[first + 1 : behind], _together(found[behind:])]


def namer(run: Run) -> Callable[[Instance], str]:
    """Instance -> the name of the stage that it belongs to."""
    if run.back is None:
        forward = {name: FINALLY if node.task.closing else f"wave {node.wave + 1}" for name, node in run.graph.nodes.items()}
        return lambda instance: forward[instance.task]
    steps = undo_steps(run)
    return lambda instance: f"undo {steps[instance.task]}" if _goes_back(instance) else REST


def mark(name: str) -> str:
    """The name of a stage in two or three letters, for a column: `w3`, `u1`, `fin`."""
    if name == REST:
        return ""
    kind, _, number = name.partition(" ")
    return f"{kind[0]}{number}" if number else kind[:3]


def undo_steps(run: Run) -> dict[str, int]:
    """Task -> its step on the way back, 1 is undone first; tasks without anything to undo are left out."""
    depth: dict[str, int] = {}
    steps: dict[str, int] = {}
    for name in reversed(tuple(run.graph.nodes)):
        depth[name] = max((depth[other] for other in run.graph.nodes[name].dependants), default=0)
        if any(_goes_back(run.instances[id_]) for id_ in run.expansions[name]):
            depth[name] += 1
            steps[name] = depth[name]
    return steps


def _goes_back(instance: Instance) -> bool:
    return instance.undo.status not in (None, UndoStatus.NOT_NEEDED)


def _all(run: Run) -> list[Stage]:
    groups: dict[str, list[Instance]] = {}
    name_of = namer(run)
    for instance in run.in_order():
        groups.setdefault(name_of(instance), []).append(instance)
    # The graph has them in the order of the way forward.
    order = sorted(groups, key=lambda name: _place(name, len(groups)))
    return [_stage(name, groups[name]) for name in order]


def _place(name: str, last: int) -> int:
    number = name.rpartition(" ")[2]
    return int(number) if number.isdigit() else last + 1


def _stage(name: str, instances: Sequence[Instance]) -> Stage:
    goes_back = name.startswith("undo ")
    is_over = all(i.undo.status not in words.UNDO_OPEN if goes_back else i.status.is_settled for i in instances)
    return Stage(name=name, size=len(instances), counts=Counter(words.of_task(i) for i in instances), is_over=is_over)


def _together(several: Sequence[Stage]) -> Stage:
    first, last = several[0], several[-1]
    if first is last:
        return first
    counts: Counter[Look] = Counter()
    for stage in several:
        counts.update(stage.counts)
    kind, _, number = first.name.partition(" ")
    name = f"{kind} {number}–{last.name.removeprefix(f'{kind} ')}"
    return Stage(name=name, size=sum(stage.size for stage in several), counts=counts, is_over=all(stage.is_over for stage in several))
