"""DBOS: one durable workflow over SQLite, a step for each task, those of a layer together. Prints the seconds of one run."""

import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter

from dbos import DBOS

GRAPH: dict[str, list[str]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def waves() -> list[list[str]]:
    """Names by wave; the graph comes in topological order."""
    wave_of: dict[str, int] = {}
    for name, needs in GRAPH.items():
        wave_of[name] = max((wave_of[need] + 1 for need in needs), default=0)
    found: list[list[str]] = [[] for _ in range(max(wave_of.values()) + 1)]
    for name, wave in wave_of.items():
        found[wave].append(name)
    return found


@DBOS.step()
async def nothing(name: str) -> str:
    """A task."""
    return name


@DBOS.workflow()
async def everything() -> None:
    """The graph."""
    for wave in waves():
        await asyncio.gather(*[nothing(name) for name in wave])


async def main() -> None:
    """Launches DBOS, and runs the workflow to its end."""
    DBOS(config={"name": "benchmark", "system_database_url": "sqlite:///dbos.sqlite", "log_level": "CRITICAL", "run_admin_server": False})
    DBOS.launch()
    before = perf_counter()
    await everything()
    print(perf_counter() - before, flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
