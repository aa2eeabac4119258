"""The triggers of a plan held against their plugins and the plan: one of the compiler's steps.

A trigger sees `event` only: in its inputs, and in those keys of its config that are looked at for each event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from drystone.core import given
from drystone.core.diagnostics import Diagnostics
from drystone.core.graph import Problem
from drystone.core.nodes import place
from drystone.core.plan import Plan, Trigger, Value
from drystone.core.references import Checker
from drystone.core.triggerlist import NO_TYPE
from drystone.core.values import Reference, Template, templates, without_expressions
from drystone.errors import PluginError

Shape = Mapping[str, Any]
"""Names below a name -> their own shapes; None stands for what nobody knows beforehand."""


@dataclass(frozen=True, kw_only=True)
class TriggerInfo:
    """What the compiler must know of a type of triggers; the plugin registry answers with it.

    check:     config with `values.UNKNOWN` in place of each expression -> problems.
    roots:     what expressions of the config may look at, such as `secrets`.
    per_event: keys of the config that are evaluated for each event, and so see `event`.
    event:     the shape of `event`; None when nobody knows it beforehand.
    """

    name: str
    check: Callable[[Any], Sequence[Problem]]
    roots: tuple[str, ...] = ()
    per_event: frozenset[str] = frozenset()
    event: Shape | None = None


TriggerLookup = Callable[[str], TriggerInfo | None]
"""Name of a type -> its facts, or None when no such type is installed."""


def check(plan: Plan, lookup: TriggerLookup, checker: Checker, found: Diagnostics) -> None:
    """Adds every mistake in the triggers of a plan."""
    for trigger in plan.triggers:
        given.check(plan, trigger.inputs, trigger.inputs_node, trigger.where, found)
        if trigger.type == NO_TYPE:
            continue
        try:
            info = lookup(trigger.type)
        except PluginError as error:
            found.error(error.message, trigger.where, hint=error.hint, length=len(trigger.type))
            continue
        if info is None:
            found.error(f'there is no trigger of type "{trigger.type}"', trigger.where, length=len(trigger.type))
            continue
        _check_references(trigger, info, checker, found)
        _check_config(trigger, info, found)


def without_places(triggers: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
    """Once they are checked: lets go of the places in their configs and inputs."""
    return tuple(replace(trigger, config_node=None, inputs_node=None) for trigger in triggers)


def _check_references(trigger: Trigger, info: TriggerInfo, checker: Checker, found: Diagnostics) -> None:
    config = trigger.config if isinstance(trigger.config, Mapping) else {"": trigger.config}
    for key, value in config.items():
        _check_value(value, (*info.roots, "event") if key in info.per_event else info.roots, info, checker, found)
    for value in trigger.inputs.values():
        _check_value(value, ("event",), info, checker, found)


def _check_value(value: Value, roots: Collection[str], info: TriggerInfo, checker: Checker, found: Diagnostics) -> None:
    checker.value(value, roots)
    if info.event is None or "event" not in roots:
        return
    for template in templates(value):
        for reference in sorted(template.references, key=str):
            if reference.root == "event":
                _check_event(template, reference, info.event, found)


def _check_event(template: Template, reference: Reference, shape: Shape, found: Diagnostics) -> None:
    level: Any = shape
    for depth, part in enumerate(reference.path):
        if level is None:
            return
        if str(part) not in level:
            shown = Reference("event", reference.path[: depth + 1])
            where, length = template.place_of(shown)
            hint = found.near(str(part), level) or f"there is {', '.join(level)}"
            found.error(f'"{Reference("event", reference.path[:depth])}" has no "{part}"', where, hint=hint, length=length)
            return
        level = level[str(part)]


def _check_config(trigger: Trigger, info: TriggerInfo, found: Diagnostics) -> None:
    for problem in info.check(without_expressions(trigger.config)):
        node = trigger.config_node
        where = place(node, problem.path, at_key=problem.at_key) if node is not None and problem.path else trigger.where
        length = len(str(problem.path[-1])) if problem.at_key and problem.path else 1
        found.error(f"{info.name}: {problem.message}", where, hint=problem.hint, length=length)
