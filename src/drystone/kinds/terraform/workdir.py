"""A version laid out to be run: a private copy in the state folder, always at the same place.

    project/modules/app  --records.keep-->  versions/ID/tree/modules/app  --lay_out-->  work/modules/app  (terraform -chdir)
    project/templates    ------------------- a link, when nothing in the module says it needs it ----->  work/templates

The copy is what Terraform writes to (lock file, what provisioners make), so the module's own folder stays as it is and many instances
may use it at once. The place never changes, because modules may put `abspath(path.module)` into what they make. Files that Terraform
or a provisioner made there stay when the next version is laid out.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.kinds.terraform.records import Records, Version
from drystone.kinds.terraform.source import LOCK_FILE, Source
from drystone.plugin.files import write_atomic

OVERRIDE = "zz_drystone_override.tf.json"
"""Puts the state of a module without a backend block into the environment. Terraform reads `*_override` files last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workdir:
    """A laid out version. `root` is the root module in it."""

    root: Path

    @property
    def lock_file(self) -> Path:
        """Versions and checksums of the providers."""
        return self.root / LOCK_FILE

    @property
    def errored_state(self) -> Path:
        """Where Terraform leaves a state that it could not store."""
        return self.root / "errored.tfstate"


def lay_out(records: Records, version: Version, *, own_state: bool) -> Workdir:
    """Makes `work/` hold this version, and nothing of the version that was there before.

    own_state: the environment keeps the state, because the module has no backend block.
    """
    source = version.source
    wanted = {*source.files, *((str(Path(version.place, OVERRIDE)),) if own_state else ())}
    manifest = records.manifest
    old = set(_manifest(manifest).get("files", ()))
    links = _neighbours(source, version.base, records.folder)
    # A project that was moved has its state elsewhere now.
    state = str(records.default_state) if own_state else ""
    shown = {"version": version.id, "state": state, "files": sorted({*wanted, *links})}
    workdir = Workdir(root=records.work / version.place)
    if _manifest(manifest) == shown:
        return workdir
    # Until all is in place the manifest names both versions' files, so that a crash leaves none behind.
    _note(manifest, {"files": sorted({*old, *wanted, *links})})
    generated = _generated_lock(records, old, version.place)
    for name in old - wanted - links.keys():
        (records.work / name).unlink(missing_ok=True)
    _place_files(records.work, source)
    _place_links(records.work, links)
    if own_state:
        _write_override(workdir.root / OVERRIDE, records)
    _place_lock(workdir, version, generated)
    _note(manifest, shown)
    return workdir


def keep_lock(workdir: Workdir, version: Version) -> None:
    """Remembers the providers that a version was applied with, so that restoring it takes the same ones."""
    kept = version.folder / LOCK_FILE
    if workdir.lock_file.exists() and (not kept.exists() or kept.read_bytes() != workdir.lock_file.read_bytes()):
        write_atomic(kept, workdir.lock_file.read_bytes(), 0o600)


def _manifest(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _note(file: Path, data: Mapping[str, object]) -> None:
    write_atomic(file, json.dumps(data).encode(), 0o600)


def _place_files(work: Path, source: Source) -> None:
    for name, file in source.files.items():
        target = work / name
        _make_folder(work, target.parent)
        if target.is_symlink() or target.exists():
            target.unlink()
        if file.is_symlink():
            target.symlink_to(file.readlink())
        else:
            shutil.copy(file, target)


def _make_folder(work: Path, folder: Path) -> None:
    """Makes a folder below `work`, also where a link to a neighbour stood before."""
    for part in [*reversed(folder.relative_to(work).parents), folder.relative_to(work)]:
        path = work / part
        if path.is_symlink():
            path.unlink()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)


def _neighbours(source: Source, base: Path, state: Path) -> dict[str, Path]:
    """Links to what lies beside the copied folders in the project, so that a path worked out at run time leads there too."""
    copied = {Path(name) for name in source.files}
    inner = {parent for name in copied for parent in name.parents}
    root = Path(source.place)
    links: dict[str, Path] = {}
    for folder in [*root.parents]:
        real = base / folder
        for item in real.iterdir() if real.is_dir() else ():
            name = folder / item.name
            if name not in copied and name not in inner and name != root and not _leads_to_state(item, state):
                links[str(name)] = item
    return links


def _leads_to_state(item: Path, state: Path) -> bool:
    return item.name == ".git" or state.resolve().is_relative_to(item.resolve())


def _place_links(work: Path, links: Mapping[str, Path]) -> None:
    for name, target in links.items():
        link = work / name
        if link.is_symlink():
            link.unlink()
        if not link.exists():
            _make_folder(work, link.parent)
            link.symlink_to(target)


def _write_override(file: Path, records: Records) -> None:
    backend = {"path": str(records.default_state), "workspace_dir": str(records.workspaces)}
    write_atomic(file, json.dumps({"terraform": {"backend": {"local": backend}}}).encode(), 0o600)


def _generated_lock(records: Records, old: set[str], place: str) -> bytes | None:
    """The lock file that Terraform wrote for an earlier version, if the module brought none."""
    name = str(Path(place, LOCK_FILE))
    file = records.work / name
    return file.read_bytes() if name not in old and file.exists() else None


def _place_lock(workdir: Workdir, version: Version, generated: bytes | None) -> None:
    kept = version.folder / LOCK_FILE
    if kept.exists():
        shutil.copy(kept, workdir.lock_file)
    elif not os.path.lexists(workdir.lock_file) and generated is not None:
        write_atomic(workdir.lock_file, generated, 0o600)
