"""Runs as a person sees and ends them: the picture on a real terminal, Ctrl-C, SIGTERM, kill -9, two terminals.

Tasks wait for a file that the test makes, so that nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

DRYSTONE = [sys.executable, "-m", "drystone"]
PATIENCE_S = 90
PLAN = """\
drystone: 1
name: gated
environment: staging
inputs: {vms: {type: integer, default: 3}}
tasks:
  network: {template: {content: net, dest: network.txt}}
  vm:
    needs: [network]
    for_each: "{{ inputs.vms }}"
    command: {shell: "echo $$ >> pids; while [ ! -e gate ]; do sleep 0.02; done; echo up", idempotent: true}
    undo: {command: {shell: "echo down >> downs"}}
  verify: {needs: [vm], noop: {}}
outputs: {url: "http://10.0.0.1"}
"""


@pytest.fixture
def gated(project: Path) -> Path:
    """A project whose plan waits for the file `gate`."""
    (project / "plans/gated.yaml").write_text(PLAN)
    return project


@pytest.fixture
def terminal(gated: Path) -> Iterator[Callable[..., pexpect.spawn]]:
    """Starts drystone on a terminal of its own."""
    started: list[pexpect.spawn] = []

    def start(*argv: str, rows: int = 24, columns: int = 80, **environ: str) -> pexpect.spawn:
        env = {**os.environ, "TERM": "xterm-256color", **environ}
        child = pexpect.spawn(
            sys.executable, ["-m", "drystone", *argv], env=env, dimensions=(rows, columns), timeout=PATIENCE_S, encoding="utf-8"
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)  # a poll, not a guess of how long something takes


def in_flight(project: Path, count: int = 3) -> Callable[[], bool]:
    """True once so many VMs are being made."""
    return lambda: len(pids(project)) >= count


def pids(project: Path) -> list[int]:
    path = project / "pids"
    return [int(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def are_gone(project: Path) -> Callable[[], bool]:
    """True once no process of a task lives any more."""
    return lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids(project))


def show(*argv: str) -> dict[str, Any]:
    done = subprocess.run([*DRYSTONE, "show", "--json", *argv], check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def in_background(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*DRYSTONE, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(child: pexpect.spawn) -> tuple[int, str]:
    """Exit code and what was printed since the last expectation."""
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus, child.before


# ---- the picture ------------------------------------------------------------------------------------------------------


def test_the_picture_shows_each_instance_and_ends_with_a_summary(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal("run", "gated", NO_COLOR="1")
    child.expect("environment staging")
    child.expect(r"vm\[2\] +running")
    (gated / "gate").write_text("")
    child.expect(r"vm\[2\] +succeeded")
    child.expect("url = http://10.0.0.1")
    code, rest = end_of(child)
    assert code == 0 and "gated succeeded" in rest and "drystone undo" in rest


def test_no_color_means_no_colours(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    (gated / "gate").write_text("")
    plain = end_of(terminal("run", "gated", NO_COLOR="1"))[1]
    colourful = end_of(terminal("run", "gated"))[1]
    assert "\x1b[32m" not in plain and "\x1b[1;32m" not in plain
    assert "\x1b[32m" in colourful


def test_a_dumb_terminal_gets_lines(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    (gated / "gate").write_text("")
    _, text = end_of(terminal("run", "gated", TERM="dumb"))
    assert "vm[0]: succeeded" in text and "\x1b" not in text


def test_the_cursor_is_back_after_a_run(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    (gated / "gate").write_text("")
    _, text = end_of(terminal("run", "gated"))
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


# ---- asking -----------------------------------------------------------------------------------------------------------


def test_missing_inputs_are_asked_for_on_a_terminal(project: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    plan = """\
drystone: 1
name: asks
inputs: {times: {type: integer, description: How often}, password: {type: string, secret: true}}
tasks: {a: {noop: {outputs: {n: "{{ inputs.times }}"}}}}
outputs: {n: "{{ tasks.a.outputs.n }}"}
"""
    (project / "plans/asks.yaml").write_text(plan)
    child = terminal("run", "asks")
    child.expect(r"times \(How often\): ")
    child.sendline("many")
    child.expect("must be an integer")
    child.sendline("3")
    child.expect("password: ")
    secret = os.urandom(8).hex()
    child.waitnoecho()
    child.sendline(secret)
    code, text = end_of(child)
    assert code == 0 and "n = 3" in text and secret not in text


def test_undo_asks_on_a_terminal(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    (gated / "gate").write_text("")
    end_of(terminal("run", "gated"))
    child = terminal("undo", "last")
    child.expect(r"network, vm\[0\], vm\[1\], vm\[2\]")
    child.expect(r"in reverse order\?")
    child.sendline("n")
    assert end_of(child)[0] == 1
    assert show()["status"] == "succeeded"
    child = terminal("undo", "last")
    child.expect(r"in reverse order\?")
    child.sendline("y")
    assert end_of(child)[0] == 0
    assert (gated / "downs").read_text().count("down") == 3


ASKS = """\
drystone: 1
name: asks
on_failure: ask
tasks:
  first: {command: {shell: "echo one >> firsts"}, undo: {command: {shell: "echo down >> downs"}}}
  second:
    needs: [first]
    for_each: 2
    command: {shell: "test -e gate"}
    undo: none
