"""The Jinja2 sandbox in which expressions are evaluated, and how they look into data.

Used by `values` only. What is bounded here is bounded against accidents: an author who wants to do harm may run a command anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from drystone.core.diagnostics import did_you_mean
from drystone.core.filters import FILTERS, FilterError, for_json
from drystone.core.opaque import UNKNOWN, is_opaque

MAX_RANGE = 100_000
MAX_TEXT = 1_000_000
"""Characters of a string, or items of a list, that an expression may build by repetition."""

_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})
_WIDE = re.compile(r"\d{5,}|:[^}]*\{|%[-+ #0]*\*")
"""A format with a width of five digits, or one that is only known when it is used."""
_REFUSED_FILTERS = frozenset({"random", "center", "indent", "wordwrap", "pprint", "urlize", "xmlattr", "safe", "attr"})
"""Chance has no place in a run that can be replayed; the others are for web pages, or unbounded."""
MISSING: Final = object()


def lookup(value: Any, key: Any) -> Any:
    """`value.key` and `value[key]` for data: what stands there, or MISSING. A part of what is opaque is as opaque."""
    if is_opaque(value):
        return value
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        return value.get(str(key), MISSING) if isinstance(key, int) else MISSING
    if isinstance(value, list | tuple | range | str) and isinstance(key, int) and not isinstance(key, bool):
        return value[key] if -len(value) <= key < len(value) else MISSING
    return MISSING


def missing(value: Any, key: Any) -> tuple[str, str]:
    """What to say when `key` is not in `value`: a message that tells what is there instead, and a hint."""
    if isinstance(value, Mapping):
        known = sorted(str(name) for name in value)
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        return f'"{key}" is not defined; there is {shown or "nothing"}', did_you_mean(str(key), known)
    if isinstance(value, list | tuple | range):
        if isinstance(key, int):
            return f"there is no item {key} in a list of {len(value)}", ""
        return f'a list has no "{key}"', f"take an item of it first, such as [0].{key}"
    return f'{_kind(value)} has no "{key}"', ""


def _kind(value: Any) -> str:
    return "null" if value is None else "text" if isinstance(value, str) else type(value).__name__


class Undefined(StrictUndefined):
    """Any use of what is not there is an error which says what is there."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is UNDEFINED_ROOT or not isinstance(self._undefined_name, str | int):
            return f'"{self._undefined_name}" is not defined'
        message, hint = missing(self._undefined_obj, self._undefined_name)
        return f"{message}; {hint}" if hint else message


# Jinja2's own mark for a name that has no object before it.
UNDEFINED_ROOT = StrictUndefined(name="x")._undefined_obj


class Environment(ImmutableSandboxedEnvironment):
    """Data first: `x.items` is the key of that name when there is one, and only then a method."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        # Comments are given delimiters that nobody writes: "{#" is shell for the length of a variable.
        super().__init__(
            undefined=Undefined, finalize=to_text, keep_trailing_newline=True, comment_start_string="{{#", comment_end_string="#}}"
        )
        self.filters = {name: call for name, call in self.filters.items() if name not in _REFUSED_FILTERS}
        self.filters.update(FILTERS)
        self.filters["tojson"] = FILTERS["to_json"]
        self.filters["format"] = bounded_format
        self.globals = {"range": bounded_range, "dict": dict}

    def getattr(self, obj: Any, attribute: str) -> Any:
        found = lookup(obj, attribute)
        return super().getattr(obj, attribute) if found is MISSING else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        found = lookup(obj, argument) if isinstance(argument, str | int) else MISSING
        return super().getitem(obj, argument) if found is MISSING else found

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        match operator:
            case "*":
                size = max((len(side) for side in (left, right) if isinstance(side, str | list | tuple)), default=0)
                count = max((side for side in (left, right) if isinstance(side, int)), default=0)
                _check_size(size * count)
            case "**" if isinstance(left, int) and isinstance(right, int):
                _check_size(left.bit_length() * abs(right))
            case "%" if isinstance(left, str):
                _check_format(left)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        name = getattr(obj, "__name__", "")
        if name in _PADDING:
            _check_size(max((arg for arg in args if isinstance(arg, int)), default=0))
        if name in ("format", "format_map"):
            # The sandbox has wrapped the method; the string it belongs to is behind the wrapper.
            _check_format(str(getattr(getattr(obj, "__wrapped__", obj), "__self__", "")))
        return super().call(context, obj, *args, **kwargs)


def _check_size(size: int) -> None:
    if size > MAX_TEXT:
        raise SecurityError(f"the result would be larger than {MAX_TEXT:,}")


def _check_format(pattern: str) -> None:
    if _WIDE.search(pattern):
        raise SecurityError("the width of a format is at most 9999")


def bounded_format(value: Any, *args: Any, **kwargs: Any) -> str:
    """`"%s of %s" | format(a, b)`."""
    _check_format(str(value))
    return str(value) % (kwargs or args)


def bounded_range(*args: int) -> range:
    """`range` of at most MAX_RANGE numbers."""
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range gives at most {MAX_RANGE:,} numbers")
    return numbers


def to_text(value: Any) -> Any:
    """A value inside a longer string: text as it is, numbers, `true` and `false`, and JSON for lists and maps.

    Raises FilterError for null: it has no text, and the word "None" in an address helps nobody.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise FilterError("null has no text; give it one with the filter default('...', true)")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is UNKNOWN:
        raise TypeError("it is not known yet")
    if isinstance(value, Mapping | list | tuple | range):
        return json.dumps(to_data(value), ensure_ascii=False, default=for_json)
    return value


def to_data(value: Any) -> Any:
    """What an expression gave, as JSON data: lists for ranges, tuples and generators. Raises FilterError for what is not JSON."""
    if isinstance(value, str):
        # Markup and other subclasses become plain text.
        return str(value)
    if value is None or isinstance(value, bool | int | float) or is_opaque(value):
        return value
    if isinstance(value, Undefined):
        # Any use of it raises the error which says what is there instead.
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset | Iterator) or type(value).__name__.startswith("dict_"):
        return [to_data(item) for item in value]
    raise FilterError(f"it gives a {type(value).__name__}, which is not data")


ENVIRONMENT: Final = Environment()

FORBIDDEN_STATEMENTS: tuple[type[nodes.Node], ...] = (
    nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block,
)  # fmt: skip

