"""Logs in to one host: whom it trusts, with which key, and what each way to fail is called.

paramiko does the talking; its errors become ours here. A host is trusted by the `host_key` that the plan gives, and then by
nothing else, or by the user's own known_hosts. Nobody is ever added to that by us.
"""

from __future__ import annotations

import errno
import logging
import os
import pwd
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

import paramiko

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.plugin.api import Context
from drystone.plugin.hosts import SSH_PORT, Host, fingerprint

_KEEPALIVE_SECONDS = 15
_POLL_SECONDS = 0.1

# Without a handler of its own paramiko prints what it is about to raise, with a traceback.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """How to reach a host: the plan's words, filled up from the user's ssh config."""

    name: str
    address: str
    port: int
    user: str
    key_files: tuple[str, ...]
    """Only these; the user's own keys and agent when there are none."""

    @property
    def endpoint(self) -> str:
        """What it is called in `ctx.endpoint`."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"ssh://{address}:{self.port}"


def login_for(host: Host, key_file: Path | None, home: Path) -> Login:
    """What the plan says wins over `~/.ssh/config`. Raises PermanentError(invalid) for hosts behind jump hosts."""
    config = home / ".ssh" / "config"
    known: dict[str, Any] = {}
    if config.is_file():
        try:
            known = dict(paramiko.SSHConfig.from_path(str(config)).lookup(host.target))
        except (OSError, paramiko.ConfigParseError, UnicodeDecodeError) as error:
            raise _invalid(host.name, f'"{config}" cannot be read: {error}') from error
    if known.get("proxyjump", "none") != "none" or known.get("proxycommand", "none") != "none":
        raise _invalid(host.name, "its ssh config has a jump host", hint="ssh tasks connect directly; ansible tasks can jump")
    identities = tuple(path for path in known.get("identityfile", []) if Path(path).is_file())
    return Login(
        name=host.name,
        address=str(known.get("hostname", host.target)),
        port=host.port or int(known.get("port", SSH_PORT)),
        user=host.user or str(known.get("user", pwd.getpwuid(os.getuid()).pw_name)),
        key_files=(str(key_file),) if key_file is not None else identities,
    )


def connect(host: Host, login: Login, timeout: timedelta, check: Callable[[], None]) -> paramiko.SSHClient:
    """Connects and logs in, or raises AttemptError: unreachable, refused or invalid; nothing was changed then.

    check: called ten times a second while the connection is being made; what it raises ends the try.
    """
    client = paramiko.SSHClient()
    lookup = login.address if login.port == SSH_PORT else f"[{login.address}]:{login.port}"
    _trust(client, host, lookup)
    limit = timeout.total_seconds()
    connection = _open(login, limit, check)
    try:
        client.connect(
            login.address, port=login.port, username=login.user, sock=connection,
            key_filename=list(login.key_files) or None, look_for_keys=not login.key_files, allow_agent=not login.key_files,
            timeout=limit, banner_timeout=limit, auth_timeout=limit, channel_timeout=limit,
        )  # fmt: skip
    except (AttemptError, paramiko.SSHException, OSError, EOFError, ValueError) as error:
        client.close()
        connection.close()
        if isinstance(error, AttemptError):
            raise
        _fail(host, login, error)
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(_KEEPALIVE_SECONDS)
    return client


def enter(ctx: Context, logins: Mapping[str, Login]) -> dict[str, ExitStack]:
    """The circuit breakers of all hosts, entered before the first host is touched, so that what is held back is not half done.

    To be left by the thread of its host, once that is connected.
    """
    doors: dict[str, ExitStack] = {}
    with ExitStack() as entered:
        for name, login in logins.items():
            doors[name] = entered.enter_context(ExitStack())
            doors[name].enter_context(ctx.endpoint(login.endpoint))
        entered.pop_all()
    return doors


class _RefuseUnknown(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Says which key the host has, so that a person can compare it with what they know."""

    def __init__(self, name: str) -> None:
        self._name = name

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        raise PermanentError(
            FailureClass.REFUSED,
            f"{self._name}: nobody vouches for this host: its key {key.get_name()} {fingerprint(key.get_base64())} is not known",
            changed=False,
            hint="when it is the right one, give it as `host_key`, or add it to your known_hosts",
        )


