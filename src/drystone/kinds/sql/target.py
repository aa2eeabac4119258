"""The database that a URL names: its driver, what of the URL may be shown, what of it is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool
from sqlalchemy.util import immutabledict

from drystone.core.diagnostics import did_you_mean
from drystone.errors import FailureClass, PermanentError

_DEFAULT_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
"""Ours where SQLAlchemy's own has changed from version to version."""
_DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")
_SECRET_KEY = re.compile(r"pass|pwd|secret|token|odbc_connect", re.IGNORECASE)
_CONNECT_SECONDS = 10
"""How long a server may take to say hello. Drivers would wait for minutes when a firewall swallows their packets."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A database. `shown` is its URL without password and query."""

    url: URL
    shown: str

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name: postgresql, sqlite, mysql…"""
        return self.url.get_backend_name()

    @property
    def endpoint(self) -> str | None:
        """What it is called in `ctx.endpoint`; None for a file or a socket of this machine."""
        if self.url.host is None:
            return None
        host = f"[{self.url.host}]" if ":" in self.url.host else self.url.host
        port = "" if self.url.port is None else f":{self.url.port}"
        return f"sql://{host}{port}/{self.url.database or ''}"

    @property
    def secrets(self) -> Iterator[str]:
        """What must never be seen, also as it is written in a URL."""
        values = [self.url.password, *(value for key, value in self._query() if _SECRET_KEY.search(key))]
        for value in filter(None, values):
            yield from {str(value), quote(str(value)), quote(str(value), safe=""), quote_plus(str(value))}

    def _query(self) -> Iterator[tuple[str, str]]:
        for key, values in self.url.normalized_query.items():
            yield from ((key, value) for value in values)

    def engine(self, *, name: str, transaction: bool, writes: bool) -> Engine:
        """Makes connections, one for each use. `name` tells the server's administrator who is there.

        Raises PermanentError when there is no driver, or it does not take the URL.
        """
        try:
            engine = create_engine(self.url, poolclass=NullPool, hide_parameters=True, connect_args=self._arguments(name))
        except NoSuchModuleError as error:
            hint = did_you_mean(self.dialect, _DIALECTS) or "install the SQLAlchemy dialect into drystone's environment"
            raise _invalid(f'there is no dialect for "{self.url.drivername}"', hint) from error
        except ImportError as error:
            raise _no_driver(error) from error
        except (ArgumentError, TypeError, ValueError) as error:
            raise _invalid(f'the driver does not take the URL of "{self.shown}"', "look at its query") from error
        if self.dialect == "sqlite" and transaction:
            _begin_for_real(engine, "BEGIN IMMEDIATE" if writes else "BEGIN")
        return engine if transaction else engine.execution_options(isolation_level="AUTOCOMMIT")

    def _arguments(self, name: str) -> dict[str, str | int]:
        arguments: dict[str, str | int] = {}
        if self.dialect in ("postgresql", "mysql", "mariadb"):
            arguments["connect_timeout"] = _CONNECT_SECONDS
        if self.url.drivername == "postgresql+psycopg":
            arguments["application_name"] = name
        return {key: value for key, value in arguments.items() if key not in self.url.query}


def parse(text: str, project: Path) -> Target:
    """The target of a URL. Raises PermanentError(invalid), never with the text: it may hold a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        hint = 'write it as "dialect://user:password@host:port/database", with %-codes for special characters in the password'
        raise _invalid('"url" is no SQLAlchemy URL', hint) from error
    url = url.set(drivername=_DEFAULT_DRIVERS.get(url.drivername, url.drivername))
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    if is_file and not str(url.database).startswith("file:"):
        url = url.set(database=str(project / str(url.database)))
    shown = url._replace(password=None, query=immutabledict()).render_as_string()
    return Target(url=url, shown=shown)


def _begin_for_real(engine: Engine, begin: str) -> None:
    """Python's driver begins a transaction late, and none at all for CREATE TABLE: all or nothing would not hold."""

    @event.listens_for(engine, "connect")
    def _(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def _(connection: object) -> None:
        connection.exec_driver_sql(begin)  # type: ignore[attr-defined]


def _no_driver(error: ImportError) -> PermanentError:
    name = (error.name or str(error)).partition(".")[0]
    package = "drystone[postgres]" if name == "psycopg" else name
    return PermanentError(
        FailureClass.CRASHED,
        f'the database driver "{name}" is not there',
        changed=False,
        hint=f'install it beside drystone: pip install "{package}"',
    )


def _invalid(message: str, hint: str) -> PermanentError:
    return PermanentError(FailureClass.INVALID, message, changed=False, hint=hint)
