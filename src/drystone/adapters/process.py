"""Child processes under supervision: `ports.Process` on Linux.

Each child gets a supervisor of its own (`adapters.supervise`, which says what ends whom and when). This side feeds standard
input, cuts the output into lines, watches the clock and the caller's wish to cancel, and turns what the supervisor says into a
`ProcessEnd` or an error. It may be called from any thread; one call is one child.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO

from drystone.adapters import supervise
from drystone.errors import FailureClass, PermanentError, ProjectError, TemporaryError
from drystone.ports import LinesSink, ProcessEnd, ProcessSpec

MAX_LINE_BYTES = 4 << 20
"""A longer line comes in pieces of this size. Terraform prints whole states on one line: 4 MiB holds some 10,000 resources."""
CHUNK_BYTES = 1 << 16
DRAIN_BYTES = 4 << 20
"""Output read after the end of a child: more than a pipe holds, yet finite when a daemon that it left goes on writing."""
POLL_S = 0.1
"""How often the wish to cancel is asked for."""
_SUPERVISORS = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
"""The environment of supervisors: what their Python may need to start, and none of the secrets that drystone is given in its own."""


class SupervisedProcess:
    """Runs programs; implements `ports.Process`. `python` starts the supervisors. Raises ProjectError where this is not Linux."""

    def __init__(self, python: str = sys.executable) -> None:
        if not sys.platform.startswith("linux"):
            raise ProjectError(
                f'child processes cannot be supervised on "{sys.platform}"', hint="run drystone on Linux, or in a container"
            )
        self._python = python
        self._guard = threading.Lock()
        self._running: set[_Child] = set()

    def run(self, spec: ProcessSpec, on_lines: LinesSink, cancelled: Callable[[], bool]) -> ProcessEnd:
        """Runs to the end; `ports.Process.run` says how."""
        with self._child(spec, on_lines) as child:
            with self._guard:
                self._running.add(child)
            try:
                return child.run(cancelled)
            except BaseException:
                # Whoever listens is broken or was interrupted: the child must not go on without it.
                child.order(now=False)
                child.drain()
                raise
            finally:
                with self._guard:
                    self._running.discard(child)

    def _child(self, spec: ProcessSpec, on_lines: LinesSink) -> _Child:
        try:
            if spec.record is not None:
                spec.record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _not_started(spec, "record", error.errno or errno.EIO) from error
        try:
            return _Child(self._python, spec, on_lines)
        except OSError as error:
            raise TemporaryError(
                FailureClass.CRASHED,
                f"no process can be started: {os.strerror(error.errno or errno.EIO).lower()}",
                changed=False,
                hint="are there too many processes or open files? see ulimit -a",
            ) from error

    def end_now(self) -> None:
        """Ends all children of all threads at once, without grace: the second Ctrl-C. Their `run` returns as cancelled."""
        with self._guard:
            for child in self._running:
                child.order(now=True)

    def end_orphan(self, record: Path) -> bool:
        """Ends the child of a dead drystone; `ports.Process.end_orphan` says how.

        The child gets the grace that it was started with: Terraform must be let write its state.
        Raises PermanentError(crashed) when it does not end.
        """
        note = _read_record(record)
        if note is None:
            return False
        supervisor, start, child, grace_s = note
        ended = _end_supervisor(supervisor, start, grace_s)
        if ended is None:
            ended = end_session(child)
        record.unlink(missing_ok=True)
        return ended


class _Child:
    """One supervisor, the pipes to it, and what it said."""

    def __init__(self, python: str, spec: ProcessSpec, on_lines: LinesSink) -> None:
        self.spec = spec
        self.why = "exited"
        self._start = time.monotonic()
        self._said = b""
        self._over = False
        self._guard = threading.Lock()
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            control_out, self._control, self._status, status_in = ends
            self._supervisor = subprocess.Popen(
                [python, "-I", "-S", supervise.__file__, str(control_out), str(status_in), str(os.getpid())],
                stdin=subprocess.DEVNULL if spec.stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env=_SUPERVISORS,
                pass_fds=(control_out, status_in),
                start_new_session=True,
            )
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        os.close(control_out)
        os.close(status_in)
        self._selector = selectors.DefaultSelector()
        self._lines = {name: _Lines(name, on_lines) for name in ("stdout", "stderr")}
        self._stdin = memoryview(spec.stdin or b"")

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        with self._guard:
            os.close(self._control)
            self._control = -1
        os.close(self._status)
        for stream in (self._supervisor.stdin, self._supervisor.stdout, self._supervisor.stderr):
            if stream is not None:
                stream.close()
        self._supervisor.wait()

    def __hash__(self) -> int:
        return id(self)

    def order(self, *, now: bool) -> None:
        """Tells the supervisor to end the child; harmless when both are gone."""
        with self._guard, contextlib.suppress(BrokenPipeError):
            if self._control >= 0:
                if now and self.why == "exited":
                    self.why = "cancelled"
                os.write(self._control, b"k" if now else b"e")

    def run(self, cancelled: Callable[[], bool]) -> ProcessEnd:
        """Feeds, reads and watches until the supervisor has told the end."""
        self._hand_over()
        deadline = None if self.spec.timeout is None else self._start + self.spec.timeout.total_seconds()
        ask = 0.0
        while not self._turn(POLL_S if deadline is None else min(POLL_S, max(0.0, deadline - time.monotonic()))):
            now = time.monotonic()
            if self.why != "exited":
                deadline = None
            elif deadline is not None and now >= deadline:
                self._end("timeout")
            elif now >= ask:
                ask = now + POLL_S
                if cancelled():
                    self._end("cancelled")
        self._read_rest()
        return self._end_of_child()

    def _end(self, why: str) -> None:
        self.why = why
        self.order(now=False)

    def drain(self) -> None:
        """Waits for the end and lets go of the output."""
        for lines in self._lines.values():
            lines.on_lines = _ignore
        while not self._over:
            self._turn(None)

    def _hand_over(self) -> None:
        spec = self.spec
        environ = [f"{name}={value}" for name, value in spec.environ.items() if name != "DRYSTONE_KEEP"]
        record = "" if spec.record is None else os.path.abspath(spec.record)
        fields = [str(spec.grace.total_seconds()), record, os.path.abspath(spec.cwd), str(len(spec.argv)), *spec.argv, *environ]
        if not spec.argv or any("\0" in field for field in fields):
            self._over = True
            raise _not_started(spec, "exec", errno.EINVAL)
        message = b"\0".join(os.fsencode(field) for field in fields)
        with contextlib.suppress(BrokenPipeError):
            _write_all(self._control, b"%d\n" % len(message) + message)
        self._selector.register(self._status, selectors.EVENT_READ, "status")
        for name, stream in (("stdout", self._supervisor.stdout), ("stderr", self._supervisor.stderr)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)
        if self._supervisor.stdin is not None:
            os.set_blocking(self._supervisor.stdin.fileno(), False)
            self._selector.register(self._supervisor.stdin, selectors.EVENT_WRITE, "stdin")

    def _turn(self, timeout_s: float | None) -> bool:
        """Moves what can be moved. True when the supervisor is gone and has said all."""
        for key, _ in self._selector.select(timeout_s):
            match key.data:
                case "status":
                    said = os.read(self._status, 512)
                    self._said += said
                    if not said:
                        self._selector.unregister(self._status)
                        self._over = True
                case "stdin":
                    self._feed()
                case name:
                    self._read(name)
        return self._over

    def _feed(self) -> None:
        stream = self._supervisor.stdin
        assert stream is not None
        try:
            self._stdin = self._stdin[os.write(stream.fileno(), self._stdin[:CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = memoryview(b"")
        if not self._stdin:
            self._selector.unregister(stream)
            stream.close()

    def _read(self, name: str) -> int:
        """Takes a chunk of output; 0 when there is none now or never again."""
        stream: IO[bytes] = getattr(self._supervisor, name)
        try:
            data = os.read(stream.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._selector.unregister(stream)
        self._lines[name].take(data)
        return len(data)

    def _read_rest(self) -> None:
        # What the child wrote before its end is in the pipes now. Their own end need not come: a daemon may hold them.
        for name in [key.data for key in self._selector.get_map().values() if key.data in self._lines]:
            left = DRAIN_BYTES
            while left > 0 and (got := self._read(name)):
                left -= got
            self._lines[name].take(b"")

    def _end_of_child(self) -> ProcessEnd:
        said = dict(line.split(" ", 1) for line in self._said.decode().splitlines())
        if "f" in said:
            stage, number = said["f"].split()
            raise _not_started(self.spec, stage, int(number))
        if "x" not in said:
            if "s" in said:
                end_session(int(said["s"]))
            raise TemporaryError(
                FailureClass.CRASHED,
                f'the supervisor of "{self.spec.argv[0]}" was killed, and the program with it',
                hint="was the machine out of memory? look into the kernel's log",
            )
        return ProcessEnd(
            exit_code=os.waitstatus_to_exitcode(int(said["x"])),
            why=self.why,
            duration=timedelta(seconds=time.monotonic() - self._start),
        )


class _Lines:
    """Cuts a stream of bytes into whole lines of text. Empty bytes are the end of the stream: what is left becomes the last line.

    All lines that came together are given together: millions of short ones would take a minute of the processor one by one.
    """

    def __init__(self, name: str, on_lines: LinesSink) -> None:
        self.on_lines = on_lines
        self._name = name
        self._kept = bytearray()

    def take(self, data: bytes) -> None:
        if not data:
            if self._kept:
                self._give(self._kept)
                self._kept = bytearray()
            return
        end = data.rfind(b"\n")
        if end >= 0:
            first = data.find(b"\n")
            self._kept += data[:first]
            self._cut()
            self._kept += data[first:end]
            self._give(self._kept)
            self._kept = bytearray()
        self._kept += data[end + 1 :]
        self._cut()

    def _cut(self) -> None:
        """Gives pieces away until at most `MAX_LINE_BYTES` are kept, without cutting a character in two."""
        while len(self._kept) > MAX_LINE_BYTES:
            size = MAX_LINE_BYTES
            while size > MAX_LINE_BYTES - 4 and self._kept[size] & 0xC0 == 0x80:
                size -= 1
            self._give(self._kept[:size])
            del self._kept[:size]

    def _give(self, lines: bytearray) -> None:
        self.on_lines(self._name, lines.removesuffix(b"\r").replace(b"\r\n", b"\n").decode("utf-8", "replace"))


def _ignore(_stream: str, _lines: str) -> None:
    """A sink for output that nobody wants any more."""


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _not_started(spec: ProcessSpec, stage: str, number: int) -> PermanentError:
    program = spec.argv[0] if spec.argv else ""
    match stage, number:
        case "cwd", _:
            message, hint = f'folder "{spec.cwd}" cannot be entered: {os.strerror(number).lower()}', "create it, or correct the path"
        case "record", _:
            message, hint = f'"{spec.record}" cannot be written: {os.strerror(number).lower()}', "make room, or mend the folder's rights"
        case _, errno.ENOENT if "/" in program and os.path.lexists(spec.cwd / program):
            message, hint = f'"{program}" names an interpreter that does not exist', "look at its first line, #!"
        case _, errno.ENOENT if "/" in program:
            message, hint = f'there is no program "{program}"', "install it, or correct the path"
        case _, errno.ENOENT:
            message, hint = f'program "{program}" is not on PATH', "install it, or add its folder to PATH"
        case _, errno.EACCES:
            message, hint = f'"{program}" may not be executed', f'is it a program? "chmod +x {program}" lets it be executed'
        case _, errno.ENOEXEC:
            message, hint = f'"{program}" is not in a form that can be executed', "a script needs a first line such as #!/bin/sh"
        case _, errno.E2BIG:
            message, hint = f'the arguments and environment of "{program}" are too long', "pass large values in a file"
        case _:
            message, hint = f'"{program}" cannot be started: {os.strerror(number).lower()}', ""
    return PermanentError(FailureClass.CRASHED, message, changed=False, hint=hint)


def _read_record(record: Path) -> tuple[int, int, int, float] | None:
    """(supervisor, its start in ticks, child, grace in seconds), or None when this boot knows of none."""
    try:
        supervisor, start, boot, child, _child_start, grace_s = record.read_text().split()
    except FileNotFoundError:
        return None
    except ValueError:
        boot = ""
    if boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
        record.unlink(missing_ok=True)
        return None
    return int(supervisor), int(start), int(child), float(grace_s)


def _end_supervisor(pid: int, start: int, grace_s: float) -> bool | None:
    """Ends a supervisor and what is below it. None when it is gone already; its pid may be another process by now."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        process = supervise.Process(pid)
        if process.start != start or process.state == b"Z":
            return None
        for number, limit_s in ((signal.SIGTERM, grace_s + supervise.CLEAR_S), (signal.SIGUSR1, supervise.CLEAR_S + 5)):
            signal.pidfd_send_signal(handle, number)
            if _is_gone(handle, limit_s):
                return True
    except (FileNotFoundError, ProcessLookupError):
        return True
    finally:
        os.close(handle)
    raise PermanentError(
        FailureClass.CRASHED,
        f"process {pid}, which an earlier drystone left behind, cannot be ended",
        hint=f'end it by hand ("kill -9 {pid}" as its owner), then try again',
    )


def _is_gone(handle: int, limit_s: float) -> bool:
    with selectors.PollSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        return bool(selector.select(limit_s))


def end_session(session: int) -> bool:
    """Kills what is left of a child whose supervisor was killed: its session. False when nothing was."""
    found = False
    until = time.monotonic() + supervise.CLEAR_S
    while (left := [pid for pid in _session(session) if supervise.kill(pid, signal.SIGKILL)]) and time.monotonic() < until:
        found = bool(left)
        time.sleep(0.01)
    return found


def _session(session: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                process = supervise.Process(int(name))
                if process.session == session and process.state not in b"ZX":
                    yield process.pid
