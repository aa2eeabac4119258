"""`triggers` of a plan: what starts its runs by itself, each a map with one type, `inputs` and `name`.

`planfile` calls `read`; what needs the plugin of a type, or the rest of the plan, is checked by `trigger_check` when the plan is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from drystone.core import values
from drystone.core.diagnostics import Where
from drystone.core.fields import Fields, unknown_key
from drystone.core.nodes import Node, describe
from drystone.core.plan import Trigger, Value

TRIGGER_KEYS = ("name", "inputs")
NO_TYPE = ""
"""The type of a trigger whose type cannot be read; its mistake is recorded."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")


def read(fields: Fields, types: Collection[str] | None) -> tuple[Trigger, ...]:
    """The triggers of the plan in `fields`. types: what is installed; None when nobody knows, then any is taken."""
    node = fields.get("triggers")
    if node is None:
        return ()
    if not isinstance(node.value, tuple):
        hint = "write each behind a dash: - schedule: {...}"
        fields.diagnostics.error(f'"triggers" must be a list, not {describe(node.value)}', node.where, hint=hint)
        return ()
    items = [Fields(item, f"trigger {number}", fields.diagnostics) for number, item in enumerate(node.value, start=1)]
    taken = {name for item in items if (name := _given_name(item)) is not None}
    found: dict[str, Trigger] = {}
    for item in items:
        trigger = _trigger(item, types, taken | set(found))
        if trigger.name in found:
            hint = f"the other is at {found[trigger.name].where}"
            where, length = _name_place(item, trigger)
            fields.diagnostics.error(f'there are two triggers "{trigger.name}"', where, hint=hint, length=length)
        else:
            found[trigger.name] = trigger
    return tuple(found.values())


def _trigger(fields: Fields, types: Collection[str] | None, taken: Collection[str]) -> Trigger:
    where, type_, config_node = _type(fields, types)
    is_empty = config_node is None or config_node.value is None
    config = values.PlainMap() if config_node is None or is_empty else values.compile_value(config_node, fields.diagnostics)
    inputs_node = fields.get("inputs")
    return Trigger(
        name=_given_name(fields) or _free_name(type_ or "trigger", taken),
        type=type_,
        config=config,
        inputs=_inputs(fields),
        where=where,
        config_node=config_node,
        inputs_node=inputs_node,
    )


def _type(fields: Fields, types: Collection[str] | None) -> tuple[Where, str, Node | None]:
    """The one key that names a type: its place, itself, and what stands behind it."""
    others = [key for key in fields.entries if key not in TRIGGER_KEYS]
    chosen = [key for key in others if types is None or key in types]
    for key in others:
        if key not in chosen:
            unknown_key(key, fields.key_where(key), fields.what, [*TRIGGER_KEYS, *(types or ())], fields.diagnostics)
    for key in chosen[1:]:
        summary = f'{fields.what} has two types: "{chosen[0]}" and "{key}"'
        fields.diagnostics.error(summary, fields.key_where(key), hint="make two triggers of it", length=len(key))
    if chosen:
        where, node = fields.entries[chosen[0]]
        return where, chosen[0], node
    if not others and isinstance(fields.node.value, Mapping):
        hint = f"a trigger has one of: {', '.join(sorted(types))}" if types else ""
        fields.diagnostics.error(f"{fields.what} has no type", fields.node.where, hint=hint)
    return fields.node.where, NO_TYPE, None


def _inputs(fields: Fields) -> dict[str, Value]:
    node = fields.get("inputs")
    if node is None:
        return {}
    given = Fields(node, f"the inputs of {fields.what}", fields.diagnostics)
    return {name: values.compile_value(child, fields.diagnostics) for name, (_, child) in given.entries.items()}


def _given_name(fields: Fields) -> str | None:
    node = fields.get("name")
    if node is None:
        return None
    if isinstance(node.value, str) and _NAME.match(node.value):
        return node.value
    hint = "it has at most 63 letters, digits, dashes and underscores, and begins with a letter"
    fields.diagnostics.error(f"{describe(node.value)} cannot be the name of a trigger", node.where, hint=hint)
    return None


def _free_name(word: str, taken: Collection[str]) -> str:
    """`schedule`, else `schedule-2` and so on: those without a name count in the order of the file."""
    number = 1
    while (name := word if number == 1 else f"{word}-{number}") in taken:
        number += 1
    return name


def _name_place(fields: Fields, trigger: Trigger) -> tuple[Where, int]:
    node = fields.get("name")
    return (node.where, len(trigger.name)) if node is not None else (trigger.where, len(trigger.type) or 1)
