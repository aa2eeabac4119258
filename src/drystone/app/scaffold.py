"""`drystone init`: a project of one's own, made from the library that ships."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from drystone.app.places import SETTINGS, STORE
from drystone.errors import ProjectError

LEAVE_OUT = ("__pycache__", "*.pyc", ".terraform", "*.tfstate", "*.tfstate.*", STORE)

SETTINGS_TEXT = """\
# Settings of this drystone project; all are optional. This file also marks the project's root: relative paths in plans
# start here.

[engine]
# Attempts at once, over all tasks of a run.
max_parallel = 16
"""
IGNORE_TEXT = f"""\
# Runs, logs, Terraform state and the key that seals secrets: of this machine only.
{STORE}/
.terraform/
*.tfstate
*.tfstate.*
"""


def create(folder: Path, library: Path, parts: Sequence[str]) -> list[str]:
    """Makes a project in `folder`, which may exist, and gives the files made, relative and sorted.

    parts: the folders of the library that a project gets.
    Raises ProjectError which names the files in the way; then nothing was made.
    """
    texts = {SETTINGS: SETTINGS_TEXT, ".gitignore": IGNORE_TEXT}
    copies = {str(path.relative_to(library)): path for path in _library_files(library, parts)}
    _refuse_overwriting(folder, [*texts, *copies])
    try:
        for name, text in texts.items():
            _parent(folder / name).write_text(text, encoding="utf-8")
        for name, path in copies.items():
            _parent(folder / name)
            shutil.copy(path, folder / name)
    except OSError as error:
        raise ProjectError(f'"{folder}" cannot be written: {error.strerror}') from error
    return sorted([*texts, *copies])


def _library_files(library: Path, parts: Sequence[str]) -> Iterator[Path]:
    for name in parts:
        for path in sorted((library / name).rglob("*")):
            inside = path.relative_to(library)
            if path.is_file() and not any(Path(part).match(pattern) for part in inside.parts for pattern in LEAVE_OUT):
                yield path


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _refuse_overwriting(folder: Path, names: list[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise ProjectError(f'"{folder}" is a file', hint="give a folder, which need not exist yet")
    taken = sorted(name for name in names if (folder / name).exists())
    if not taken:
        return
    more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
    raise ProjectError(
        f'"{folder}" has files that a new project would overwrite: {", ".join(taken[:5])}{more}',
        hint="nothing was written; give another folder, or move them away",
    )
