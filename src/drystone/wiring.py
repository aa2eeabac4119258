"""The only place that builds things: which class stands behind which port. Read it to see what drystone is made of.

Nothing is imported before it is asked for, so that a command pays only for what it uses.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from drystone.errors import AttemptError, ProjectError, RefusedError

if TYPE_CHECKING:
    from drystone.adapters.forks import ForkServers
    from drystone.adapters.process import SupervisedProcess
    from drystone.adapters.secrets import ProjectSecrets
    from drystone.app.doctor import Machine
    from drystone.app.server import Server
    from drystone.app.subplans import SubPlans
    from drystone.app.world import Observer, World
    from drystone.core.parts import Part
    from drystone.core.run import Run
    from drystone.core.saved_preview import SavedPart
    from drystone.engines.attempt import Performer
    from drystone.engines.context import AttemptContext
    from drystone.engines.embedded.engine import EmbeddedEngine
    from drystone.engines.foreseer import Foreseer
    from drystone.engines.layout import Layout
    from drystone.engines.standing import Good
    from drystone.engines.vault import Vault
    from drystone.observe.metrics import Metrics
    from drystone.plugin.registry import Registry
    from drystone.ports import Bundles, Clock, Ids, Journal
    from drystone.settings import Settings

STORE_FILE = "drystone.db"
BOUND_TIMEOUT = timedelta(minutes=5)
"""For looking at what one instance's preview rests on."""


def environ() -> Mapping[str, str]:
    """The environment of this process; read nowhere else."""
    return os.environ


def library() -> Path:
    """Where the plans, modules and playbooks that ship are."""
    from drystone.adapters.library import library_root

    return library_root()


def library_folders() -> Sequence[str]:
    """What of `library` a new project gets."""
    from drystone.adapters.library import FOLDERS

    return FOLDERS


def machine(project: Path) -> Machine:
    """What `drystone doctor` looks at."""
    from drystone.adapters.process import SupervisedProcess
    from drystone.app.doctor import Machine
    from drystone.settings import child_environ

    parts = Parts(project)
    given, problem, examine = environ(), "", None
    try:
        given = child_environ(parts.settings, environ())
        examine = (lambda: parts.journal.examine()) if parts.has_store() else None
    except ProjectError as error:
        problem = error.message
    return Machine(project=project, environ=given, process=SupervisedProcess(), settings_problem=problem, examine_store=examine)


def world(project: Path) -> World:
    """The surroundings of a command that works in a project."""
    return world_of(Parts(project))


