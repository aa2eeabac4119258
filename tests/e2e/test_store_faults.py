"""The store is taken away, filled up, damaged or locked up while runs go on: what is told, and that a resume ends them right."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from e2e_support import COMMAND, Done, Project, finish, kill, statuses, wait_until

# `second` waits for the file `go`; it may be made again, the others may not.
STEPS = """\
drystone: 1
name: steps
environment: live
tasks:
  first: {command: {shell: "echo first >> effects"}, undo: {command: {shell: "echo undo-first >> effects"}}}
  second:
    needs: [first]
    command: {shell: "echo second >> effects; while [ ! -e go ]; do sleep 0.02; done", idempotent: true}
    undo: {command: {shell: "echo undo-second >> effects"}}
  third: {needs: [second], command: {shell: "echo third >> effects"}, undo: none}
"""
# It says more than there is room for, and takes its time for it.
TALKS = """\
drystone: 1
name: talks
tasks:
  first: {command: {shell: "echo first >> effects"}, undo: none}
  talks:
    needs: [first]
    for_each: 100
    max_parallel: 4
    command: {shell: "echo talks-{{ each.key }} >> effects; head -c 8000 /dev/zero | tr '\\\\0' x", idempotent: true}
    undo: none
  last: {needs: [talks], command: {shell: "echo last >> effects"}, undo: none}
"""
# `fills` leaves no room where logs and records of children are, so that not even an undo can begin.
FILLS = """\
drystone: 1
name: fills
environment: live
tasks:
  first: {command: {shell: "echo first >> effects"}, undo: {command: {shell: "echo undo-first >> effects"}}}
  fills:
    needs: [first]
    command: {shell: "i=0; while touch .drystone/runs/ballast-$i; do i=$((i + 1)); done 2> /dev/null; true"}
    undo: none
  last: {needs: [fills], command: {shell: "echo last >> effects"}, undo: none}
