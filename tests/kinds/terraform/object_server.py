"""As much of an S3 service as Terraform's s3 backend needs: objects in memory, and writes on condition that there is none yet."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ObjectServer(ThreadingHTTPServer):
    """`objects` is open to tests: path -> content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}

    @property
    def block(self) -> str:
        """A terraform block for a state on this server, locked by an object beside it."""
        return f"""
terraform {{
  backend "s3" {{
    bucket                      = "states"
    key                         = "app"
    region                      = "nowhere-1"
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_s3_checksum            = true
    endpoints                   = {{ s3 = "http://127.0.0.1:{self.server_port}" }}
  }}
}}
"""


LOCK = "/states/app.tflock"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_EC2_METADATA_DISABLED": "true"}


class _Handler(BaseHTTPRequestHandler):
    server: ObjectServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _answer(self, status: int, body: bytes = b"", *, error: str = "") -> None:
        if error:
            body = f"<Error><Code>{error}</Code><Message>{error}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        body = self.server.objects.get(self._path())
        if "list-type=" in self.path or "prefix=" in self.path:
            self._answer(200, b"<ListBucketResult><Name>states</Name><IsTruncated>false</IsTruncated></ListBucketResult>")
        elif body is None:
            self._answer(404, error="NoSuchKey")
        else:
            self._answer(200, body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("If-None-Match") == "*" and self._path() in self.server.objects:
            self._answer(412, error="PreconditionFailed")
            return
        self.server.objects[self._path()] = body
        self._answer(200)

    def do_DELETE(self) -> None:
        self.server.objects.pop(self._path(), None)
        self._answer(204)


@contextmanager
def serving() -> Iterator[ObjectServer]:
    """A server for the length of a test."""
    with ObjectServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
