"""Tables in the manner of `kubectl get`: columns by spaces, nothing to strip for a program that reads them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from drystone.cli.terminal import has_colour, is_terminal


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows below their heads on standard output."""
    for line in lines(head, rows, width=width()):
        typer.echo(line)


def lines(head: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None) -> list[str]:
    """The lines of a table. `width` cuts them to a terminal's columns; None leaves them as long as they are."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    made = ["  ".join(f"{cell:{size}}" for cell, size in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return [cut(line, width) for line in made]


def cut(text: str, width: int | None) -> str:
    """The text, with an ellipsis for what does not fit."""
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def paint(text: str, colour: str) -> str:
    """Coloured where standard output has colours."""
    return typer.style(text, fg=colour) if has_colour(sys.stdout) else text


def width() -> int | None:
    """Columns of the terminal that standard output is; None when it is none."""
    if not is_terminal(sys.stdout):
        return None
    import shutil

    return shutil.get_terminal_size().columns
