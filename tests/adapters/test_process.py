"""Child processes: what goes in, what comes out, and how they end while drystone lives."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.adapters import process, supervise
from drystone.adapters.process import SupervisedProcess
from drystone.errors import PermanentError, TemporaryError
from drystone.ports import ProcessEnd, ProcessSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONG = timedelta(minutes=5)


class Runner:
    """Runs a program and remembers its lines."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.process = SupervisedProcess()
        self.lines: list[tuple[str, str]] = []
        self.cancel = threading.Event()

    def __call__(self, *argv: str, **more: object) -> ProcessEnd:
        given = {"cwd": self.cwd, "environ": {"PATH": PATH}, **more}
        spec = ProcessSpec(argv=argv, **given)  # type: ignore[arg-type]
        return self.process.run(spec, self._take, self.cancel.is_set)

    def _take(self, stream: str, lines: str) -> None:
        for line in lines.split("\n"):
            self.lines.append((stream, line))

    def shell(self, script: str, **more: object) -> ProcessEnd:
        return self("sh", "-c", script, **more)

    def python(self, script: str, **more: object) -> ProcessEnd:
        return self(sys.executable, "-I", "-S", "-c", script, **more)

    def cancel_at(self, mark: str) -> None:
        """Cancels as soon as this line comes."""
        taken = self.lines

        class Watched(list[tuple[str, str]]):
            def append(watched, item: tuple[str, str]) -> None:  # noqa: N805
                taken.append(item)
                if item[1] == mark:
                    self.cancel.set()

        self.lines = Watched()
        self.seen = taken

    @property
    def stdout(self) -> list[str]:
        return [line for stream, line in self.lines if stream == "stdout"]


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


# ---- in and out -----------------------------------------------------------------------------------------------------


def test_what_drystone_is_given_in_its_environment_is_in_no_supervisors(run: Runner) -> None:
    assert "PATH=" in Path("/proc/self/environ").read_text(errors="replace")
    run.shell("tr '\\0' '\\n' </proc/$PPID/environ")
    assert [line for line in run.stdout if line and not line.startswith("LD_LIBRARY_PATH=")] == []


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_code_is_passed_back_exactly(run: Runner, code: int) -> None:
    assert run.shell(f"exit {code}").exit_code == code


def test_death_by_signal_is_a_negative_exit_code(run: Runner) -> None:
    end = run.shell("kill -SEGV $$")
    assert (end.exit_code, end.why) == (-signal.SIGSEGV, "exited")


def test_lines_of_both_streams_come_in_their_order(run: Runner) -> None:
    run.shell("echo one; echo two; echo bad >&2; echo three")
    assert run.stdout == ["one", "two", "three"]
    assert ("stderr", "bad") in run.lines


def test_last_line_without_newline_is_delivered(run: Runner) -> None:
    run.shell("printf 'whole\\npart'")
    assert run.stdout == ["whole", "part"]


def test_empty_lines_are_kept_and_carriage_returns_are_not(run: Runner) -> None:
    run.shell("printf 'a\\r\\n\\nb\\n'")
    assert run.stdout == ["a", "", "b"]


def test_bytes_that_are_no_text_are_replaced(run: Runner) -> None:
    run.shell("printf 'ok \\377 caf\\303\\251\\n'")
    assert run.stdout == ["ok \ufffd café"]


