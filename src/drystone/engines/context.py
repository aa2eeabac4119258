"""What an attempt knows and may do: the `Context` that a kind is given, with log, workspace, deadline and child processes."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from drystone.core import durations
from drystone.engines.breaker import ANSWERED, COUNTED, Breakers
from drystone.engines.vault import Vault
from drystone.errors import AttemptError, CancelledError, FailureClass, HeldBackError, PermanentError, TemporaryError
from drystone.plugin.api import ProcessResult, SubPlans
from drystone.ports import Clock, Forks, Preload, Process, ProcessEnd, ProcessSpec, Redactor

MAX_PROGRESS = 2_000
"""Progress events of one attempt: past these only the log goes on, so that a chatty tool cannot fill the store."""

MAX_PROGRESS_CHARACTERS = 16_000
"""Of one progress event's message, and of its data as JSON; data that is longer is left out, for it is in the log."""


class Control:
    """The engine's end of an attempt: tells it to end, and knows how much time it has."""

    def __init__(self, clock: Clock, timeout: timedelta | None) -> None:
        self.clock = clock
        self._told = threading.Event()
        self._deadline = None if timeout is None else clock.monotonic() + timeout.total_seconds()
        self.timeout = timeout
        self.is_resting = False
        """It only waits until a person has decided something."""
        self._gives_way = threading.Event()
        self._limit = "" if timeout is None else durations.to_text(timeout)
        self.reason = ""

    def cancel(self, reason: str) -> None:
        """Asks the attempt to end; harmless when repeated."""
        if not self._told.is_set():
            self.reason = reason
            self._told.set()

    def give_way(self) -> None:
        """Asks an attempt that rests to end with a pause: its process is about to leave."""
        self._gives_way.set()

    @property
    def should_give_way(self) -> bool:
        """True once `give_way` was called."""
        return self._gives_way.is_set()

    @property
    def is_cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._told.is_set()

    @property
    def remaining(self) -> timedelta | None:
        """Time left, never negative; None without a limit."""
        if self._deadline is None:
            return None
        return timedelta(seconds=max(0.0, self._deadline - self.clock.monotonic()))

    @property
    def should_end(self) -> bool:
        """True when it was cancelled or its time is up."""
        return self.is_cancelled or self.remaining == timedelta()

    def check(self) -> None:
        """Raises what `should_end` stands for."""
        if self.is_cancelled:
            raise CancelledError(self.reason or "cancelled")
        if self.remaining == timedelta():
            raise TemporaryError(FailureClass.TIMEOUT, f"no end after {self._limit}", hint='give it more with "timeout"')

    def wait(self, duration: timedelta) -> None:
        """Sleeps in one piece, but no longer than the attempt may live."""
        left = self.remaining
        self._told.wait(min(duration, left).total_seconds() if left is not None else duration.total_seconds())
        self.check()


def no_sub_plans(ctx: AttemptContext) -> SubPlans:
    """Where an attempt cannot run sub-plans."""
    raise PermanentError(FailureClass.REFUSED, "sub-plans cannot be run here", changed=False)


