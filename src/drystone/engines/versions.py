"""What `undo: restore` goes back to: the config of each attempt of one instance that succeeded, a file for each run.

    @versions/NUMBER-RUN.json   what a run applied: its config, sealed; numbers grow in the order in which runs applied
    @versions/older             there were versions that are not kept any more

A version is good once its run has succeeded, until it is taken back. Nothing here says so: the store is asked, so that no crash can come
between the end of a run and its versions being good. All writes are atomic and on disk before the call returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path

from drystone.core.events import EventType
from drystone.core.states import RunStatus
from drystone.errors import FailureClass, NotFoundError, PermanentError
from drystone.plugin.files import sync_folder, write_atomic
from drystone.ports import Journal

KEPT = 20
"""Versions of one instance that are kept: a nightly run must not fill the disk. The last good one stays, however old it is."""


class Standing(Enum):
    """What has become of a run, as far as its versions go."""

    GOOD = "it succeeded"
    UNPROVEN = "it never succeeded"
    TAKEN_BACK = "all of it was taken back"


StandingOf = Callable[[str], Standing | None]
"""The standing of a run; None when the store does not know it."""


def standing_in(journal: Journal, run: str) -> Standing | None:
    """As the journal has it. A run that succeeded stays good when a later wish to undo it, or to go on with it, came to nothing."""
    try:
        status = journal.summary(run).status
    except NotFoundError:
        return None
    if status is RunStatus.COMPENSATED:
        return Standing.TAKEN_BACK
    ends = (event.data["status"] for event in journal.events(run) if event.type is EventType.RUN_FINISHED)
    return Standing.GOOD if status is RunStatus.SUCCEEDED or RunStatus.SUCCEEDED in ends else Standing.UNPROVEN


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What a run applied. `config` is sealed, and empty once it is `undone`; `changed` False means that the world was the same before.

    bundle: of the run, whose files it was applied with; empty for one from before there were bundles.
    """

    run: str
    config: str
    changed: bool
    undone: bool = False
    bundle: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Versions:
    """The versions of one instance, in `folder`."""

    folder: Path
    standing_of: StandingOf

    def keep(self, version: Version) -> None:
        """Notes what a run has applied, in place of what it applied before. Raises OSError, PermanentError when it cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = self._all()
        number = 1 + max((_number(file) for file, _ in known), default=0)
        self._write(self.folder / f"{number:08}-{version.run}.json", version)
        others = []
        for file, other in known:
            if other.run == version.run:
                file.unlink(missing_ok=True)
            else:
                others.append((file, other))
        self._prune(others)

    def before(self, run: str, *, has_applied: bool) -> Version | None:
        """The version that was good before a run; None when there was none.

        has_applied: an attempt of the run succeeded, so that a version of its own must be here.
        Raises PermanentError(refused) when that is not kept any more, or a later run has changed the instance since.
        """
        known = self._all()
        own = max((index for index, (_, version) in enumerate(known) if version.run == run), default=None)
        if own is None:
            if has_applied and (known or self._older.exists()):
                raise _too_old()
            own = len(known)
        for _, later in known[own + 1 :]:
            if later.changed and not later.undone and self.standing_of(later.run) is not Standing.TAKEN_BACK:
                raise _changed_since(later.run, run)
        for _, earlier in reversed(known[:own]):
            if not earlier.undone and self._is_good(earlier):
                return earlier
        if self._older.exists():
            raise _too_old()
        return None

    def take_back(self, run: str) -> None:
        """The undo of a run has succeeded. When nothing is left that could be gone back to, nothing stays here."""
        known = self._all()
        for file, version in known:
            if version.run == run:
                self._write(file, replace(version, undone=True, config=""))
        if self._older.exists() or not all(version.undone or version.run == run for _, version in known):
            return
        # Its own goes last: without it, an undo that is made again after a crash would take the others for newer ones.
        for file, _ in sorted(known, key=lambda item: item[1].run == run):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def forget(self) -> None:
        """Nothing of the instance is left that could be gone back to."""
        for file in sorted(self.folder.glob("*")):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    @property
    def _older(self) -> Path:
        return self.folder / "older"

    def _all(self) -> Sequence[tuple[Path, Version]]:
        """In the order in which they were applied."""
        found = []
        for file in sorted(self.folder.glob("*.json")):
            # Without an environment another run may tidy up at the same time.
            with suppress(FileNotFoundError):
                found.append((file, Version(**json.loads(file.read_bytes()))))
        return found

    def _is_good(self, version: Version) -> bool:
        standing = self.standing_of(version.run)
        if standing is None:
            raise _unknown(version.run)
        return standing is Standing.GOOD

    def _write(self, file: Path, version: Version) -> None:
        write_atomic(file, json.dumps(asdict(version)).encode(), 0o600)

    def _prune(self, known: Sequence[tuple[Path, Version]]) -> None:
        """Drops the oldest, but for the last good one; `known` is without the one that was just written."""
        room = KEPT - 1
        if len(known) <= room:
            return
        good = next((file for file, item in reversed(known) if not item.undone and self.standing_of(item.run) is Standing.GOOD), None)
        for file, version in known[:-room]:
            if file == good:
                continue
            # What was taken back can never be gone back to: nobody will miss it.
            if not version.undone and not self._older.exists():
                write_atomic(self._older, b"", 0o600)
            file.unlink(missing_ok=True)
        sync_folder(self.folder)


def _number(file: Path) -> int:
    return int(file.name.partition("-")[0])


def _too_old() -> PermanentError:
    return PermanentError(
        FailureClass.REFUSED,
        "what was applied before this run is not kept any more",
        changed=False,
        hint=f"the last {KEPT} versions of a task can be gone back to; bring it to what you want by a run with the inputs that you want",
    )


def _unknown(run: str) -> PermanentError:
    return PermanentError(
        FailureClass.REFUSED,
        f"whether the version before this run was good is not known: the store has no run {run}",
        changed=False,
        hint="use the store that knows that run, or bring the task to what you want by a run with the inputs that you want",
    )


def _changed_since(later: str, run: str) -> PermanentError:
    return PermanentError(
        FailureClass.REFUSED,
        f"run {later} has changed the same since",
        changed=False,
        hint=f"nothing was taken back here; take that run back first (drystone undo {later}), then this one (drystone resume {run})",
    )
