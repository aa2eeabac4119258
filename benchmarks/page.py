"""docs/benchmarks.md: the last table between its marks, with the date and the machine."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import HEAD, Figure, to_rows

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKS = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end of measured -->)", re.DOTALL)


def machine() -> str:
    """What the numbers depend on; no name that a person gave."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*:\s*(.+)", info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [
        f"{os.cpu_count()} × {' '.join(model[1].split()) if model else platform.machine()}",
        f"{memory:.0f} GB",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    return ", ".join(parts)


def to_markdown(figures: Sequence[Figure], date: str) -> str:
    """The table with its heading line."""
    lines = [f"Measured on {date}: {machine()}.", "", _line(HEAD), _line(["---"] * len(HEAD)), *map(_line, to_rows(figures))]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('  ', '&nbsp;&nbsp;') for cell in cells)} |"


def update(figures: Sequence[Figure], date: str) -> None:
    """Puts the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKS.sub(lambda _: to_markdown(figures, date), text), encoding="utf-8")
