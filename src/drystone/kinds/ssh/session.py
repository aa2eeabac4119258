"""What is done on one host that is logged in to: files there, commands, files back.

A command is read by the host's /bin/sh from standard input, so that neither it nor its variables show in a list of
processes. The shell first tells its process id; it leads a process group (sshd sees to that), and so a command that should
end is ended through a second channel with all that it started: to close the first one would leave it running.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import secrets
import select
import shlex
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import paramiko

from drystone.core import durations
from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.plugin import api
from drystone.plugin.files import sync_folder

_PID = "drystone-pid-"
_SHELL = f"""exec /bin/sh -ec 'echo "{_PID}$$"; eval "$(cat)"'"""
_NEW_FILE_MODE = 0o644
_CHUNK_BYTES = 1 << 15
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended. `exit_code` -1 is a signal."""

    exit_code: int
    stdout: str
    stderr: str


class Session:
    """One host. `name` stands before each of its lines in the log, unless `quiet`; `keep` characters of a stream are kept."""

    def __init__(self, ctx: api.Context, name: str, client: paramiko.SSHClient, *, quiet: bool, keep: int) -> None:
        self._ctx = ctx
        self._name = name
        self._client = client
        self._quiet = quiet
        self._keep = keep
        self._sftp: paramiko.SFTPClient | None = None

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    # ---- commands ----------------------------------------------------------------------------------------------------

    def run(self, script: str, env: Mapping[str, str], timeout: timedelta | None) -> Ended:
        """Runs a script of /bin/sh -e to its end. Raises AttemptError when it should end before, or the connection breaks."""
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
        try:
            channel = self._transport().open_session()
            with channel:
                channel.exec_command(_SHELL)
                channel.sendall((exports + script + "\n").encode())
                channel.shutdown_write()
                return self._follow(channel, timeout)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(error) from error

    def _follow(self, channel: paramiko.Channel, timeout: timedelta | None) -> Ended:
        deadline = None if timeout is None else monotonic() + timeout.total_seconds()
        out, err = _Stream(self._tell, self._keep), _Stream(self._tell, self._keep)
        while True:
            moved = _pump(channel.recv_ready, channel.recv, out) | _pump(channel.recv_stderr_ready, channel.recv_stderr, err)
            if moved:
                continue
            if channel.exit_status_ready() or channel.closed:
                break
            if self._ctx.cancelled:
                self._end(channel, out)
                self._ctx.check()
            if deadline is not None and monotonic() > deadline:
                self._end(channel, out)
                assert timeout is not None
                raise TemporaryError(FailureClass.TIMEOUT, f"{self._name}: no end after {durations.to_text(timeout)}")
            select.select([channel.fileno()], [], [], _POLL_SECONDS)
        out.finish()
        err.finish()
        exit_code = channel.recv_exit_status()
        # A signal and a broken connection both leave no exit code; the transport of the latter is about to end.
        if exit_code == -1 and self._is_gone():
            raise self._lost("the connection was closed")
        return Ended(exit_code=exit_code, stdout=out.kept, stderr=err.kept)

    def _is_gone(self) -> bool:
        transport = self._client.get_transport()
        if transport is not None:
            transport.join(2 * _POLL_SECONDS)
        return transport is None or not transport.is_active()

    def _tell(self, line: str) -> None:
        if not self._quiet:
            self._ctx.log(f"{self._name} | {line}")

    def _end(self, channel: paramiko.Channel, out: _Stream) -> None:
        """Ends a command's process group: gracefully, then for good. That the host is gone by now is no further error."""
        deadline = monotonic() + _GRACE_SECONDS
        while out.pid is None and not channel.closed and monotonic() < deadline:
            # It has only just begun, and has not told whom to end.
            if not _pump(channel.recv_ready, channel.recv, out):
                select.select([channel.fileno()], [], [], _POLL_SECONDS)
        if out.pid is not None:
            self._kill(out.pid)

    def _kill(self, pid: int) -> None:
        # The group may outlive its leader, so the second signal is not asked for by what the first one did.
        script = (
            f"kill -INT -{pid} 2>/dev/null; n=0; "
            f'while kill -0 -{pid} 2>/dev/null && [ "$n" -lt {int(_GRACE_SECONDS * 10)} ]; do sleep 0.1; n=$((n+1)); done; '
            f"kill -KILL -{pid} 2>/dev/null; true"
        )
        with suppress(paramiko.SSHException, OSError, EOFError), self._transport().open_session(timeout=_GRACE_SECONDS) as channel:
            channel.exec_command(f"exec /bin/sh -c {shlex.quote(script)}")
            channel.settimeout(2 * _GRACE_SECONDS)
            channel.recv(1)

    def _transport(self) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise self._lost("the connection was closed")
        return transport

    def _lost(self, reason: object) -> TemporaryError:
        return TemporaryError(FailureClass.UNREACHABLE, f"{self._name}: the connection broke: {reason}")

    # ---- files -------------------------------------------------------------------------------------------------------

    def upload(self, content: bytes, dest: str, mode: int | None) -> None:
        """Puts a file there in one step: who reads it sees the old one or the new one. An existing file keeps its mode."""
        temporary = f"{dest}.{secrets.token_hex(4)}.part"
        try:
            sftp = self._open_sftp()
            if mode is None:
                mode = self._mode_of(sftp, dest)
            try:
                with sftp.open(temporary, "wx") as file:
                    # Before the content, which may be secret.
                    file.chmod(mode)
                    file.set_pipelined(True)
                    for start in range(0, len(content), _CHUNK_BYTES):
                        self._ctx.check()
                        file.write(content[start : start + _CHUNK_BYTES])
                sftp.posix_rename(temporary, dest)
            except BaseException:
                with suppress(OSError, paramiko.SSHException, EOFError):
                    sftp.remove(temporary)
                raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._file_error(dest, error) from error

    def _mode_of(self, sftp: paramiko.SFTPClient, dest: str) -> int:
        try:
            found = sftp.stat(dest).st_mode
        except FileNotFoundError:
            return _NEW_FILE_MODE
        if found is not None and stat.S_ISDIR(found):
            raise PermanentError(
                FailureClass.INVALID, f'{self._name}: "{dest}" is a folder', hint='end `dest` with "/" to put the file into it'
            )
        return _NEW_FILE_MODE if found is None else stat.S_IMODE(found)

    def download(self, src: str, dest: Path) -> dict[str, Any]:
        """Fetches a file; `dest` appears when it is whole. Returns path, sha256 and size in bytes."""
        part = dest.with_name(f".{dest.name}.part")
        digest = hashlib.sha256()
        try:
            with self._open_sftp().open(src, "rb") as file, part.open("wb") as local:
                size = file.stat().st_size or 0
                file.prefetch(size)
                while chunk := file.read(_CHUNK_BYTES):
                    self._ctx.check()
                    digest.update(chunk)
                    local.write(chunk)
                size = local.tell()
                local.flush()
                os.fsync(local.fileno())
            part.replace(dest)
            sync_folder(dest.parent)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._file_error(src, error) from error
        finally:
            part.unlink(missing_ok=True)
        return {"path": str(dest), "sha256": digest.hexdigest(), "size": size}

    def _open_sftp(self) -> paramiko.SFTPClient:
        if self._sftp is None:
            self._sftp = self._client.open_sftp()
        return self._sftp

    def _file_error(self, path: str, error: Exception) -> AttemptError:
        match error:
            case FileNotFoundError():
                return TemporaryError(FailureClass.FAILED, f'{self._name}: there is no "{path}", or no folder for it')
            case PermissionError():
                return PermanentError(FailureClass.REFUSED, f'{self._name}: no right to "{path}"')
            case EOFError() | paramiko.SSHException() | ConnectionError() | TimeoutError():
                return self._lost(error or "no answer")
            case _:
                return TemporaryError(FailureClass.FAILED, f'{self._name}: "{path}": {error}')


class _Stream:
    """Cuts bytes into lines of text, tells each, and keeps the end. The line with the process id is taken out."""

    def __init__(self, tell: Callable[[str], None], keep: int) -> None:
        self._tell = tell
        self._keep = keep
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self.kept = ""
        self.pid: int | None = None

    def take(self, data: bytes) -> None:
        *lines, self._open = (self._open + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._line(line)

    def finish(self) -> None:
        rest = self._open + self._decoder.decode(b"", final=True)
        self._open = ""
        if rest:
            self._line(rest)

    def _line(self, line: str) -> None:
        if self.pid is None and line.startswith(_PID):
            # What stands before it was printed by the user's own shell at its start.
            self.pid, self.kept = int(line.removeprefix(_PID)), ""
            return
        self._tell(line.removesuffix("\r"))
        self.kept = (self.kept + line + "\n")[-self._keep :]


def _pump(is_ready: Callable[[], bool], receive: Callable[[int], bytes], stream: _Stream) -> bool:
    if not is_ready():
        return False
    data = receive(_CHUNK_BYTES)
    stream.take(data)
    return bool(data)
