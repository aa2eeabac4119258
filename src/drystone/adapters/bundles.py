"""Bundles in the project's .drystone folder: what a run uses, kept as it was when the run began (docs/decisions/0017).

    bundles/blobs/ab/SHA256[-x]       contents, read-only, each once; -x: a program
    bundles/manifests/SHA256.json     a bundle: name -> blob, and the folders that are in it whole; its digest is the sha256 of the file
    bundles/trees/DIGEST-ROOT/        a bundle laid out: hard links to blobs, and symbolic links to what it left out
    bundles/known.json                size, times and inode of files -> blob, so that what did not change is not read again

Everything is written beside its place and renamed, so that a crash leaves nothing half-made, and several processes may do it at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drystone.adapters.files import private_folder
from drystone.errors import ProjectError
from drystone.plugin.files import sync_folder

MAX_FILE_BYTES = 512 << 20
"""Larger files are no part of a bundle: the tree has a link to the project's own."""
NEVER = frozenset({".git", ".drystone"})
"""Neither in a bundle nor linked to: what runs must not go through."""
_BUILT = frozenset({"build", "dist", "out", "target", "generated"})
"""A single file below one of these is what some task makes, and no source."""
_LEFT = frozenset({".terraform", "__pycache__", "node_modules", ".venv", "venv", ".env"})
_LEFT_FILES = re.compile(
    r".*\.tfstate(\.backup)?(\.\d+)?\Z|terraform\.tfstate\.d\Z|.*\.(pem|key|p12|pfx)\Z|id_(rsa|dsa|ecdsa|ed25519)\Z|.*\.(tar(\.\w+)?|tgz|zip|whl|jar|war|deb|rpm|iso|img|qcow2)\Z|.*vault[-_.]?pass.*\Z",
    re.IGNORECASE,
)
_KEY = re.compile(rb"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SETTLED_NS = 2_000_000_000
"""A file that was changed a moment ago may change again within one tick of its times."""
_MOST_KNOWN = 100_000
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Manifest:
    """`files`: name -> blob; `whole`: the folders of which all is in it that may be."""

    files: Mapping[str, str]
    whole: Sequence[str]

    @property
    def text(self) -> bytes:
        return json.dumps({"files": self.files, "whole": self.whole}, sort_keys=True, separators=(",", ":")).encode()


class BundleStore:
    """Implements `ports.Bundles` in `folder`, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trees = folder / "trees"
        self._manifests: dict[str, _Manifest | None] = {}

    def keep(self, root: Path, paths: Iterable[Path], texts: Mapping[str, str]) -> str:
        """Stores files, folders and texts; see `ports.Bundles.keep`."""
        try:
            return self._kept(Path(os.path.abspath(root)), paths, texts)
        except OSError as error:
            where = f'"{error.filename}"' if error.filename else "a file"
            hint = "make the project's .drystone folder writable, and see that the disk has room"
            raise ProjectError(f"what the run uses cannot be kept: {where}: {(error.strerror or str(error)).lower()}", hint=hint) from error

    def _kept(self, root: Path, paths: Iterable[Path], texts: Mapping[str, str]) -> str:
        found = _Found(root)
        for path in paths:
            found.add(Path(os.path.abspath(path)))
        private_folder(self._folder)
        writer = _Writer(self._folder)
        files = {name: blob for name, path in found.files.items() if (blob := writer.file(path)) is not None}
        files.update({name: writer.content(text.encode(), is_program=False) for name, text in texts.items()})
        manifest = _Manifest(files, sorted(found.whole))
        name = hashlib.sha256(manifest.text).hexdigest()
        target = self._folder / "manifests" / f"{name}.json"
        if not target.exists():
            writer.place(target, manifest.text, 0o444)
        writer.finish()
        return f"sha256:{name}"

    def manifest(self, digest: str) -> Mapping[str, str] | None:
        """Name -> `sha256:...` of each file, with `-x` behind it for a program; None when there is no such bundle."""
        found = self._manifest(digest)
        return None if found is None else {name: f"sha256:{blob}" for name, blob in found.files.items()}

    def read(self, digest: str, name: str) -> bytes | None:
        """The content of one file."""
        found = self._manifest(digest)
        blob = None if found is None else found.files.get(name)
        try:
            return None if blob is None else self._blob(blob).read_bytes()
        except OSError:
            return None

    def tree(self, digest: str, root: Path) -> Path | None:
        """The bundle as a folder that looks like `root`; see `ports.Bundles.tree`."""
        manifest = self._manifest(digest)
        if manifest is None:
            return None
        root = Path(os.path.abspath(root))
        target = self._trees / f"{_hex(digest)[:16]}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
        try:
            if not target.is_dir():
                private_folder(self._trees)
                self._lay_out(manifest, root, target)
            else:
                self._refresh(manifest, root, target)
        except OSError as error:
            hint = "make room, or let drystone write to its .drystone folder, then resume"
            raise ProjectError(f"the run's bundle cannot be laid out: {error.strerror or error} ({error.filename})", hint=hint) from error
        return target

    def _manifest(self, digest: str) -> _Manifest | None:
        if digest not in self._manifests:
            found = None
            with suppress(FileNotFoundError):
                data = json.loads((self._folder / "manifests" / f"{_hex(digest)}.json").read_bytes())
                found = _Manifest(data["files"], data["whole"])
            self._manifests[digest] = found
        return self._manifests[digest]

    def _blob(self, name: str) -> Path:
        return self._folder / "blobs" / name[:2] / name

    # ---- laying out -------------------------------------------------------------------------------------------------

    def _lay_out(self, manifest: _Manifest, root: Path, target: Path) -> None:
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._trees))
        try:
            for name, blob in manifest.files.items():
                place = new / name
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(self._blob(blob), place)
            for name in manifest.whole:
                (new / name).mkdir(parents=True, exist_ok=True)
            for name in (*_missing(manifest, root, new), *_left_in_whole(manifest, root)):
                _point(new / name, root / name)
            for folder, _, _ in os.walk(new, topdown=False):
                os.chmod(folder, 0o555)
            with suppress(OSError):  # another process was first
                os.rename(new, target)
        finally:
            if new.exists():
                _remove(new)
        if not target.is_dir():
            raise OSError(0, "the folder could not be made", str(target))

    def _refresh(self, manifest: _Manifest, root: Path, tree: Path) -> None:
        """Links to what came into the project since, where a folder is only partly in the bundle."""
        if not any(_missing(manifest, root, tree)):
            return
        with self._locked():
            for name in list(_missing(manifest, root, tree)):
                folder = (tree / name).parent
                os.chmod(folder, 0o755)
                try:
                    _point(tree / name, root / name)
                finally:
                    os.chmod(folder, 0o555)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self._trees, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _hex(digest: str) -> str:
    return re.sub(r"[^0-9a-f]", "", digest.removeprefix("sha256:")) or "-"


def _parents(manifest: _Manifest) -> set[str]:
    """The folders that are only partly in the bundle; the root is "."."""
    whole = set(manifest.whole)
    found: set[str] = set()
    for name in (*manifest.files, *manifest.whole):
        above = [str(parent) for parent in Path(name).parents]
        inner = next((index for index in range(len(above) - 1, -1, -1) if above[index] in whole), -1)
        found.update(above[inner + 1 :])
    return (found | {"."}) - whole


def _missing(manifest: _Manifest, root: Path, tree: Path) -> Iterator[str]:
    """What lies in the project beside what is in the bundle, and is not in the tree."""
    for folder in _parents(manifest):
        with suppress(FileNotFoundError, NotADirectoryError):
            for item in os.listdir(root / folder):
                name = os.path.normpath(os.path.join(folder, item))
                if item not in NEVER and not os.path.lexists(tree / name):
                    yield name


def _left_in_whole(manifest: _Manifest, root: Path) -> Iterator[str]:
    """What was left out of folders that are in the bundle whole: other tools' caches, states, keys, huge files, links that lead out."""
    found = _Found(root)
    for folder in manifest.whole:
        found.add(root / folder)
    yield from (name for name in found.left if name not in manifest.files)


def _link(blob: Path, place: Path) -> None:
    try:
        os.link(blob, place)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or too many links
        shutil.copy(blob, place)


def _point(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(target)


def _remove(folder: Path) -> None:
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


# ---- what belongs to a bundle ------------------------------------------------------------------------------------------


class _Found:
    """Files below `root` by name, the folders that were given whole, and what was left out of these."""

    def __init__(self, root: Path) -> None:
        self.root, self._real = root, root.resolve()
        self.files: dict[str, Path] = {}
        self.whole: set[str] = set()
        self.left: set[str] = set()

    def add(self, path: Path) -> None:
        """A file or folder; what is not below the root, or not there, is none of ours."""
        if not path.is_relative_to(self.root) or not path.exists() or not self._is_inside(path):
            return
        name = str(path.relative_to(self.root))
        if NEVER & set(Path(name).parts) or (_BUILT & set(Path(name).parts) and path.is_file()):
            return
        if path.is_dir():
            if name not in self.whole:
                self.whole.add(name)
                self._folder(path, {path.resolve()})
        elif path.is_file() and not _is_left(path):
            self.files[name] = path

    def _folder(self, folder: Path, within: set[Path]) -> None:
        for item in sorted(os.scandir(folder), key=lambda item: item.name):
            path = Path(item.path)
            name = str(path.relative_to(self.root))
            if item.name in NEVER:
                continue
            if item.name in _LEFT or (item.is_symlink() and not self._is_inside(path)):
                self.left.add(name)
            elif item.is_dir():
                real = path.resolve()
                if real in within or _LEFT_FILES.match(item.name):
                    self.left.add(name)
                else:
                    self._folder(path, {*within, real})
            elif item.is_file():
                if _is_left(path):
                    self.left.add(name)
                else:
                    self.files[name] = path

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._real)


def _is_left(path: Path) -> bool:
    """Huge files, states, and what looks like a key or a password."""
    if path.name in _LEFT or _LEFT_FILES.match(path.name) or path.stat().st_size > MAX_FILE_BYTES:
        return True
    try:
        with path.open("rb") as file:
            return _KEY.match(file.read(64)) is not None
    except PermissionError:
        return True


# ---- storing ----------------------------------------------------------------------------------------------------------


class _Writer:
    """Puts contents into the store, each once, and remembers which files it has read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cache = folder / "known.json"
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError):
            self._known = dict(json.loads(self._cache.read_bytes()))
        self._new: dict[str, list[object]] = {}
        self._folders: set[Path] = set()

    def file(self, path: Path) -> str | None:
        """The blob of a file; None when it went away meanwhile."""
        try:
            stat = path.stat()
            marks: list[object] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_mode & 0o111]
            known = self._known.get(str(path))
            if known is not None and known[:-1] == marks and self._blob(str(known[-1])).exists():
                return str(known[-1])
            blob = self._stored(path, is_program=bool(stat.st_mode & 0o100))
        except FileNotFoundError:
            return None
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
            self._new[str(path)] = [*marks, blob]
        return blob

    def content(self, content: bytes, *, is_program: bool) -> str:
        """The blob that holds this."""
        name = hashlib.sha256(content).hexdigest() + ("-x" if is_program else "")
        if not (target := self._blob(name)).exists():
            self.place(target, content, 0o555 if is_program else 0o444)
        return name

    def place(self, target: Path, content: bytes, mode: int) -> None:
        """Writes a file whole, on disk, in one step."""
        with self._placed(mode) as (handle, ready):
            with open(handle, "wb", closefd=False) as file:
                file.write(content)
            ready.append(target)

    def _stored(self, path: Path, *, is_program: bool) -> str:
        if path.stat().st_size <= 8 * _CHUNK_BYTES:
            return self.content(path.read_bytes(), is_program=is_program)
        with path.open("rb") as source, self._placed(0o555 if is_program else 0o444) as (handle, ready):
            digest = hashlib.sha256()
            with open(handle, "wb", closefd=False) as file:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            name = digest.hexdigest() + ("-x" if is_program else "")
            if not self._blob(name).exists():
                ready.append(self._blob(name))
        return name

    @contextmanager
    def _placed(self, mode: int) -> Iterator[tuple[int, list[Path]]]:
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=self._folder)
        ready: list[Path] = []
        try:
            yield handle, ready
            for target in ready:
                os.fchmod(handle, mode)
                os.fsync(handle)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, target)
                self._folders.update((target.parent, target.parent.parent))
        finally:
            os.close(handle)
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def finish(self) -> None:
        """All that was stored is on disk when this returns, and what was read is known the next time."""
        for folder in self._folders:
            sync_folder(folder)
        if not self._new:
            return
        known = {**self._known, **self._new} if len(self._known) < _MOST_KNOWN else self._new
        with suppress(OSError):
            handle, temporary = tempfile.mkstemp(prefix=".new-", dir=self._folder)
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(known, file)
            os.replace(temporary, self._cache)

    def _blob(self, name: str) -> Path:
        return self._folder / "blobs" / name[:2] / name
