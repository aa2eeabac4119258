"""A remote state with locks, as Terraform's http backend speaks to it: one state per path, kept in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StateServer(ThreadingHTTPServer):
    """`states` and `locks` are open to tests; `refuses_writes` makes it lose its disk."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.states: dict[str, bytes] = {}
        self.locks: dict[str, dict[str, str]] = {}
        self.refuses_writes = False
        self.on_write: Callable[[], None] = lambda: None

    @property
    def block(self) -> str:
        """A terraform block for a state on this server."""
        address = f"http://127.0.0.1:{self.server_port}/state"
        return f"""
terraform {{
  backend "http" {{
    address        = "{address}"
    lock_address   = "{address}"
    unlock_address = "{address}"
    retry_max      = 0
  }}
}}
"""

    def resources(self) -> list[str]:
        """Names in the state."""
        return [item["name"] for item in json.loads(self.states.get("/state", b'{"resources": []}'))["resources"]]


class _Handler(BaseHTTPRequestHandler):
    server: StateServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def do_GET(self) -> None:
        state = self.server.states.get(self._path())
        self._answer(404 if state is None else 200, state or b"")

    def do_POST(self) -> None:
        body = self._body()
        self.server.on_write()
        if self.server.refuses_writes:
            self._answer(507)
            return
        self.server.states[self._path()] = body
        self._answer(200)

    def do_LOCK(self) -> None:
        wanted = json.loads(self._body())
        held = self.server.locks.setdefault(self._path(), wanted)
        self._answer(200 if held is wanted else 423, json.dumps(held).encode())

    def do_UNLOCK(self) -> None:
        self._body()
        self.server.locks.pop(self._path(), None)
        self._answer(200)


@contextmanager
def serving() -> Iterator[StateServer]:
    """A server for the length of a test."""
    with StateServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
