"""What Terraform marks as sensitive in a state or a plan: values that may turn up elsewhere without the mark. Pure.

A mark is lost as soon as a value passes through a provider: the `output` of terraform_data shows what its `input` hides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_TELLING_DIGITS = 4
"""A sensitive number shorter than that is hidden as an output, but not wherever its digits turn up."""


def in_state(state: Mapping[str, Any]) -> Iterator[str]:
    """Texts of sensitive outputs and attributes in a state, as its file has it."""
    for item in (state.get("outputs") or {}).values():
        if item.get("sensitive"):
            yield from texts(item.get("value"))
    for resource in state.get("resources") or ():
        for instance in resource.get("instances") or ():
            for path in instance.get("sensitive_attributes") or ():
                yield from texts(_at(instance.get("attributes"), path))


def in_plan(planned: Mapping[str, Any]) -> Iterator[str]:
    """Texts that a plan, as `terraform show -json` has it, marks as sensitive before or after."""
    changes = [*(planned.get("output_changes") or {}).values(), *(item["change"] for item in planned.get("resource_changes") or ())]
    for change in changes:
        for side in ("before", "after"):
            yield from _marked(change.get(side), change.get(f"{side}_sensitive"))


def texts(value: Any) -> Iterator[str]:
    """The texts in a value, and numbers that are long enough to tell something."""
    match value:
        case str():
            yield value
        case int() | float() if not isinstance(value, bool) and len(str(value)) >= _TELLING_DIGITS:
            yield str(value)
        case Mapping():
            for item in value.values():
                yield from texts(item)
        case list():
            for item in value:
                yield from texts(item)


def _marked(value: Any, mark: Any) -> Iterator[str]:
    """`mark` is true for all of a value, else a map or list of marks for its parts."""
    if mark is True:
        yield from texts(value)
    elif isinstance(mark, Mapping) and isinstance(value, Mapping):
        for name, inner in mark.items():
            yield from _marked(value.get(name), inner)
    elif isinstance(mark, list) and isinstance(value, list):
        for item, inner in zip(value, mark, strict=False):
            yield from _marked(item, inner)


def _at(value: Any, path: Sequence[Mapping[str, Any]]) -> Any:
    """What a path of a state leads to: steps such as {"type": "get_attr", "value": "input"}; an index is a value with a type."""
    for step in path:
        key = step.get("value")
        if isinstance(key, Mapping):
            key = key.get("value")
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value
