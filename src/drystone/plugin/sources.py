"""What kinds say of the files that they read, for the bundle of a run (`Kind.files`).

A config comes as the plan has it, with all evaluated that is known before the run. In the place of the rest stand values that are no
text: UNKNOWN, a secret, or a `Beginning`. `paths` makes of each what it may lead to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Beginning:
    """The text of which only this beginning is known: `modules/{{ each.key }}` is `modules/`."""

    text: str


def paths(value: Any, source: Path) -> Iterator[Path]:
    """What exists below `source` where a value of the config leads to; for a beginning the whole folder that it names.

    value: a relative path, a list of such, or what is not known yet. What leads out of `source`, or is absolute, gives nothing.
    """
    match value:
        case str():
            yield from _existing(source / value, source)
        case Beginning(text) if "/" in text:
            yield from _existing(source / text.rpartition("/")[0], source)
        case list() | tuple():
            for item in value:
                yield from paths(item, source)


def _existing(path: Path, source: Path) -> Iterator[Path]:
    try:
        if path.resolve().is_relative_to(source.resolve()) and path.exists():
            yield Path(os.path.normpath(path))
    except (OSError, ValueError):
        return  # a name that no file can have


def without(folder: Path, left_out: Sequence[Path]) -> Iterator[Path]:
    """The folder, or where something in it must not be stored, all else that is in it."""
    inner = [path for path in left_out if path == folder or path.is_relative_to(folder)]
    if folder in inner:
        return
    if not inner or not folder.is_dir():
        yield folder
        return
    for item in sorted(folder.iterdir()):
        yield from without(item, inner)
