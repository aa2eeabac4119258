"""Mistakes in a plan as data: gathered, placed, with a suggestion.

`planfile`, `values` and `compile` add to one `Diagnostics`; the faces print them. A knock-on mistake is not reported:
what refers to a task whose own definition is broken stays silent.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Severity(StrEnum):
    """An error keeps a plan from running; a warning does so only with --strict."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Where:
    """A place in a file; line and column count from 1, as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic:
    """One mistake. `summary` is one line without a full stop; `hint` is the next step; `length` sizes the caret."""

    severity: Severity
    summary: str
    where: Where | None = None
    hint: str = ""
    length: int = 1

    def to_json(self) -> dict[str, object]:
        """The shape that `drystone validate --json` prints."""
        place = {"file": self.where.file, "line": self.where.line, "column": self.where.column} if self.where else None
        return {"severity": self.severity.value, "summary": self.summary, "where": place, "hint": self.hint}


MAX_COMPARED = 200_000
"""Words compared for suggestions, a second's work. A plan with thousands of mistakes has one cause, and needs one suggestion."""


class Diagnostics:
    """Collects mistakes; the only mutable thing in the compiler."""

    def __init__(self) -> None:
        self._items: dict[Diagnostic, None] = {}
        self._compared = 0

    def near(self, word: str, known: Collection[str]) -> str:
        """`did_you_mean`, until too much was compared: a large plan with many mistakes is told of them in good time."""
        self._compared += len(known)
        return did_you_mean(word, known) if self._compared <= MAX_COMPARED else ""

    def error(self, summary: str, where: Where | None = None, *, hint: str = "", length: int = 1) -> None:
        """Adds an error; the same one twice counts once."""
        self._items[Diagnostic(severity=Severity.ERROR, summary=summary, where=where, hint=hint, length=length)] = None

    def warning(self, summary: str, where: Where | None = None, *, hint: str = "", length: int = 1) -> None:
        """Adds a warning; the same one twice counts once."""
        self._items[Diagnostic(severity=Severity.WARNING, summary=summary, where=where, hint=hint, length=length)] = None

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(sorted(self._items, key=_by_place))

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_errors(self) -> bool:
        """True when the plan must not run."""
        return any(item.severity is Severity.ERROR for item in self._items)


def _by_place(item: Diagnostic) -> tuple[str, int, int, str]:
    where = item.where or Where("", 0, 0)
    return (where.file, where.line, where.column, item.summary)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint such as `did you mean "network"?`, or the empty string when nothing is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def to_text(item: Diagnostic, source: str | None = None) -> str:
    """The printed form: summary, place, the line with a caret when `source` (the file's text) is given, and the hint."""
    lines = [f"{item.severity.value}: {item.summary}"]
    if item.where is not None:
        lines.append(f"  --> {item.where}")
        text = _lines(source) if source is not None else ()
        if 0 < item.where.line <= len(text):
            lines += _caret_lines(text[item.where.line - 1], item.where, item.length)
    if item.hint:
        lines.append(f"  {item.hint}")
    return "\n".join(lines)


@lru_cache(maxsize=4)
def _lines(source: str) -> tuple[str, ...]:
    return tuple(source.splitlines())


_WIDTH = 110
"""Characters of a source line that are shown; of a longer one, those around the place."""


def _caret_lines(line: str, where: Where, length: int) -> list[str]:
    """The source line, and a line with carets under the place. Tabs are kept, so that the carets stand where they should."""
    first = max(0, where.column - 1 - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[first : first + _WIDTH]
    before = "".join("\t" if character == "\t" else " " for character in line[first : where.column - 1])
    number = str(where.line)
    carets = "^" * max(1, min(length, len(shown) - len(before)))
    return [f"  {number} | {shown}", f"  {' ' * len(number)} | {before}{carets}"]
