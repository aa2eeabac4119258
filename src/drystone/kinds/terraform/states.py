"""The environment's own state at rest: sealed, and in clear only while an attempt is at work on it.

    terraform.tfstate.sealed    between attempts: a line of JSON in clear (serial, lineage), then the state, packed and sealed
    terraform.tfstate           in clear, for as long as Terraform needs it. When it is there it is the newest: its attempt was killed
    states/SERIAL.sealed        as it was before an apply, in the same form; the newest of them stay
    NAME.sealed                 anything else that Terraform leaves and that may hold secrets (`hide`)

Every step leaves the newest state on disk in one form or the other, so that a crash loses nothing. Why it is not kept in memory, and not
behind a backend of our own: docs/decisions/0018-terraform-state-sealed.md.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from drystone.plugin.api import FailureClass, PermanentError
from drystone.plugin.files import sync_folder, write_atomic

KEPT_STATES = 20
"""Earlier states of one instance that can be looked at: about as many as runs that can be restored from."""

_PACKED = 1
"""zlib's fastest level: what is written, and kept 20 times, is a fraction of the text."""

_LONG_BEFORE_NS = 86_400 * 10**9
"""A day: more than any file system's clock is coarse, so that a write is always seen."""


class Seals(Protocol):
    """Seals what is kept; an attempt's context does."""

    def seal(self, value: Any) -> str:
        """A JSON value -> text that may be kept on disk."""
        ...

    def unseal(self, sealed: str) -> Any:
        """The reverse of `seal`."""
        ...


