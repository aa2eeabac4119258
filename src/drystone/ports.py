"""The doors to the outside world, as Protocols. `adapters/` and `stores/` implement them, `testing/` has their doubles.

Instants are aware UTC datetimes, durations timedeltas, sizes `_bytes`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from drystone.core.events import Event
from drystone.core.states import RunStatus
from drystone.timetable import Timetable

# ---- the small ones ---------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time."""

    def now(self) -> datetime:
        """The present moment, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring and for waiting."""
        ...


class Ids(Protocol):
    """Fresh names and chance."""

    def run_id(self) -> str:
        """A new ULID: 26 characters which sort by time."""
        ...

    def jitter(self) -> float:
        """A number from 0.0 up to 1.0."""
        ...


class Secrets(Protocol):
    """Where secrets come from, and how values that must survive a crash are kept."""

    def resolve(self, name: str) -> str:
        """The value of `secrets.NAME`, asked of the project's sources in order. Raises NotFoundError which names the sources."""
        ...

    def seal(self, value: Any) -> str:
        """JSON value -> text that only this project's key opens."""
        ...

    def unseal(self, sealed: str) -> Any:
        """The reverse of `seal`. Raises ProjectError when the key is another one."""
        ...

    def sign(self, data: bytes) -> bytes:
        """This project's Ed25519 signature of the data, 64 bytes. Raises ProjectError when its key cannot be used."""
        ...

    def public_key(self) -> bytes:
        """What checks `sign`, 32 bytes; the pair is made on first use. Raises ProjectError."""
        ...


class Redactor(Protocol):
    """Replaces secrets by *** in whatever is written or shown. Safe to use from several threads."""

    def add(self, value: Any) -> None:
        """From now on every text in this JSON value is a secret."""
        ...

    def text(self, text: str) -> str:
        """The text without secrets."""
        ...

    def data(self, data: Any) -> Any:
        """JSON data, each text in it without secrets."""
        ...

    def known_in(self, data: Any) -> list[str]:
        """The secrets that show in JSON data."""
        ...


class Bundles(Protocol):
    """Content-addressed snapshots of what runs use (DESIGN §4.9): each file is stored once, whichever bundle it is in."""

    def keep(self, root: Path, paths: Iterable[Path], texts: Mapping[str, str]) -> str:
        """Stores files and folders below `root`, and texts by the name that they have there. The bundle's digest: `sha256:...`.

        The same contents give the same digest. Raises ProjectError when a file cannot be read or stored.
        """
        ...

    def manifest(self, digest: str) -> Mapping[str, str] | None:
        """Name relative to the root -> `sha256:...` of each file; None when there is no such bundle here."""
        ...

    def tree(self, digest: str, root: Path) -> Path | None:
        """A folder that looks like `root` did: its files are those of the bundle, read-only, and links lead to all that it left out.

        None when there is no such bundle here.
        """
        ...

    def read(self, digest: str, name: str) -> bytes | None:
        """The content of one file; None when it is not there."""
        ...


# ---- child processes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSpec:
    """A supervised child.

    argv:    program and arguments; the program is looked up on `environ`'s PATH.
    environ: the whole environment of the child.
    stdin:   bytes to feed, else the child's standard input is empty.
    timeout: None means no limit. At its end the child gets SIGINT, `grace` later SIGKILL goes to it and all its descendants.
    record:  file in which the supervisor notes pid, start time and boot id, so that another process can find and end it.
    """

    argv: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]
    stdin: bytes | None = None
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=10)
    record: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessEnd:
    """How a child ended. `exit_code` is negative for a signal, as in subprocess; `why` is exited, timeout or cancelled."""

    exit_code: int
    why: str
    duration: timedelta


LinesSink = Callable[[str, str], None]
"""Called with ("stdout" | "stderr", the whole lines that came together, without the end of the last), from the calling thread, in order."""


