"""A PostgreSQL server of the tests' own, from the programs that Debian's package brings."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


@dataclass(frozen=True, kw_only=True)
class Server:
    """A PostgreSQL server on loopback, where `owner` needs the password, and on a socket, where nobody does."""

    port: int
    sockets: Path
    password: str
    binaries: Path

    @property
    def url(self) -> str:
        return f"postgresql://owner:{self.password}@127.0.0.1:{self.port}/postgres"

    def ask(self, query: str, database: str = "postgres") -> str:
        """What psql prints for a query of the superuser."""
        command = [self.binaries / "psql", "-h", self.sockets, "-p", str(self.port), "-U", "postgres", "-XAtc", query, database]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Shared by all tests of a session: each takes a schema of its own."""
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed here: what is meant for PostgreSQL was NOT TESTED (apt install postgresql)")
    # Not below pytest's own folder, which no other account may enter; and a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        as_owner = _own(folder)
        password = secrets.token_hex(8)
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        server = Server(port=port, sockets=folder, password=password, binaries=BINARIES[-1])
        _call(as_owner, [BINARIES[-1] / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"])
        (folder / "data/pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        options = f"-k {folder} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB -c max_connections=30"
        control = [BINARIES[-1] / "pg_ctl", "-D", folder / "data", "-w"]
        _call(as_owner, [*control, "-l", folder / "log", "-o", options, "start"])
        try:
            server.ask(f"CREATE ROLE owner LOGIN SUPERUSER PASSWORD '{password}'; ")
            server.ask(f"CREATE ROLE guest LOGIN PASSWORD '{password}'")
            yield server
        finally:
            _call(as_owner, [*control, "-m", "immediate", "stop"])


def _own(folder: Path) -> dict[str, Any]:
    """Gives the folder to the server's account: it refuses to be root. Returns how to start programs as that account."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    shutil.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _call(as_owner: dict[str, Any], command: list[Any]) -> None:
    # Not through a pipe: the server would inherit it, and it would never end.
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, **as_owner
        )
        output.seek(0)
        assert result.returncode == 0, output.read()
