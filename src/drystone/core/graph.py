"""What the planner compiles a plan into: tasks, edges, waves, and the order of the way back.

Made by `compile.compile_plan`, read by `run.decide`, printed by `drystone graph`. Node order is topological and,
within that, by name, so that two compilations of one plan are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from drystone.core.plan import Plan, Task, UndoWhen


class Problem(NamedTuple):
    """What a kind says of a config: where inside it, what, and the next step. `at_key`: it is the key that is wrong, not its value."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    at_key: bool = False


@dataclass(frozen=True, kw_only=True)
class KindInfo:
    """What the compiler must know of a kind; the plugin registry answers with it.

    has_undo:  the kind can take back its own work (`undo: auto`).
    changes:   it changes things in the world, so a plan should say how to undo it.
    undo_when: the kind's default for the task key of that name.
    outputs:   names of its outputs when they are fixed, else None; attributes of `tasks.X.outputs` are checked against it.
    check:     config with `values.UNKNOWN` in place of each expression -> problems.
    changes_with: whether it changes things with this config (as for `check`); None when `changes` holds for every config.
    pauses:    a task of it may wait without an attempt at work.
    asks:      it waits for a person's answer.
    """

    name: str
    has_undo: bool
    changes: bool
    undo_when: UndoWhen
    outputs: tuple[str, ...] | None
    check: Callable[[Any], Sequence[Problem]]
    changes_with: Callable[[Any], bool] | None = None
    pauses: bool = False
    asks: bool = False


KindLookup = Callable[[str], KindInfo | None]
"""Kind name -> its facts, or None when no such kind is installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One task in the graph.

    task:       as written, with undo and undo_when resolved.
    needs:      all tasks before it: written and inferred, sorted.
    dependants: all tasks right behind it, sorted.
    wave:       0 for tasks that need nothing; else one more than the highest wave before it.
    height:     tasks on the longest path from here to an end, 1 for a last one: what makes it urgent.
    """

    task: Task
    needs: tuple[str, ...]
    dependants: tuple[str, ...]
    wave: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A compiled plan. `nodes` is in topological order."""

    plan: Plan
    nodes: Mapping[str, Node]

    @cached_property
    def pools(self) -> frozenset[str]:
        """Names of the pools that its tasks need room in."""
        return frozenset(node.task.pool for node in self.nodes.values() if node.task.pool is not None)

    @property
    def waves(self) -> tuple[tuple[str, ...], ...]:
        """Names by wave: what could run at once if nothing else held it back."""
        waves: list[list[str]] = []
        for name, node in self.nodes.items():
            while len(waves) <= node.wave:
                waves.append([])
            waves[node.wave].append(name)
        return tuple(tuple(sorted(wave)) for wave in waves)

    def upstream(self, name: str) -> frozenset[str]:
        """All tasks that come before `name`, near and far."""
        seen: set[str] = set()
        stack = list(self.nodes[name].needs)
        while stack:
            current = stack.pop()
            if current not in seen:
                seen.add(current)
                stack.extend(self.nodes[current].needs)
        return frozenset(seen)
