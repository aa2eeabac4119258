"""Which failure an error of a driver is (DESIGN §4.8). Pure: looks at the exception and nothing else.

PostgreSQL tells an SQLSTATE, SQLite an error name, MySQL a number; for all others the DB-API's exception types must do. A
failed PostgreSQL login has no code, only words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError

_C = FailureClass
_NO_TRANSACTION = 'say "transaction: false": this statement cannot be part of one'

# By the beginning of the SQLSTATE, the longest that fits: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES = {
    "08": _C.UNREACHABLE,
    "0A": _C.INVALID,
    "25": _C.INVALID,
    "25006": _C.REFUSED,
    "28": _C.REFUSED,
    "3D": _C.INVALID,
    "3F": _C.INVALID,
    "40": _C.CONFLICT,
    "42": _C.INVALID,
    "42501": _C.REFUSED,
    "53300": _C.RATE_LIMITED,
    "55": _C.CONFLICT,
    "57014": _C.TIMEOUT,
    "57P": _C.UNREACHABLE,
}
# Without the extension, https://www.sqlite.org/rescode.html
_SQLITE = {
    "SQLITE_BUSY": _C.CONFLICT,
    "SQLITE_LOCKED": _C.CONFLICT,
    "SQLITE_ERROR": _C.INVALID,
    "SQLITE_CANTOPEN": _C.INVALID,
    "SQLITE_NOTADB": _C.INVALID,
    "SQLITE_RANGE": _C.INVALID,
    "SQLITE_READONLY": _C.REFUSED,
    "SQLITE_PERM": _C.REFUSED,
    "SQLITE_AUTH": _C.REFUSED,
    "SQLITE_INTERRUPT": _C.TIMEOUT,
}
# https://dev.mysql.com/doc/mysql-errors/8.0/en/
_MYSQL = {
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1290, 1698), _C.REFUSED),
    **dict.fromkeys((1049, 1054, 1064, 1146, 1305), _C.INVALID),
    **dict.fromkeys((1205, 1213, 3572), _C.CONFLICT),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2013), _C.UNREACHABLE),
    **dict.fromkeys((1040, 1203, 1226), _C.RATE_LIMITED),
    **dict.fromkeys((1317, 3024), _C.TIMEOUT),
}
_LOGIN_WORDS = (
    (re.compile(r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist|permission denied"), _C.REFUSED),
    (re.compile(r"certificate|does not support SSL|SSL error"), _C.REFUSED),
    (re.compile(r"database .* does not exist|invalid connection option"), _C.INVALID),
    (re.compile(r"too many (clients|connections)|connection slots"), _C.RATE_LIMITED),
)
_PERMANENT = frozenset({_C.INVALID, _C.REFUSED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where it happened. `what` is for people: `statement 2`, `schema.sql:14`, or the database when there is no statement."""

    what: str
    connecting: bool = False
    sensitive: bool = False


def to_error(error: exc.SQLAlchemyError, place: Place, *, changed: bool) -> AttemptError:
    """Our error for one of SQLAlchemy's, whose own text would show statement and parameters."""
    original = getattr(error, "orig", None) or error
    failure_class = class_of(original, connecting=place.connecting)
    message, detail, hint = _words(original)
    if place.sensitive:
        message, detail = _code(original), ""
    if getattr(original, "sqlstate", None) == "25001" or "within a transaction" in str(original):
        hint = _NO_TRANSACTION
    make = PermanentError if failure_class in _PERMANENT else TemporaryError
    return make(failure_class, f"{place.what}: {message}", detail=detail, hint=hint, changed=changed)


def class_of(error: BaseException, *, connecting: bool) -> FailureClass:
    """The class of a driver's exception; `connecting` when there was no connection yet."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:
        fits = [_SQLSTATES[state[:size]] for size in (5, 3, 2) if state[:size] in _SQLSTATES]
        return fits[0] if fits else _C.FAILED
    if name := getattr(error, "sqlite_errorname", None):
        return _SQLITE.get("_".join(name.split("_")[:2]), _C.FAILED)
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number in _MYSQL:
        return _MYSQL[number]
    return _by_words(str(error)) if connecting else _by_type(error)


def _by_words(text: str) -> FailureClass:
    return next((found for pattern, found in _LOGIN_WORDS if pattern.search(text)), _C.UNREACHABLE)


def _by_type(error: BaseException) -> FailureClass:
    """As PEP 249 names them. A server that goes away is an OperationalError, or an InterfaceError when it is used afterwards."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "IntegrityError" in names:
        return _C.FAILED
    if names & {"ProgrammingError", "NotSupportedError", "StatementError"}:
        return _C.INVALID
    if re.search(r"closed the connection|connection (was |is )?(closed|lost|reset)|server has gone away", str(error)):
        return _C.UNREACHABLE
    return _C.FAILED


def _words(error: BaseException) -> tuple[str, str, str]:
    """(message, detail, hint); PostgreSQL has all three."""
    told: Any = getattr(error, "diag", None)
    if told is not None and told.message_primary:
        return told.message_primary, "\n".join(filter(None, (told.message_detail, told.context))), told.message_hint or ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__), "\n".join(lines[1:]), ""


def _code(error: BaseException) -> str:
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return f"{type(error).__name__}{f' ({code})' if code else ''}"
