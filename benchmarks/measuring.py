"""One function for each figure of the table. They take how often to measure, and give figures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import bare, graphs, rivals
from benchmarks.figures import Figure, Taken, in_turn, timed
from benchmarks.project import BUILD, Project, folder, shape_of

LARGE = 10_000
HALF = LARGE // 2
TALK = "yes | head -c 10000000"
"""Says 10 MB."""


def layered(times: int, peers: Sequence[str]) -> list[Figure]:
    """A graph of 1,000 tasks with much to do at once."""
    return [_durable("1,000 durable tasks in 10 layers", graphs.layered(10, 100), 3000, times, peers)]


def chain(times: int, peers: Sequence[str]) -> list[Figure]:
    """A graph in which every task waits for the one before it, and so for the disk."""
    return [_durable("100 durable tasks in a chain", graphs.chain(100), 400, times, peers)]


def _durable(name: str, graph: graphs.Graph, budget: float, times: int, peers: Sequence[str]) -> Figure:
    with folder() as place:
        project = Project(place)
        plan = project.plan(graphs.to_plan(graph))
        shape = shape_of(project, plan)
        calls = (lambda: project.run(plan), lambda: bare.write(shape))
        found, limit = in_turn(times, *calls)
        others = tuple(rivals.measured(peer, graph) for peer in peers)
        if others:
            # They take minutes, in which the machine may have become another one.
            found, limit = (before + after for before, after in zip((found, limit), in_turn(times, *calls), strict=True))
        project.close()
    return Figure(
        name=name,
        unit="tasks/s",
        budget=budget,
        samples=[len(graph) / taken.wall for taken in found],
        cpu=[taken.cpu for taken in found],
        limit=[len(graph) / taken.wall for taken in limit],
        against=f"{len(shape)} bare SQLite transactions with the same rows",
        rivals=others,
    )


def compiling(times: int, peers: Sequence[str]) -> list[Figure]:
    """From the YAML text to the graph; the growth shows in the time for each thousand."""
    return [_compiled(size, 2.0 if size == LARGE else None, times) for size in (1_000, LARGE, 50_000)]


def _compiled(size: int, budget: float | None, times: int) -> Figure:
    text = graphs.to_rich_plan(size)
    with folder() as place:
        project = Project(place)
        plan = project.plan(text)
        project.compile(project.plan(graphs.to_rich_plan(100)))
        plan = project.plan(text)
        found, limit = in_turn(times, lambda: timed(lambda: project.compile(plan)), lambda: timed(lambda: bare.parse(text)))
    return Figure(
        name=f"compile {size:,} tasks, {len(text) / 1e6:.1f} MB of YAML",
        unit="s",
        budget=budget,
        samples=_walls(found),
        cpu=[taken.cpu for taken in found],
        limit=_walls(limit),
        against="only libyaml's events",
    )


def recovery(times: int, peers: Sequence[str]) -> list[Figure]:
    """A run of 10,000 tasks whose process died after half of them."""
    with folder() as place:
        project = _large(place)
        _child("die", place, HALF)
        text = graphs.to_plan(graphs.layered(LARGE // 100, 100))
        graph = project.compile(project.plan(text))
        store = place / ".drystone" / "drystone.db"
        decide, read = (lambda: project.decide_what_is_left(graph)), (lambda: bare.read(store))
        decided, limit = in_turn(times, lambda: timed(decide), lambda: timed(read))
        project.close()
        resumed, least = in_turn(times, lambda: _resumed(place), lambda: timed(lambda: (bare.parse(text), bare.read(store))).wall)
    name = f"{LARGE:,} tasks, killed after {HALF:,}"
    against = "reading the same events as JSON"
    return [
        Figure(
            name=f"{name}: decide what is left",
            unit="s",
            budget=1.0,
            samples=_walls(decided),
            cpu=[taken.cpu for taken in decided],
            limit=_walls(limit),
            against=against,
        ),
        Figure(
            name=f"{name}: resume until an attempt starts, plan compiled anew",
            unit="s",
            samples=resumed,
            limit=least,
            against="only libyaml's events, and the same events as JSON",
        ),
    ]


def _walls(found: Sequence[Taken]) -> list[float]:
    return [taken.wall for taken in found]


def _large(place: Path) -> Project:
    project = Project(place)
    project.plan(graphs.to_plan(graphs.layered(LARGE // 100, 100)))
    return project


def _resumed(place: Path) -> float:
    """Of a copy, so that every time finds the same."""
    with folder() as copy:
        shutil.copytree(place, copy, dirs_exist_ok=True)
        return _child("resume", copy)


def memory(times: int, peers: Sequence[str]) -> list[Figure]:
    """Of a run of 10,000 tasks, all of them in the journal and in the state."""
    samples, limit = in_turn(times, _peak, lambda: _child("imports"))
    return [
        Figure(
            name=f"peak memory of a run of {LARGE:,} tasks",
            unit="MB",
            budget=300,
            samples=samples,
            limit=limit,
            against="only the imports",
        )
    ]


def _peak() -> float:
    with folder() as place:
        _large(place)
        return _child("memory", place)


def output(times: int, peers: Sequence[str]) -> list[Figure]:
    """Millions of short lines of one command: each is cut, cleaned of secrets and in the log before the next ones come."""
    with folder() as place:
        project = Project(place)
        plan = project.plan(graphs.to_talking_plan(TALK))
        log, to_file = place / "bare.log", f"{TALK} > {place / 'bare.log'}"
        found, limit = in_turn(times, lambda: project.run(plan), lambda: timed(lambda: subprocess.run(["sh", "-c", to_file], check=True)))
        size_mb = log.stat().st_size / 1e6
        project.close()
    return [
        Figure(
            name=f"{size_mb:.0f} MB of output of one command, in lines of one character",
            unit="s",
            samples=_walls(found),
            cpu=[taken.cpu for taken in found],
            limit=_walls(limit),
            against="the same command into a file",
        )
    ]


def commands(times: int, peers: Sequence[str]) -> list[Figure]:
    """Wall time of whole processes, installed as packages are: compiled."""
    with folder() as place:
        words = {"--help": 0.2, "show last": None, "run hello": None}
        hello = (Path(__file__).parents[1] / "plans" / "hello.yaml").read_text(encoding="utf-8")
        (place / "plans").mkdir()
        (place / "plans" / "hello.yaml").write_text(hello, encoding="utf-8")
        for line in ("run hello", *words):
            _wall(place, _drystone(line))
        calls = [lambda line=line: _wall(place, _drystone(line)) for line in words]
        limit, *found = in_turn(times, lambda: _wall(place, [sys.executable, "-c", "pass"]), *calls)
    return [
        Figure(name=f"drystone {line}", unit="s", budget=budget, samples=samples, limit=limit, against="python -c pass")
        for (line, budget), samples in zip(words.items(), found, strict=True)
    ]


def _drystone(line: str) -> list[str]:
    return [str(Path(sys.executable).with_name("drystone")), *line.split()]


def _wall(place: Path, argv: Sequence[str]) -> float:
    before = perf_counter()
    subprocess.run(argv, cwd=place, env=_environ(), check=True, capture_output=True)
    return perf_counter() - before


def _child(command: str, *words: object) -> float:
    argv = [sys.executable, "-m", "benchmarks.child", command, *map(str, words)]
    done = subprocess.run(argv, cwd=Path(__file__).parents[1], env=_environ(), check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout or 0)


def _environ() -> Mapping[str, str]:
    """With compiled modules, also where the caller wants none written beside the sources."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(BUILD / "pycache")}


PARTS = {
    "layered": layered,
    "chain": chain,
    "compile": compiling,
    "recovery": recovery,
    "memory": memory,
    "output": output,
    "commands": commands,
}
