"""A process that stays and serves a project (`drystone serve`): services that are asked in turn what is due, beside an engine.

A service does what is due and says when it wants to be asked again. Each has a thread, so that a slow one holds up no other; one that
fails is asked again after a while, and is named until it works: the process goes on, and says that it is not well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from drystone.app.pickup import Tell
from drystone.app.world import World
from drystone.errors import DrystoneError, StoreError
from drystone.ports import ServerInfo

HEARTBEAT = timedelta(seconds=10)
PRESENCE = timedelta(seconds=30)
"""For how long a server is taken for alive after its last word, where its process cannot be seen."""
FAILED_FIRST, FAILED_LAST = timedelta(seconds=1), timedelta(minutes=1)
"""When a service that failed is asked again: so soon at first, then each time twice as late."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something that a server does. `turn` does what is due, and says for how long it may be left alone."""

    name: str
    turn: Callable[[], timedelta]
    close: Callable[[], None] = lambda: None


class Driving(Protocol):
    """The engine of a server, in a thread of its own."""

    @property
    def is_driving(self) -> bool: ...

    @property
    def failure(self) -> BaseException | None: ...

    def start(self) -> None: ...

    def stop(self, grace: timedelta) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a server is. `problems`: what does not work -> why. `is_ready`: it takes runs and events."""

    is_alive: bool
    is_ready: bool
    problems: Mapping[str, str]


@dataclass
class _Worker:
    service: Service
    wake: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
    thread: threading.Thread | None = None


class Server:
    """Serves one project until it is stopped.

    tell:  hears of what it does, for the log.
    grace: how long attempts in flight may go on once it is to stop; what lasts longer is ended, and made again by who takes the run.
    """

    def __init__(self, world: World, engine: Driving, services: Sequence[Service], *, tell: Tell, grace: timedelta) -> None:
        self._world = world
        self._engine = engine
        self._workers = {service.name: _Worker(service) for service in services}
        self._tell = tell
        self._grace = grace
        self._since: datetime | None = None
        self._stopping = threading.Event()
        self._address = ""

    def start(self, address: str) -> None:
        """Begins to serve. `address`: URL of its web side, empty when it has none. Raises StoreError."""
        self._address = address
        self._since = self._world.clock.now()
        self._present()
        self._engine.start()
        presence = _Worker(Service(name="presence", turn=self._present))
        for worker in (presence, *self._workers.values()):
            worker.thread = threading.Thread(target=self._work, args=(worker,), name=worker.service.name, daemon=True)
            worker.thread.start()
        self._tell("server.started", {"address": address, "owner": self._world.owner, "services": sorted(self._workers)})

    def wake(self, name: str) -> None:
        """Asks a service now: something has come for it. Harmless when there is none of that name."""
        if (worker := self._workers.get(name)) is not None:
            worker.wake.set()

    def stop(self) -> None:
        """Takes nothing more, lets what is in flight finish or ends it, and gives all runs back. Waits for it."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.wake.set()
        self._tell("server.stopping", {"grace_seconds": self._grace.total_seconds()})
        for worker in self._workers.values():
            if worker.thread is not None:
                worker.thread.join(timeout=self._grace.total_seconds())
        self._engine.stop(self._grace)
        for worker in self._workers.values():
            worker.service.close()
        try:
            self._world.journal().stop_serving(self._world.owner)
        except StoreError as error:
            self._tell("server.store_failed", {"error": error.message})
        self._tell("server.stopped", {})

    @property
    def has_failed(self) -> BaseException | None:
        """Why nothing can be driven any more: the store cannot be written, say. The process should end, and be started again."""
        return None if self._engine.is_driving else self._engine.failure

    def health(self) -> Health:
        """How it is now. Asks the store."""
        problems = {name: worker.problem for name, worker in self._workers.items() if worker.problem}
        if not self._engine.is_driving:
            problems["engine"] = f"{self._engine.failure}" if self._engine.failure is not None else "it does not run"
        try:
            self._world.journal().servers(self._world.clock.now())
        except StoreError as error:
            problems["store"] = error.message
        is_ready = not problems and not self._stopping.is_set()
        if self._stopping.is_set():
            problems["server"] = "it is stopping"
        return Health(is_alive=self._engine.is_driving, is_ready=is_ready, problems=problems)

    def _present(self) -> timedelta:
        world, now = self._world, self._world.clock.now()
        world.journal().serve(ServerInfo(owner=world.owner, address=self._address, since=self._since or now), now + PRESENCE)
        return HEARTBEAT

    def _work(self, worker: _Worker) -> None:
        wait = FAILED_FIRST
        while not self._stopping.is_set():
            worker.wake.clear()
            try:
                pause = worker.service.turn()
            except Exception as error:
                # Whatever it is: the others go on, and this one is asked again.
                worker.problem = error.message if isinstance(error, DrystoneError) else f"{type(error).__name__}: {error}"
                failed = {"service": worker.service.name, "error": worker.problem, "again_seconds": wait.total_seconds()}
                self._tell("service.failed", failed)
                pause, wait = wait, min(FAILED_LAST, wait * 2)
            else:
                if worker.problem:
                    self._tell("service.works", {"service": worker.service.name})
                worker.problem, wait = "", FAILED_FIRST
            worker.wake.wait(pause.total_seconds())
