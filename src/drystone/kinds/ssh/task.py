"""The attempt: all hosts at once, each in a thread of its own, and one outcome or one error for all.

    connect, again and again while `wait` lasts -> upload -> run or script -> download -> outputs of this host

A host that fails does not keep the others from their end; what is told in the end is the first failure by the order of
hosts, those that said no before those that could not be reached.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from drystone.core import durations
from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.ssh.config import Command, Download, SshConfig, Upload
from drystone.plugin import api, sources
from drystone.plugin.fields import written
from drystone.plugin.files import inside, refused_write, user_path
from drystone.plugin.hosts import Host
from drystone.plugin.templating import render, sources_of

if TYPE_CHECKING:
    import paramiko

    from drystone.kinds.ssh.session import Ended, Session
    from drystone.plugin.ssh import Login

_BETWEEN_TRIES = timedelta(milliseconds=500)
_TAIL_LINES = 20
_KEEP_CHARACTERS = 1 << 18
"""Of each stream of all hosts together, from its end: outputs go into the store, which is no place for files."""
_CLOUD_INIT = "command -v cloud-init >/dev/null 2>&1 || exit 0\nexec cloud-init status --wait --long"
"""Exit codes: 0 done, 2 done with warnings, 1 failed."""
_AWAY = frozenset({FailureClass.UNREACHABLE, FailureClass.TIMEOUT})


class Ssh(api.Kind):
    """Outputs, by host name: exit (of the last command, null without one), stdout, stderr, files (those downloaded)."""

    name: ClassVar[str] = "ssh"
    Config = SshConfig

    @classmethod
    def outline(cls, config: Mapping[str, Any], source: Path) -> api.Preview:
        """What it would do on each host, in a few words."""
        steps = [word for word in ("wait", "upload", "run", "script", "download") if config.get(word)]
        changes = (api.Change(action=api.Action.RUN, what="ssh " + ", ".join(steps)),) if cls.changes_things(config) else ()
        summary = f"would {', '.join(steps) or 'connect'}"
        return api.Preview(certainty=api.Certainty.PARTIAL, summary=summary, changes=changes, outputs=api.UNKNOWN, result=api.UNKNOWN)

    @classmethod
    def changes_things(cls, config: Mapping[str, Any]) -> bool:
        """To wait and to fetch changes nothing."""
        return any(written(config, key) for key in ("upload", "run", "script"))

    @classmethod
    def is_idempotent(cls, config: Mapping[str, Any]) -> bool:
        """Files may be put there again; of commands only the author of the plan knows."""
        return written(config, "idempotent") is True or not any(written(config, key) for key in ("run", "script"))

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The script, and what is uploaded."""
        yield from sources.paths(config.get("script"), source)
        uploads = config.get("upload")
        for item in uploads if isinstance(uploads, list | tuple) else ():
            src = item.get("src") if isinstance(item, Mapping) else None
            yield from sources_of(src, source) if src is not None and item.get("template") is not False else sources.paths(src, source)

    def run(self, ctx: api.Context, config: SshConfig) -> api.Outcome:
        """Works on all hosts, at most `max_parallel` at once."""
        if not config.hosts:
            return api.Outcome(result={"ok": 0, "hosts": {}}, changed=False)
        from drystone.plugin.ssh import enter

        work = _prepare(ctx, config)
        doors = enter(ctx, work.logins)
        with ThreadPoolExecutor(min(config.max_parallel, len(config.hosts)), thread_name_prefix="ssh") as pool:
            futures = {host.name: pool.submit(_on_host, ctx, config, work, host, doors[host.name]) for host in config.hosts}
        ctx.check()
        errors = {name: error for name, future in futures.items() if (error := _error_of(future)) is not None}
        does_change = self.changes_things({key: getattr(config, key) for key in ("upload", "run", "script")})
        if errors:
            raise _worst(errors, some_worked=does_change and len(errors) < len(futures))
        outputs = {name: future.result() for name, future in futures.items()}
        return api.Outcome(
            outputs=outputs,
            result={"ok": len(outputs), "hosts": {name: {"exit": given["exit"]} for name, given in outputs.items()}},
            changed=does_change,
            sensitive=frozenset(outputs if config.sensitive else ()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What is the same on all hosts and was checked before the first one is touched."""

    commands: tuple[Command, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content of what is uploaded, by `src`."""
    logins: Mapping[str, Login] = field(default_factory=dict)
    """By host."""


def _prepare(ctx: api.Context, config: SshConfig) -> _Work:
    """Reads what the project and the user have to give. Raises PermanentError(invalid) when it is not there or cannot work."""
    # paramiko takes a quarter of a second to import, which runs without ssh do not pay.
    from drystone.plugin.ssh import login_for

    home = Path(ctx.environ.get("HOME", "/"))
    key_files = {host.name: user_path(ctx, host.key_file) for host in config.hosts if host.key_file is not None}
    commands = config.run
    if config.script is not None:
        commands = (Command(command=as_command(_content(ctx, config.script).decode(errors="surrogateescape"), config.args)),)
    return _Work(
        commands=commands,
        files={item.src: _content(ctx, item.src) for item in config.upload},
        logins={host.name: login_for(host, key_files.get(host.name), home) for host in config.hosts},
    )


def _content(ctx: api.Context, src: str) -> bytes:
    path = ctx.path(src)
    try:
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(FailureClass.INVALID, f'"{src}" cannot be read: {error.strerror}', changed=False) from error


def as_command(script: str, args: tuple[str, ...]) -> str:
    """A script as one command: a temporary file on the host, run by what its first line names, removed in any case."""
    first = script.partition("\n")[0]
    interpreter = first.removeprefix("#!").split() if first.startswith("#!") else ["/bin/sh"]
    end = "DRYSTONE_" + hashlib.sha256(script.encode(errors="surrogateescape")).hexdigest()
    words = " ".join((shlex.join(interpreter), '"$drystone_file"', shlex.join(args)))
    newline = "" if script.endswith("\n") else "\n"
    return (
        "drystone_file=$(mktemp)\ntrap 'rm -f \"$drystone_file\"' EXIT\ntrap 'exit 130' INT TERM HUP\n"
        f"cat > \"$drystone_file\" <<'{end}'\n{script}{newline}{end}\n{words}\n"
    )


# ---- one host --------------------------------------------------------------------------------------------------------


def _on_host(ctx: api.Context, config: SshConfig, work: _Work, host: Host, door: ExitStack) -> dict[str, Any]:
    from drystone.kinds.ssh.session import Session

    deadline = None if config.wait is None else monotonic() + config.wait.total_seconds()
    with door:
        client = _connect(ctx, config, work, host, deadline)
    session = Session(ctx, host.name, client, quiet=config.sensitive, keep=_KEEP_CHARACTERS // len(config.hosts))
    try:
        if deadline is not None and config.cloud_init:
            _wait_for_cloud_init(ctx, config, session, host, deadline)
        for item in config.upload:
            _upload(ctx, config, session, host, item, work.files[item.src])
        exit_code, stdout, stderr = None, "", ""
        for command in work.commands:
            ended = _command(ctx, config, session, host, command)
            exit_code, stdout, stderr = ended.exit_code, stdout + ended.stdout, stderr + ended.stderr
        files = [_download(ctx, session, host, item) for item in config.download]
    finally:
        session.close()
    return {"exit": exit_code, "stdout": stdout.rstrip("\n"), "stderr": stderr.rstrip("\n"), "files": files}


def _connect(ctx: api.Context, config: SshConfig, work: _Work, host: Host, deadline: float | None) -> paramiko.SSHClient:
    from drystone.plugin.ssh import connect

    while True:
        ctx.check()
        try:
            client = connect(host, work.logins[host.name], config.connect_timeout, ctx.check)
        except TemporaryError as error:
            # A new host may answer before its user or its key is there.
            if deadline is None or error.failure_class not in _AWAY | {FailureClass.REFUSED}:
                raise
            if monotonic() + _BETWEEN_TRIES.total_seconds() > deadline:
                assert config.wait is not None
                said = error.message.removeprefix(f"{host.name}: ")
                message = f"{host.name}: not ready after {durations.to_text(config.wait)}: {said}"
                raise TemporaryError(error.failure_class, message, changed=False, hint=error.hint) from error
            ctx.wait(_BETWEEN_TRIES)
        else:
            ctx.emit(f"{host.name}: connected", host=host.name, status="connected")
            return client


def _wait_for_cloud_init(ctx: api.Context, config: SshConfig, session: Session, host: Host, deadline: float) -> None:
    """A new machine can be logged into before it is what it shall be. Raises TemporaryError(timeout, failed) with what cloud-init says."""
    assert config.wait is not None
    left = timedelta(seconds=max(1.0, deadline - monotonic()))
    try:
        ended = session.run(_CLOUD_INIT, config.env, left)
    except TemporaryError as error:
        if error.failure_class is not FailureClass.TIMEOUT:
            raise
        message = f"{host.name}: not ready after {durations.to_text(config.wait)}: cloud-init has not ended"
        hint = "look at /var/log/cloud-init-output.log on the host, or wait longer; cloud_init: false does not wait for it"
        raise TemporaryError(FailureClass.TIMEOUT, message, changed=False, hint=hint) from error
    if ended.exit_code not in (0, 2):
        lines = (ended.stdout.strip() or ended.stderr.strip()).splitlines()
        said = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else f"exit code {ended.exit_code}")
        hint = "look at /var/log/cloud-init-output.log on the host; cloud_init: false does not wait for it"
        message = f"{host.name}: cloud-init failed: {said.strip()}"
        raise TemporaryError(FailureClass.FAILED, message, detail="\n".join(lines[-_TAIL_LINES:]), changed=False, hint=hint)


def _upload(ctx: api.Context, config: SshConfig, session: Session, host: Host, item: Upload, content: bytes) -> None:
    if item.template:
        known = {"host": host.model_dump(mode="json"), "run": {"id": ctx.run_id, "environment": ctx.environment}}
        folders = (ctx.path(item.src).parent, ctx.source)
        content = render(content.decode(errors="replace"), item.src, {**known, **config.vars}, folders).encode()
    session.upload(content, item.target, item.mode)
    ctx.log(f"{host.name} | uploaded {item.target}, {len(content)} bytes")
    ctx.emit(f"{host.name}: uploaded {item.target}", host=host.name, status="uploaded")


def _command(ctx: api.Context, config: SshConfig, session: Session, host: Host, command: Command) -> Ended:
    ended = session.run(command.command, {**config.env, **command.env}, command.timeout or config.timeout)
    what = "the script" if config.script is not None else f'"{_brief(command.command)}"'
    ctx.emit(f"{host.name}: {what} ended with exit code {ended.exit_code}", host=host.name, status=str(ended.exit_code))
    if ended.exit_code in command.ok:
        return ended
    lines = [] if config.sensitive else (ended.stderr.strip() or ended.stdout.strip()).splitlines()
    how = "a signal" if ended.exit_code < 0 else f"exit code {ended.exit_code}"
    raise TemporaryError(
        FailureClass.CRASHED if ended.exit_code < 0 else FailureClass.FAILED,
        f"{host.name}: {what} ended with {how}" + (f": {lines[-1].strip()}" if lines else ""),
        detail="\n".join(lines[-_TAIL_LINES:]),
    )


def _brief(command: str) -> str:
    line = command.strip().splitlines()[0]
    return line if len(line) <= 60 else f"{line[:57]}..."


def _download(ctx: api.Context, session: Session, host: Host, item: Download) -> dict[str, Any]:
    dest = (item.dest or PurePosixPath(item.src).name).replace("{host}", host.name)
    path = Path(dest) if dest.startswith("/") else inside(ctx.artifacts, f"{host.name}/{dest}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused_write(path, error) from error
    fetched = session.download(item.src, path)
    ctx.log(f"{host.name} | downloaded {item.src}, {fetched['size']} bytes")
    ctx.emit(f"{host.name}: downloaded {item.src}", host=host.name, status="downloaded")
    return fetched


# ---- all hosts -------------------------------------------------------------------------------------------------------


def _error_of(future: Future[dict[str, Any]]) -> AttemptError | None:
    error = future.exception()
    if error is None or isinstance(error, AttemptError):
        return error
    raise error


def _worst(errors: Mapping[str, AttemptError], *, some_worked: bool) -> AttemptError:
    """One error for all: what a host said no to comes before hosts that could not be reached."""
    first = next((error for error in errors.values() if error.failure_class not in _AWAY), next(iter(errors.values())))
    more = len(errors) - 1
    message = first.message + (f" (and {more} more {'host' if more == 1 else 'hosts'})" if more else "")
    detail = first.detail if not more else "\n".join(error.message for error in errors.values())
    changed = some_worked or any(error.changed for error in errors.values())
    known: dict[str, Any] = {"changed": changed, "detail": detail, "hint": first.hint}
    if isinstance(first, PermanentError):
        return PermanentError(first.failure_class, message, **known)
    return TemporaryError(first.failure_class, message, retry_in=first.retry_in, **known)
