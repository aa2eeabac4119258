"""What needs a process of its own: peak memory, sudden death, going on after it. Each command prints one number.

    python -m benchmarks.child memory ROOT      run the plan of a project: peak memory of this process in MB
    python -m benchmarks.child imports          the same for a process that only imports what a run needs
    python -m benchmarks.child die ROOT COUNT   run it, and die without a word after COUNT tasks
    python -m benchmarks.child resume ROOT      seconds until the newest run has begun its first new attempt
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NoReturn

from benchmarks.project import Project
from drystone.app import runs
from drystone.app.inputs import Given
from drystone.app.runs import Hand
from drystone.core.events import Event, EventType
from drystone.core.run import Run


def memory(root: str) -> None:
    """Runs the plan to its end."""
    project = Project(Path(root))
    assert _begun(project).drive().run.status.value == "succeeded"
    print(_peak_mb())


def imports() -> None:
    """Loads the parts that every run needs, and no run."""
    project = Project(Path())
    project.world.registry.get("noop")
    project.world.engine([]).close()
    print(_peak_mb())


def die(root: str, count: str) -> None:
    """Ends in the middle of the run, as kill -9 would end it."""
    hand = _begun(Project(Path(root)))
    hand.watchers.append(_after(int(count), EventType.TASK_SUCCEEDED, lambda: os._exit(0)))
    hand.drive()
    raise AssertionError("the run ended first")


def resume(root: str) -> None:
    """Goes on until something new has started."""
    before = perf_counter()
    hand = runs.resume(Project(Path(root)).world, "last")
    hand.watchers.append(_after(1, EventType.TASK_STARTED, lambda: _tell(perf_counter() - before)))
    hand.drive()
    raise AssertionError("nothing was left to start")


def _begun(project: Project) -> Hand:
    plan = project.plan((project.root / "plans" / "benchmark.yaml").read_text(encoding="utf-8"))
    return runs.start(project.world, runs.prepare(project.world, plan, Given()))


def _after(count: int, wanted: EventType, then: Callable[[], NoReturn]) -> Callable[[Event, Run], None]:
    left = count

    def see(event: Event, run: Run) -> None:
        nonlocal left
        left -= event.type is wanted
        if left == 0:
            then()

    return see


def _tell(number: float) -> NoReturn:
    print(number, flush=True)
    os._exit(0)


def _peak_mb() -> float:
    # ru_maxrss would count what the parent had when it forked.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1000


COMMANDS: dict[str, Callable[..., None]] = {"memory": memory, "imports": imports, "die": die, "resume": resume}


def main(words: Sequence[str]) -> None:
    """Runs one command."""
    COMMANDS[words[0]](*words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
