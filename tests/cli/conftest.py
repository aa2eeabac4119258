"""What the tests of the command line share: runs made by hand, and whole projects with the real parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drystone.app.reading import Look
from drystone.ports import RunRecord
from drystone.testing.simulation import START, Simulation


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests shows in them."""
    for name in ("DRYSTONE_PROJECT", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project, which is the current folder."""
    (tmp_path / "plans").mkdir()
    (tmp_path / "drystone.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture
def look_at(tmp_path: Path) -> Callable[[Simulation], Look]:
    """A simulated run -> what `app.reading.look` gives; its .drystone folder is in `tmp_path`."""
    return lambda simulation: _look(simulation, tmp_path / ".drystone")


def _look(simulation: Simulation, home: Path) -> Look:
    record = RunRecord(
        id=simulation.run.id,
        plan=simulation.run.graph.plan.name,
        plan_file="/nowhere/plans/test.yaml",
        root="/nowhere",
        source="",
        bundle="sha256:0",
        environment=simulation.run.environment,
        inputs=simulation.run.inputs,
        created_at=START,
        created_by="ops@desk",
    )
    return Look(record=record, run=simulation.run, home=home)
