"""The pages and endpoints of a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from drystone import __version__
from drystone.app.server import Health
from drystone.observe.metrics import Metrics

UNREADY = 503


def build(health: Callable[[], Health], metrics: Metrics, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The web application. `routers`: of what else the server offers."""
    app = FastAPI(title="drystone", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    def healthz() -> Response:
        """Whether the process does its work; one that does not should be started again."""
        now = health()
        return _answer(now, ok=now.is_alive, word="alive")

    @app.get("/readyz")
    def readyz() -> Response:
        """Whether it takes runs and events: the store answers, every service works, and it is not about to stop."""
        now = health()
        return _answer(now, ok=now.is_ready, word="ready")

    @app.get("/metrics")
    def measured(request: Request) -> Response:
        """For Prometheus."""
        body, media_type = metrics.expose(request.headers.get("accept", ""))
        return Response(body, media_type=media_type)

    for router in routers:
        app.include_router(router)
    return app


def _answer(health: Health, *, ok: bool, word: str) -> JSONResponse:
    return JSONResponse({"status": word if ok else f"not {word}", "problems": dict(health.problems)}, status_code=200 if ok else UNREADY)
