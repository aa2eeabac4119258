"""Programs that are forked instead of started: what they are given, how they end, and what happens when something is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import drystone
from drystone.adapters.forks import ForkServers
from drystone.adapters.process import SupervisedProcess
from drystone.ports import Preload, ProcessEnd, ProcessSpec

SOURCES = str(Path(drystone.__file__).parents[1])
SCRIPT = """
import os, sys, time
def preload():
    global server
    server = os.getpid()
    {preload}
def run(argv):
    print("warm", flush=True)
    return eval(compile(argv[-1], "program", "exec"), globals())
"""
COLD = ["/bin/sh", "-c", "echo cold"]
"""The program, started cold. A warm one runs the Python text that stands last."""


@pytest.fixture
def forks() -> Iterator[ForkServers]:
    """Processes to fork from, which end with the test."""
    servers = ForkServers()
    yield servers
    servers.close()


@pytest.fixture
def preload(tmp_path: Path) -> Preload:
    """One that imports nothing."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(preload=""))
    return Preload(python=sys.executable, script=str(script), cwd=str(tmp_path), environ={"PATH": os.defpath})


class Program:
    """A program of Python text that was run to its end, under supervision as all are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self.end: ProcessEnd | None = None

    def run(
        self, prefix: Any, text: str, *, stdin: bytes | None = None, environ: dict[str, str] | None = None, cancel: Any = lambda: False
    ) -> Program:
        argv = [*prefix, *COLD, text]
        cold = {"PATH": os.defpath, **(environ or {})}
        spec = ProcessSpec(argv=argv, cwd=self.folder, environ=cold, stdin=stdin, grace=timedelta(seconds=5))
        self.end = SupervisedProcess().run(spec, lambda stream, lines: self.told[stream].extend(lines.split("\n")), cancel)
        return self

    @property
    def lines(self) -> list[str]:
        return self.told["stdout"]

    @property
    def exit_code(self) -> int:
        assert self.end is not None
        return self.end.exit_code


@pytest.fixture
def program(tmp_path: Path) -> Callable[[], Program]:
    """Makes programs that run in a folder of their own."""

    def make() -> Program:
        folder = tmp_path / "place"
        folder.mkdir(exist_ok=True)
        return Program(folder)

    return make


@pytest.fixture
def eventually(wait_for: Callable[[Callable[[], object]], None]) -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds."""
    return wait_for


def test_a_fork_has_what_its_caller_has(forks, preload, program):
    text = "print(os.getcwd(), os.environ['WORD'], sys.argv[:2], sys.stdin.read()); sys.stderr.write('to stderr')"
    done = program().run(forks.prefix(preload), text, stdin=b"given", environ={"WORD": "mine"})
    assert done.lines == ["warm", f"{done.folder} mine ['/bin/sh', '-c'] given"]
    assert done.told["stderr"] == ["to stderr"]
    assert done.exit_code == 0


def test_imports_are_done_once(forks, preload, program):
    prefix = forks.prefix(preload)
    found = {program().run(prefix, "print(server, os.getpid() != server, os.getsid(0) == os.getpid())").lines[1] for _ in range(3)}
    assert found == {f"{forks.pids()[0]} True True"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sys.exit(7)", 7),
        ("sys.exit('no')", 1),
        ("sys.exit()", 0),
        ("1/0", 1),
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), 15)", -15),
        ("os.kill(os.getpid(), 9)", -9),
    ],
)
def test_it_ends_as_the_program_does(forks, preload, program, text, code):
    assert program().run(forks.prefix(preload), text).exit_code == code


def test_what_is_registered_for_the_end_of_a_program_is_done(forks, preload, program):
    assert program().run(forks.prefix(preload), "import atexit; atexit.register(print, 'last')").lines == ["warm", "last"]


def test_only_equal_preloads_share_a_process(forks, preload):
    prefixes = [
        forks.prefix(each)
        for each in (preload, preload, replace(preload, environ={"PATH": "/"}), replace(preload, stamp="x"), replace(preload, cwd="/"))
    ]
    assert prefixes[0] == prefixes[1]
    assert len(set(prefixes)) == 4


def test_the_last_used_processes_are_kept(preload):
    servers = ForkServers(most=2)
    try:
        first, second = forks_of(servers, preload, "a"), forks_of(servers, preload, "b")
        assert forks_of(servers, preload, "a") == first
        forks_of(servers, preload, "c")
        assert len(servers.pids()) == 2
        assert forks_of(servers, preload, "a") == first
        assert forks_of(servers, preload, "b") != second
    finally:
        servers.close()


def forks_of(servers: ForkServers, preload: Preload, stamp: str) -> Any:
    return servers.prefix(replace(preload, stamp=stamp))


def test_much_output_arrives_whole(forks, preload, program):
    done = program().run(forks.prefix(preload), "[print('x' * 99, i) for i in range(50_000)]")
    assert len(done.lines) == 50_001
    assert done.lines[-1].endswith(" 49999")


def test_what_the_imports_wrote_is_said_in_every_fork(forks, preload, program):
    Path(preload.script).write_text(SCRIPT.format(preload="sys.stderr.write('deprecated' + chr(10))"))
    prefix = forks.prefix(preload)
    for _ in range(2):
        assert program().run(prefix, "pass").told["stderr"] == ["deprecated"]


