"""Dagster: one job, an op for each task in this process, its event log and run storage in SQLite. Prints the seconds of one run."""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

from dagster import DagsterInstance, DependencyDefinition, GraphDefinition, In, Nothing, OpDefinition, Out, in_process_executor, op

GRAPH: dict[str, list[str]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def to_op(name: str, needs: list[str]) -> OpDefinition:
    """A task, which waits for those that it needs and takes nothing from them."""

    @op(name=name, ins={f"after_{need}": In(Nothing) for need in needs}, out=Out(Nothing))
    def nothing() -> None:
        """A task."""

    return nothing


def home() -> str:
    """A folder for all that it keeps; it asks nobody outside."""
    folder = Path.cwd() / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return str(folder)


if __name__ == "__main__":
    os.environ["DAGSTER_HOME"] = home()
    graph = GraphDefinition(
        name="everything",
        node_defs=[to_op(name, needs) for name, needs in GRAPH.items()],
        dependencies={name: {f"after_{need}": DependencyDefinition(need) for need in needs} for name, needs in GRAPH.items()},
    )
    job = graph.to_job(executor_def=in_process_executor, config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
    with DagsterInstance.get() as instance:
        before = perf_counter()
        if not job.execute_in_process(instance=instance).success:
            sys.exit("dagster did not finish")
        print(perf_counter() - before, flush=True)
