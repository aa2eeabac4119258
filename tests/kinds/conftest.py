"""A real attempt for the kinds' tests: the engine's own context, supervised child processes, folders of the test."""

from __future__ import annotations

import os
import random
import string
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drystone.adapters.process import SupervisedProcess
from drystone.engines.context import AttemptContext, Control


class RealClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class PlainRedactor:
    """Replaces what it was told, and nothing else."""

    def __init__(self) -> None:
        self.values: set[str] = set()

    def add(self, value: Any) -> None:
        self.values.add(str(value))

    def text(self, text: str) -> str:
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def data(self, data: Any) -> Any:
        match data:
            case str():
                return self.text(data)
            case dict():
                return {key: self.data(value) for key, value in data.items()}
            case list() | tuple():
                return [self.data(value) for value in data]
            case _:
                return data


@dataclass(kw_only=True)
class Attempt:
    """A context and what was seen of it. `stop` cancels as the engine does."""

    ctx: AttemptContext
    folder: Path
    control: Control
    progress: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def stop(self) -> None:
        self.control.cancel("cancelled by the test")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The root of the plan's paths."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def new_attempt(tmp_path: Path, project: Path) -> Iterator[Callable[..., Attempt]]:
    """Makes attempts of one instance: they share its state folder, as attempts of a run do."""
    made: list[Attempt] = []

    def make(*, run: str = "01JRUN", timeout: timedelta | None = None, env: Mapping[str, str] | None = None) -> Attempt:
        folder = tmp_path / "runs" / run / f"task-{len(made) + 1}"
        control = Control(RealClock(), timeout)
        progress: list[tuple[str, Mapping[str, Any]]] = []
        ctx = AttemptContext(
            run_id=run, plan="trial", task="task", attempt=1, token=f"{run}.task", environment="staging",
            project=project, folder=folder, state_folder=tmp_path / "state",
            artifacts_folder=tmp_path / "runs" / run / "artifacts", environ={**os.environ, **(env or {})},
            control=control, redactor=PlainRedactor(), runner=SupervisedProcess(),
            on_progress=lambda message, data: progress.append((message, data)),
        )  # fmt: skip
        made.append(Attempt(ctx=ctx, folder=folder, control=control, progress=progress))
        return made[-1]

    yield make
    for attempt in made:
        attempt.ctx.close()


@pytest.fixture
def attempt(new_attempt: Callable[..., Attempt]) -> Attempt:
    """One attempt."""
    return new_attempt()


@pytest.fixture
def canary() -> str:
    """A secret that stands nowhere else."""
    return "canary-" + "".join(random.choices(string.ascii_lowercase, k=16))


@pytest.fixture
def in_background() -> Iterator[Callable[[Callable[[], Any]], Background]]:
    """Runs a function in a thread, which is joined after the test."""
    started: list[Background] = []

    def start(work: Callable[[], Any]) -> Background:
        started.append(Background(work))
        return started[-1]

    yield start
    for each in started:
        each.thread.join(60)


class Background:
    """A function at work in a thread. `error` is what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._work = work
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error

    def join(self, seconds: float = 60) -> None:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "still at work"


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds."""

    def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
        pause = threading.Event()
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "the condition never came true"
            pause.wait(0.02)

    return wait
