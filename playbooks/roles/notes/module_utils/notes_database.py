"""The one door to the application's database: PostgreSQL over its unix socket, or SQLite.

Used on the host by the notes application (which finds it beside itself) and by the Ansible modules of this role, and
therefore made of the standard library only. SQL is written once for both, with parameters `$1`, `$2`…: PostgreSQL's
own form, and names to SQLite.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# A statement that waits longer than this for another's lock fails, and says so, instead of hanging.
LOCK_TIMEOUT_SECONDS = 30

# How long a silent server is waited for. A migration may work for long without a word.
ANSWER_TIMEOUT_SECONDS = 600

PROTOCOL_VERSION = 196608  # 3.0
INTEGER_OIDS = {20, 21, 23}
BOOLEAN_OID = 16

Row = dict[str, Any]


class DatabaseError(Exception):
    """The database refused a statement or cannot be reached; the text is the database's own."""


def read_settings(path: str | Path) -> dict[str, str] | None:
    """What `database.json` says (`engine`, `location`, `user`, `name`), or None when no database is in service."""
    try:
        settings: dict[str, str] = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
    return settings


def connect(settings: dict[str, str], user: str | None = None) -> Connection:
    """Open the database that `settings` (see `read_settings`) describes; `user` overrides its role.

    Raises DatabaseError when it does not answer.
    """
    if settings["engine"] == "sqlite":
        return SqliteConnection(settings["location"])
    return PostgresConnection(settings["location"], user or settings["user"], settings["name"])


class Connection:
    """What both databases can do; `close` when done."""

    begin = "BEGIN"

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Run one statement; its rows as dictionaries by column name."""
        raise NotImplementedError

    def script(self, sql: str) -> None:
        """Run several statements, given as one text."""
        raise NotImplementedError

    def has_table(self, name: str) -> bool:
        """Whether a table of this name is there."""
        raise NotImplementedError

    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection; what was not committed is rolled back."""
        raise NotImplementedError

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, or nothing of it.

        Raises DatabaseError when a statement in the block ended the transaction by itself.
        """
        self.script(self.begin)
        try:
            yield
            if not self.in_transaction():
                raise DatabaseError("the statements ended their own transaction: leave out BEGIN, COMMIT and ROLLBACK")
            self.script("COMMIT")
        except BaseException:
            # A connection that broke has nothing to roll back, and its own error is the one to show.
            with suppress(DatabaseError):
                if self.in_transaction():
                    self.script("ROLLBACK")
            raise


class SqliteConnection(Connection):
    """A SQLite file."""

    # The lock is taken at once, so that two writers wait for one another instead of failing half-way.
    begin = "BEGIN IMMEDIATE"

    def __init__(self, path: str) -> None:
        try:
            # rw, not rwc: the application must never make an empty database where one was taken away.
            self._db = sqlite3.connect(f"{Path(path).as_uri()}?mode=rw", uri=True, timeout=LOCK_TIMEOUT_SECONDS)
        except sqlite3.Error as error:
            raise DatabaseError(f'"{path}": {error}') from error
        self._db.isolation_level = None
        self._db.row_factory = sqlite3.Row
        self.rows("PRAGMA foreign_keys = ON")

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        named = {str(position): value for position, value in enumerate(parameters, 1)}
        try:
            return [dict(row) for row in self._db.execute(sql, named)]
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from error

    def script(self, sql: str) -> None:
        for statement in split_statements(sql):
            self.rows(statement)

    def has_table(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1", name))

    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def close(self) -> None:
        self._db.close()


def split_statements(sql: str) -> list[str]:
    """Cut a SQL text at the semicolons which end a statement (not those in strings, comments or trigger bodies).

    `sqlite3.executescript` is no help: it would commit the transaction that it is called in.
    """
    statements, start = [], 0
    for end in (match.end() for match in re.finditer(";", sql)):
        if sqlite3.complete_statement(sql[start:end]):
            statements.append(sql[start:end])
            start = end
    rest = sql[start:]
    return [*statements, rest] if rest.strip() else statements


class PostgresConnection(Connection):
    """A PostgreSQL server on this machine, by the messages of its protocol 3.0 over a unix socket.

    The server knows who we are from the socket (`peer`), so there is no password.
    Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol".
    """

    def __init__(self, socket_folder: str, user: str, database: str) -> None:
        self._status = b"I"
        self._socket = _open_socket(socket_folder)
        self._stream = self._socket.makefile("rb")
        parameters = {"user": user, "database": database, "client_encoding": "UTF8", "application_name": "notes"}
        parameters["options"] = f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s"
        body = b"".join(_text(word) for pair in parameters.items() for word in pair) + b"\0"
        try:
            self._send(struct.pack("!ii", len(body) + 8, PROTOCOL_VERSION) + body)
            self._until_ready()
        except DatabaseError:
            self._hang_up()
            raise

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        parse = _text("") + _text(sql) + struct.pack("!h", 0)
        bind = _text("") + _text("") + struct.pack("!hh", 0, len(parameters)) + _values(parameters) + b"\0\0"
        execute = _text("") + struct.pack("!i", 0)
        messages = ((b"P", parse), (b"B", bind), (b"D", b"P" + _text("")), (b"E", execute), (b"S", b""))
        self._send(b"".join(_message(kind, body) for kind, body in messages))
        return self._until_ready()

    def script(self, sql: str) -> None:
        self._send(_message(b"Q", _text(sql)))
        self._until_ready()

    def has_table(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1", name))

    def in_transaction(self) -> bool:
        return self._status != b"I"

    def close(self) -> None:
        with suppress(DatabaseError):  # the server may have gone first
            self._send(_message(b"X", b""))
        self._hang_up()

    def _hang_up(self) -> None:
        self._stream.close()
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise DatabaseError(f"the server went away: {error}") from error

    def _receive(self) -> tuple[bytes, bytes]:
        try:
            head = self._stream.read(5)
            body = self._stream.read(struct.unpack("!i", head[1:])[0] - 4) if len(head) == 5 else b""
        except OSError as error:
            raise DatabaseError(f"the server went away: {error}") from error
        if len(head) < 5:
            raise DatabaseError("the server closed the connection")
        return head[:1], body

    def _until_ready(self) -> list[Row]:
        """Read to the end of the server's answer: its rows, or its complaint as DatabaseError."""
        columns: list[tuple[str, int]] = []
        rows: list[Row] = []
        complaint = None
        while True:
            kind, body = self._receive()
            if kind == b"T":
                columns = _columns(body)
            elif kind == b"D":
                rows.append(_row(columns, body))
            elif kind == b"E":
                complaint, fatal = _complaint(body)
                if fatal:  # the server hangs up now, and never says that it is ready
                    raise DatabaseError(complaint)
            elif kind == b"R" and body[:4] != b"\0\0\0\0":
                raise DatabaseError("the server asks for a password, and only `peer` is known here")
            elif kind == b"Z":
                self._status = body
                break
        if complaint:
            raise DatabaseError(complaint)
        return rows


