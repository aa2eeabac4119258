"""`drystone serve`: stays, and drives what was left to it."""

from __future__ import annotations

import os
import signal
import sys
from threading import Event, Thread
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Examples, examples, session
from drystone.errors import ProjectError

if TYPE_CHECKING:
    from drystone.wiring import Serving

LOOK_SECONDS = 0.5


def serve(
    ctx: typer.Context,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where the web side is; [serve] listen unless given.", show_default=False)
    ] = "",
) -> int:
    """Serve the project: drive detached and interrupted runs, and answer /healthz, /readyz and /metrics.

    Several may serve one project: each run belongs to one of them. Standard error gets a JSON object a line.
    SIGTERM or Ctrl-C: takes nothing more, lets attempts in flight finish for [serve] stop_grace, and gives the runs back.
    Again: ends at once.
    """
    from drystone import wiring

    try:
        from drystone.web import app, listener
    except ImportError as error:
        message = f"the server needs a package that is not installed: {error.name}"
        raise ProjectError(message, hint="pip install 'drystone[serve]'") from error
    serving = wiring.serving(session(ctx).project(), sys.stderr)
    web = listener.Listener(app.build(serving.server.health, serving.metrics), listen or serving.listen)
    web.start()
    serving.server.start(web.address)
    try:
        failure = _until_told(serving)
    finally:
        serving.server.stop()
        web.stop()
    if failure is not None:
        raise failure
    return exit_codes.DONE


def _until_told(serving: Serving) -> BaseException | None:
    """Waits for a signal, or for the end of what drives the runs."""
    told = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if told.is_set():
            ending = Thread(target=serving.end_children, daemon=True)
            ending.start()
            ending.join(timeout=1)
            # What still lives is ended by its supervisor, and the journal knows the rest.
            os._exit(exit_codes.CANCELLED)
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    while not told.wait(LOOK_SECONDS):
        if (failure := serving.server.has_failed) is not None:
            return failure
    return None


COMMANDS = (serve,)
EXAMPLES: Examples = {"serve": examples("drystone serve", "drystone serve --listen 127.0.0.1:0", "drystone run nightly --detach")}