class Process(Protocol):
    """Runs programs. The child and all its descendants end when drystone ends, however it ends."""

    def run(self, spec: ProcessSpec, on_lines: LinesSink, cancelled: Callable[[], bool]) -> ProcessEnd:
        """Runs to the end, feeding lines to `on_lines` as they come; polls `cancelled` and then ends the child gracefully.

        Raises PermanentError(crashed) when the program is missing or cannot be executed; the hint says how to get it.
        """
        ...

    def end_orphan(self, record: Path) -> bool:
        """Ends the child that a dead drystone left behind, with all its descendants, and waits. False when there is none."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Preload:
    """A Python process with imports done, to be forked instead of started: equal ones share it (decision 0019).

    python:  the interpreter.
    script:  a file with `preload()`, called once, and `run(argv) -> exit code`, called in each fork. Nothing of drystone need be
             importable there.
    path:    what stands first in its `sys.path`; empty for nothing.
    cwd, environ: while it imports. A fork has those of whoever asked for it.
    stamp:   of all else that makes it another one: contents of files that are read on import.
    """

    python: str
    script: str
    cwd: str
    environ: Mapping[str, str]
    path: str = ""
    stamp: str = ""


class Forks(Protocol):
    """Warm starts of Python programs. Safe to use from several threads."""

    def prefix(self, preload: Preload) -> Sequence[str]:
        """What to put before a program's argv, so that it runs in a fork of the process that is started, or there already.

        The program is supervised as without it. When no fork can be had, argv itself is run, and standard error says so in a line.
        Raises TemporaryError(crashed) when no process can be started.
        """
        ...

    def close(self) -> None:
        """Ends the processes that are forked from; forks at work are left."""
        ...


# ---- the store --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The unchanging part of a run, written once. `source` is the plan's YAML, `root` the folder its paths are relative to.

    parent:      the run of which this one is a task (kind `plan`), or None.
    concurrency: the key of the plan's `concurrency`: runs with the same key go one after the other; None without one.
    manner:      how it goes about its tasks, as `core.run.Manner` has it in JSON; empty for an ordinary run.
    """

    id: str
    plan: str
    plan_file: str
    root: str
    source: str
    bundle: str
    environment: str | None
    inputs: Mapping[str, Any]
    created_at: datetime
    created_by: str
    token: str | None = None
    parent: str | None = None
    concurrency: str | None = None
    manner: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """A line of `drystone runs`: the projection of a run.

    attention: how many of its instances a person must decide about.    parent: the run of which it is a task, or None.
    """

    id: str
    plan: str
    environment: str | None
    status: RunStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tasks_done: int
    tasks_total: int
    error: str | None
    owner: str | None
    attention: int = 0
    parent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRow:
    """The projection of one instance after a batch of events."""

    run: str
    id: str
    task: str
    kind: str
    status: str
    attempts: int
    started_at: datetime | None
    finished_at: datetime | None
    failure_class: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Events of one run and what they make of its projections, to be written in one transaction with other runs' batches.

    answered: ids of requests that these events answer; they are gone when the events are there.
    """

    run: str
    epoch: int
    events: Sequence[Event]
    summary: RunSummary | None = None
    tasks: Sequence[TaskRow] = ()
    answered: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a person asks of a run that may be in another process's hands. `type`: cancel, approve or reject; `data` by type."""

    id: str
    run: str
    type: str
    by: str
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A run in the line of those that share a concurrency key. `owner` None: no live process has it."""

    run: str
    status: RunStatus
    since: datetime
    owner: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to write a run. A higher epoch makes every lower one void."""

    run: str
    owner: str
    epoch: int


