"""A directory of accounts with an HTTP API on loopback, which forgets nothing and fails on demand."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-token-of-the-directory"


class Directory:
    """GET, PATCH and DELETE /accounts/NAME; POST /accounts.

    failures: method -> statuses to answer next, before anything is done; 0 does it and drops the connection without an answer.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.failures: dict[str, list[int]] = {}
        self._answered: dict[str, tuple[int, Any]] = {}
        directory = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "null")
                directory.requests.append((self.command, self.path))
                failures = directory.failures.get(self.command, [])
                failure = failures.pop(0) if failures else None
                if failure:
                    status, answer = failure, {"error": "as the test wishes"}
                elif self.headers.get("authorization") != f"Bearer {TOKEN}":
                    status, answer = 401, {"error": "who are you?"}
                else:
                    key = self.headers.get("idempotency-key") or ""
                    status, answer = directory._answered.get(key) or directory.do(self.command, self.path, body)
                    if key:
                        directory._answered[key] = (status, answer)
                if failure == 0:
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode() if status != 204 else b""
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """The test's output is not a log."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def do(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What a request comes to: a status and an answer."""
        name = path.removeprefix("/accounts").strip("/")
        if method == "POST":
            if body["name"] in self.accounts:
                return 409, {"error": "there is one of that name"}
            self.accounts[body["name"]] = {**body, "status": "active"}
            return 201, self.accounts[body["name"]]
        if name not in self.accounts:
            return 404, {"error": "nobody of that name"}
        if method == "PATCH":
            self.accounts[name] |= body
        if method == "DELETE":
            del self.accounts[name]
            return 204, None
        return 200, self.accounts[name]

    def close(self) -> None:
        """Ends the server."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
