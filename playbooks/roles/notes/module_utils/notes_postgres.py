"""A PostgreSQL server of the application's own: made, started, stopped and asked on this host.

Shared by the Ansible modules of this role. The server listens on no network: only on a unix socket beside its data,
where the kernel tells it who is calling (`peer`). Its data belong to the account `postgres`, or to an ordinary user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.notes_database import PostgresConnection
from ansible.module_utils.notes_host import can_reach, make_folder, write_file

BINARIES = Path("/usr/lib/postgresql")
ROLE = DATABASE = "notes"
TIMEOUT_SECONDS = 60

# `drystone` in pg_ident.conf says which account may be which role.
HBA = "local all all peer map=drystone\n"

# The socket's path is relative to the data, as its absolute one may be longer than the 107 bytes of an address.
SETTINGS = """\
listen_addresses = ''
unix_socket_directories = '../socket'
shared_buffers = 16MB
max_connections = 40
log_timezone = UTC
timezone = UTC
"""


class PostgresError(Exception):
    """The server could not be made, started or stopped; the text carries its last words."""


def find_binaries(base: Path) -> Path | None:
    """The folder with `initdb` and `pg_ctl` for the data below `base`, or None when the host has none that fit.

    Data remember their major version and are opened with no other; new data get the newest version.
    """
    with_initdb = {path.parent.parent.name: path.parent for path in BINARIES.glob("*/bin/initdb")}
    version_file = base / "db" / "postgresql" / "PG_VERSION"
    if version_file.exists():
        return with_initdb.get(version_file.read_text().strip())
    newest = max(with_initdb, key=lambda version: [int(part) for part in version.split(".")], default="")
    return with_initdb.get(newest)


def find_owner() -> pwd.struct_passwd:
    """The account of the server: `postgres` if we are root (the server refuses to be root), else ourselves.

    Raises KeyError when we are root and there is no such account.
    """
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def is_usable(base: Path) -> bool:
    """Whether this host can run a server with data below `base`."""
    try:
        return find_binaries(base) is not None and can_reach(base, find_owner())
    except KeyError:
        return False


class Server:
    """The server with data in `base`/db/postgresql."""

    def __init__(self, base: Path) -> None:
        binaries = find_binaries(base)
        if binaries is None:
            raise PostgresError(f'no PostgreSQL in "{BINARIES}" fits the data in "{base}/db": install that version')
        self._binaries = binaries
        self._owner = find_owner()
        self.data = base / "db" / "postgresql"
        self.socket_folder = base / "db" / "socket"
        self._log = base / "db" / "postgresql.log"

    def create(self, application: str) -> bool:
        """Make the data when there are none; let the account `application` in. True when something was changed.

        A creation that is interrupted leaves nothing which would be taken for data.
        """
        make_folder(self.data.parent)
        changed = make_folder(self.socket_folder, self._owner)
        if not (self.data / "PG_VERSION").exists():
            if not can_reach(self.data.parent, self._owner):
                raise PostgresError(f'account "{self._owner.pw_name}" may not enter "{self.data.parent}": set app_base')
            self._make_data()
            changed = True
        return self._let_in(application) or changed

    def _let_in(self, application: str) -> bool:
        """Say which accounts may be which roles: ourselves any, the application its own. True when that is new."""
        administrators = {pwd.getpwuid(os.geteuid()).pw_name, self._owner.pw_name}
        pairs = {(account, role) for account in administrators for role in ("postgres", ROLE)} | {(application, ROLE)}
        mapping = "".join(f'drystone "{account}" {role}\n' for account, role in sorted(pairs))
        if not write_file(self.data / "pg_ident.conf", mapping):
            return False
        if self.is_running():
            self._control("reload")
        return True

    def _make_data(self) -> None:
        fresh = self.data.with_name("postgresql.new")
        shutil.rmtree(fresh, ignore_errors=True)
        make_folder(fresh, self._owner, mode=0o700)
        self._run("initdb", "-D", str(fresh), "-U", "postgres", "-A", "peer", "--no-locale", "-E", "UTF8")
        (fresh / "postgresql.conf").write_text(SETTINGS)
        (fresh / "pg_hba.conf").write_text(HBA)
        fresh.rename(self.data)

    def is_running(self) -> bool:
        """Whether the server runs, by its own lock file."""
        return self._try("pg_ctl", "status", "-D", str(self.data)).returncode == 0

    def start(self) -> bool:
        """Start it and wait until it answers; make the application's role and database. True when any was not there."""
        changed = not self.is_running()
        if changed:
            self._log.touch()
            os.chown(self._log, self._owner.pw_uid, self._owner.pw_gid)
            self._control("start", "-l", str(self._log))
        with closing(PostgresConnection(str(self.socket_folder), "postgres", "postgres")) as server:
            if not server.rows("SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE):
                server.script(f"CREATE ROLE {ROLE} LOGIN")
                changed = True
            if not server.rows("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                server.script(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
                changed = True
        return changed

    def stop(self) -> bool:
        """Stop it, ending open sessions; its data stay. True when it ran."""
        if not (self.data / "PG_VERSION").exists() or not self.is_running():
            return False
        self._control("stop", "-m", "fast")
        return True

    def _control(self, action: str, *arguments: str) -> None:
        self._run("pg_ctl", action, "-D", str(self.data), "-s", "-w", "-t", str(TIMEOUT_SECONDS), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        result = self._try(program, *arguments)
        if result.returncode:
            log = self._log.read_text(errors="replace")[-1000:] if self._log.exists() else ""
            raise PostgresError(f"{program} failed: {result.stdout.strip()}\n{log}".strip())

    def _try(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the owner of the data.

        In a session of its own and with a file for its words: a server that inherits the pipes of an SSH session
        would hold that session open for ever.
        """
        with tempfile.TemporaryFile("w+") as words:
            as_owner: dict[str, Any] = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
            result = subprocess.run(
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                check=False,
                timeout=2 * TIMEOUT_SECONDS,
                **(as_owner if os.geteuid() == 0 else {}),
            )
            words.seek(0)
            return subprocess.CompletedProcess(result.args, result.returncode, words.read())
