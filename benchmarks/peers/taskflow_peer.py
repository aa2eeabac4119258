"""TaskFlow: a graph flow on its parallel engine, with its own persistence in SQLite. Prints the seconds of one run."""

import json
import sys
from contextlib import closing
from pathlib import Path
from time import perf_counter

from taskflow import engines, task
from taskflow.patterns import graph_flow
from taskflow.persistence import backends


class Nothing(task.Task):
    """Does nothing, and provides its name to those that need it."""

    def execute(self, **needs: str) -> str:
        return self.name


def main(file: str) -> None:
    """Runs the graph of a file: name -> needs."""
    graph = json.loads(Path(file).read_text(encoding="utf-8"))
    flow = graph_flow.Flow("benchmark")
    flow.add(*[Nothing(name, provides=name, requires=needs) for name, needs in graph.items()])
    backend = backends.fetch({"connection": "sqlite:///taskflow.db"})
    with closing(backend.get_connection()) as connection:
        connection.upgrade()
    engine = engines.load(flow, backend=backend, engine="parallel", executor="threaded", max_workers=16)
    engine.compile()
    before = perf_counter()
    engine.prepare()
    engine.run()
    print(perf_counter() - before)


if __name__ == "__main__":
    main(sys.argv[1])
