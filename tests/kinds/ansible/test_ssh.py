"""Runs over real SSH: pinned keys, connections that are kept and then closed, cancel, and secrets that leave no trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.errors import CancelledError, FailureClass


def processes_with(text: str) -> list[str]:
    """Command lines of living processes which hold this text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


def files_with(text: str, *folders: Path) -> list[Path]:
    """Files below these folders which hold this text."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
    return found


def test_a_pinned_host_is_reached_and_modules_run_there(attempt, playbook, run, sshd, tmp_path):
    book = playbook(f'- copy: {{content: x, dest: "{tmp_path}/made"}}\n- slurp: {{src: "{tmp_path}/made"}}')
    outcome = run(attempt, playbook=book, hosts=sshd.host())
    assert outcome.result["hosts"]["web1"]["changed"] == 1
    assert (tmp_path / "made").read_text() == "x"


def test_connections_are_closed_at_the_end(attempt, playbook, run, sshd, eventually):
    run(attempt, playbook=playbook("- ping: {}\n- ping: {}"), hosts=sshd.host())
    eventually(lambda: processes_with(f"Port={sshd.port}") == [])


def test_hosts_work_side_by_side(attempt, playbook, run, sshd):
    hosts = {"app": [sshd.host(f"web{number}") for number in range(3)]}
    outcome = run(attempt, playbook=playbook("- ping: {}"), hosts=hosts, forks=3)
    assert outcome.result["ok"] == 3


def test_secrets_leave_no_trace(attempt, playbook, run, sshd, canary, tmp_path, memory):
    book = playbook(f"""
- shell: "cat /proc/*/cmdline | tr '\\\\0' ' ' > {tmp_path}/cmdlines; true"
- shell: ": {{{{ password }}}}"
  no_log: true
- shell: 'test "$TOKEN" = "{{{{ token }}}}"'
  environment: {{TOKEN: "{{{{ lookup('env', 'TOKEN') }}}}"}}
  no_log: true
""")
    secret = {"password": f"{canary}-1", "token": f"{canary}-2"}
    config = {"vars": secret, "env": {"TOKEN": f"{canary}-2"}, "vault": {"password": f"{canary}-3"}}
    run(attempt, playbook=book, hosts=sshd.host(vars={"of_host": f"{canary}-4"}), **config)
    assert f"{sshd.port}" in (tmp_path / "cmdlines").read_text()
    ansible_home = Path.home() / ".ansible"
    assert files_with(canary, tmp_path, *([ansible_home] if ansible_home.exists() else [])) == []
    assert list(memory.iterdir()) == []


def test_secrets_in_the_output_are_masked(attempt, playbook, run, sshd, canary):
    attempt.ctx.redact(canary)
    run(attempt, playbook=playbook("- debug: {msg: '{{ word }}'}"), hosts=sshd.host(), vars={"word": canary})
    assert canary not in attempt.log
    assert "***" in attempt.log


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_an_attempt_that_should_end_takes_all_with_it(new_attempt, playbook, run, sshd, in_background, eventually, tmp_path, memory, how):
    attempt = new_attempt(timeout=timedelta(minutes=1))
    mark = f"9{os.getpid()}"
    book = playbook(f"- shell: touch {tmp_path}/began; sleep {mark}\n  ignore_errors: true\n- shell: touch {tmp_path}/later")
    work = in_background(lambda: run(attempt, playbook=book, hosts=sshd.host()))
    eventually(lambda: (tmp_path / "began").exists())
    if how == "cancel":
        attempt.stop()
    else:
        attempt.control._deadline = 0.0
    work.join()
    assert isinstance(work.error, CancelledError) == (how == "cancel")
    assert work.error.failure_class is (FailureClass.CANCELLED if how == "cancel" else FailureClass.TIMEOUT)
    assert processes_with(f"sleep {mark}") == []
    assert not (tmp_path / "later").exists()
    assert [line for line in processes_with("ansible-playbook") if str(tmp_path) in line] == []
    assert processes_with(f"Port={sshd.port}") == []
    assert list(memory.iterdir()) == []


def test_what_a_lost_attempt_left_is_removed_by_the_next(new_attempt, playbook, run, local, memory):
    attempt = new_attempt()
    lost = memory / "drystone-lost"
    lost.mkdir()
    (lost / "variables").write_text("{}")
    notes = attempt.ctx.state / "ansible-scratch"
    notes.mkdir()
    (notes / lost.name).write_text(str(lost))
    run(attempt, playbook=playbook("- debug: {}"), hosts=local)
    assert not lost.exists()
    assert not notes.exists()


ALONE = """
import sys, json
from pathlib import Path
from drystone.adapters.forks import ForkServers
from drystone.kinds.ansible.task import Ansible
sys.path.insert(0, sys.argv[1])
import conftest
spec = json.loads(sys.argv[2])
breakers = conftest.breakers.__wrapped__(conftest.RealClock())
make = conftest.new_attempt.__wrapped__(Path(spec["tmp"]), Path(spec["project"]), breakers, ForkServers() if spec["warm"] else None)
Ansible().run(next(make)().ctx, Ansible.Config.model_validate(spec["config"]))
"""


def test_nothing_goes_on_when_drystone_is_killed(playbook, sshd, eventually, tmp_path, project, memory, forks):
    mark = f"8{os.getpid()}"
    book = playbook(f"- shell: touch {tmp_path}/began; sleep {mark}")
    spec = {"tmp": str(tmp_path), "project": str(project), "config": {"playbook": book, "hosts": sshd.host()}, "warm": forks is not None}
    argv = [sys.executable, "-c", ALONE, str(Path(__file__).parents[1]), json.dumps(spec)]
    drystone = subprocess.Popen(argv, env={**os.environ, "XDG_RUNTIME_DIR": str(memory)})
    try:
        eventually(lambda: (tmp_path / "began").exists())
    finally:
        drystone.kill()
        drystone.wait()
    eventually(lambda: list(memory.iterdir()) == [])
    eventually(lambda: processes_with(f"sleep {mark}") == [])
    assert [line for line in processes_with("ansible-playbook") if str(tmp_path) in line] == []