def _trust(client: paramiko.SSHClient, host: Host, lookup: str) -> None:
    client.set_missing_host_key_policy(_RefuseUnknown(host.name))
    if not host.host_key:
        client.load_system_host_keys()
        return
    for text in host.host_key:
        kind, _, key = text.partition(" ")
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{lookup} {kind} {key}")
        if entry is None or entry.key is None:
            raise _invalid(host.name, f"a host key of type {kind} cannot be used", hint="give its ssh-ed25519 key")
        client.get_host_keys().add(lookup, kind, entry.key)


def _open(login: Login, limit: float, check: Callable[[], None]) -> socket.socket:
    """A TCP connection, made without blocking so that a cancel need not wait for a host that does not answer."""
    try:
        found = socket.getaddrinfo(login.address, login.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise _unreachable(login, f'no address for "{login.address}"') from error
    reason = "no answer"
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        number = _connected(connection, address, limit, check)
        if number == 0:
            connection.setblocking(True)
            return connection
        connection.close()
        reason = os.strerror(number).lower()
    raise _unreachable(login, reason)


def _connected(connection: socket.socket, address: Any, limit: float, check: Callable[[], None]) -> int:
    """0, or the error's number."""
    deadline = monotonic() + limit
    connection.setblocking(False)
    number = connection.connect_ex(address)
    while number in (errno.EINPROGRESS, errno.EALREADY):
        if select.select([], [connection], [], _POLL_SECONDS)[1]:
            return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            check()
        except BaseException:
            connection.close()
            raise
        if monotonic() > deadline:
            return errno.ETIMEDOUT
    return number


# ---- what went wrong -------------------------------------------------------------------------------------------------


def _fail(host: Host, login: Login, error: Exception) -> NoReturn:
    said = str(error) or type(error).__name__
    match error:
        case paramiko.BadHostKeyException():
            raise PermanentError(
                FailureClass.REFUSED,
                f"{host.name}: another host answers: its key is {fingerprint(error.key.get_base64())}, "
                f"known is {fingerprint(error.expected_key.get_base64())}",
                changed=False,
                hint="somebody may be in between; when the host was made anew, give its new key",
            ) from error
        case paramiko.PasswordRequiredException():
            raise _invalid(host.name, "the private key is encrypted", hint="load it into ssh-agent, and drop `key_file`") from error
        case paramiko.AuthenticationException():
            raise TemporaryError(
                FailureClass.REFUSED,
                f"{host.name}: {login.user} may not log in: {said.rstrip('.').lower()}",
                changed=False,
                hint="check `user` and `key_file` of the host",
            ) from error
        case paramiko.ssh_exception.IncompatiblePeer():
            raise PermanentError(FailureClass.REFUSED, f"{host.name}: no common way to talk: {said}", changed=False) from error
        case ValueError():
            raise _invalid(host.name, f"the private key cannot be used: {said}", hint="check `key_file` of the host") from error
        case OSError() if error.filename is not None:
            raise _invalid(host.name, f'"{error.filename}" cannot be read: {error.strerror}') from error
        case paramiko.SSHException() if "private key" in said.lower():
            raise _invalid(host.name, f"the private key cannot be used: {said}", hint="check `key_file` of the host") from error
        case EOFError() | ConnectionResetError():
            raise _unreachable(login, "the connection was closed before anybody was logged in") from error
        case _:
            raise _unreachable(login, said.rstrip(".")) from error


def _unreachable(login: Login, reason: str) -> TemporaryError:
    return TemporaryError(FailureClass.UNREACHABLE, f"{login.name}: {login.address} port {login.port}: {reason}", changed=False)


def _invalid(name: str, message: str, hint: str = "") -> PermanentError:
    return PermanentError(FailureClass.INVALID, f"{name}: {message}", changed=False, hint=hint)
