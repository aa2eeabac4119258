"""Kinds that break the rules: whatever they do, the attempt ends, says why, and leaks nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

from drystone.adapters.clock import SystemClock
from drystone.adapters.process import SupervisedProcess
from drystone.adapters.redact import Redactor
from drystone.core import codec
from drystone.core.plan import Body
from drystone.core.run import new_run
from drystone.core.values import Secret
from drystone.engines.attempt import Job, Performer
from drystone.engines.breaker import Breakers
from drystone.engines.context import Control
from drystone.engines.ended import MAX_DETAIL, Ended
from drystone.engines.layout import Layout
from drystone.engines.vault import Vault
from drystone.errors import NotFoundError, PermanentError
from drystone.plugin import api
from drystone.plugin.registry import Registry
from drystone.testing.graphs import HERE, graph_of, task

Act = Callable[[Any], api.Outcome]


class Nothing(api.Config):
    """No keys."""


class Odd(api.Kind):
    """Does what the test says."""

    name: ClassVar[str] = "odd"
    Config = Nothing
    act: ClassVar[Act]

    def run(self, ctx: api.Context, config: api.Config) -> api.Outcome:
        """Does it."""
        return type(self).act(ctx)


class Sealed:
    """Secrets that are sealed by a number."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def resolve(self, name: str) -> str:
        """None is known."""
        raise NotFoundError(f'no secret "{name}"')

    def seal(self, value: Any) -> str:
        """Its number."""
        self.kept.append(value)
        return str(len(self.kept))

    def unseal(self, sealed: str) -> Any:
        """The reverse of `seal`."""
        return self.kept[int(sealed) - 1]

    def sign(self, data: bytes) -> bytes:
        """Nobody asks."""
        raise NotImplementedError

    def public_key(self) -> bytes:
        """Nobody asks."""
        raise NotImplementedError


Perform = Callable[..., Ended]


@pytest.fixture
def perform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Perform:
    """Makes one attempt of a kind that does `act`, and gives its end; `secret` is known to be one."""

    def make(act: Act, *, secret: str = "", progress: Callable[[str, Mapping[str, Any]], None] = lambda message, data: None) -> Ended:
        monkeypatch.setattr(Odd, "act", staticmethod(act), raising=False)
        graph = graph_of({"t": replace(task("t"), body=Body(kind="odd", config={}, where=HERE))})
        run = new_run(id="01TEST", graph=graph, inputs={}, environment=None, created_at=datetime(2026, 1, 1, tzinfo=UTC))
        registry = Registry([EntryPoint("odd", f"{__name__}:Odd", "drystone.kinds")])
        layout = Layout(tmp_path)
        performer = Performer(
            registry=registry,
            process=SupervisedProcess(),
            layout=layout,
            environ={},
            breakers=Breakers(clock=SystemClock(), jitter=lambda: 0.0, failures=5, cooldown=timedelta(seconds=30)),
            standing_of=lambda run: None,
        )
        vault = Vault(Sealed(), Redactor())
        vault.redactor.add(secret)
        job = Job(run=run, instance="t", attempt=1, token="t", undo=False, after_loss=False, after_failure=False, project=tmp_path)
        return performer.perform(job, vault, Control(SystemClock(), None), progress)

    return make


def raising(error: BaseException) -> Act:
    def act(ctx: Any) -> api.Outcome:
        raise error

    return act


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_kind_that_wants_to_end_the_process_does_not_leave_the_run_waiting_for_ever(perform: Perform, error: BaseException) -> None:
    ended = perform(raising(error))
    assert ended.failure is not None and ended.failure.failure_class == "crashed"
    assert type(error).__name__ in ended.failure.message


def test_an_exception_that_cannot_be_printed_does_not_leave_the_run_waiting_for_ever(perform: Perform) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    ended = perform(raising(MuteError()))
    assert ended.failure is not None and "MuteError" in ended.failure.message


def test_a_log_that_cannot_be_written_does_not_leave_the_run_waiting_for_ever(perform: Perform, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    ended = perform(raising(PermanentError("failed", "said no")))
    assert ended.failure is not None and ended.failure.message == "said no"


@pytest.mark.parametrize("outputs", [{"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"x": float("nan")}, {"x": [object()]}])
def test_outputs_that_are_no_json_fail_the_attempt_and_not_the_engine(perform: Perform, outputs: Any) -> None:
    ended = perform(lambda ctx: api.Outcome(outputs=outputs))
    assert ended.failure is not None and "not JSON" in ended.failure.message
    assert ended.changed


def test_outputs_are_the_same_in_memory_and_after_a_replay(perform: Perform) -> None:
    ended = perform(lambda ctx: api.Outcome(outputs={1: ("a", "b")}, result={2: ()}))
    assert (ended.outputs, ended.result) == ({"1": ["a", "b"]}, {"2": []})


def test_progress_that_is_no_json_or_far_too_long_does_not_break_the_journal(perform: Perform) -> None:
    seen: list[Any] = []

    def act(ctx: Any) -> api.Outcome:
        ctx.emit("m" * 1_000_000, path=Path("x"))
        ctx.emit("short", much="d" * 1_000_000)
        return api.Outcome()

    assert perform(act, progress=lambda message, data: seen.append((message, data))).failure is None
    assert len(json.dumps(seen)) < 50_000
    assert seen[0][1] == {"path": "x"}


def test_a_failure_as_long_as_a_log_does_not_fill_the_store(perform: Perform) -> None:
    ended = perform(raising(PermanentError("failed", "x" * 1_000_000, detail="y" * 1_000_000)))
    assert ended.failure is not None
    assert len(ended.failure.message) + len(ended.failure.detail) < MAX_DETAIL + 10_000


def test_a_secret_in_a_key_of_the_outputs_does_not_reach_the_store(perform: Perform) -> None:
    ended = perform(lambda ctx: api.Outcome(outputs={"a": {"hunter2hunter2": 1}}), secret="hunter2hunter2")
    assert isinstance(ended.outputs["a"], Secret)
    assert "hunter2" not in codec.pack(ended.outputs)


def test_a_kind_that_fails_half_way_with_an_error_of_drystones_own_is_not_taken_for_one_that_changed_nothing(perform: Perform) -> None:
    assert perform(raising(NotFoundError("gone in the middle"))).changed