def world_of(parts: Parts) -> World:
    """The surroundings that are made of these parts."""
    from drystone.adapters.yaml_text import parse
    from drystone.app.world import World

    here = World(
        project=parts.project,
        home=parts.layout.home,
        library=library(),
        cwd=Path.cwd(),
        environ=environ(),
        by=f"{getpass.getuser()}@{socket.gethostname()}",
        owner=parts.owner,
        registry=parts.registry,
        parse=parse,
        clock=parts.clock,
        ids=parts.ids,
        pools=lambda: parts.settings.pools,
        drift=lambda: parts.settings.drift,
        has_store=parts.has_store,
        journal=lambda: parts.journal,
        vault=parts.vault,
        engine=lambda observers: parts.engine(observers, lambda: here),
        plan_state=parts.layout.plan_state,
        end_children=lambda: parts.process.end_now(),
        bundles=lambda: parts.bundles,
        keep_preview=parts.keep_preview,
        foreseer=parts.foreseer,
        bound_now=parts.bound_now,
    )
    return here


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A server and what stands around it. `listen`: HOST:PORT as the settings say. `end_children`: at once, without grace."""

    server: Server
    world: World
    metrics: Metrics
    listen: str
    end_children: Callable[[], None]


def serving(project: Path, log: TextIO) -> Serving:
    """A server for the project, which writes what it does to `log`."""
    from drystone.app.firing import Firing
    from drystone.app.pickup import PickUp
    from drystone.app.server import Server, Service
    from drystone.engines.embedded.shared import SharedEngine
    from drystone.observe.logs import JsonLog
    from drystone.observe.metrics import Metrics

    parts = Parts(project)
    lines, metrics = JsonLog(log, lambda: parts.clock.now().isoformat(timespec="milliseconds")), Metrics()
    shared = SharedEngine(lambda observers, on_end: parts.driver(parts.performer(lambda: here), observers, on_end=on_end))
    here = replace(world_of(parts), engine=shared.seat)
    shared.watch(lines.observe)
    shared.watch(metrics.observe)
    services = [
        Service(name="pickup", turn=PickUp(here, lines.tell).turn),
        Service(name="schedules", turn=Firing(here, lines.tell).turn),
    ]
    server = Server(here, shared, services, tell=lines.tell, grace=parts.settings.serve.stop_grace)
    metrics.ask_readiness(lambda: server.health().is_ready)
    logging.basicConfig(level=logging.WARNING, handlers=[lines.handler()], force=True)
    return Serving(
        server=server, world=here, metrics=metrics, listen=parts.settings.serve.listen, end_children=parts.process.end_now
    )


class Parts:
    """The parts that serve one project, each built when it is first asked for."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._good: dict[str, Good | None] = {}
        self._looking = threading.Lock()

    @cached_property
    def registry(self) -> Registry:
        """Installed plugins."""
        from drystone.plugin.registry import Registry

        return Registry()

    @cached_property
    def settings(self) -> Settings:
        """Of drystone.toml and the environment. Raises ProjectError."""
        from drystone.settings import load

        path = self.project / "drystone.toml"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise ProjectError(f'"{path}" cannot be read: {error}') from error
        return load(environ(), text)

    @cached_property
    def clock(self) -> Clock:
        """The machine's time."""
        from drystone.adapters.clock import SystemClock

        return SystemClock()

    @cached_property
    def ids(self) -> Ids:
        """Fresh names, and chance."""
        from drystone.adapters.ids import SystemIds

        return SystemIds()

    @property
    def owner(self) -> str:
        """Who drives the runs that are taken here: this process."""
        from drystone.adapters import owner

        return owner.me()

    @cached_property
    def layout(self) -> Layout:
        """Where things stand below .drystone. Raises ProjectError when what an older drystone left there cannot be used."""
        from drystone.adapters import home
        from drystone.engines.layout import Layout

        found = Layout(self.project / ".drystone")
        home.bring_up_to_date(found.home)
        return found

    @cached_property
    def bundles(self) -> Bundles:
        """Snapshots of what runs use."""
        from drystone.adapters.bundles import BundleStore

        return BundleStore(self.layout.bundles)

    @cached_property
    def process(self) -> SupervisedProcess:
        """Child processes."""
        from drystone.adapters.process import SupervisedProcess

        return SupervisedProcess()

    def forks(self) -> ForkServers:
        """Processes to fork from, for one engine."""
        from drystone.adapters.forks import ForkServers

        return ForkServers()

    @cached_property
    def secrets(self) -> ProjectSecrets:
        """The project's secret sources, and its key."""
        from drystone.adapters.secrets import ProjectSecrets

        return ProjectSecrets(self.settings.secrets, home=self.layout.home, root=self.project, environ=environ())

    @property
    def store_url(self) -> str:
        """Of the settings, else SQLite in the .drystone folder."""
        return self.settings.store.url or f"sqlite:///{self.layout.home / STORE_FILE}"

    def has_store(self) -> bool:
        """False when the store is a file that is not there yet."""
        return bool(self.settings.store.url) or (self.layout.home / STORE_FILE).is_file()

    @cached_property
    def journal(self) -> Journal:
        """The store; made when it is not there."""
        from drystone.adapters import owner
        from drystone.stores.sql import SqlJournal

        return SqlJournal(self.store_url, root=self.project, is_alive=owner.is_alive)

    def keep_preview(self, digest: str, sealed: Mapping[str, str]) -> None:
        """Keeps what a saved preview said of instances for the runs that do it."""
        from drystone.engines.previewed import Previewed

        for id_, part in sealed.items():
            Previewed(self.layout).keep(self.layout.preview(digest), id_, part)

    def bound_now(
        self, plan: str, environment: str | None, id_: str, part: SavedPart, root: Path, vault: Vault
    ) -> Mapping[str, str] | None:
        """What a saved preview of an instance rests on in the world, as it is now; None when its kind cannot say. Raises RefusedError."""
        from drystone.engines.context import Control

        performer = self.performer(lambda: world_of(self))
        control = Control(self.clock, BOUND_TIMEOUT)
        try:
            return performer.bound_now(plan, environment, id_, part, project=root, vault=vault, control=control)
        except AttemptError as error:
            raise RefusedError(f"what {id_} rests on cannot be looked at: {error.message}", hint=error.hint) from error
        finally:
            performer.close()

    def vault(self) -> Vault:
        """For the secrets of one run."""
        from drystone.adapters.redact import Redactor
        from drystone.engines.vault import Vault

        return Vault(self.secrets, Redactor())

    def foreseer(self, id_: str, plan: str, environment: str | None, root: Path, bundle: str, vault: Vault) -> Foreseer:
        """Asks kinds what they would do, for one preview."""
        from drystone.engines.breaker import Breakers
        from drystone.engines.foreseer import Foreseer
        from drystone.settings import child_environ

        settings = self.settings.engine
        return Foreseer(
            id=id_,
            plan=plan,
            environment=environment,
            project=root,
            bundle=bundle,
            tree_of=lambda bundle: self.bundles.tree(bundle, root),
            registry=self.registry,
            process=self.process,
            forks=self.forks(),
            layout=self.layout,
            environ=child_environ(self.settings, environ()),
            breakers=Breakers(
                clock=self.clock, jitter=self.ids.jitter, failures=settings.breaker_failures, cooldown=settings.breaker_cooldown
            ),
            clock=self.clock,
            vault=vault,
        )

    def engine(self, observers: Sequence[Observer], here: Callable[[], World]) -> EmbeddedEngine:
        """The embedded engine, told who watches. `here`: the surroundings that sub-plans run in."""
        return self.driver(self.performer(here), observers)

    def performer(self, here: Callable[[], World]) -> Performer:
        """What makes attempts. `here`: as for `engine`."""
        from drystone.engines.attempt import Performer
        from drystone.engines.breaker import Breakers
        from drystone.engines.versions import standing_in
        from drystone.settings import child_environ

        given = child_environ(self.settings, environ())
        settings = self.settings.engine
        breakers = Breakers(
            clock=self.clock, jitter=self.ids.jitter, failures=settings.breaker_failures, cooldown=settings.breaker_cooldown
        )
        performer = Performer(
            registry=self.registry,
            process=self.process,
            forks=self.forks(),
            layout=self.layout,
            environ=given,
            breakers=breakers,
            standing_of=partial(standing_in, self.journal),
            sub_plans=lambda part, ctx: self.sub_plans(performer, here(), part, ctx),
            tree_of=lambda bundle, root: self.bundles.tree(bundle, root),
            good_of=lambda run: self.good_of(here(), run),
            manifest_of=self.bundles.manifest,
        )
        return performer

    def good_of(self, here: World, run: Run) -> Good | None:
        """The last good run of the same plan in the same environment, looked up once for each run."""
        from drystone.app import environments
        from drystone.engines.standing import Good

        if run.environment is None:
            return None
        with self._looking:
            if run.id not in self._good:
                look = environments.last_good(here, run.environment, run.graph.plan.name)
                undone = frozenset[str]() if look is None else environments.undone_since(here, run.environment, look)
                self._good[run.id] = None if look is None else Good(run=look.run, bundle=look.record.bundle, undone=undone)
            return self._good[run.id]

    def sub_plans(self, performer: Performer, here: World, part: Part, ctx: AttemptContext) -> SubPlans:
        """Runs plans inside an attempt: its secrets stay hidden there too, and kinds keep their daemons when a part has ended."""
        from drystone.app.subplans import SubPlans
        from drystone.engines.vault import Vault

        within = replace(
            here,
            vault=lambda: Vault(self.secrets, ctx.redactor),
            engine=lambda observers: self.driver(performer, observers, is_part=True),
        )
        return SubPlans(within, part, ctx)

    def driver(
        self,
        performer: Performer,
        observers: Sequence[Observer],
        *,
        is_part: bool = False,
        on_end: Callable[[Run], None] | None = None,
    ) -> EmbeddedEngine:
        """An embedded engine that makes its attempts with this performer; the rest as it says itself."""
        from drystone.engines.embedded.engine import EmbeddedEngine

        return EmbeddedEngine(
            journal=self.journal,
            performer=performer,
            layout=self.layout,
            clock=self.clock,
            ids=self.ids,
            settings=self.settings.engine,
            owner=self.owner,
            pools=self.settings.pools,
            observers=observers,
            is_part=is_part,
            on_end=on_end,
        )