def owner_text(owner: str) -> str:
    """An owner as a person reads it: `process 3616 on build-7`; owners are HOST:PID:START:PLACE, see adapters.owner."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    return f"process {pid} on {host}" if pid.isdigit() else owner


@dataclass(frozen=True, kw_only=True, slots=True)
class LockInfo:
    """Who holds an environment."""

    environment: str
    run: str
    owner: str
    reason: str
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerInfo:
    """A process that serves the project. `address`: URL of its web side, empty when it has none."""

    owner: str
    address: str
    since: datetime


BEGINNING = timedelta(minutes=1)
"""So long after its creation a run that nobody took yet is left to who created it, who is about to take it."""


class Journal(Protocol):
    """Durable storage of runs. When `append` returns, the events survive kill -9 and power loss."""

    @property
    def timetable(self) -> Timetable:
        """The schedules in the same store."""
        ...

    def create(self, record: RunRecord, summary: RunSummary, lock: LockInfo | None = None) -> None:
        """A new run and, in the same transaction, the lock of its environment: neither is ever seen without the other.

        A run with a concurrency key joins the end of that key's line. Raises LockedError as `lock` does, and RefusedError
        (its hint names that run) when its token is taken by a run with other inputs.
        """
        ...

    def append(self, batches: Sequence[Batch]) -> None:
        """One transaction, one fsync. Raises LockedError when an epoch is not its run's newest; then nothing is written."""
        ...

    def record(self, run: str) -> RunRecord:
        """Raises NotFoundError."""
        ...

    def events(self, run: str, after: int = 0) -> Iterator[Event]:
        """In order of `seq`, those with seq > after."""
        ...

    def find(self, prefix: str) -> str:
        """Id from an id, a unique prefix, or `last`: the newest that is no part of another.

        Raises NotFoundError, or RefusedError when several fit.
        """
        ...

    def by_token(self, token: str) -> RunRecord | None:
        """The run that was started with this idempotency token."""
        ...

    def summary(self, run: str) -> RunSummary:
        """The projection of one run. Raises NotFoundError."""
        ...

    def summaries(
        self, *, plan: str | None = None, environment: str | None = None, limit: int | None = 50, attention: bool = False
    ) -> Sequence[RunSummary]:
        """Newest first; `limit` None means all. `attention`: only runs that a person must decide about."""
        ...

    def claim(self, run: str, owner: str, lease: timedelta, now: datetime, *, force: bool = False) -> Lease:
        """Takes the run with the next epoch. Raises LockedError (with the owner) while another's lease is alive.

        force: takes it from a living owner too, which can write nothing any more.
        """
        ...

    def renew(self, lease: Lease, until: datetime) -> None:
        """Raises LockedError when the lease was lost."""
        ...

    def release(self, lease: Lease) -> None:
        """Gives the run back; harmless when the lease was lost."""
        ...

    def lock(self, info: LockInfo) -> None:
        """Takes the environment for a run; harmless when repeated. Raises LockedError saying who has it and since when."""
        ...

    def unlock(self, environment: str, run: str) -> None:
        """Harmless when it is not held by that run."""
        ...

    def locks(self) -> Sequence[LockInfo]:
        """All held environments."""
        ...

    def line(self, key: str) -> Sequence[Place]:
        """The runs that share a concurrency key, in order: the first one has it.

        Left out are those that have not begun and that no live process has: they wait for nobody.
        """
        ...

    def join(self, key: str, run: str, now: datetime) -> None:
        """Puts a run at the end of the key's line; harmless when it stands there."""
        ...

    def leave(self, run: str) -> None:
        """Takes a run out of its line; harmless when it stands in none."""
        ...

    def slots(self, lease: Lease, pool: str, *, size: int, held: int, wanted: int, now: datetime) -> int:
        """How many more slots of a pool the run may take now, at most `wanted`; they are its own from then on.

        held: how many it uses; what it was given beyond these goes back. Runs that wait are served one slot at a time, the one that
        waits longest first; slots and wishes of runs that no live process drives do not count. `size` is the pool's.
        Raises LockedError when the lease was lost.
        """
        ...

    def ask(self, request: Request) -> None:
        """Keeps a wish until it is answered. Raises NotFoundError when there is no such run."""
        ...

    def requests(self, runs: Collection[str]) -> Sequence[Request]:
        """Wishes for these runs that nobody has answered, oldest first."""
        ...

    def withdraw(self, run: str) -> None:
        """Forgets all wishes for a run: it has ended."""
        ...

    def durations(self, plan: str, *, limit: int = 20) -> Mapping[str, Sequence[float]]:
        """Task -> seconds that its instances took, from first start to success, in the newest `limit` runs of the plan that succeeded."""
        ...

    def unattended(self, now: datetime) -> Sequence[str]:
        """Runs that have not ended, and are no part of another, which no live process drives; oldest first.

        Not those that were created just now (`BEGINNING`) and never taken.
        """
        ...

    def serve(self, server: ServerInfo, until: datetime) -> None:
        """This process serves the project, at least until then."""
        ...

    def stop_serving(self, owner: str) -> None:
        """It does no more; harmless when it did not."""
        ...

    def servers(self, now: datetime) -> Sequence[ServerInfo]:
        """Those that are alive, the oldest first."""
        ...

    def examine(self) -> None:
        """Looks at all of it, which may take a while. Raises StoreError when something is damaged."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...
