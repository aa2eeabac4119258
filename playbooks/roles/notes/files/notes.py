"""The notes application: a small web service which keeps notes in a database.

Started by supervise.py with the path of its settings. `GET /health` tells how it is, `GET /notes` and `POST /notes`
read and write, `GET /` is a page for people. Every request opens the database anew, so that one which comes, moves or
goes away needs no restart; the database is found through the file that the migration playbook writes.
"""

from __future__ import annotations

import html
import json
import signal
import socket
import socketserver
import sys
import threading
import time
import uuid
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from notes_database import Connection, DatabaseError, connect, read_settings

LARGEST_BODY_BYTES = 64 * 1024
NOTES_ON_PAGE = 100

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Notes</title>
<style>body{{font:16px/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem}}small{{color:#555}}</style>
<h1>Notes</h1>
<p>Version {version}, database {engine} ({state}), schema version {schema_version}.</p>
<ul>{items}</ul>
<p><small>Write one: <code>curl -d '{{"text": "hello"}}' http://{host}/notes</code></small></p>
</html>
"""


class RequestError(Exception):
    """A request that is answered with an error: a status and the reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Notes:
    """The notes in the database, at whatever version its schema is."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    def health(self) -> dict[str, Any]:
        """How the application is.

        status: `ok`, `waiting` (for a database or for its schema), or `failing` (a database in service is silent).
        """
        database, version = {"engine": None, "state": "absent"}, 0
        try:
            settings = read_settings(self._settings["database"])
            if settings is not None:
                database = {"engine": settings["engine"], "state": "unreachable"}
                with closing(connect(settings)) as connection:
                    version = schema_version(connection)
                    database["state"] = "ready" if connection.has_table("notes") else "empty"
        except DatabaseError as error:
            database["error"] = str(error)
        status = {"ready": "ok", "unreachable": "failing"}.get(str(database["state"]), "waiting")
        known = {key: self._settings[key] for key in ("version", "release")}
        return {"status": status, **known, "schema_version": version, "database": database}

    def list(self) -> list[dict[str, Any]]:
        """The newest notes first."""
        with closing(self._open()) as connection:
            return connection.rows("SELECT * FROM notes ORDER BY created_at DESC, id LIMIT $1", NOTES_ON_PAGE)

    def get(self, note_id: str) -> dict[str, Any]:
        """One note; RequestError when there is none of this id."""
        with closing(self._open()) as connection:
            rows = connection.rows("SELECT * FROM notes WHERE id = $1", note_id)
        if not rows:
            raise RequestError(HTTPStatus.NOT_FOUND, f'there is no note "{note_id}"')
        return rows[0]

    def add(self, fields: Any) -> dict[str, Any]:
        """Write a note; RequestError when the fields are not those of a note."""
        if not isinstance(fields, dict) or "text" not in fields:
            raise RequestError(HTTPStatus.BAD_REQUEST, 'a note is a JSON object with a "text"')
        if unknown := sorted(set(fields) - {"text", "author"}):
            raise RequestError(HTTPStatus.BAD_REQUEST, f'a note has no "{unknown[0]}"')
        row = {"id": uuid.uuid4().hex, "created_at": now()}
        row.update({name: checked_text(name, value) for name, value in fields.items()})
        places = ", ".join(f"${position}" for position in range(1, len(row) + 1))
        with closing(self._open()) as connection:
            if "author" in row and schema_version(connection) < 2:
                raise RequestError(HTTPStatus.CONFLICT, "authors come with schema version 2")
            connection.rows(f"INSERT INTO notes ({', '.join(row)}) VALUES ({places})", *row.values())
        return self.get(row["id"])

    def _open(self) -> Connection:
        settings = read_settings(self._settings["database"])
        if settings is None:
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "there is no database yet: run the migration playbook")
        connection = connect(settings)
        if not connection.has_table("notes"):
            connection.close()
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "the database has no notes yet: run the migration playbook")
        return connection


def schema_version(connection: Connection) -> int:
    """The newest migration that was applied, 0 when none was."""
    if not connection.has_table("drystone_migrations"):
        return 0
    return int(connection.rows("SELECT max(version) AS version FROM drystone_migrations")[0]["version"] or 0)


def checked_text(name: str, value: Any) -> str:
    """The value, if it is a text that both databases can keep; RequestError if not."""
    if not isinstance(value, str) or not value.strip():
        raise RequestError(HTTPStatus.BAD_REQUEST, f'"{name}" is a text, and not an empty one')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError(HTTPStatus.BAD_REQUEST, f'"{name}" has half a character') from None
    if "\0" in value:
        raise RequestError(HTTPStatus.BAD_REQUEST, f'"{name}" has a NUL')
    return value


def now() -> str:
    """The time as a UTC text that sorts, to the millisecond."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03}Z"


class Handler(BaseHTTPRequestHandler):
    """HTTP for `Notes`, which the server carries as `notes`."""

    timeout = 10
    server_version = "notes"
    server: Server

    def do_GET(self) -> None:
        self.answer(self.read)

    def do_POST(self) -> None:
        self.answer(self.write)

    def read(self) -> None:
        notes, path = self.server.notes, self.path.split("?")[0]
        if path == "/health":
            health = notes.health()
            failing = health["status"] == "failing"
            self.send_json(HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK, health)
        elif path == "/notes":
            self.send_json(HTTPStatus.OK, {"notes": notes.list()})
        elif path.startswith("/notes/"):
            self.send_json(HTTPStatus.OK, notes.get(path.removeprefix("/notes/")))
        elif path == "/":
            self.send(HTTPStatus.OK, "text/html; charset=utf-8", self.page())
        else:
            raise RequestError(HTTPStatus.NOT_FOUND, f'there is no page "{path}"')

    def write(self) -> None:
        if self.path != "/notes":
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "only /notes is written to")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "the Content-Length is missing")
        if int(length) > LARGEST_BODY_BYTES:
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a note has at most {LARGEST_BODY_BYTES} bytes")
        try:
            fields = json.loads(self.rfile.read(int(length)))
        except ValueError:
            raise RequestError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
        self.send_json(HTTPStatus.CREATED, self.server.notes.add(fields))

    def answer(self, work: Any) -> None:
        """Do the work of a request, and turn what goes wrong into an answer."""
        try:
            work()
        except RequestError as error:
            self.send_json(error.status, {"error": str(error)})
        except DatabaseError as error:
            self.send_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})

    def page(self) -> bytes:
        health = self.server.notes.health()
        rows = self.server.notes.list() if health["status"] == "ok" else []
        items = "".join(f"<li>{html.escape(row['text'])} <small>{row['created_at']}</small></li>" for row in rows)
        facts = {"host": self.headers.get("Host", "localhost"), **health, **health["database"]}
        return PAGE.format(items=items, **{key: html.escape(str(value)) for key, value in facts.items()}).encode()

    def send_json(self, status: HTTPStatus, body: Any) -> None:
        self.send(status, "application/json", json.dumps(body).encode() + b"\n")

    def send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # Health is asked for every few seconds, and would drown the rest.
        if self.path != "/health":
            super().log_request(code, size)


class Server(ThreadingHTTPServer):
    """Serves on the host's own address; requests that run are finished before it ends."""

    daemon_threads = False

    def __init__(self, settings: dict[str, Any]) -> None:
        self.notes = Notes(settings)
        self.address_family = socket.AF_INET6 if ":" in settings["address"] else socket.AF_INET
        super().__init__((settings["address"], settings["port"]), Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service who we are, and waits long where there is none.
        socketserver.TCPServer.server_bind(self)


def main(settings_path: Path) -> None:
    settings = json.loads(settings_path.read_text())
    server = Server(settings)
    # `shutdown` waits for the loop, which the signal has just interrupted: it must be called from beside it.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"notes {settings['version']} on {settings['address']}:{settings['port']}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
