"""The plan file as a tree in which everything knows its place.

`adapters.yaml_text` makes it, `planfile` reads it, and `compile` looks places up in it. It is YAML's data model cut down to what
JSON has: the keys of maps are text, and numbers are finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drystone.core.diagnostics import Where

Scalar = str | int | float | bool | None
Entry = tuple[Where, "Node"]
"""The place of a key, and what stands behind it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place.

    value:   a scalar, a tuple of nodes (a list), or key -> (place of the key, node) (a map, in the order of the file).
    text_at: of a string: where its first character stands, when places inside it can be counted from there; else None.
    """

    where: Where
    value: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    text_at: Where | None = None


def to_data(node: Node) -> Any:
    """The same without places: dict, list and scalars."""
    value = node.value
    if isinstance(value, Mapping):
        return {key: to_data(child) for key, (_, child) in value.items()}
    if isinstance(value, tuple):
        return [to_data(child) for child in value]
    return value


def place(node: Node, path: Sequence[str | int], *, at_key: bool = False) -> Where:
    """Where `path` stands below `node`; as far as the path goes when it leads out of the tree.

    at_key: the place of the last key, not of the value behind it.
    """
    where = node.where
    for part in path:
        value = node.value
        if isinstance(value, Mapping) and str(part) in value:
            key_where, node = value[str(part)]
            where = key_where if at_key else node.where
        elif isinstance(value, tuple) and isinstance(part, int) and 0 <= part < len(value):
            node = value[part]
            where = node.where
        else:
            return where
    return where


def inside(where: Where, text_at: Where | None, text: str, offset: int) -> Where:
    """The place of character `offset` of a string, or `where` when it cannot be counted."""
    if text_at is None:
        return where
    before = text[:offset]
    return Where(text_at.file, text_at.line + before.count("\n"), text_at.column + offset - (before.rfind("\n") + 1))


def stripped(node: Node) -> Node:
    """Without the line end that a YAML block leaves: text around an expression would make its result text."""
    if not isinstance(node.value, str) or node.value == node.value.strip():
        return node
    indent = len(node.value) - len(node.value.lstrip())
    text_at = inside(node.where, node.text_at, node.value, indent) if node.text_at is not None else None
    return Node(node.where, node.value.strip(), text_at)


def describe(value: Any) -> str:
    """What kind of value it is, as a message says it: `a map`, `the number 5`, `"abc"`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
        case Mapping():
            return "a map"
        case _:
            return "a list"