@dataclass(kw_only=True)
class AttemptContext:
    """Implements `plugin.api.Context`. Folders and the log come into being, and are even named, when they are first used."""

    run_id: str
    plan: str
    task: str
    attempt: int
    token: str
    environment: str
    project: Path
    folder: Callable[[], Path]
    state_folder: Callable[[], Path]
    artifacts_folder: Callable[[], Path]
    environ: Mapping[str, str]
    control: Control
    vault: Vault
    runner: Process
    on_progress: Callable[[str, Mapping[str, Any]], None]
    breakers: Breakers
    forks: Forks | None = None
    """None: every start is cold."""
    bundle: str = ""
    """Whose files the attempt works with."""
    tree_of: Callable[[str], Path | None] = lambda bundle: None
    """A bundle, laid out; None when it is not there."""
    saved: bytes | None = None
    approved: str = ""
    previous: Mapping[str, Any] = field(default_factory=dict)
    sub_plans: Callable[[AttemptContext], SubPlans] = no_sub_plans
    _source: tuple[str, Path | None] = ("", None)
    _emitted: int = 0
    _processes: int = 0
    _has_workspace: bool = False
    has_begun: bool = False
    """Whether the kind was given the word, so that the world may have changed."""
    has_tried: bool = False
    """Whether the kind was at an endpoint. Then this is an attempt, even if it is held back at another one."""
    is_unhindered: bool = False
    """Polls and remedies keep the plan's own pace: nothing holds them back, and that they fail says nothing new."""

    def __post_init__(self) -> None:
        self._log = _Log(lambda: _private(self.folder()) / "log")

    @property
    def redactor(self) -> Redactor:
        """Hides the run's secrets."""
        return self.vault.redactor

    @property
    def source(self) -> Path:
        """The project as it was when the run began. It is laid out when it is first asked for: most attempts need no file."""
        if self._source[0] != self.bundle or self._source[1] is None:
            self._source = self.bundle, self.tree_of(self.bundle) or self.project
        assert self._source[1] is not None
        return self._source[1]

    @property
    def workspace(self) -> Path:
        """A fresh folder of this attempt."""
        self._has_workspace = True
        return _private(self.folder() / "work")

    @property
    def state(self) -> Path:
        """What the instance keeps between runs."""
        return _private(self.state_folder())

    @property
    def artifacts(self) -> Path:
        """The run's folder for files that people want to have."""
        return _private(self.artifacts_folder())

    @property
    def cancelled(self) -> bool:
        """True once the attempt should end."""
        return self.control.should_end

    @property
    def remaining(self) -> timedelta | None:
        """Time left for this attempt."""
        return self.control.remaining

    def wait(self, duration: timedelta) -> None:
        """Sleeps, unless the attempt should end."""
        self.control.wait(duration)

    def check(self) -> None:
        """Raises when the attempt should end."""
        self.control.check()

    def rest(self, rests: bool) -> bool:
        """Notes whether it only waits for a person; True once it should give way."""
        self.control.is_resting = rests
        return self.control.should_give_way

    @property
    def plans(self) -> SubPlans:
        """Runs plans as parts of this run."""
        return self.sub_plans(self)

    def log(self, line: str) -> None:
        """Adds a line to the log, redacted; readers see it at once."""
        self._log.write(self.redactor.text(line))

    @property
    def has_log(self) -> bool:
        """True when anything was logged."""
        return self._log.is_begun

    def emit(self, message: str, **data: Any) -> None:
        """Tells progress to those who watch."""
        self._emitted += 1
        if self._emitted <= MAX_PROGRESS:
            self.on_progress(self.redactor.text(str(message))[:MAX_PROGRESS_CHARACTERS], _to_journal(self.redactor.data(data)))

    def seal(self, value: Any) -> str:
        """A JSON value -> text that may be kept."""
        return self.vault.seal_config(value)

    def unseal(self, sealed: str) -> Any:
        """The reverse of `seal`."""
        return self.vault.open_config(sealed)

    def sign(self, data: bytes) -> bytes:
        """The project's Ed25519 signature."""
        return self.vault.sign(data)

    def public_key(self) -> bytes:
        """What checks `sign`."""
        return self.vault.public_key()

    def now(self) -> datetime:
        """The instant, in UTC."""
        return self.control.clock.now()

    def redact(self, value: str) -> None:
        """From now on `value` is a secret."""
        self.redactor.add(value)

    @contextmanager
    def endpoint(self, name: str) -> Iterator[None]:
        """Asks the circuit breaker before, and tells it afterwards; see `plugin.api.Context.endpoint`."""
        if not self.is_unhindered:
            self.breakers.enter(name, self)
        try:
            yield
        except HeldBackError:
            # The way to another endpoint was barred, before this one was tried.
            self.breakers.left(name, self)
            raise
        except BaseException as error:
            self.has_tried = True
            self._tell(name, self._reason(error))
            raise
        self.has_tried = True
        self.breakers.succeeded(name)

    def _reason(self, error: BaseException) -> AttemptError | None:
        """What broke off the work at an endpoint: a library's own way of being cancelled stands for what made the attempt end."""
        if isinstance(error, AttemptError):
            return error
        try:
            self.control.check()
        except AttemptError as reason:
            return reason
        return None

    def _tell(self, name: str, error: AttemptError | None) -> None:
        if error is not None and error.failure_class in ANSWERED:
            self.breakers.succeeded(name)
        elif error is not None and error.failure_class in COUNTED and not self.is_unhindered:
            # Other runs will read it, which know nothing of this one's secrets.
            reason = self.redactor.text(error.message).partition("\n")[0]
            self.breakers.failed(name, self, error.failure_class, reason, error.retry_in)
        else:
            self.breakers.left(name, self)

    def path(self, relative: str) -> Path:
        """A path of the config against the source tree; it must exist."""
        path = self.source / relative
        if not path.exists():
            # An earlier task may have made it.
            path = self.project / relative
        if not path.exists():
            raise PermanentError(
                FailureClass.INVALID,
                f'there is no "{relative}" in {self.project}',
                changed=False,
                hint="paths in a plan are relative to the project's root",
            )
        return path

    def warm(self, preload: Preload) -> Sequence[str]:
        """What makes the start of a program warm, or nothing; see `plugin.api.Context.warm`."""
        try:
            return () if self.forks is None else self.forks.prefix(preload)
        except TemporaryError as error:
            self.log(f"not a warm start: {error.message}")
            return ()

    def process(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        on_line: Callable[[str, str], None] | None = None,
        log: bool = True,
        grace: timedelta = timedelta(seconds=10),
        timeout: timedelta | None = None,
        keep_bytes: int = 1 << 20,
        raw: bool = False,
    ) -> ProcessResult:
        """Runs a supervised child to its end; see `plugin.api.Context.process`."""
        self.control.check()
        self._processes += 1
        kept = {"stdout": _Tail(keep_bytes), "stderr": _Tail(keep_bytes)}

        def take(stream: str, lines: str) -> None:
            clean = self.redactor.text(lines)
            kept[stream].add(lines if raw else clean)
            if log:
                self._log.write(clean)

        def take_each(stream: str, lines: str) -> None:
            assert on_line is not None
            for line in lines.split("\n"):
                # What it learns from a line may be a secret in that line.
                on_line(stream, line)
                take(stream, line)

        spec = ProcessSpec(
            argv=list(argv),
            cwd=cwd or self.workspace,
            environ={**self.environ, **(env or {})},
            stdin=stdin,
            timeout=timeout,
            grace=grace,
            record=_private(self.folder()) / f"process-{self._processes}.json",
        )
        end = self.runner.run(spec, take if on_line is None else take_each, lambda: self.control.should_end)
        self._check_end(end, spec)
        return ProcessResult(
            exit_code=end.exit_code,
            stdout=kept["stdout"].text(),
            stderr=kept["stderr"].text(),
            why=end.why,
            duration=end.duration,
        )

    def _check_end(self, end: ProcessEnd, spec: ProcessSpec) -> None:
        if end.why == "cancelled":
            self.control.check()
        if end.why == "timeout" and spec.timeout is not None:
            limit = durations.to_text(spec.timeout)
            raise TemporaryError(FailureClass.TIMEOUT, f'"{Path(spec.argv[0]).name}" did not end within {limit}')

    def close(self) -> None:
        """Closes the log, and clears away a workspace that nothing was left in."""
        self._log.close()
        if self._has_workspace:
            with suppress(OSError):
                (self.folder() / "work").rmdir()