def _open_socket(folder: str) -> socket.socket:
    """Connect to the server's socket in `folder`, however long that path is.

    A socket's address ends at 107 bytes; through an open folder in /proc/self/fd it never gets that long.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_TIMEOUT_SECONDS)
    try:
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            connection.connect(f"/proc/self/fd/{handle}/.s.PGSQL.5432")
        finally:
            os.close(handle)
    except OSError as error:
        connection.close()
        raise DatabaseError(f'no PostgreSQL server answers in "{folder}": {error.strerror}') from error
    return connection


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _values(parameters: tuple[object, ...]) -> bytes:
    packed = b""
    for value in parameters:
        if value is None:
            packed += struct.pack("!i", -1)
        else:
            data = str(value).encode()
            packed += struct.pack("!i", len(data)) + data
    return packed


def _columns(body: bytes) -> list[tuple[str, int]]:
    """Name and type of each column, from a RowDescription message."""
    columns, at = [], 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        end = body.index(b"\0", at)
        # After the name: table (4 bytes), column (2), type (4), and 8 more that say nothing to us.
        columns.append((body[at:end].decode(), struct.unpack_from("!i", body, end + 7)[0]))
        at = end + 19
    return columns


def _row(columns: list[tuple[str, int]], body: bytes) -> Row:
    row, at = {}, 2
    for name, oid in columns:
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        row[name] = None if size < 0 else _value(oid, body[at : at + size].decode())
        at += max(size, 0)
    return row


def _value(oid: int, text: str) -> object:
    if oid in INTEGER_OIDS:
        return int(text)
    return text == "t" if oid == BOOLEAN_OID else text


def _complaint(body: bytes) -> tuple[str, bool]:
    """The text of an ErrorResponse, and whether it ends the session."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    text = fields.get(b"M", "error without a text")
    if b"D" in fields:
        text += f" ({fields[b'D']})"
    return text, fields.get(b"V") in ("FATAL", "PANIC")