@dataclass(frozen=True, slots=True)
class Unsealing:
    """Only opens what is sealed, to look at it."""

    unseal: Callable[[str], Any]

    def seal(self, value: Any) -> str:
        """Who only looks keeps nothing."""
        raise AssertionError("nothing is sealed while states are looked at")


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What is told of a state in clear: Terraform counts `serial` up with each change, `lineage` names the state for its life."""

    serial: int
    lineage: str

    @staticmethod
    def of(state: bytes | Mapping[str, Any]) -> Head | None:
        """The head of a state, or of its text; None when it is none."""
        try:
            data = json.loads(state) if isinstance(state, bytes) else state
            return Head(serial=int(data["serial"]), lineage=str(data["lineage"]))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateFile:
    """The state of one instance (and one workspace of it).

    clear: where Terraform has it.     kept: the folder of earlier ones.
    """

    clear: Path
    kept: Path
    seals: Seals

    @property
    def sealed(self) -> Path:
        """Beside it, between attempts."""
        return sealed_name(self.clear)

    def open(self) -> None:
        """Puts the state where Terraform wants it. One that is there already is newer, and stays.

        Raises PermanentError(invalid) for one that a killed Terraform wrote only half.
        """
        _sweep(self.clear)
        if not self.sealed.exists():
            return
        if not self.clear.exists():
            write_atomic(self.clear, read(self.sealed, self.seals), 0o600)
            self._mark()
        elif Head.of(self.clear.read_bytes()) is None:
            raise _cut_off(self.clear, self.sealed)

    def close(self) -> bool:
        """Seals the state, and takes away what is in clear. False when it must stay in clear.

        It stays when a Terraform that outlived its attempt is still writing to it, and when it is no state: a person must look at it.
        """
        with suppress(FileNotFoundError), self.clear.open("r+b") as file:
            if not _is_ours(file):
                return False
            if not self._is_as_sealed() and not self._store(content := file.read()) and (content.strip() or self.sealed.exists()):
                return False
            self.clear.unlink()
        _sweep(self.clear)
        for file_ in self.clear.parent.glob(f"{self.clear.name}*.backup"):
            file_.unlink(missing_ok=True)
        (self.clear.parent / f".{self.clear.name}.lock.info").unlink(missing_ok=True)
        return True

    def keep(self) -> None:
        """Called before each apply: the state as it is now gets a second name, its serial."""
        if not self._is_as_sealed():
            if not self.clear.exists() or not self._store(self.clear.read_bytes()):
                return
            self._mark()
        head = head_of(self.sealed)
        assert head is not None
        self.kept.mkdir(mode=0o700, exist_ok=True)
        place = self.kept / f"{head.serial}.sealed"
        place.unlink(missing_ok=True)
        try:
            os.link(self.sealed, place)
        except OSError:
            # Not every file system has hard links.
            write_atomic(place, self.sealed.read_bytes(), 0o600)
        sync_folder(self.kept)
        for _, old in kept_in(self.kept)[:-KEPT_STATES]:
            old.unlink(missing_ok=True)

    def head(self) -> Head | None:
        """Of the state as it is now; None when there is none."""
        with suppress(FileNotFoundError):
            if (head := Head.of(self.clear.read_bytes())) is not None:
                return head
        return head_of(self.sealed)

    def text(self) -> bytes:
        """The state as it is now, or while it is being written as it was before. Takes no lock. Raises FileNotFoundError."""
        with suppress(FileNotFoundError):
            content = self.clear.read_bytes()
            if Head.of(content) is not None:
                return content
        return read(self.sealed, self.seals)

    def known(self) -> Iterator[tuple[Head, Callable[[], bytes]]]:
        """The earlier states that are kept, then that of now: what is told of each, and what gives its text."""
        now = self.head()
        for head, file in kept_in(self.kept):
            if head != now:
                yield head, partial(read, file, self.seals)
        if now is not None:
            yield now, self.text

    def _store(self, content: bytes) -> bool:
        """Makes the sealed file hold this; False when it is no state."""
        head = Head.of(content)
        if head is None:
            return False
        if head_of(self.sealed) != head or read(self.sealed, self.seals) != content:
            write(self.sealed, content, self.seals, head)
        return True

    def _mark(self) -> None:
        """Notes that both files say the same, by a time of the clear one that no write gives it."""
        opened = self.sealed.stat().st_mtime_ns - _LONG_BEFORE_NS
        os.utime(self.clear, ns=(opened, opened))

    def _is_as_sealed(self) -> bool:
        """Whether nothing was written since: a large state that nobody changed is neither read nor sealed again."""
        try:
            return self.clear.stat().st_mtime_ns == self.sealed.stat().st_mtime_ns - _LONG_BEFORE_NS
        except FileNotFoundError:
            return False


def sealed_name(file: Path) -> Path:
    """Where a file is kept sealed."""
    return file.with_name(f"{file.name}.sealed")


def write(file: Path, content: bytes, seals: Seals, head: Head | None = None) -> None:
    """Writes content to `file`, packed and sealed, on disk before it returns. Raises PermanentError(refused)."""
    shown = {"serial": head.serial, "lineage": head.lineage} if head is not None else {}
    sealed = seals.seal(base64.b64encode(zlib.compress(content, _PACKED)).decode("ascii"))
    write_atomic(file, b"%s\n%s\n" % (json.dumps(shown).encode(), sealed.encode("ascii")), 0o600)


def hide(file: Path, seals: Seals) -> None:
    """Leaves a file only sealed. Harmless when it is not there."""
    with suppress(FileNotFoundError):
        content = file.read_bytes()
        sealed = sealed_name(file)
        if not sealed.exists() or read(sealed, seals) != content:
            write(sealed, content, seals)
        file.unlink()


def show(file: Path, seals: Seals) -> None:
    """The reverse of `hide`: one that is there already is newer, and stays."""
    if not file.exists() and (sealed := sealed_name(file)).exists():
        write_atomic(file, read(sealed, seals), 0o600)


def read(file: Path, seals: Seals) -> bytes:
    """The reverse of `write`. Raises FileNotFoundError, PermanentError(invalid) when it is not whole, ProjectError for another key."""
    _, _, sealed = file.read_bytes().partition(b"\n")
    try:
        return zlib.decompress(base64.b64decode(seals.unseal(sealed.decode("ascii").strip())))
    except (ValueError, TypeError, zlib.error) as error:
        raise PermanentError(FailureClass.INVALID, f'"{file}" is not whole', changed=False, hint="put it back from a backup") from error


def head_of(file: Path) -> Head | None:
    """What a sealed file tells in clear; None when there is none."""
    try:
        with file.open("rb") as opened:
            return Head.of(opened.readline())
    except FileNotFoundError:
        return None


def kept_in(folder: Path) -> Sequence[tuple[Head, Path]]:
    """Earlier states, in the order in which they came to be."""
    files = sorted(folder.glob("*.sealed"), key=lambda file: file.stat().st_mtime_ns)
    return [(head, file) for file in files if (head := head_of(file)) is not None]


def _is_ours(file: IO[bytes]) -> bool:
    """Whether no Terraform is at work on this state: the lock is the one that Terraform takes, and goes with the open file."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(clear: Path) -> None:
    """Takes away what a killed attempt had half written."""
    for file in clear.parent.glob(f".{clear.name}.*"):
        if not file.name.endswith(".lock.info"):
            file.unlink(missing_ok=True)


def _cut_off(clear: Path, sealed: Path) -> PermanentError:
    known = head_of(sealed)
    before = f"serial {known.serial}" if known is not None else "sealed beside it"
    return PermanentError(
        FailureClass.INVALID,
        f'state "{clear}" is not a state that terraform can read: a command that was writing it was killed, or something else wrote it',
        changed=False,
        hint=f"what was made by then may be in no state: look for it; then move the file away, and the state of before ({before}) is used",
    )
