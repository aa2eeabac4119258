"""What is remembered of one instance between runs: versions, the last good one, and what was there before each run.

    state folder/  terraform.tfstate.sealed   the environment's own state, unless the module has a backend; and states/ (see `states`)
                   versions/ID/               a module as it was applied: tree/ and version.json, whose variables are sealed
                   instance.json              the last good version, the last applied one
                   runs/RUN.json              what was there before this run first applied
                   work/ data/                laid out by `workdir`, reused by the next attempt
                   preview/                   records of a preview, while it is made

The folder is 0700 and its files are 0600. All writes are atomic and on disk before the call returns.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from drystone.kinds.terraform import states
from drystone.kinds.terraform.source import Source
from drystone.kinds.terraform.states import Seals, StateFile
from drystone.plugin.files import sync_folder, write_atomic

KEPT_RUNS = 20
"""Runs of one instance that can be restored from; what was there before older ones is remembered, but not the modules."""

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A module and what it was given, as it was or will be applied.

    base, place: where the module was when it was copied, for what it refers to outside of its copy.
    var_files:   copies, in order.
    """

    id: str
    folder: Path
    base: Path
    place: str
    vars: Mapping[str, Any]
    var_files: Sequence[Path]
    targets: Sequence[str]

    @property
    def tree(self) -> Path:
        """The copy of all files below `base`."""
        return self.folder / "tree"

    @property
    def source(self) -> Source:
        """The copy, as a source to be laid out."""
        files = {
            str(path.relative_to(self.tree)): path
            for parent, folders, names in os.walk(self.tree)
            for path in (Path(parent, name) for name in [*names, *folders])
            if path.is_file() or path.is_symlink()
        }
        return Source(root=self.tree / self.place, base=self.tree, files=files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """Where an instance stands.

    good:       id of the version that was last applied without an error.
    applied:    id of the version whose apply was last begun.
    from_empty: it was made by drystone where nothing was, and was never good: there is nothing to keep of it.
    serial:     serial of the state before the last apply; None when it is not known.
    good_serial: of the state that the good version left; None when it is not known.
    """

    good: str | None = None
    applied: str | None = None
    from_empty: bool = False
    serial: int | None = None
    good_serial: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """What was there before a run first applied: `existed` says whether anything was, `version` the good one then."""

    existed: bool
    version: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """The folder of one instance (and one workspace of it).

    seals: what variables and the state are kept sealed with.
    """

    folder: Path
    seals: Seals
    workspace: str | None = None
    kept_runs: int = field(default=KEPT_RUNS)
    state_folder: Path | None = None
    """Where the state is, when it is not here: a preview looks at that of the instance."""

    @property
    def place(self) -> Path:
        """The folder of the state and of those of workspaces."""
        return self.state_folder or self.folder

    @property
    def default_state(self) -> Path:
        """Where Terraform looks for the state that belongs to no workspace."""
        return self.place / "terraform.tfstate"

    @property
    def workspaces(self) -> Path:
        """Where Terraform looks for those of workspaces."""
        return self.place / "terraform.tfstate.d"

    @property
    def state(self) -> StateFile:
        """The environment's own state."""
        clear = self.workspaces / self.workspace / self.default_state.name if self.workspace else self.default_state
        return StateFile(clear=clear, kept=self.place / "states", seals=self.seals)

    @property
    def plan_file(self) -> Path:
        """The saved plan: it has secrets in it, so it goes as soon as it was applied, at the latest with the next attempt."""
        return self.folder / "plan.bin"

    @property
    def work(self) -> Path:
        """Where versions are laid out to be run."""
        return self.folder / "work"

    @property
    def manifest(self) -> Path:
        """Which files of `work` were laid out."""
        return self.folder / "work.json"

    @property
    def data(self) -> Path:
        """Terraform's own folder: providers, remote modules, the chosen backend."""
        return self.folder / "data"

    @property
    def of_preview(self) -> Path:
        """Records of a preview, which go with it, at the latest with the next attempt."""
        return self.place / "preview"

    @property
    def backend_note(self) -> Path:
        """Where Terraform writes down the backend that init chose, with all its settings."""
        return self.data / "terraform.tfstate"

    def open(self) -> None:
        """Puts in clear what Terraform needs so. Raises AttemptError for a state that is not whole."""
        self._clear_away()
        states.show(self.backend_note, self.seals)
        self.state.open()

    def close(self) -> bool:
        """The reverse, whatever the attempt has left. False when the state must stay in clear."""
        self._clear_away()
        # That of a state beside it is only a path.
        backend = (_load(self.backend_note) or {}).get("backend")
        if backend and backend.get("type") != "local":
            states.hide(self.backend_note, self.seals)
        return self.state.close()

    def _clear_away(self) -> None:
        self.plan_file.unlink(missing_ok=True)
        shutil.rmtree(self.of_preview, ignore_errors=True)

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Has the state for this attempt alone; gives False when another process or thread has it. The claim ends with its holder."""
        self.place.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        handle = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A lock that was let go can outlive its holder for a moment: a child that another thread starts has it until its exec.
            for _ in range(50):
                if ours := self._lock(handle):
                    break
                threading.Event().wait(0.02)
            yield ours
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have forgotten the instance: then this is a folder that nobody finds any more.
            return os.path.samestat(os.fstat(handle), os.stat(self.place))
        except (BlockingIOError, FileNotFoundError):
            return False

    def keep(
        self, source: Source, values: Mapping[str, Any], var_files: Sequence[Path], targets: Sequence[str], base: Path | None = None
    ) -> Version:
        """Makes a version of a module, or finds the one that is the same. `base`: where what lies beside it is; else that of the source."""
        contents = [file.read_bytes() for file in var_files]
        names = [f"{number}{_suffix(file)}" for number, file in enumerate(var_files)]
        about = {
            "base": str(base or source.base),
            "place": source.place,
            "var_files": names,
            "targets": list(targets),
            "source": source.digest(),
            "vars": dict(values),
            "var_file_digests": [hashlib.sha256(content).hexdigest() for content in contents],
        }
        if (known := self._same(about)) is not None:
            return known
        sealed = self.seals.seal(about)
        # Of the sealed text, which is another one each time: a digest of what is in it would let secrets be guessed.
        name = hashlib.sha256(sealed.encode()).hexdigest()[:16]
        folder = self.folder / "versions" / name
        _copy(source, folder / "tree")
        for file, content in zip(names, contents, strict=True):
            write_atomic(folder / file, content, _PRIVATE_FILE)
        _write(folder / "version.json", {"sealed": sealed})
        found = self.version(name)
        assert found is not None
        return found

    def _same(self, about: Mapping[str, Any]) -> Version | None:
        """The kept version that has all this."""
        wanted = _json_of(about)
        for file in sorted((self.folder / "versions").glob("*/version.json")):
            if _json_of(self._about(file) or {}) == wanted:
                return self.version(file.parent.name)
        return None

    def version(self, name: str | None) -> Version | None:
        """A kept version; None when there is none of that id."""
        folder = self.folder / "versions" / (name or "-")
        about = self._about(folder / "version.json")
        if name is None or about is None:
            return None
        return Version(
            id=name,
            folder=folder,
            base=Path(about["base"]),
            place=about["place"],
            vars=about["vars"],
            var_files=tuple(folder / file for file in about["var_files"]),
            targets=tuple(about["targets"]),
        )

    def _about(self, file: Path) -> dict[str, Any] | None:
        """What version.json holds; one from before they were sealed is sealed now."""
        data = _load(file)
        if data is None or "sealed" in data:
            return data and self.seals.unseal(data["sealed"])
        _write(file, {"sealed": self.seals.seal(data)})
        return data

    @property
    def instance(self) -> Instance:
        """Where it stands now."""
        return Instance(**(_load(self.folder / "instance.json") or {}))

    def before(self, run: str) -> Before | None:
        """What was there before a run; None when that run applied nothing."""
        data = _load(self._marker(run))
        return Before(**data) if data is not None else None

    def later(self, run: str) -> str | None:
        """The newest run that has changed the instance since this one first did, and was not taken back; None when there is none."""
        newest = self._markers()[-1:]
        return newest[0].stem if newest and newest[0] != self._marker(run) else None

    def begin(self, run: str, version: Version, *, was_there: bool, serial: int | None) -> None:
        """Called before each apply of a run. What was there before is noted by the first one only: later ones find what it left."""
        now = self.instance
        if self.before(run) is None:
            if not was_there:
                now = Instance(from_empty=True)
            half_made = now.from_empty and now.good is None
            _write(self._marker(run), asdict(Before(existed=was_there and not half_made, version=now.good)))
        self._note(replace(now, applied=version.id, serial=serial))

    def succeed(self, version: Version, serial: int | None) -> None:
        """The version is in place without an error: it is the good one from now on. `serial`: of the state that it left, if known."""
        now = replace(self.instance, good=version.id, applied=version.id, from_empty=False, good_serial=serial)
        if self.instance != now:
            self._note(now)
        self._prune()

    def restored(self, run: str, version: Version, serial: int | None) -> None:
        """What was there before the run is there again."""
        self.succeed(version, serial)
        self._marker(run).unlink(missing_ok=True)
        sync_folder(self._marker(run).parent)

    def forget(self) -> None:
        """Nothing of the instance is left in the world, and nothing stays here."""
        # The markers go last: as long as they are there, an undo that was interrupted is taken up again.
        for name in ("work", "data", "versions", "intents", "states", "preview", "terraform.tfstate.d"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for file in self.folder.glob("*terraform.tfstate*"):
            file.unlink(missing_ok=True)
        for file in (self.plan_file, self.manifest, self.folder / "instance.json"):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _marker(self, run: str) -> Path:
        return self.folder / "runs" / f"{run}.json"

    def _markers(self) -> list[Path]:
        """Of all runs, in the order in which they first applied."""
        return sorted((self.folder / "runs").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)

    def _note(self, instance: Instance) -> None:
        _write(self.folder / "instance.json", asdict(instance))

    def _prune(self) -> None:
        """Drops the versions that only the oldest runs lead back to."""
        # The markers stay: without its own, an old run would seem to have changed nothing.
        now, kept = self.instance, self._markers()[-self.kept_runs :]
        wanted = {now.good, now.applied, *((_load(marker) or {}).get("version") for marker in kept)}
        for folder in (self.folder / "versions").iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)


def _suffix(file: Path) -> str:
    return ".tfvars.json" if file.name.endswith(".json") else ".tfvars"


def _copy(source: Source, target: Path) -> None:
    target.mkdir(parents=True, mode=_PRIVATE_FOLDER)
    for name, file in source.files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            place.symlink_to(file.resolve())
        else:
            shutil.copy(file, place)
            place.chmod(place.stat().st_mode | 0o600)


def _json_of(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True)


def _write(file: Path, data: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
    write_atomic(file, json.dumps(data, sort_keys=True).encode(), _PRIVATE_FILE)


def _load(file: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    return data if isinstance(data, dict) else None
