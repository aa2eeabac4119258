"""Luigi: its local scheduler, and a file on the disk for each task that is done. Prints the seconds of one run."""

import json
import logging
import os
import sys
from pathlib import Path
from time import perf_counter

import luigi

GRAPH = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


class Nothing(luigi.Task):
    """Needs what the graph says, and leaves an empty file, on the disk before the next task begins as the others have it."""

    name = luigi.Parameter()

    def requires(self) -> list[luigi.Task]:
        return [Nothing(name=need) for need in GRAPH[self.name]]

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"done/{self.name}")

    def run(self) -> None:
        with self.output().open("w") as file:
            os.fsync(file.fileno())


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    before = perf_counter()
    if not luigi.build([Nothing(name=name) for name in GRAPH], local_scheduler=True, workers=1, no_lock=True):
        sys.exit("luigi did not finish")
    print(perf_counter() - before)
