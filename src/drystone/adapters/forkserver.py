"""A Python process that has imported what programs need, and is forked for each of them: `python forkserver.py …`, started by `forks`.

    forks ── listening socket, life pipe ──> forkserver ── fork ──> guardian ── fork ──> the program: `run(argv)` of the script
    forked (in the program's place) ── its streams, folder, argv and environment ──────^
           <── `s` it begins · `x STATUS` it ended (wait status) · `r REASON` it cannot be had
           ──> `e` end gracefully · the end of the connection: end at once

With DRYSTONE_LEASH=ADDRESS in its environment the program is a part of another one, which listens there. What an interrupted part leaves
running (an SSH connection through which the hosts can be tidied up) is then ended when the leash is let go, and not before.

A guardian is to the program what `supervise` is to a child, and lives for the `forked` that it works for and no longer. It does not need
this server any more: kill -9 between two programs costs a cold start, and during one nothing. The server serves no program itself, so
that it does not grow. It ends with drystone, after a time without work, and after a number of forks.

Any Python with the imports may run this file: of drystone it needs `supervise` beside it and nothing else.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # The folder of a script is the first on its path, and modules in this one have the names of others.
    del sys.path[0]

import _signal as signal  # type: ignore[import-not-found]
import atexit
import gc
import importlib.util
import logging
import os
import select
import socket
import struct
import traceback
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from drystone.adapters import supervise

LIMIT_S = 86_400.0
"""Grace of a program after `e`. Whoever asked for its end has a limit of its own, and closes the connection then."""
_REASON_CHARACTERS = 300
_LEASH = b"DRYSTONE_LEASH="
_FDS = struct.Struct("3i")


def load(path: str, name: str) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    supervise = load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervise.py"), "_drystone_supervise")


class Preloaded:
    """The script after its imports. `trouble` says why there is nothing to fork; `said` is what they wrote, for each fork to say again."""

    def __init__(self, script: str) -> None:
        self.script: Any = None
        self.trouble = ""
        self.said = b""
        place = os.memfd_create("said")
        for fd in (1, 2):
            os.dup2(place, fd)
        try:
            self.script = load(script, "_drystone_preloaded")
            self.script.preload()
        # Ansible leaves with SystemExit when it cannot read its settings: in a cold start its user sees why.
        except BaseException as error:
            self.trouble = " ".join(f"{type(error).__name__}: {error}".split())[:_REASON_CHARACTERS]
        _flush()
        self.said = os.pread(place, 1 << 20, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        for fd in (1, 2):
            os.dup2(null, fd)
        for fd in (null, place):
            os.close(fd)
        # What is here stays: a collection in a fork must not copy all of its pages.
        gc.collect()
        gc.freeze()


class Guardian(supervise.Supervisor):
    """Watches one program. The connection stands for the one that it is run for: with it goes the program, at once."""

    leash: socket.socket | None = None

    def _lost_drystone(self, fd: int) -> None:
        self.poll.unregister(fd)
        self.order(now=True)

    def clear(self, doomed: Callable[[supervise.Process], bool], limit_s: float) -> None:
        """As a supervisor does; but what a part left stays until its leash is let go."""
        if self.leash is not None and self.ended is not None:
            self.tell(f"x {self.ended}")
            self.leash.recv(1)
        super().clear(doomed, limit_s)


def serve(listener: socket.socket, parent: int, preloaded: Preloaded, *, idle_s: float, forks: int) -> None:
    """Forks until drystone is gone, nobody asked for `idle_s` seconds, or `forks` were made."""
    poll = select.poll()
    for fd in (listener.fileno(), 0):
        poll.register(fd, select.POLLIN)
    with suppress(AttributeError, OSError):
        # The life pipe may have been inherited by another child of drystone in the moment of its start.
        poll.register(os.pidfd_open(parent), select.POLLIN)
    while forks and (found := poll.poll(idle_s * 1000)):
        if any(fd != listener.fileno() for fd, _ in found):
            return
        connection, _ = listener.accept()
        if _uid(connection) == os.getuid():
            forks -= 1
            if os.fork() == 0:
                try:
                    listener.close()
                    guard(connection, preloaded)
                finally:
                    os._exit(0)
        connection.close()


def guard(connection: socket.socket, preloaded: Preloaded) -> None:
    """The life of a guardian: takes what is asked for, starts it, and tells how it ended."""
    os.setsid()
    supervise.hide_streams()
    _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(_FDS.size))
    streams = _FDS.unpack(ancillary[0][2])
    header = supervise.read_header(connection.fileno())
    if not header:
        return
    if preloaded.trouble:
        connection.sendall(f"r {preloaded.trouble}\n".encode())
        return
    cwd, count = header[0], int(header[1])
    argv, environ = header[2 : 2 + count], [pair for pair in header[2 + count :] if not pair.startswith(_LEASH)]
    supervise.prctl(supervise.PR_SET_CHILD_SUBREAPER, 1)
    guardian = Guardian(connection.fileno(), connection.fileno(), LIMIT_S)
    for pair in header[2 + count :]:
        if pair.startswith(_LEASH):
            guardian.leash = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            guardian.leash.connect(b"\0" + pair.removeprefix(_LEASH))
    guardian.tell("s")
    me = os.getpid()
    guardian.child = os.fork()
    if guardian.child == 0:
        supervise.prctl(supervise.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == me:
            connection.close()
            leave_after(lambda: become(streams, cwd, argv, environ, preloaded))
        os._exit(1)
    for fd in streams:
        os.close(fd)
    guardian.watch()
    if guardian.ended is not None:
        guardian.tell(f"x {guardian.ended}")


def become(streams: tuple[int, ...], cwd: bytes, argv: list[bytes], environ: list[bytes], preloaded: Preloaded) -> int:
    """The program, from what a start by the shell would have given it to its exit code."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    supervise.restore_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(cwd)
    os.environb.clear()
    os.environb.update(pair.split(b"=", 1) for pair in environ)  # type: ignore[misc]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, f"__{name}__")
        new = open(number, "r" if number == 0 else "w", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        new.reconfigure(line_buffering=number == 2 or new.isatty())
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    sys.argv = [os.fsdecode(word) for word in argv]
    os.write(2, preloaded.said)
    return int(preloaded.script.run(sys.argv) or 0)


def leave_after(work: Callable[[], int]) -> None:
    """Ends this fork with the exit code of `work`, as Python ends a program, but without taking the whole of it down first."""
    status = 1
    try:
        status = work()
    except SystemExit as end:
        status = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            atexit._run_exitfuncs()
            _flush()
        finally:
            os._exit(status & 0xFF)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _uid(connection: socket.socket) -> int:
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def main(listener: str, parent: str, idle_s: str, forks: str, script: str, first: str) -> None:
    """The life of this process."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if first:
        sys.path.insert(0, first)
    listening = socket.socket(fileno=int(listener))
    listening.set_inheritable(False)
    preloaded = Preloaded(script)
    # Whoever was forked is nobody's to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    serve(listening, int(parent), preloaded, idle_s=float(idle_s), forks=int(forks))


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)
