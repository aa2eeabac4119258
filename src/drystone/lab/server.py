"""Serves the provider over Terraform's plugin protocol, and decides when the process ends.

The framework's own runner stops the server as soon as Terraform is interrupted, and loses the object that is being
made. This one does not: a stop request is answered and nothing more, and every way to end waits for the calls in
flight.

    plugin   started by terraform: ends on its Shutdown, on SIGTERM, or when terraform is gone
    daemon   started by `terraform.LabProvider.reattach`: ends when its starter closes the pipe, or is gone
"""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

# Forking beside gRPC's threads is safe here, for only exec follows; without this it warns on Terraform's terminal.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2_grpc
from tf.provider import ProviderServicer

from drystone.lab import certificates, sockets
from drystone.lab.provider import LabTerraformProvider

DRAIN_TIMEOUT = timedelta(seconds=60)
"""How long calls in flight may take once the process is to end: longer than a start of a VM may."""

_WORKERS = 64
"""Calls served at once: ten for each of six terraform commands, and some more."""


class Calls:
    """Counts the calls in flight (a gRPC interceptor)."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def intercept_service(self, proceed: Callable[[Any], Any], details: Any) -> Any:
        handler = proceed(details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._counted(handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _counted(self, serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def wrapper(request: Any, context: Any) -> Any:
            with self._one_more():
                return serve(request, context)

        return wrapper

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        with self._condition:
            self._count += 1
        try:
            yield
        finally:
            with self._condition:
                self._count -= 1
                self._condition.notify_all()

    def drain(self, timeout: timedelta) -> None:
        """Wait until no call is in flight."""
        with self._condition:
            self._condition.wait_for(lambda: self._count == 0, timeout.total_seconds())


class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):  # type: ignore[misc]
    """The plugin protocol's own service: Terraform asks here for the end."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def Shutdown(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
        self._end()
        return grpc_controller_pb2.Empty()


class Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):  # type: ignore[misc]
    """The plugin protocol's stream of output, which has none: what we print goes to standard error."""

    def StreamStdio(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 (the protocol's name)
        return iter(())


def serve_plugin() -> None:
    """Serve the Terraform that started this process."""
    certificate, key = certificates.make()
    reasons: SimpleQueue[str] = SimpleQueue()
    server, calls = _build(end=lambda: reasons.put("Terraform asked for it"))
    folder = sockets.make_folder()
    address = f"{folder}/socket"
    server.add_secure_port(f"unix:{address}", grpc.ssl_server_credentials([(key, certificates.to_pem(certificate))]))
    server.start()
    encoded = base64.b64encode(certificate).decode().rstrip("=")
    _serve(server, calls, reasons, announcement=f"1|6|unix|{address}|grpc|{encoded}")
    shutil.rmtree(folder, ignore_errors=True)


def serve_daemon(folder: str) -> None:
    """Serve many commands at a socket in the folder, until standard input ends."""
    reasons: SimpleQueue[str] = SimpleQueue()
    # Terraform only hangs up on a provider that it did not start. Should one ask for the end all the same: no.
    server, calls = _build(end=lambda: None)
    address = f"{folder}/socket"
    server.add_insecure_port(f"unix:{address}")
    server.start()
    threading.Thread(target=_watch_input, args=(reasons,), daemon=True).start()
    _serve(server, calls, reasons, announcement=address)
    shutil.rmtree(folder, ignore_errors=True)


def _build(*, end: Callable[[], None]) -> tuple[Any, Calls]:
    calls = Calls()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=_WORKERS), interceptors=[calls])
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(ProviderServicer(LabTerraformProvider()), server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(end), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    return server, calls


def _serve(server: Any, calls: Calls, reasons: SimpleQueue[str], *, announcement: str) -> None:
    """Say where we listen, serve until there is a reason to end, and finish what was begun."""
    _end_on_signals(reasons)
    threading.Thread(target=_watch_parent, args=(os.getppid(), reasons), daemon=True).start()
    sys.stdout.write(announcement + "\n")
    sys.stdout.flush()
    reasons.get()
    calls.drain(DRAIN_TIMEOUT)
    server.stop(grace=0.5).wait()


def _end_on_signals(reasons: SimpleQueue[str]) -> None:
    """SIGTERM ends us in good order. A terminal's Ctrl-C or hang-up goes to Terraform too, and Terraform decides."""
    signal.signal(signal.SIGTERM, lambda *_: reasons.put("SIGTERM"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _watch_parent(parent: int, reasons: SimpleQueue[str]) -> None:
    """A Terraform that was killed says nothing: notice its end."""
    try:
        fd = os.pidfd_open(parent)
    except OSError:
        reasons.put("the starter is gone")
        return
    if os.getppid() == parent:
        select.select([fd], [], [])
    reasons.put("the starter is gone")


def _watch_input(reasons: SimpleQueue[str]) -> None:
    while os.read(0, 1):
        pass
    reasons.put("the starter closed the pipe")
