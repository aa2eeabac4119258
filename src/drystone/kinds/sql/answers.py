"""Rows as JSON: values of all types that databases give, column names made unique, and no more of them than the store takes. Pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

MAX_BYTES = 1_000_000
"""Of all rows together as JSON; a little less than the outputs of an attempt may have."""


class Rows:
    """The rows of one statement, at most `max_rows` and MAX_BYTES of them."""

    def __init__(self, columns: Sequence[str], max_rows: int) -> None:
        self.kept: list[dict[str, Any]] = []
        self.truncated = False
        self._columns = unique(columns)
        self._max_rows = max_rows
        self._room_bytes = MAX_BYTES

    def add(self, values: Sequence[Any]) -> None:
        """Keeps a row, or notes that there was no room for it; nothing is kept after that."""
        if self.truncated or len(self.kept) >= self._max_rows:
            self.truncated = True
            return
        row = dict(zip(self._columns, map(to_json, values), strict=True))
        self._room_bytes -= len(json.dumps(row)) + 2
        if self._room_bytes < 0:
            self.truncated = True
        else:
            self.kept.append(row)


def unique(columns: Sequence[str]) -> tuple[str, ...]:
    """`id, id, name` -> `id, id_2, name`: a join may have a name twice, a map may not."""
    taken = set(columns)
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names or (number > 1 and name in taken):
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return tuple(names)


def to_json(value: Any) -> Any:
    """A value of a database as JSON.

    Decimals become numbers when nothing is lost, else text; instants, dates and times ISO 8601; durations seconds; bytes
    base64; arrays and documents lists and maps; what JSON has no word for (an address, a UUID, not-a-number) its text.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return _number(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in value]
        case _:
            return str(value)


def _number(value: Decimal) -> int | float | str:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def parameter(value: Any, dialect: str) -> Any:
    """A value of a plan as drivers take it: maps, and lists where there are no arrays, as JSON text."""
    is_array = isinstance(value, list | tuple) and dialect == "postgresql" and not _has_map(value)
    if isinstance(value, Mapping | list | tuple) and not is_array:
        return json.dumps(value)
    return list(value) if isinstance(value, tuple) else value


def _has_map(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list | tuple) and any(map(_has_map, value)))