def _to_journal(data: Any) -> Any:
    """A kind's own facts as JSON data: what is none is put as text."""
    if not data:
        return data
    text = json.dumps(data, default=str, skipkeys=True)
    return json.loads(text) if len(text) <= MAX_PROGRESS_CHARACTERS else {}


class _Log:
    """An attempt's log file, made when its first line comes; readers see every line at once. Safe to use from several threads.

    A log that cannot be written loses lines and not the work: a terraform that is ended for it would lose resources.
    """

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._lost_lines = 0
        self._is_torn = False

    @property
    def is_begun(self) -> bool:
        """True when there is a file."""
        return self._file is not None

    def write(self, lines: str) -> None:
        """Adds one or more lines."""
        data = f"{lines}\n".encode(errors="replace")
        with self._lock:
            if self._lost_lines:
                note = f"({self._lost_lines:,} lines could not be written)\n".encode()
                if self._put(b"\n" + note if self._is_torn else note):
                    self._lost_lines += data.count(b"\n")
                    return
            self._lost_lines = self._put(data)

    def _put(self, data: bytes) -> int:
        """Writes as much as there is room for; how many lines are not whole in the file."""
        try:
            if self._file is None:
                self._file = self._path().open("ab", buffering=0)
            while data:
                size = self._file.write(data)
                self._is_torn = data[size - 1 : size] != b"\n"
                data = data[size:]
        except OSError:
            pass
        return data.count(b"\n")

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock, suppress(OSError):
            if self._file is not None:
                self._file.close()


class _Tail:
    """The last lines of a stream, at most `size` characters of them, but never fewer than one line."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._parts: deque[str] = deque()

    def add(self, lines: str) -> None:
        """Adds one or more lines."""
        self._parts.append(lines)
        self._held += len(lines) + 1
        while (rest := self._held - len(self._parts[0]) - 1) >= self._size and len(self._parts) > 1:
            self._parts.popleft()
            self._held = rest

    def text(self) -> str:
        """The lines, without the end of the last."""
        text = "\n".join(self._parts)
        surplus = len(text) + 1 - self._size
        if surplus <= 0:
            return text
        # Its first whole line that fits, else the last one.
        end = text.find("\n", surplus - 1)
        return text[(text.rfind("\n") if end < 0 else end) + 1 :]


def _private(path: Path) -> Path:
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
