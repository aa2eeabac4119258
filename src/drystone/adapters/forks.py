"""Warm starts: keeps processes to fork from, one for each `Preload`, and says how to get a fork. Implements `ports.Forks`.

`forkserver` is such a process, `forked` stands in the place of the program that is to run in a fork. The socket between them has no name in
the file system, so that nothing is left behind whoever is killed; both sides ask the kernel whose the other one is.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from drystone.adapters import forked
from drystone.errors import FailureClass, TemporaryError
from drystone.ports import Preload

SERVER = os.path.join(os.path.dirname(forked.__file__), "forkserver.py")
MOST = 6
"""Processes kept at once, the last used ones. Each has some 50 MB of its own with Ansible imported."""
IDLE = timedelta(minutes=5)
"""After so long without work one ends. 5 min outlasts what stands between two playbooks of a run."""
MAX_FORKS = 500
"""Of one process; then a fresh one takes its place, whatever its imports have piled up."""
END_S = 2.0
"""How long one may take to end when it is told to. It does nothing else, unless it still imports."""


class ForkServers:
    """The processes of one engine. They end with `close`, and when this process ends, however it does."""

    def __init__(self, *, most: int = MOST, idle: timedelta = IDLE, max_forks: int = MAX_FORKS) -> None:
        self._most, self._idle, self._max_forks = most, idle, max_forks
        self._lock = threading.Lock()
        self._servers: dict[tuple[object, ...], _Server] = {}
        self._closed = False

    def prefix(self, preload: Preload) -> Sequence[str]:
        """`ports.Forks.prefix`. Does not wait for the imports: who comes before their end waits in line."""
        key = (preload.python, preload.script, preload.cwd, preload.path, preload.stamp, tuple(sorted(preload.environ.items())))
        with self._lock:
            if self._closed:
                return ()
            server = self._servers.pop(key, None)
            if server is not None and server.has_ended():
                server.end()
                server = None
            if server is None:
                server = self._start(preload)
            self._servers[key] = server
            while len(self._servers) > self._most:
                self._servers.pop(next(iter(self._servers))).end()
        return (sys.executable, "-I", "-S", forked.__file__, server.address)

    def _start(self, preload: Preload) -> _Server:
        try:
            return _Server(preload, self._idle, self._max_forks)
        except OSError as error:
            message = f"no process to fork from can be started: {os.strerror(error.errno or 0).lower()}"
            raise TemporaryError(FailureClass.CRASHED, message, changed=False) from error

    def pids(self) -> Sequence[int]:
        """Of the processes that are there."""
        with self._lock:
            return [server.pid for server in self._servers.values() if not server.has_ended()]

    def close(self) -> None:
        """`ports.Forks.close`."""
        with self._lock:
            self._closed = True
            servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            server.tell_to_end()
        for server in servers:
            server.end()


class _Server:
    """One `forkserver`. It listens at `address` before it can answer."""

    def __init__(self, preload: Preload, idle: timedelta, max_forks: int) -> None:
        self.address = f"drystone-{secrets.token_hex(16)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind("\0" + self.address)
            listener.listen(128)
            words = (listener.fileno(), os.getpid(), idle.total_seconds(), max_forks, preload.script, preload.path)
            self._process = subprocess.Popen(
                [preload.python, SERVER, *map(str, words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=preload.cwd,
                env=dict(preload.environ),
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def has_ended(self) -> bool:
        """It will not fork any more."""
        return self._process.poll() is not None

    def tell_to_end(self) -> None:
        """Closes the pipe that it lives by."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def end(self) -> None:
        """Ends it; what was forked goes on."""
        self.tell_to_end()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