"""
QUESTION = r"second\[%d\]: \[r\]etry, \[s\]kip, \[u\]ndo the run, \[l\]eave it: "


@pytest.fixture
def failing(project: Path) -> Path:
    """A project whose plan asks a person, and fails until there is a file `gate`."""
    (project / "plans/asks.yaml").write_text(ASKS)
    return project


def test_a_failure_is_decided_at_the_terminal(failing: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal("run", "asks", NO_COLOR="1")
    child.expect(r"drystone attention skip \w+ 'second\[0\]' --reason TEXT")
    child.expect(QUESTION % 0)
    child.sendline("what")
    child.expect("one of r, s, u, l")
    child.expect(QUESTION % 0)
    child.sendline("s")
    child.expect("for the record: ")
    child.sendline("mended by hand")
    child.expect(QUESTION % 1)
    (failing / "gate").touch()
    child.sendline("r")
    code, text = end_of(child)
    assert code == 0 and "asks succeeded" in text
    tasks = {task["id"]: task for task in show()["tasks"]}
    assert tasks["second[0]"]["status"] == "skipped" and tasks["second[0]"]["reason"].endswith("took it on: mended by hand")
    assert len(tasks["second[1]"]["attempts"]) == 2
    assert (failing / "firsts").read_text() == "one\n"


def test_a_failed_run_is_undone_at_the_terminal_and_has_failed_all_the_same(failing: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal("run", "asks")
    child.expect(QUESTION % 0)
    child.sendline("u")
    code, _ = end_of(child)
    assert (code, show()["status"]) == (3, "compensated")
    assert (failing / "downs").read_text() == "down\n"


@pytest.mark.parametrize("answer", ["l\n", "\n", "\x04"])
def test_a_failure_that_is_left_stays_as_it_is(failing: Path, terminal: Callable[..., pexpect.spawn], answer: str) -> None:
    child = terminal("run", "asks")
    child.expect(QUESTION % 0)
    child.send(answer)
    assert (end_of(child)[0], show()["status"]) == (7, "failed")


@pytest.mark.parametrize("option", ["--yes", "--no-wait"])
def test_nobody_is_asked_who_said_so(failing: Path, terminal: Callable[..., pexpect.spawn], option: str) -> None:
    code, text = end_of(terminal("run", "asks", option))
    assert code == 7 and "[r]etry" not in text


# ---- waiting for a person ---------------------------------------------------------------------------------------------

GATE = """\
drystone: 1
name: gate
tasks:
  gate: {approval: {message: "Go on?", self_approval: true}}
  after: {needs: [gate], noop: {}}