def test_long_line_comes_in_pieces_without_loss_and_without_cut_characters(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_LINE_BYTES", 1000)
    run.python("print('ä' * 5000); print('end')")
    *pieces, end = run.stdout
    assert "".join(pieces) == "ä" * 5000
    assert end == "end"
    assert all(len(piece.encode()) <= 1000 for piece in pieces)


def test_megabytes_on_one_line_are_one_line(run: Runner) -> None:
    run.python("print('x' * 3_000_000)")
    assert [len(line) for line in run.stdout] == [3_000_000]


def test_lines_that_come_together_are_given_together(run: Runner) -> None:
    given: list[str] = []
    spec = ProcessSpec(argv=["sh", "-c", "yes | head -n 1000000"], cwd=run.cwd, environ={"PATH": PATH})
    run.process.run(spec, lambda _, lines: given.append(lines), lambda: False)
    assert "\n".join(given) == "\n".join(["y"] * 1_000_000)
    assert len(given) < 10_000


def test_megabytes_through_both_ends_do_not_deadlock(run: Runner) -> None:
    end = run("cat", stdin=b"0123456789abcde\n" * 300_000)
    assert end.exit_code == 0
    assert run.stdout == ["0123456789abcde"] * 300_000


def test_child_that_does_not_read_its_input_is_no_trouble(run: Runner) -> None:
    assert run("true", stdin=b"x" * 5_000_000).exit_code == 0


@pytest.mark.parametrize("stdin", [None, b""])
def test_input_is_empty_unless_given(run: Runner, stdin: bytes | None) -> None:
    assert run("cat", stdin=stdin).exit_code == 0
    assert run.lines == []


def test_child_gets_exactly_the_environment_given(run: Runner) -> None:
    run("env", environ={"PATH": PATH, "A": "1", "EMPTY": "", "WITH": "x=y"})
    assert sorted(run.stdout) == ["A=1", "EMPTY=", f"PATH={PATH}", "WITH=x=y"]


def test_child_works_in_the_folder_given(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    run("pwd", "-P", cwd=tmp_path / "deep")
    assert run.stdout == [str((tmp_path / "deep").resolve())]


def test_program_is_looked_up_on_the_path_of_its_environment(run: Runner, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "mytool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    run("mytool", environ={"PATH": f"{tmp_path}/none:{tool.parent}"})
    assert run.stdout == ["found"]


def test_child_has_a_session_of_its_own_and_no_files_of_drystone(run: Runner) -> None:
    run.python("import os; print(os.getsid(0) == os.getpid() == os.getpgid(0)); print(sorted(os.listdir('/proc/self/fd'), key=int))")
    same, files = run.stdout
    assert same == "True"
    # The fourth is the listing's own.
    assert json.loads(files.replace("'", '"')) == ["0", "1", "2", "3"]


def test_ignored_signals_are_not_inherited(run: Runner) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run("grep", "SigIgn", "/proc/self/status")
    finally:
        signal.signal(signal.SIGINT, before)
    # Signals 32 and 33 are the C library's own: its posix_spawn, which make uses, has them ignored, and no program may change that.
    assert [int(line.split()[1], 16) & ~(0b11 << 31) for line in run.stdout] == [0]


def test_many_threads_run_children_at_once(tmp_path: Path) -> None:
    runners = [Runner(tmp_path) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(lambda job: job[1].shell(f"echo {job[0]}; cat >&2", stdin=b"in"), enumerate(runners)))
    assert {end.exit_code for end in ends} == {0}
    assert [runner.stdout for runner in runners] == [[str(number)] for number in range(16)]


# ---- what cannot start ------------------------------------------------------------------------------------------------


def refused(run: Runner, *argv: str, **more: object) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        run(*argv, **more)
    assert caught.value.failure_class == "crashed"
    assert not caught.value.changed
    assert caught.value.hint
    return caught.value


def test_missing_program_is_named_with_what_to_do(run: Runner) -> None:
    error = refused(run, "no-such-tool")
    assert error.message == 'program "no-such-tool" is not on PATH'
    assert error.hint == "install it, or add its folder to PATH"


def test_file_that_may_not_be_executed_is_named(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert refused(run, "./data").message == '"./data" may not be executed'


def test_missing_interpreter_is_told_from_a_missing_program(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    assert refused(run, "./script").message == '"./script" names an interpreter that does not exist'
    assert refused(run, "./other").message == 'there is no program "./other"'


def test_script_without_a_first_line_is_explained(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hi\n")
    (tmp_path / "script").chmod(0o755)
    assert refused(run, "./script").hint == "a script needs a first line such as #!/bin/sh"


def test_folder_that_cannot_be_entered_is_named(run: Runner, tmp_path: Path) -> None:
    error = refused(run, "true", cwd=tmp_path / "gone")
    assert error.message == f'folder "{tmp_path}/gone" cannot be entered: no such file or directory'


def test_arguments_that_are_too_long_are_refused(run: Runner) -> None:
    assert "too long" in refused(run, "echo", "x" * 5_000_000).message


def test_relative_folder_is_relative_to_where_drystone_is(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    run("pwd", "-P", cwd=Path("deep"))
    assert run.stdout == [str((tmp_path / "deep").resolve())]


def test_lack_of_processes_or_files_is_temporary(tmp_path: Path) -> None:
    spec = ProcessSpec(argv=["true"], cwd=tmp_path, environ={"PATH": PATH})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(TemporaryError, match="no process can be started: too many open files") as caught:
            SupervisedProcess().run(spec, lambda *_: None, lambda: False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (caught.value.failure_class, caught.value.changed) == ("crashed", False)


@pytest.mark.parametrize("argv", [(), ("echo", "a\0b")])
def test_arguments_that_are_none_are_refused(run: Runner, argv: tuple[str, ...]) -> None:
    with pytest.raises(PermanentError, match="cannot be started"):
        run(*argv)


# ---- ends -----------------------------------------------------------------------------------------------------------


def test_child_that_closes_its_output_is_waited_for(run: Runner) -> None:
    assert run.shell("exec >&- 2>&-; sleep 0.2; exit 5").exit_code == 5


def test_daemon_that_keeps_the_pipe_does_not_hold_the_run_and_stays(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    end = run.shell(f"setsid sleep 300 & echo $! >{doomed}/daemon; echo done; exit 3")
    assert (end.exit_code, run.stdout) == (3, ["done"])
    assert is_running(int((doomed / "daemon").read_text()))


def test_what_a_child_leaves_in_its_session_is_ended(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    run.shell(f"sleep 300 & echo $! >{doomed}/job")
    assert not is_running(int((doomed / "job").read_text()))


def test_background_job_may_finish_its_last_words(run: Runner) -> None:
    run.shell("(sleep 0.1; echo last) & echo first")
    assert run.stdout == ["first", "last"]


def test_timeout_ends_the_child_gracefully(run: Runner) -> None:
    end = run("sleep", "300", timeout=timedelta(milliseconds=200), grace=LONG)
    assert (end.exit_code, end.why) == (-signal.SIGINT, "timeout")
    assert timedelta(milliseconds=200) <= end.duration < timedelta(seconds=20)


def test_child_that_ends_after_the_interrupt_keeps_its_exit_code(run: Runner) -> None:
    run.cancel_at("ready")
    end = run.shell("trap 'echo saved; exit 9' INT; echo ready; while :; do sleep 0.02; done", grace=LONG)
    assert (end.exit_code, end.why) == (9, "cancelled")
    assert ("stdout", "saved") in run.seen


def test_child_that_ignores_the_interrupt_is_killed_after_the_grace(run: Runner) -> None:
    run.cancel_at("ready")
    end = run.shell("trap '' INT; echo ready; sleep 300", grace=timedelta(milliseconds=100))
    assert (end.exit_code, end.why) == (-signal.SIGKILL, "cancelled")


COUNTS_INTERRUPTS = """
import signal, sys
count = 0
def interrupted(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, interrupted)
print("ready", flush=True)
while not count:
    signal.pause()
# Long enough for the wish to cancel to be asked for several times more.
signal.setitimer(signal.ITIMER_REAL, 0.6)
signal.signal(signal.SIGALRM, lambda *_: sys.exit(count))
while True:
    signal.pause()
"""


PAUSES = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("ready", flush=True)
signal.pause()
"""


def test_terraform_gets_exactly_one_interrupt(run: Runner) -> None:
    run.cancel_at("ready")
    assert run.python(COUNTS_INTERRUPTS, grace=LONG).exit_code == 1


def test_program_behind_a_shell_gets_exactly_one_interrupt_too(run: Runner) -> None:
    run.cancel_at("ready")
    assert run.shell(f"trap : INT; {sys.executable} -I -S -c '{COUNTS_INTERRUPTS}'; exit $?", grace=LONG).exit_code == 1


def test_shell_that_waits_for_a_program_is_ended_with_it(run: Runner) -> None:
    run.cancel_at("ready")
    end = run.shell(f"{sys.executable} -I -S -c '{PAUSES}'; echo never", grace=LONG)
    assert end.exit_code == -signal.SIGINT
    assert ("stdout", "never") not in run.seen


def test_cancel_ends_descendants_in_sessions_of_their_own(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    run.cancel_at("ready")
    worker = f"trap '' INT TERM HUP; echo $$ >{doomed}/worker; sleep 300 & echo $! >{doomed}/deeper; echo ready; wait"
    inner = worker.replace("$", r"\$")
    run.shell(f'(setsid setsid sh -c "{inner}" &) ; trap "exit 0" INT; while :; do sleep 0.02; done', grace=LONG)
    assert {file.name for file in doomed.iterdir()} == {"worker", "deeper"}
    assert not any(is_running(int(file.read_text())) for file in doomed.iterdir())


def test_child_killed_from_outside_leaves_no_worker(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    end = run.shell(f"setsid sleep 300 & echo $! >{doomed}/worker; kill -KILL $$")
    assert end.exit_code == -signal.SIGKILL
    assert not is_running(int((doomed / "worker").read_text()))


def test_process_that_asks_to_be_kept_survives_a_cancel(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    run.cancel_at("ready")
    machine = f"DRYSTONE_KEEP=1 setsid sh -c 'echo $$ >{doomed}/machine; sleep 300 & echo $! >{doomed}/inside; echo ready; wait'"
    run.shell(f"{machine} & trap 'exit 0' INT; while :; do sleep 0.02; done", grace=LONG)
    assert all(is_running(int(file.read_text())) for file in doomed.iterdir())


def test_child_cannot_be_kept_by_what_drystone_itself_inherited(run: Runner) -> None:
    run.cancel_at("ready")
    end = run.shell("trap '' INT; echo ready; sleep 300", environ={"PATH": PATH, "DRYSTONE_KEEP": "1"}, grace=timedelta(0))
    assert end.exit_code == -signal.SIGKILL


def test_second_interrupt_ends_all_children_at_once(run: Runner) -> None:
    run.cancel_at("ready")
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(run.shell, "trap 'echo stubborn' INT; echo ready; while :; do sleep 0.02; done", grace=LONG)
        while ("stdout", "stubborn") not in getattr(run, "seen", ()):
            run.cancel.wait(0.01)
        run.process.end_now()
        assert ending.result(timeout=20).exit_code == -signal.SIGKILL


def test_error_of_a_listener_ends_the_child(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    def broken(_stream: str, lines: str) -> None:
        raise ZeroDivisionError(lines)

    spec = ProcessSpec(argv=["sh", "-c", f"echo $$ >{doomed}/child; yes"], cwd=run.cwd, environ={"PATH": PATH})
    with pytest.raises(ZeroDivisionError, match="y"):
        run.process.run(spec, broken, lambda: False)
    assert not is_running(int((doomed / "child").read_text()))


def test_death_of_the_supervisor_takes_the_child_along_and_is_told(run: Runner, doomed: Path, is_running: Callable[[int], bool]) -> None:
    with pytest.raises(TemporaryError, match='the supervisor of "sh" was killed') as caught:
        run.shell(f"sleep 300 & echo $! >{doomed}/job; echo $$ >{doomed}/child; kill -KILL $PPID; wait")
    assert caught.value.failure_class == "crashed"
    assert not any(is_running(int(file.read_text())) for file in doomed.iterdir())


def test_no_zombie_is_left(run: Runner) -> None:
    for _ in range(3):
        run("true")
    assert not [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_zombie_of_ours(pid)]


def is_zombie_of_ours(pid: int) -> bool:
    try:
        process = supervise.Process(pid)
    except OSError:
        return False
    return (process.parent, process.state) == (os.getpid(), b"Z")
