"""Child processes when drystone itself is killed, and what a later drystone does about them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

import drystone
from drystone.adapters import supervise
from drystone.adapters.process import SupervisedProcess
from drystone.ports import ProcessSpec

SOURCES = str(Path(drystone.__file__).parents[1])
Wait = Callable[[Callable[[], object]], None]

DRYSTONE = """
import sys
from datetime import timedelta
from pathlib import Path
from drystone.adapters.process import SupervisedProcess
from drystone.ports import ProcessSpec

folder, grace_s, script = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
spec = ProcessSpec(argv=["sh", "-c", script], cwd=folder, environ={"PATH": "/usr/bin:/bin"},
                   grace=timedelta(seconds=grace_s), record=folder / "record")
end = SupervisedProcess().run(spec, lambda stream, lines: print(lines, flush=True), lambda: False)
print("exit", end.exit_code, flush=True)
"""


class Drystone:
    """A drystone in a process of its own, which runs one child and can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record"
        self.popen: subprocess.Popen[str] | None = None

    def start(self, script: str, *, grace_s: float = 300) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", DRYSTONE, str(self.folder), str(grace_s), textwrap.dedent(script)],
            env={"PYTHONPATH": SOURCES},
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_line(self, line: str) -> None:
        assert self.popen is not None and self.popen.stdout is not None
        assert self.popen.stdout.readline() == f"{line}\n"

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def drystone_process(tmp_path: Path) -> Iterator[Drystone]:
    it = Drystone(tmp_path)
    yield it
    if it.popen is not None:
        it.kill()
        assert it.popen.stdout is not None
        it.popen.stdout.close()


def pids(folder: Path) -> list[int]:
    return [int(file.read_text()) for file in folder.iterdir() if file.read_text().strip()]


def test_kill_9_of_drystone_ends_every_descendant(
    drystone_process: Drystone, doomed: Path, is_running: Callable[[int], bool], wait_for: Wait
) -> None:
    drystone_process.start(
        f"""
        echo $$ >{doomed}/child
        setsid sh -c 'trap "" INT TERM HUP; echo $$ >{doomed}/worker; sleep 300 & echo $! >{doomed}/below; wait' &
        sh -c 'trap "" INT TERM HUP; echo $$ >{doomed}/mate; while :; do sleep 0.02; done' &
        while ! test -s {doomed}/below -a -s {doomed}/mate; do sleep 0.01; done
        echo ready
        while :; do sleep 0.02; done
        """
    )
    drystone_process.wait_for_line("ready")
    supervisor = int(drystone_process.record.read_text().split()[0])
    assert all(map(is_running, pids(doomed)))
    drystone_process.kill()
    wait_for(lambda: not is_running(supervisor))
    assert len(pids(doomed)) == 4
    assert not any(map(is_running, pids(doomed)))
    assert not drystone_process.record.exists()


def test_kill_9_of_drystone_lets_the_child_write_its_state(drystone_process: Drystone, tmp_path: Path, wait_for: Wait) -> None:
    drystone_process.start("trap 'sleep 0.2; echo saved >state; exit' INT; echo ready; while :; do sleep 0.02; done")
    drystone_process.wait_for_line("ready")
    drystone_process.kill()
    wait_for((tmp_path / "state").exists)
    wait_for(lambda: not drystone_process.record.exists())


def test_kill_9_of_drystone_does_not_end_a_child_that_goes_on_talking(drystone_process: Drystone, tmp_path: Path, wait_for: Wait) -> None:
    # Terraform tells that it was interrupted before it writes its state: a broken pipe would be its end.
    drystone_process.start(
        """
        trap 'echo interrupted && head -c 300000 /dev/zero && echo interrupted >&2 && echo saved >state; exit' INT
        echo ready
        while :; do sleep 0.02; done
        """
    )
    drystone_process.wait_for_line("ready")
    drystone_process.kill()
    wait_for(lambda: not drystone_process.record.exists())
    assert (tmp_path / "state").exists()


def test_kill_9_of_drystone_kills_a_stubborn_child_after_the_grace(
    drystone_process: Drystone, doomed: Path, is_running: Callable[[int], bool], wait_for: Wait
) -> None:
    drystone_process.start(f"trap '' INT; echo $$ >{doomed}/child; echo ready; while :; do sleep 0.02; done", grace_s=0.1)
    drystone_process.wait_for_line("ready")
    drystone_process.kill()
    wait_for(lambda: not is_running(pids(doomed)[0]))


