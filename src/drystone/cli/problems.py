"""How an error looks: message, place and next step for people; one JSON shape for programs. Never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from drystone.core.diagnostics import Diagnostic, Severity, to_text
from drystone.errors import AttemptError, DrystoneError, InputError, PlanError

FORMAT = 1
USAGE_ERROR = typer.BadParameter.__base__ or typer.BadParameter
"""What the command-line parser raises for an unknown option and the like; the class itself has no public name."""


def show(error: BaseException, *, json: bool) -> None:
    """Prints an error: JSON on standard output, or lines on standard error."""
    if json:
        import json as codec

        typer.echo(codec.dumps(to_json(error)))
        return
    for line in to_lines(error):
        typer.echo(line, err=True)


def to_json(error: BaseException) -> dict[str, Any]:
    """`{"format": 1, "error": {"message", "hint", "diagnostics"}}`, whatever the command."""
    diagnostics = [item.to_json() for item in error.diagnostics] if isinstance(error, PlanError) else []
    problems = list(error.problems) if isinstance(error, InputError) else []
    message, hint = _words(error)
    body = {"message": message, "hint": hint, "diagnostics": diagnostics, "problems": problems}
    return {"format": FORMAT, "error": body}


def to_lines(error: BaseException) -> list[str]:
    """For people."""
    message, hint = _words(error)
    if isinstance(error, PlanError):
        return [*diagnostics(error.diagnostics), f"{_paint('error:', 'red')} {message}", *_hint(hint)]
    lines = [f"{_paint('error:', 'red')} {message}"]
    if isinstance(error, InputError):
        lines += [f"  {problem}" for problem in error.problems if problem != message]
    if isinstance(error, AttemptError) and error.detail:
        lines += [f"  {line}" for line in error.detail.splitlines()]
    return lines + _hint(hint)


def _hint(hint: str) -> list[str]:
    return [f"  {line}" for line in hint.splitlines()]


def _words(error: BaseException) -> tuple[str, str]:
    """Message and next step."""
    match error:
        case DrystoneError():
            return error.message, error.hint
        case KeyboardInterrupt():
            return "interrupted", ""
        case typer.Abort():
            return "nobody agreed", "give --yes when nobody can answer"
        case _ if isinstance(error, USAGE_ERROR):
            context = getattr(error, "ctx", None)
            path = context.command_path if context is not None else "drystone"
            text = error.format_message()  # type: ignore[attr-defined]
            return _lower(text.rstrip(".")), f"see {path} --help"
        case _:
            return f"unexpected error: {type(error).__name__}: {error}", "run again with --debug to see where it came from"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def diagnostics(items: Sequence[Diagnostic]) -> list[str]:
    """Each mistake with its line and a caret, then the count."""
    sources: dict[str, str | None] = {}
    lines: list[str] = []
    for item in items:
        source = _source(item.where.file, sources) if item.where else None
        text = to_text(item, source)
        colour = "red" if item.severity is Severity.ERROR else "yellow"
        head = f"{item.severity.value}:"
        lines += [_paint(head, colour) + text.removeprefix(head), ""]
    return lines


def count(items: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    errors = sum(item.severity is Severity.ERROR for item in items)
    return f"{_plural(errors, 'error')}, {_plural(len(items) - errors, 'warning')}"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _source(file: str, seen: dict[str, str | None]) -> str | None:
    if file not in seen:
        try:
            seen[file] = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            seen[file] = None
    return seen[file]


def _paint(text: str, colour: str) -> str:
    from drystone.cli.terminal import has_colour

    return typer.style(text, fg=colour, bold=True) if has_colour(sys.stderr) else text