"""
QUICK = "3s"
"""Of a lease: so that the store is looked at each second."""


@pytest.fixture
def steps(project: Project) -> Project:
    project.write("plans/steps.yaml", STEPS)
    project.write("drystone.toml", f'[engine]\nlease = "{QUICK}"\n')
    return project


@pytest.fixture
def rightless() -> list[str]:
    """What to put before a command so that the rights of files are a limit for root too."""
    if os.geteuid() != 0:
        return []
    without = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"]


def waiting(project: Project) -> subprocess.Popen[str]:
    """A run whose second task waits."""
    process = project.start("run", "steps")
    wait_until(lambda: effects(project)["second"] or process.poll() is not None, "the second task")
    assert process.poll() is None, finish(process, None)
    return process


def effects(project: Project) -> Counter[str]:
    path = project.folder / "effects"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def go(project: Project) -> None:
    project.write("go", "")


def store(project: Project) -> Path:
    return project.home / "drystone.db"


def follow_the_hint(told: Done) -> None:
    """Does what the message says."""
    command = next(line for line in told.err.splitlines() if line.startswith("  rm -f "))
    assert os.system(command) == 0


# ---- taken away ------------------------------------------------------------------------------------------------------


def test_a_store_that_is_deleted_while_a_run_goes_on_is_noticed_and_can_be_put_back(steps: Project) -> None:
    process = waiting(steps)
    store(steps).unlink()
    told = finish(process, 4)
    assert f'store "{store(steps)}" was deleted while it was in use' in told.err
    assert "left half-way; to go on: drystone resume" in told.err
    follow_the_hint(told)
    go(steps)
    steps.run("resume", "last")
    assert effects(steps) == {"first": 1, "second": 2, "third": 1}
    assert statuses(steps.show()) == dict.fromkeys(("first", "second", "third"), "succeeded")


def test_a_run_is_not_told_to_have_succeeded_when_its_store_is_gone(steps: Project) -> None:
    steps.write("drystone.toml", "")
    process = waiting(steps)
    store(steps).unlink()
    go(steps)
    told = finish(process, 4)
    assert "succeeded after" not in told.said and "was deleted while it was in use" in told.err
    follow_the_hint(told)
    assert steps.show()["status"] == "succeeded"
    assert effects(steps) == {"first": 1, "second": 1, "third": 1}
    # The environment is free for the next run.
    steps.run("run", "steps")


def test_a_deleted_journal_file_is_noticed_and_the_run_goes_on(steps: Project) -> None:
    process = waiting(steps)
    for part in ("wal", "shm"):
        store(steps).with_name(f"drystone.db-{part}").unlink()
    told = finish(process, 4)
    assert "was deleted, which is a part of the store in use" in told.err
    go(steps)
    steps.run("resume", "last")
    assert effects(steps) == {"first": 1, "second": 2, "third": 1}


# ---- damaged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["emptied", "cut off", "overwritten", "begins with garbage"])
def test_a_damaged_store_is_told_by_every_command_and_a_backup_of_it_goes_on(steps: Project, damage: str, tmp_path: Path) -> None:
    process = waiting(steps)
    backup = tmp_path / "backup"
    with closing(sqlite3.connect(store(steps))) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    kill(process)
    _damage(store(steps), damage)
    damaged = store(steps).read_bytes()
    for words in (["show"], ["runs"], ["events"], ["resume"], ["run", "steps"], ["undo", "last", "--yes"], ["cancel"]):
        told = steps.run(*words, code=1).err
        assert f'store "{store(steps)}" is damaged' in told and "restore it from a backup" in told
    assert store(steps).read_bytes() == damaged
    for part in ("", "-wal", "-shm"):
        store(steps).with_name(f"drystone.db{part}").unlink(missing_ok=True)
    shutil.copy(backup, store(steps))
    go(steps)
    steps.run("resume", "last")
    assert effects(steps) == {"first": 1, "second": 2, "third": 1}


def _damage(file: Path, how: str) -> None:
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = file.stat().st_size
    match how:
        case "emptied":
            os.truncate(file, 0)
        case "cut off":
            os.truncate(file, size // 2)
        case "overwritten":
            with file.open("r+b") as pages:
                pages.seek(4096)
                pages.write(b"\xa5" * (size - 4096))
        case _:
            with file.open("r+b") as pages:
                pages.write(b"garbage" * 100)


def test_a_store_of_a_newer_drystone_is_left_alone(steps: Project) -> None:
    go(steps)
    steps.run("run", "steps")
    with closing(sqlite3.connect(store(steps))) as opened, opened:
        (table,) = opened.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%version%'").fetchone()
        opened.execute(f"UPDATE {table} SET version_num = '9999'")
    before = store(steps).read_bytes()
    for words in (["show"], ["runs"], ["resume"], ["run", "steps"], ["undo", "last", "--yes"]):
        told = steps.run(*words, code=1).err
        assert "was written by a newer drystone" in told and "use that drystone" in told
    assert store(steps).read_bytes() == before
    assert effects(steps) == {"first": 1, "second": 1, "third": 1}


# ---- no right and no room --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_read_only_store_is_told_and_the_run_goes_on_once_it_can_be_written(
    steps: Project, rightless: list[str], which: str
) -> None:
    steps.before = rightless
    kill(waiting(steps))
    with closing(sqlite3.connect(store(steps))) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path, mode = (store(steps), 0o600) if which == "file" else (steps.home, 0o700)
    path.chmod(mode & 0o555)
    try:
        for words in (["resume"], ["run", "steps"]):
            told = steps.run(*words, code=1).err
            assert f'store "{store(steps)}" cannot be written: it is read-only' in told and "writable" in told
        assert "cannot be written" in steps.run("doctor", code=1).out
    finally:
        path.chmod(mode)
    # SQLite gives those beside it the rights that the file has when it makes them.
    for beside in steps.home.glob("drystone.db-*"):
        beside.chmod(0o600)
    go(steps)
    steps.run("resume", "last")
    assert effects(steps) == {"first": 1, "second": 2, "third": 1}


def test_a_store_that_may_not_even_be_read_is_told(steps: Project, rightless: list[str]) -> None:
    go(steps)
    steps.run("run", "steps")
    steps.before = rightless
    store(steps).chmod(0)
    for words in (["runs"], ["run", "steps"]):
        told = steps.run(*words, code=1).err
        assert f'store "{store(steps)}" cannot be opened: this user may not read it' in told
    store(steps).chmod(0o600)


def test_a_quota_that_is_used_up_stops_the_run_and_more_of_it_lets_it_go_on(project: Project) -> None:
    project.write("plans/talks.yaml", TALKS)
    project.before = ["prlimit", "--fsize=400000"]
    told = project.run("run", "talks", code=4).err
    assert "cannot be read or written" in told and "quota" in told and "drystone resume" in told
    before = effects(project)
    project.before = []
    project.run("resume", "last")
    after = effects(project)
    assert set(after) == {"first", "last", *(f"talks-{number}" for number in range(100))}
    assert after["first"] == after["last"] == 1
    repeated = {name for name, count in after.items() if count > 1}
    lost = {event["task"] for event in project.events(type="task.lost")}
    assert repeated <= {name.replace("[", "-").rstrip("]") for name in lost} and repeated <= set(before)


def test_no_room_for_logs_and_records_is_told_and_the_way_back_is_gone_once_there_is_room(
    project: Project, within: Callable[[Project, str], None]
) -> None:
    project.write("plans/fills.yaml", FILLS)
    (project.home / "runs").mkdir(parents=True)
    drystone = " ".join(COMMAND)
    script = f"{drystone} run fills; echo code=$?; rm {project.home}/runs/ballast-*; {drystone} resume last; {drystone} show --json"
    within(project, f"mount -t tmpfs -o size=1m,nr_inodes=60 none {project.home}/runs && sh -c '{script}'; set -- true")
    told = project.run()
    assert f'the disk is full where "{project.home}/runs/' in told.err
    shown = json.loads(told.out[told.out.index("\n{\n") :])
    assert "code=4\n" in told.out
    assert (shown["status"], shown["left"]) == ("compensated", [])
    assert effects(project) == {"first": 1, "undo-first": 1}


# ---- several at once -------------------------------------------------------------------------------------------------


def test_processes_that_start_at_once_where_there_is_no_store_yet_share_one(project: Project) -> None:
    project.write("plans/one.yaml", "drystone: 1\nname: one\ntasks: {a: {command: {shell: 'echo a >> effects'}, undo: none}}\n")
    processes = [project.start("run", "one") for _ in range(6)]
    for process in processes:
        finish(process)
    listed = project.run("runs").out
    assert listed.count("succeeded") == len(processes)
    assert effects(project) == {"a": len(processes)}
    assert not list(project.home.glob(".drystone.db-*"))
