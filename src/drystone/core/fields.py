"""Reads one map of the plan file key by key: right types, no unknown keys, every mistake at its place.

`planfile` makes one `Fields` for each map of the language. A key with a mistake reads as its default, and the mistake is recorded,
so that reading goes on and finds the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from drystone.core import durations
from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.nodes import Entry, Node, describe

Choice = TypeVar("Choice", bound=StrEnum)


class Fields:
    """The entries of a map. `what` names it in messages: `task "web"`, `the plan`."""

    def __init__(self, node: Node, what: str, diagnostics: Diagnostics) -> None:
        self.node = node
        self.what = what
        self.diagnostics = diagnostics
        self.entries: Mapping[str, Entry] = {}
        if isinstance(node.value, Mapping):
            self.entries = node.value
        else:
            diagnostics.error(f"{what} must be a map, not {describe(node.value)}", node.where)

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def get(self, key: str) -> Node | None:
        """What stands behind the key, or None."""
        entry = self.entries.get(key)
        return entry[1] if entry is not None else None

    def key_where(self, key: str) -> Where:
        """The place of the key itself, or of the map when the key is absent."""
        entry = self.entries.get(key)
        return entry[0] if entry is not None else self.node.where

    def refuse(self, key: str, wanted: str) -> None:
        """Records that the value of `key` is not what it should be."""
        node = self.entries[key][1]
        self.diagnostics.error(f'"{key}" of {self.what} must be {wanted}, not {describe(node.value)}', node.where)

    def check_keys(self, known: Collection[str]) -> None:
        """Every key that is not known is a mistake."""
        for key, (where, _) in self.entries.items():
            if key not in known:
                unknown_key(key, where, self.what, known, self.diagnostics)

    def text(self, key: str) -> str | None:
        """A string; None when the key is absent or wrong."""
        node = self.get(key)
        if node is None or isinstance(node.value, str):
            return node.value if node is not None else None  # type: ignore[return-value]
        self.refuse(key, "text")
        return None

    def integer(self, key: str, default: int, *, least: int | None = None, most: int = 1_000_000) -> int:
        """A whole number from `least` to `most`."""
        node = self.get(key)
        if node is None:
            return default
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least) and abs(value) <= most:
            return value
        bounds = "" if least is None else f" of {least} or more"
        self.refuse(key, f"a whole number{bounds}" if not isinstance(value, int) or abs(value) <= most else f"at most {most:,}")
        return default

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        node = self.get(key)
        if node is None:
            return default
        if isinstance(node.value, bool):
            return node.value
        self.refuse(key, "true or false")
        return default

    def duration(self, key: str, default: timedelta | None, *, may_be_zero: bool = False) -> timedelta | None:
        """A duration such as `15m`; more than zero unless `may_be_zero`."""
        node = self.get(key)
        if node is None:
            return default
        try:
            value = durations.parse(node.value)
        except ValueError:
            summary = f'"{key}" of {self.what} must be a duration, not {describe(node.value)}'
            self.diagnostics.error(summary, node.where, hint=durations.SHAPE)
            return default
        if value or may_be_zero:
            return value
        self.refuse(key, "more than zero")
        return default

    def choice(self, key: str, choices: type[Choice], default: Choice, *, hidden: Collection[str] = ()) -> Choice:
        """One of the words of an enumeration, but none of `hidden`."""
        node = self.get(key)
        if node is None:
            return default
        words = [choice.value for choice in choices if choice.value not in hidden]
        if isinstance(node.value, str) and node.value in words:
            return choices(node.value)
        hint = (self.diagnostics.near(node.value, words) if isinstance(node.value, str) else "") or f"it is one of {', '.join(words)}"
        summary = f'"{key}" of {self.what} cannot be {describe(node.value)}'
        self.diagnostics.error(summary, node.where, hint=hint)
        return default


def unknown_key(key: str, where: Where, what: str, known: Collection[str], diagnostics: Diagnostics) -> None:
    """Records a key that does not belong there, with the nearest one and all that do."""
    near = diagnostics.near(key, known)
    hint = f"{near} Known keys: {', '.join(sorted(known))}" if near else f"known keys: {', '.join(sorted(known))}"
    diagnostics.error(f'unknown key "{key}" in {what}', where, hint=hint, length=len(key))
