"""A project in a folder of its own, in which plans run as `drystone run` would run them, through the real wiring."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Taken, timed
from drystone import wiring
from drystone.app import plans, runs
from drystone.app.inputs import Given
from drystone.app.places import PlanFile
from drystone.app.world import World
from drystone.core.burst import in_one_burst
from drystone.core.graph import Graph
from drystone.core.run import decide, evolve, new_run
from drystone.ports import Batch

BUILD = Path(__file__).parents[1] / "build" / "benchmarks"
"""On the disk of the checkout: a temporary folder may be in memory, where nothing has to be waited for."""


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=BUILD))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Project:
    """One project; its store is made, and stays open, when the first run starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.world: World = wiring.world(root)

    def plan(self, text: str) -> PlanFile:
        """A plan with this text."""
        path = self.root / "plans" / "benchmark.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return PlanFile(path=path, shown=path.name, root=self.root, project=self.root)

    def compile(self, plan: PlanFile) -> Graph:
        """From the plan's text to its graph."""
        return plans.load(self.world, plan)[0]

    def run(self, plan: PlanFile) -> Taken:
        """From the start of a run, with its plan compiled and the store open, to its end."""
        prepared = runs.prepare(self.world, plan, Given())
        gc.collect()
        return timed(lambda: self._run(prepared))

    def _run(self, prepared: runs.Prepared) -> None:
        look = runs.start(self.world, prepared).drive()
        assert look.run.status.value == "succeeded", look.run.status

    @in_one_burst
    def decide_what_is_left(self, graph: Graph) -> None:
        """Of the newest run, which stopped half-way: from its record to knowing what comes next."""
        journal = self.world.journal()
        record = journal.record(journal.find("last"))
        new = new_run(id=record.id, graph=graph, inputs=record.inputs, environment=None, created_at=record.created_at)
        run = evolve(new, *journal.events(record.id))
        assert run.running or decide(run, self.world.clock.now())

    def close(self) -> None:
        """Closes the store."""
        self.world.journal().close()


def shape_of(project: Project, plan: PlanFile) -> list[Batch]:
    """What one run of the plan writes: a batch for each transaction."""
    journal: Any = project.world.journal()
    written: list[Batch] = []
    append = journal.append

    def recording(batches: Sequence[Batch]) -> None:
        written.extend(batches)
        append(batches)

    journal.append = recording
    try:
        project.run(plan)
    finally:
        del journal.append
    return written
