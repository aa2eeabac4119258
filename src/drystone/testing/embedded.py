"""The real embedded engine for tests: plans are run by the real use cases, in this process, with fake kinds and a simulated clock.

    driver = EmbeddedDriver(tmp_path)
    story = driver.run(PLAN, faults=["migration fails", "crash after event 7"])

A plan may use the kinds `fake` and `fragile` (which may not be made again when nobody saw its end), and all installed kinds, which do
their real work: faults do not reach them. With `kinds=stand_ins()` those that reach outside are played, and with `kinds=[Mine()]` a kind
that is not installed can be tried. When drystone is to die, the journal raises what nothing catches right after the events are on disk,
and the next process, with an owner of its own, takes up the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from drystone import wiring
from drystone.adapters.ids import SystemIds
from drystone.app import plans, reading, runs
from drystone.app.runs import Hand, Prepared
from drystone.app.world import World
from drystone.core.events import Event
from drystone.core.opaque import UNKNOWN
from drystone.core.run import Run
from drystone.engines.embedded.engine import POLL
from drystone.plugin.api import Kind
from drystone.plugin.registry import Registry
from drystone.ports import Journal
from drystone.settings import Settings
from drystone.testing import compiled
from drystone.testing.clock import SimulatedClock
from drystone.testing.fake_kind import FakeKind, FakeKindWithoutUndo, registry_with
from drystone.testing.fault_plan import UNDO, FaultPlan
from drystone.testing.faults import Faults
from drystone.testing.given import Given
from drystone.testing.journal import Died, DyingJournal, MemoryJournal
from drystone.testing.simulation import Ending
from drystone.testing.story import Story

IsAlive = Callable[[str], bool | None]
OpenJournal = Callable[[IsAlive, Callable[[], datetime]], Journal]
"""Opens the store for one process; told how to ask whether another one lives, and what time it is."""


class FragileKind(FakeKind):
    """Its attempts may not simply be made again."""

    name: ClassVar[str] = "fragile"
    idempotent: ClassVar[bool] = False


class EmbeddedDriver:
    """Runs plans, one after the other. After a drive the `calls` of the kind `fake`, or of a stand-in, tell what was asked of it.

    kinds:   win over installed ones of the same name.
    folder:  the project: what the name of a plan is looked up from, and below which .drystone stands.
    journal: opens the store; unless given it is in memory, and `journal` of the driver.
    """

    def __init__(self, folder: Path, *, journal: OpenJournal | None = None, kinds: Sequence[Kind] = ()) -> None:
        self.clock = SimulatedClock()
        self.fake, self.fragile = FakeKind(), FragileKind()
        self._kinds = [self.fake, self.fragile, *kinds]
        self._fakes = [kind for kind in self._kinds if isinstance(kind, FakeKindWithoutUndo)]
        for kind in self._fakes:
            kind.clock, kind.script = self.clock, self._ending
        self._folder = folder
        self._dead: set[str] = set()
        self._processes = 0
        self.journal = MemoryJournal(is_alive=self._is_alive, now=self.clock.now)
        self._open = journal or (lambda is_alive, now: self.journal)
        self._faults: FaultPlan | None = None
        self._given: Given
        self._run: Run
        self._asked: set[tuple[str, int]] = set()

    def run(
        self,
        plan: Path | str,
        *,
        faults: Faults = (),
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
        max_parallel: int = 16,
    ) -> Story:
        """Runs a plan to its end; the arguments are those of `rehearse`."""
        world = self._process(max_parallel)
        file, text = compiled.find(plan, self._folder)
        graph, source = plans.load(world, file, text)
        self._given = Given(graph, outputs or {}, results or {})
        self._expect(FaultPlan(faults, graph))
        prepared = Prepared(plan=file, graph=graph, source=source, values=dict(inputs or {}), missing=())
        return self._drive(world, runs.start(world, prepared), max_parallel)

    def undo(self, story: Story, *, faults: Faults = ()) -> Story:
        """Takes a run back. Raises RefusedError."""
        return self._again(story, faults, lambda world: runs.undo(world, reading.look(world, story.run.id)))

    def resume(self, story: Story, *, faults: Faults = (), only_failed: bool = False) -> Story:
        """Goes on with a run. Raises RefusedError."""
        return self._again(story, faults, lambda world: runs.resume(world, story.run.id, only_failed=only_failed))

    def _again(self, story: Story, faults: Faults, take: Callable[[World], Hand]) -> Story:
        self._expect(FaultPlan(faults, story.run.graph))
        world = self._process(story.run.max_parallel)
        return self._drive(world, take(world), story.run.max_parallel)

    def _expect(self, faults: FaultPlan) -> None:
        for kind in self._fakes:
            for name in self._faults.held if self._faults is not None else ():
                kind.let_go(name)
            for name in faults.held:
                kind.hold(name)
        self._faults = faults
        self._asked = set()

    # ---- processes ----------------------------------------------------------------------------------------------------

    def _is_alive(self, owner: str) -> bool | None:
        return owner not in self._dead

    def _process(self, max_parallel: int) -> World:
        """Those before it are gone."""
        self._dead.update(f"test:{number}" for number in range(1, self._processes + 1))
        self._processes += 1
        self.clock.forget()
        return wiring.world_of(
            _Parts(
                self._folder,
                owner=f"test:{self._processes}",
                registry=registry_with(*self._kinds),
                journal=cast(Journal, DyingJournal(self._open(self._is_alive, self.clock.now), self._dies_after)),
                clock=self.clock,
                max_parallel=max_parallel,
            )
        )

    def _dies_after(self, event: Event) -> bool:
        return self._faults is not None and self._faults.dies_after(event)

    def _drive(self, world: World, hand: Hand, max_parallel: int) -> Story:
        run_id = hand.run.id
        while True:
            try:
                self._run = hand.run
                hand.watchers.append(partial(self._see, world, hand))
                run = hand.drive().run
                break
            except Died:
                world = self._process(max_parallel)
                run = reading.look(world, run_id).run
                if run.status.is_final:
                    break
                hand = runs.resume(world, run_id)
        return Story(run=run, events=tuple(world.journal().events(run_id)))

    def _see(self, world: World, hand: Hand, event: Event, run: Run) -> None:
        """Told of everything that is on disk, before anything is done about it."""
        assert self._faults is not None
        self._run = run
        if self._faults.cancels(run):
            hand.cancel("as the fault plan says")
        elif (asked := self._faults.answer(run)) is not None:
            id_, given, by = asked
            question = (id_, len(run.instances[id_].attempts))
            if question not in self._asked:
                self._asked.add(question)
                data = {"task": id_, "comment": given.comment}
                runs.ask(replace(world, by=by), run.id, "approve" if given.approves else "reject", data)
            # The engine looks for wishes once in a while.
            self.clock.advance(POLL)
        else:
            self.clock.watch(run, [event])

    # ---- attempts -----------------------------------------------------------------------------------------------------

    def _ending(self, name: str, attempt: int) -> Ending:
        assert self._faults is not None
        ending = self._faults.ending(name, attempt)
        if name.startswith(UNDO):
            return ending
        instance = self._run.instances[name]
        outputs = self._given.outputs(self._run, instance)
        result = self._given.result(self._run, instance)
        return replace(ending, outputs={} if outputs is UNKNOWN else outputs, result=result)


class _SteadyIds(SystemIds):
    """Retries come exactly when their policy says."""

    def jitter(self) -> float:
        """None."""
        return 0.0


class _Parts(wiring.Parts):
    """What a process is made of: real, but for the kinds, the clock and who it is."""

    def __init__(
        self, project: Path, *, owner: str, registry: Registry, journal: Journal, clock: SimulatedClock, max_parallel: int
    ) -> None:
        super().__init__(project)
        self._owner = owner
        self._max_parallel = max_parallel
        self.registry = registry
        self.journal = journal
        self.clock = clock
        self.ids = _SteadyIds()
        found = super().settings
        self.settings: Settings = replace(found, engine=replace(found.engine, max_parallel=max_parallel))

    @property
    def owner(self) -> str:
        """This process."""
        return self._owner

    def has_store(self) -> bool:
        """It is there from the start."""
        return True