"""


@pytest.fixture
def asking(project: Path) -> Path:
    """A project whose plan asks for an approval."""
    (project / "plans/gate.yaml").write_text(GATE)
    return project


@pytest.mark.usefixtures("asking")
def test_a_run_that_waits_tells_the_command_and_goes_on_when_it_is_given(terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal("run", "gate", "--wait", NO_COLOR="1")
    child.expect("waits for an answer: gate")
    child.expect(r'gate +waiting .*approval: "Go on\?" until ')
    child.expect(r"to answer: (drystone approve \w+ gate) ")
    command = child.match[1].split()[1:]
    given = subprocess.run([*DRYSTONE, *command, "--comment", "tested"], capture_output=True, text=True, check=False)
    assert given.returncode == 0 and "told the process" in given.stderr
    code, text = end_of(child)
    assert code == 0 and "gate succeeded" in text
    assert re.search(r"gate +succeeded .*approved by .*: tested", text)


@pytest.mark.usefixtures("asking")
def test_a_run_that_was_left_waiting_is_waited_for_with_the_command_that_it_told(terminal: Callable[..., pexpect.spawn]) -> None:
    code, text = end_of(terminal("run", "gate", "--no-wait", NO_COLOR="1"))
    assert code == 5 and "gate waits for an approval: Go on?" in text
    resume = re.search(r"drystone (resume \w+ --wait)", text)
    reject = re.search(r"drystone (reject \w+ gate)", text)
    assert resume and reject
    child = terminal(*resume[1].split(), NO_COLOR="1")
    child.expect("waits for an answer: gate")
    said_no = subprocess.run([*DRYSTONE, *reject[1].split()], capture_output=True, text=True, check=False)
    assert said_no.returncode == 0
    assert end_of(child)[0] == 3 and show()["status"] == "compensated"


# ---- ending a run -----------------------------------------------------------------------------------------------------


def test_the_first_ctrl_c_ends_gracefully_and_says_so(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    # They end when they may, so that the notice is drawn before the run is over.
    slowly = "trap 'while [ ! -e gate ]; do sleep 0.02; done; exit 130' INT; "
    (gated / "plans/gated.yaml").write_text(PLAN.replace('command: {shell: "echo $$', f'command: {{shell: "{slowly}echo $$'))
    child = terminal("run", "gated", NO_COLOR="1")
    wait_for(in_flight(gated))
    child.sendintr()
    child.expect("cancelling: what runs is ended first; Ctrl-C again ends at once")
    (gated / "gate").touch()
    code, text = end_of(child)
    assert code == 130 and "cancelled by Ctrl-C" in text
    assert show()["status"] == "compensated"
    assert are_gone(gated)()


def test_the_second_ctrl_c_ends_at_once_and_the_run_can_be_resumed(gated: Path, terminal: Callable[..., pexpect.spawn]) -> None:
    (gated / "plans/gated.yaml").write_text(PLAN.replace('command: {shell: "', "command: {shell: \"trap '' INT; "))
    child = terminal("run", "gated")
    wait_for(in_flight(gated))
    child.sendintr()
    child.expect("Ctrl-C again ends at once")
    child.sendintr()
    code, text = end_of(child)
    assert code == 130 and "drystone resume" in text
    wait_for(are_gone(gated))
    assert show()["status"] == "running"
    done = subprocess.run([*DRYSTONE, "resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 130 and show()["status"] == "compensated"


def test_sigterm_ends_gracefully(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and "cancelling:" in err
    assert show()["status"] == "compensated"


def test_cancel_from_another_terminal_reaches_the_process_that_runs(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    asked = subprocess.run([*DRYSTONE, "cancel", "--reason", "wrong version"], capture_output=True, text=True, check=False)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert asked.returncode == 0 and "asked the process" in asked.stderr
    assert process.returncode == 130 and "wrong version" in out
    assert show()["status"] == "compensated"


def test_a_run_whose_process_was_killed_is_resumed_without_repeating_what_was_done(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    process.kill()
    process.communicate()
    wait_for(are_gone(gated))
    (gated / "gate").write_text("")
    done = subprocess.run([*DRYSTONE, "resume", "last"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tasks = {task["id"]: [attempt["status"] for attempt in task["attempts"]] for task in show()["tasks"]}
    assert tasks["network"] == ["succeeded"]
    assert tasks["vm[0]"] == ["lost", "succeeded"]


def test_a_run_whose_process_was_killed_can_be_cancelled_by_anybody(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    process.kill()
    process.communicate()
    locked_out = subprocess.run([*DRYSTONE, "run", "gated"], capture_output=True, text=True, check=False)
    assert locked_out.returncode == 6 and "its process is gone: drystone resume" in locked_out.stderr
    done = subprocess.run([*DRYSTONE, "cancel"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert show()["status"] == "compensated"


# ---- two at once ------------------------------------------------------------------------------------------------------


def test_a_second_run_in_the_same_environment_is_locked_out_with_6(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    second = subprocess.run([*DRYSTONE, "run", "gated"], capture_output=True, text=True, check=False)
    (gated / "gate").write_text("")
    process.communicate(timeout=PATIENCE_S)
    assert second.returncode == 6 and 'environment "staging" is held by run' in second.stderr
    assert process.returncode == 0


def test_resume_of_a_run_that_somebody_drives_ends_with_6(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    second = subprocess.run([*DRYSTONE, "resume"], capture_output=True, text=True, check=False)
    (gated / "gate").write_text("")
    process.communicate(timeout=PATIENCE_S)
    assert (second.returncode, process.returncode) == (6, 0)


def test_show_logs_and_events_follow_a_run_in_another_process(gated: Path) -> None:
    process = in_background("run", "gated", "-i", "vms=1")
    wait_for(in_flight(gated, 1))
    assert show()["status"] == "running"
    events = in_background("events", "--follow")
    logs = in_background("logs", "last", "vm", "--follow")
    (gated / "gate").write_text("")
    assert process.wait(timeout=PATIENCE_S) == 0
    process.communicate()
    assert json.loads(events.communicate(timeout=PATIENCE_S)[0].splitlines()[-1])["type"] == "run.finished"
    assert logs.communicate(timeout=PATIENCE_S)[0].splitlines()[-1] == "vm[0] | up"


def test_a_store_that_breaks_while_a_run_goes_on_ends_it_with_4(gated: Path) -> None:
    process = in_background("run", "gated")
    wait_for(in_flight(gated))
    with contextlib.closing(sqlite3.connect(gated / ".drystone" / "drystone.db")) as store:
        store.execute("DROP TABLE events")
    (gated / "gate").write_text("")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4
    assert "left half-way" in err and "Traceback" not in err
    assert are_gone(gated)()


def test_the_token_of_a_run_whose_process_was_killed_goes_on_with_it(gated: Path) -> None:
    process = in_background("run", "gated", "--token", "deploy-7")
    wait_for(in_flight(gated))
    again = subprocess.run([*DRYSTONE, "run", "gated", "--token", "deploy-7"], capture_output=True, check=False)
    process.kill()
    process.communicate()
    (gated / "gate").write_text("")
    third = subprocess.run([*DRYSTONE, "run", "gated", "--token", "deploy-7"], capture_output=True, check=False)
    assert (again.returncode, third.returncode) == (6, 0)
    assert show()["status"] == "succeeded"