def test_orphan_is_ended_and_waited_for_with_its_grace(drystone_process: Drystone, tmp_path: Path, wait_for: Wait) -> None:
    # It saves its state only when it is let, so that it surely is still there when it is found.
    drystone_process.start(
        """
        trap 'echo told >told; while ! test -e go; do sleep 0.01; done; echo saved >state; exit' INT
        echo ready
        while :; do sleep 0.02; done
        """
    )
    drystone_process.wait_for_line("ready")
    drystone_process.kill()
    wait_for((tmp_path / "told").exists)
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(SupervisedProcess().end_orphan, drystone_process.record)
        assert drystone_process.record.exists()
        assert not ending.done()
        (tmp_path / "go").touch()
        assert ending.result(timeout=20) is True
    assert (tmp_path / "state").read_text() == "saved\n"
    assert not drystone_process.record.exists()


def test_orphan_is_ended_although_its_drystone_lives(
    drystone_process: Drystone, doomed: Path, is_running: Callable[[int], bool]
) -> None:
    drystone_process.start(f"echo $$ >{doomed}/child; echo ready; while :; do sleep 0.02; done")
    drystone_process.wait_for_line("ready")
    assert SupervisedProcess().end_orphan(drystone_process.record) is True
    assert not is_running(pids(doomed)[0])
    drystone_process.wait_for_line("exit -2")


def test_orphan_whose_supervisor_was_killed_too_is_found_by_its_session(
    drystone_process: Drystone, doomed: Path, is_running: Callable[[int], bool], wait_for: Wait
) -> None:
    drystone_process.start(f"echo $$ >{doomed}/child; sleep 300 & echo $! >{doomed}/job; echo ready; wait")
    drystone_process.wait_for_line("ready")
    supervisor = int(drystone_process.record.read_text().split()[0])
    assert drystone_process.popen is not None
    os.kill(drystone_process.popen.pid, 19)
    os.kill(supervisor, 9)
    drystone_process.kill()
    wait_for(lambda: not is_running(supervisor))
    SupervisedProcess().end_orphan(drystone_process.record)
    assert not any(map(is_running, pids(doomed)))
    assert not drystone_process.record.exists()


def test_no_record_is_no_orphan(tmp_path: Path) -> None:
    assert SupervisedProcess().end_orphan(tmp_path / "none") is False


def record_of(pid: int, *, start: int | None = None, boot: str | None = None) -> str:
    boot = boot or Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{pid} {supervise.Process(pid).start if start is None else start} {boot} 999999999 1 0.1\n"


def test_process_that_has_the_pid_of_a_dead_supervisor_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "300"]) as stranger:
        (tmp_path / "record").write_text(record_of(stranger.pid, start=1))
        assert SupervisedProcess().end_orphan(tmp_path / "record") is False
        assert stranger.poll() is None
        stranger.kill()
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize("boot", ["11111111-2222-3333-4444-555555555555", "\0\0\0"])
def test_record_of_another_boot_or_of_a_broken_disk_is_no_orphan(tmp_path: Path, boot: str) -> None:
    with subprocess.Popen(["sleep", "300"]) as stranger:
        (tmp_path / "record").write_text(record_of(stranger.pid, boot=boot))
        assert SupervisedProcess().end_orphan(tmp_path / "record") is False
        assert stranger.poll() is None
        stranger.kill()
    assert not (tmp_path / "record").exists()


def run_with_record(folder: Path, record: Path, *argv: str) -> list[str]:
    lines: list[str] = []
    spec = ProcessSpec(argv=argv, cwd=folder, environ={"PATH": "/usr/bin:/bin"}, record=record, grace=timedelta(seconds=7))
    SupervisedProcess().run(spec, lambda _, some: lines.extend(some.split("\n")), lambda: False)
    return lines


def test_record_is_there_before_the_child_begins_and_gone_after_its_end(tmp_path: Path) -> None:
    record = tmp_path / "deep" / "er" / "record"
    (line,) = run_with_record(tmp_path, record, "cat", str(record))
    supervisor, start, boot, child, child_start, grace_s = line.split()
    assert len({supervisor, child, str(os.getpid())}) == 3
    assert int(start) <= int(child_start)
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert float(grace_s) == 7
    assert list(record.parent.iterdir()) == []


def test_record_of_a_program_that_cannot_start_is_removed(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is not on PATH"):
        run_with_record(tmp_path, tmp_path / "record", "no-such-tool")
    assert list(tmp_path.iterdir()) == []


def test_child_does_not_begin_when_its_record_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    with pytest.raises(Exception, match="cannot be written: is a directory"):
        run_with_record(tmp_path, tmp_path / "record", "touch", "begun")
    assert not (tmp_path / "begun").exists()
