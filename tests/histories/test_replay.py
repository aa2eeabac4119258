"""What older versions of drystone wrote is read, folded and shown as it was; see README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drystone import wiring
from drystone.app import describe, reading
from drystone.app.reading import Look
from drystone.core import codec
from drystone.core.events import Event, EventType
from drystone.core.states import RunStatus
from drystone.ports import Batch, RunRecord, RunSummary
from drystone.stores.memory import MemoryJournal

HERE = Path(__file__).parent
HISTORIES = sorted(path.stem for path in HERE.glob("*.jsonl"))


@pytest.fixture(params=HISTORIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def events(name: str) -> Sequence[Event]:
    return [codec.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture
def end(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return found


@pytest.fixture
def shown(name: str, events: Sequence[Event], tmp_path: Path) -> Look:
    """The run as the command shows it, from a store that holds this history."""
    record = record_of(events[0], (HERE / f"{name}.yaml").read_text())
    journal = MemoryJournal()
    journal.create(record, summary_of(record))
    lease = journal.claim(record.id, "test", timedelta(minutes=1), record.created_at)
    journal.append([Batch(run=record.id, epoch=lease.epoch, events=events)])
    world = replace(wiring.world(tmp_path), journal=lambda: journal, has_store=lambda: True)
    return reading.look(world, record.id)


def record_of(created: Event, source: str) -> RunRecord:
    """What the store keeps beside the events, from the first of them."""
    assert created.type is EventType.RUN_CREATED
    data = created.data
    return RunRecord(
        id=created.run,
        plan=data["plan"],
        plan_file="plan.yaml",
        root="/project",
        source=source,
        bundle=data["bundle"],
        environment=data["environment"],
        inputs=data["inputs"],
        created_at=created.at,
        created_by=data["by"],
        token=data["token"],
    )


def summary_of(record: RunRecord) -> RunSummary:
    return RunSummary(
        id=record.id,
        plan=record.plan,
        environment=record.environment,
        status=RunStatus.QUEUED,
        created_at=record.created_at,
        started_at=None,
        finished_at=None,
        tasks_done=0,
        tasks_total=0,
        error=None,
        owner=None,
    )


def test_a_recorded_run_is_shown_as_it_was(shown: Look, end: dict[str, Any]) -> None:
    assert differences(end, json.loads(json.dumps(describe.run_json(shown.run, shown.record)))) == []


def differences(expected: Any, found: Any, at: str = "") -> list[str]:
    """Where `found` is not what was expected; keys that nobody knew of then are no difference."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        lost = [f"{at}.{key} is gone" for key in expected.keys() - found.keys()]
        return lost + [line for key in expected.keys() & found.keys() for line in differences(expected[key], found[key], f"{at}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [line for number, pair in enumerate(zip(expected, found, strict=True)) for line in differences(*pair, f"{at}[{number}]")]
    return [] if expected == found else [f"{at} is {found!r}, and was {expected!r}"]


def test_every_event_is_written_as_it_can_be_read(events: Sequence[Event]) -> None:
    assert [codec.loads(codec.dumps(event)) for event in events] == list(events)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_nothing_that_is_recorded_was_changed_since() -> None:
    sums = dict(reversed(line.split(maxsplit=1)) for line in (HERE / "SHA256SUMS").read_text().splitlines())
    recorded = {file: hashlib.sha256((HERE / file).read_bytes()).hexdigest() for file in sums if (HERE / file).exists()}
    assert recorded == sums, "never record again, never edit: see README.md"
    kept = {f"{name}.{suffix}" for name in HISTORIES for suffix in ("jsonl", "yaml", "json")}
    assert kept == set(sums)


def test_the_histories_tell_of_every_end_and_every_type_of_event() -> None:
    ends = {json.loads((HERE / f"{name}.json").read_text())["status"] for name in HISTORIES}
    assert ends >= {"succeeded", "failed", "cancelled", "compensated", "compensation_failed"}
    types = {json.loads(line)["type"] for name in HISTORIES for line in (HERE / f"{name}.jsonl").read_text().splitlines()}
    assert {type_.value for type_ in EventType} - types == set()
