"""Uvicorn in a thread of this process."""

from __future__ import annotations

import socket
import threading

import uvicorn
from fastapi import FastAPI

from drystone.errors import ProjectError


class Listener:
    """Answers requests at HOST:PORT from `start` to `stop`. Raises ProjectError when it cannot listen there."""

    def __init__(self, app: FastAPI, listen: str) -> None:
        self._socket = _bound(listen)
        host, port = self._socket.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5, server_header=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="web", daemon=True)

    def start(self) -> None:
        """From now on requests are answered."""
        self._thread.start()

    def stop(self) -> None:
        """Answers what has come in, and no more. Waits for it."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(timeout=10)
        self._socket.close()


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ProjectError(f'"{listen}" is no address to listen at', hint="write HOST:PORT, like 127.0.0.1:8090")
    try:
        family, *_, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(1024)
    except OSError as error:
        message = f'cannot listen at "{listen}": {error.strerror or error}'
        raise ProjectError(message, hint="say another address with --listen, or as [serve] listen") from error
    return bound
