"""A real HTTP server on loopback whose answers a test scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Server:
    """`on(method, path)` takes answers, given in turn, the last one for ever. `requests` holds what came in."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.release = threading.Event()
        self._answers: dict[tuple[str, str], list[Callable[[], tuple[int, dict[str, str], bytes]]]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                path = self.path.partition("?")[0]
                server.requests.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
                scripted = server._answers.get((self.command, path), [lambda: (404, {}, b"nothing here")])
                status, headers, content = (scripted.pop(0) if len(scripted) > 1 else scripted[0])()
                try:
                    self.send_response(status)
                    for name, value in {"content-length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """The test's output is not a log."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def on(self, method: str, path: str, *answers: Any) -> None:
        """An answer is a status, or (status, body), or (status, body, headers). A body that is no text is sent as JSON."""
        self._answers[(method, path)] = [_answer(item) for item in answers]

    def hang(self, method: str, path: str) -> None:
        """Answers only when the test is over."""

        def wait() -> tuple[int, dict[str, str], bytes]:
            self.release.wait(60)
            return 200, {}, b""

        self._answers[(method, path)] = [wait]

    def close(self) -> None:
        self.release.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def _answer(item: Any) -> Callable[[], tuple[int, dict[str, str], bytes]]:
    status, body, headers = (*item, {})[:3] if isinstance(item, tuple) else (item, "", {})
    if isinstance(body, str):
        return lambda: (status, headers, body.encode())
    return lambda: (status, {"content-type": "application/json", **headers}, json.dumps(body).encode())


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.close()
