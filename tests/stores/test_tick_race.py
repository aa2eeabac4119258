"""Two processes fire the same schedule from one store: each tick has one run."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from drystone.stores.sql import SqlJournal
from drystone.timetable import TickStatus

TICKS = 40
PLAN = """
drystone: 1
name: hourly
triggers: [{schedule: {cron: "@hourly", overlap: allow, catch_up: {window: 30d, fire: all}}}]
tasks: {a: {noop: {}}}
"""
PROCESS = f"""
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from drystone import wiring
from drystone.app.firing import Firing
from drystone.testing.clock import SimulatedClock
clock = SimulatedClock()
told = []
firing = Firing(replace(wiring.world(Path.cwd()), clock=clock), lambda event, facts: told.append(event))
firing.fire_due(clock.now())
print("ready", flush=True)
sys.stdin.readline()
for _ in range({TICKS}):
    clock.advance(timedelta(hours=1))
    firing.fire_due(clock.now())
print(told.count("schedule.fired"), flush=True)
"""


def test_two_processes_start_one_run_for_each_tick(url: str, tmp_path: Path) -> None:
    (tmp_path / "drystone.toml").write_text(f'[store]\nurl = "{url}"\n')
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "hourly.yaml").write_text(PLAN)
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    fired = [int(process.communicate(timeout=300)[0]) for process in processes]
    with closing(SqlJournal(url)) as journal:
        ticks = journal.timetable.history(limit=None)
        runs = journal.summaries(limit=None)
    assert sum(fired) == len(ticks) == TICKS == len({tick.run for tick in ticks}) == len(runs)
    assert all(tick.status in (TickStatus.FIRED, TickStatus.DONE) for tick in ticks)
