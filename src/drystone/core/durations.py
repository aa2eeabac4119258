"""Durations as people write them in plans and settings: `15m`, `1h30m`, `500ms`; a bare number is seconds."""

from __future__ import annotations

import re
from datetime import timedelta

from drystone.core.nodes import describe

SHAPE = "a duration is written like 500ms, 30s, 15m, 1h30m or 2d"
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = timedelta(days=36500)


def parse(value: object) -> timedelta:
    """`15m`, `1h30m`, `500ms`, or a number of seconds (a number, or text that is one) -> timedelta.

    Raises ValueError, with a message for the author, when it is none, negative, or longer than a hundred years.
    """
    seconds = _seconds(value)
    # The comparison also turns away what is not a number, and keeps timedelta from overflowing.
    if seconds is None or not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError(f"{describe(value)} is not a duration; {SHAPE}")
    return timedelta(seconds=seconds)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > 40:
        return None
    text = value.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
        return float(text)
    if not _WHOLE.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def to_text(duration: timedelta) -> str:
    """The shortest way to write it: `1h30m`, `2s`, `500ms`. The reverse of `parse` down to a millisecond."""
    left = round(duration.total_seconds() * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
