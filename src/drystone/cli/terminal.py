"""What the terminal can do, and the one place that makes Rich consoles."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

from drystone import wiring

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200
"""Columns when nobody looks: a table in a pipe is cut nowhere."""


def is_terminal(stream: IO[str]) -> bool:
    """True when a person watches the stream and it can move its cursor."""
    return stream.isatty() and wiring.environ().get("TERM", "") not in ("", "dumb")


def has_colour(stream: IO[str]) -> bool:
    """True on a terminal unless NO_COLOR is set to anything."""
    return is_terminal(stream) and not wiring.environ().get("NO_COLOR")


def output() -> Console:
    """For data, on standard output."""
    return _console(sys.stdout)


def progress() -> Console:
    """For progress and talk, on standard error."""
    return _console(sys.stderr)


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    width = None if is_terminal(stream) else WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, no_color=not has_colour(stream))
