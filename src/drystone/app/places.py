"""Where things are: the project of a folder, the plan behind a word, the folder that a plan's paths start from.

The first thing that every command asks. Only looks at names in folders; reads no file.
Source of the rules: docs/reference/cli.md, "Where drystone looks".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drystone.core.diagnostics import did_you_mean
from drystone.errors import NotFoundError, ProjectError

SETTINGS = "drystone.toml"
STORE = ".drystone"
PLANS = "plans"
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """A plan that was found.

    path:    its file.
    shown:   how messages name the file: relative to the current folder when it is below it.
    root:    what the plan's relative paths start from.
    project: whose `.drystone` folder gets its runs; differs from `root` for a plan that ships with drystone.
    """

    path: Path
    shown: str
    root: Path
    project: Path


def find_project(start: Path) -> Path:
    """The project that a folder belongs to: the nearest one upwards with drystone.toml, .drystone or plans/, else itself."""
    start = start.resolve()
    if not start.is_dir():
        raise ProjectError(f'there is no folder "{start}"', hint="give an existing folder with -C")
    for folder in (start, *start.parents):
        if (folder / SETTINGS).is_file() or (folder / STORE).is_dir() or (folder / PLANS).is_dir():
            return folder
    return start


def plan_root(path: Path) -> Path:
    """What a plan's paths start from: the nearest folder upwards with drystone.toml, else plans/'s parent, else its folder."""
    folders = path.resolve().parents
    for folder in folders:
        if (folder / SETTINGS).is_file():
            return folder
    return next((folder.parent for folder in folders if folder.name == PLANS), folders[0])


def find_plan(word: str, *, cwd: Path, project: Path | None, library: Path) -> PlanFile:
    """The plan that a word on the command line means: a path, else a name in the project's plans/, else one that ships.

    project: given when the caller named one (-C); else the one that `cwd` belongs to is meant.
    Raises NotFoundError with the names there are.
    """
    if is_path(word, cwd):
        return _at(cwd / word, cwd, project)
    home = project or find_project(cwd)
    for folder in (home, library):
        for suffix in SUFFIXES:
            path = folder / PLANS / f"{word}{suffix}"
            if path.is_file():
                return PlanFile(path=path, shown=shown(path, cwd), root=plan_root(path), project=home)
    known = sorted({*plan_names(home), *plan_names(library)})
    raise NotFoundError(
        f'there is no plan "{word}" in {shown(home / PLANS, cwd)} nor among those that ship',
        hint=did_you_mean(word, known) or _list_of(known),
    )


def find_sub_plan(name: str | None, path: str | None, *, root: Path, cwd: Path, project: Path, library: Path) -> PlanFile:
    """The plan that a task of another plan names: by its name in plans/, or by its path below `root`, that plan's own folder.

    A name is looked up in plans/ of `root`, then of the project, then among those that ship. Raises NotFoundError.
    """
    if name is None:
        file = root / (path or "")
        if not file.is_file():
            why = "is a folder" if file.is_dir() else "does not exist"
            raise NotFoundError(f'the plan file "{path}" {why}', hint=f"paths in a plan start from {shown(root, cwd)}")
        return PlanFile(path=file, shown=shown(file, cwd), root=plan_root(file), project=project)
    for home in (root, project, library):
        for suffix in SUFFIXES:
            file = home / PLANS / f"{name}{suffix}"
            if file.is_file():
                return PlanFile(path=file, shown=shown(file, cwd), root=plan_root(file), project=project)
    known = sorted({each for home in (root, project, library) for each in plan_names(home)})
    hint = did_you_mean(name, known) or _list_of(known)
    raise NotFoundError(f'there is no plan "{name}" in {shown(root / PLANS, cwd)} nor among those that ship', hint=hint)


def is_path(word: str, cwd: Path) -> bool:
    """True when a word on the command line is a file and not the name of a plan."""
    return "/" in word or word.endswith(SUFFIXES) or (cwd / word).is_file()


def _at(path: Path, cwd: Path, project: Path | None) -> PlanFile:
    if not path.is_file():
        why = "is a folder" if path.is_dir() else "does not exist"
        raise NotFoundError(f'the plan file "{shown(path, cwd)}" {why}', hint="give a plan's file, or its name in plans/")
    root = plan_root(path)
    return PlanFile(path=path, shown=shown(path, cwd), root=root, project=project or root)


def plans_in(project: Path, cwd: Path) -> list[PlanFile]:
    """All plans below a project's plans/ folder, by path."""
    return [PlanFile(path=path, shown=shown(path, cwd), root=plan_root(path), project=project) for path in _files(project)]


def plan_names(folder: Path) -> list[str]:
    """What the plans right in a folder's plans/ are called."""
    return [path.stem for path in _files(folder) if path.parent == folder / PLANS]


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in (folder / PLANS).rglob("*") if path.suffix in SUFFIXES and path.is_file())


def shown(path: Path, cwd: Path) -> str:
    """A path as a person would type it from the current folder."""
    path, cwd = path.absolute(), cwd.absolute()
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _list_of(names: list[str]) -> str:
    return f"plans: {', '.join(names)}" if names else "there are none yet; drystone init makes some"
