"""What is asked of one host that is logged in to: commands, then files, as raw bytes.

The host is not trusted: it may lie, stall, or never stop talking. So commands have a limit of time and bytes, only regular files
are read, and what it refuses is noted instead of ending the collection. Only a connection that breaks does that.
"""

from __future__ import annotations

import fnmatch
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from time import monotonic
from typing import Any

import paramiko

from drystone.errors import FailureClass, TemporaryError
from drystone.kinds.evidence.custody import Custody
from drystone.plugin import api

_CHUNK_BYTES = 1 << 15
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5
_MAX_MATCHES = 2_000
"""Of one pattern: a folder with a million files must not fill our disk."""


class Collector:
    """One host. Raises TemporaryError(unreachable) when the connection breaks, and what `ctx.check` raises."""

    def __init__(self, ctx: api.Context, name: str, client: paramiko.SSHClient, limit: int, timeout: timedelta) -> None:
        self._ctx = ctx
        self._name = name
        self._client = client
        self._limit = limit
        self._timeout = timeout

    def clock_offset(self) -> float | None:
        """How many seconds the host's clock is ahead of ours, half a round trip more or less; None when it does not tell."""
        before = self._ctx.now()
        said = b"".join(self._output("date +%s.%N", {}))
        middle = before + (self._ctx.now() - before) / 2
        try:
            return round(float(said) - middle.timestamp(), 3)
        except ValueError:
            return None

    def command(self, custody: Custody, name: str, command: str) -> None:
        """Keeps what a command prints, both streams as they come."""
        facts: dict[str, Any] = {"name": name, "command": command, "at": self._ctx.now().isoformat()}
        custody.artefact("command", name, self._output(command, facts), self._limit, facts)

    def _output(self, command: str, facts: dict[str, Any]) -> Iterator[bytes]:
        seconds = max(1, round(self._timeout.total_seconds()))
        # What is not ended there goes on after the channel is closed.
        wrapped = f"exec timeout -k {_GRACE_SECONDS} {seconds} /bin/sh -c {shlex.quote(command)}"
        deadline = monotonic() + seconds + 2 * _GRACE_SECONDS
        try:
            transport = self._client.get_transport()
            assert transport is not None
            with transport.open_session(timeout=seconds) as channel:
                channel.set_combine_stderr(True)
                channel.exec_command(wrapped)
                channel.settimeout(_POLL_SECONDS)
                yield from self._received(channel, deadline, facts)
                if "error" not in facts:
                    facts["exit"] = channel.recv_exit_status()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error
        if facts.get("exit") == 124:
            facts["error"] = f"no end after {seconds} s"
        elif facts.get("exit") in (126, 127):
            facts["error"] = "the host does not have this command, or may not run it"

    def _received(self, channel: paramiko.Channel, deadline: float, facts: dict[str, Any]) -> Iterator[bytes]:
        while True:
            self._ctx.check()
            try:
                data = channel.recv(_CHUNK_BYTES)
            except TimeoutError:
                if monotonic() < deadline:
                    continue
                facts["error"] = "the host did not end it"
                return
            if not data:
                return
            yield data

    def files(self, custody: Custody, patterns: tuple[str, ...]) -> None:
        """Keeps the regular files that the patterns match, in their order; each file once."""
        seen: set[str] = set()
        try:
            with self._client.open_sftp() as sftp:
                for pattern in patterns:
                    matched = list(_matches(sftp, pattern))
                    for path in matched[:_MAX_MATCHES]:
                        if path not in seen:
                            seen.add(path)
                            self._file(custody, sftp, path)
                    if len(matched) > _MAX_MATCHES:
                        facts = {"source": pattern, "error": f"{len(matched)} files match; only the first {_MAX_MATCHES} were collected"}
                        custody.missing(facts)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error

    def _file(self, custody: Custody, sftp: paramiko.SFTPClient, path: str) -> None:
        facts: dict[str, Any] = {"source": path, "at": self._ctx.now().isoformat()}
        try:
            found = sftp.stat(path)
            # A pipe or a device would never end.
            if found.st_mode is None or not stat.S_ISREG(found.st_mode):
                return
            facts |= {
                "mode": f"{stat.S_IMODE(found.st_mode):04o}", "uid": found.st_uid, "gid": found.st_gid, "size_there": found.st_size,
                "accessed": _instant(found.st_atime), "modified": _instant(found.st_mtime), "real_path": sftp.normalize(path),
            }  # fmt: skip
            with sftp.open(path, "rb") as file:
                custody.artefact("file", _file_name(path), self._content(file, facts), self._limit, facts)
        except OSError as error:
            _raise_broken(error)
            custody.missing({**facts, "error": error.strerror or str(error)})

    def _content(self, file: paramiko.SFTPFile, facts: dict[str, Any]) -> Iterator[bytes]:
        """To its end, not to its size: those of /proc have none, and logs grow."""
        with suppress(OSError):
            file.prefetch(min(facts["size_there"] or 0, self._limit))
        while True:
            self._ctx.check()
            try:
                data = file.read(_CHUNK_BYTES)
            except OSError as error:
                _raise_broken(error)
                facts["error"] = f"it could not be read to its end: {error}"
                return
            if not data:
                return
            yield data

    def _lost(self, reason: object) -> TemporaryError:
        said = str(reason) or type(reason).__name__
        return TemporaryError(FailureClass.UNREACHABLE, f"{self._name}: the connection broke: {said}", changed=False)


def _matches(sftp: paramiko.SFTPClient, pattern: str) -> Iterator[str]:
    """Paths that are there, in alphabetical order. Wildcards do not match across "/"."""
    found = ["/"]
    for part in PurePosixPath(pattern).parts[1:]:
        if not any(sign in part for sign in "*?["):
            found = [str(PurePosixPath(folder, part)) for folder in found]
            continue
        inside = {folder: sorted(name for name in _names(sftp, folder) if fnmatch.fnmatchcase(name, part)) for folder in found}
        found = [str(PurePosixPath(folder, name)) for folder, names in inside.items() for name in names]
    for path in found:
        try:
            sftp.lstat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            _raise_broken(error)
        yield path


def _names(sftp: paramiko.SFTPClient, folder: str) -> list[str]:
    try:
        return list(sftp.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except OSError as error:
        _raise_broken(error)
        return []


def _raise_broken(error: OSError) -> None:
    """Raises what is about the connection; the rest is about one file. An error of SFTP has a number, one of paramiko's sockets may not."""
    if isinstance(error, ConnectionError | TimeoutError) or (error.errno is None and str(error) == "Socket is closed"):
        raise error


def _file_name(path: str) -> str:
    """A name for our own folder; the real one is in the manifest."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in path.strip("/"))
    return plain[-100:].lstrip(".") or "file"


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