def test_imports_that_fail_make_it_a_cold_start(forks, preload, program):
    missing = ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'")
    for failing, reason in (missing, ("sys.exit(5)", "SystemExit: 5")):
        Path(preload.script).write_text(SCRIPT.format(preload=failing))
        done = program().run(forks.prefix(replace(preload, stamp=failing)), "pass")
        assert done.lines == ["cold"]
        assert done.told["stderr"] == [f"drystone: not a warm start: {reason}"]


def test_a_process_that_was_killed_is_a_cold_start_and_then_replaced(forks, preload, program):
    prefix = forks.prefix(preload)
    assert program().run(prefix, "pass").lines == ["warm"]
    os.kill(forks.pids()[0], signal.SIGKILL)
    done = program().run(prefix, "pass")
    assert done.lines == ["cold"]
    assert done.told["stderr"] == ["drystone: not a warm start: Connection refused"]
    assert program().run(forks.prefix(preload), "pass").lines == ["warm"]


def test_a_program_at_work_outlives_the_process_that_it_was_forked_from(forks, preload, program, tmp_path):
    text = f"open('{tmp_path}/pid', 'w').close()\nwhile not os.path.exists('{tmp_path}/go'): time.sleep(0.01)\nprint('done')"

    def kill_then_go() -> bool:
        if (tmp_path / "pid").exists() and not (tmp_path / "go").exists():
            os.kill(forks.pids()[0], signal.SIGKILL)
            (tmp_path / "go").touch()
        return False

    done = program().run(forks.prefix(preload), text, cancel=kill_then_go)
    assert done.lines == ["warm", "done"]
    assert done.exit_code == 0


DAEMON = """
if os.fork() == 0:
    os.setsid()
    open({path!r}, 'w').write(str(os.getpid()))
    time.sleep(300)
"""


def test_cancel_interrupts_once_and_then_ends_all(forks, preload, program, tmp_path, is_running):
    text = DAEMON.format(path=f"{tmp_path}/pid") + (
        "try:\n    time.sleep(300)\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n    time.sleep(0.3)\n    sys.exit(4)"
    )
    done = program().run(forks.prefix(preload), text, cancel=lambda: written(tmp_path / "pid"))
    assert done.lines == ["warm", "interrupted"]
    assert done.exit_code == 4
    assert not is_running(int((tmp_path / "pid").read_text()))


def written(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


def test_one_that_does_not_listen_is_killed_after_the_grace_with_all_below_it(forks, preload, program, tmp_path, is_running, eventually):
    text = f"import signal; signal.signal(2, signal.SIG_IGN)\n{DAEMON.format(path=f'{tmp_path}/pid')}\ntime.sleep(300)"
    spec_grace = program()
    argv = [*forks.prefix(preload), *COLD, text]
    spec = ProcessSpec(argv=argv, cwd=spec_grace.folder, environ={"PATH": os.defpath}, grace=timedelta(seconds=0.2))
    SupervisedProcess().run(spec, lambda *_: None, lambda: written(tmp_path / "pid"))
    eventually(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_a_daemon_of_a_program_that_ended_by_itself_stays(forks, preload, program, tmp_path, is_running):
    prefix = forks.prefix(preload)
    text = DAEMON.format(path=f"{tmp_path}/pid") + f"while not os.path.getsize('{tmp_path}/pid'): pass"
    (tmp_path / "pid").touch()
    assert program().run(prefix, text).exit_code == 0
    forks.close()
    daemon = int((tmp_path / "pid").read_text())
    assert is_running(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_a_guardian_that_is_killed_ends_the_program(forks, preload, program):
    done = program().run(forks.prefix(preload), "os.kill(os.getppid(), 9); time.sleep(300)")
    assert done.lines == ["warm"]
    assert done.exit_code == -9


def test_it_ends_when_nobody_asks_and_after_its_number_of_forks(preload, program, eventually):
    for limits in ({"idle": timedelta(milliseconds=1)}, {"max_forks": 2}):
        servers = ForkServers(**limits)
        prefix = servers.prefix(preload)
        if "max_forks" in limits:
            assert [program().run(prefix, "pass").lines for _ in range(2)] == [["warm"], ["warm"]]
        eventually(lambda servers=servers: servers.pids() == [])
        servers.close()


def test_after_close_there_is_nothing_and_nothing_is_given(forks, preload, is_running):
    forks.prefix(preload)
    (pid,) = forks.pids()
    forks.close()
    assert not is_running(pid)
    assert forks.prefix(preload) == ()


OWNER = """
import sys, time
from drystone.adapters.forks import ForkServers
from drystone.ports import Preload
forks = ForkServers()
forks.prefix(Preload(python=sys.executable, script=sys.argv[1], cwd="/", environ={}))
print(*forks.pids(), flush=True)
time.sleep(300)
"""


def test_kill_9_of_drystone_ends_it(preload, is_running, eventually):
    with subprocess.Popen([sys.executable, "-c", OWNER, preload.script], env={"PYTHONPATH": SOURCES}, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    eventually(lambda: not is_running(pid))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_gets_no_fork(forks, preload, program):
    prefix = forks.prefix(preload)
    program().run(prefix, "pass")
    stranger = f"""
import socket
s = socket.socket(socket.AF_UNIX)
s.connect({chr(0) + prefix[-1]!r})
print(s.recv(10))
"""
    done = subprocess.run(["python3", "-c", stranger], user=65534, group=65534, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "b''\n", done.stderr
