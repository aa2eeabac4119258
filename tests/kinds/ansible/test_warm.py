"""Warm starts of Ansible: what makes another process to fork from, and what happens to playbooks when things are killed or changed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drystone.adapters.forks import ForkServers
from drystone.errors import CancelledError, TemporaryError
from drystone.kinds.ansible import warm

COLD = "not a warm start"
KEEP = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "DRYSTONE_"))}


@pytest.fixture
def forks():
    """Warm starts only."""
    servers = ForkServers()
    yield servers
    servers.close()


def preloads(forks):
    """How many processes there are: the worker's, and one for each configuration of Ansible."""
    return len(forks.pids())


def ansible_pid(forks):
    """Of the process that has Ansible imported."""
    found = [pid for pid in forks.pids() if b"forked_playbook" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(found) == 1
    return found[0]


def test_ansible_is_imported_once_for_many_playbooks(new_attempt, playbook, run, local, forks):
    book = playbook("- set_stats: {data: {parent: \"{{ lookup('file', '/proc/self/stat').split()[3] }}\"}}")
    for _ in range(3):
        attempt = new_attempt()
        run(attempt, playbook=book, hosts=local)
        assert COLD not in attempt.log
    assert preloads(forks) == 2


def test_it_can_be_turned_off(new_attempt, playbook, run, local, forks):
    run(new_attempt(env={"DRYSTONE_ANSIBLE_WARM": "0"}), playbook=playbook("- debug: {}"), hosts=local)
    assert preloads(forks) == 0


@pytest.mark.parametrize(
    "given", [{}, {"ANSIBLE_CALLBACK_PLUGINS": "/mine"}, {"AWX_LIB_DIRECTORY": "/theirs"}, {"ANSIBLE_STDOUT_CALLBACK": "yaml"}]
)
def test_the_settings_are_those_that_ansible_runner_makes(tmp_path, given):
    runner = importlib.import_module("ansible_runner.config.runner")
    config = runner.RunnerConfig(private_data_dir=str(tmp_path), playbook="x", fact_cache_type="", envvars={**KEEP, **given})
    config.prepare()
    ours = warm.with_callback({**KEEP, **given})
    # The worker takes it away when the user did not say it.
    theirs = {name: value for name, value in config.env.items() if name != "ANSIBLE_HOST_KEY_CHECKING"}
    assert {name: value for name, value in theirs.items() if name.startswith("ANSIBLE_")} == {
        name: value for name, value in ours.items() if name.startswith("ANSIBLE_")
    }


def test_a_changed_ansible_cfg_counts_at_once(new_attempt, playbook, run, local, project, forks):
    book = playbook("- set_stats: {data: {forks: '{{ ansible_forks }}'}}")
    for number in (3, 4):
        (project / "ansible.cfg").write_text(f"[defaults]\nforks = {number}\n")
        attempt = new_attempt()
        assert run(attempt, playbook=book, hosts=local).outputs == {"forks": number}
        assert COLD not in attempt.log
    assert preloads(forks) == 3


def test_playbooks_at_once_have_their_own_environment(new_attempt, playbook, run, local, in_background, tmp_path, forks):
    book = playbook("- set_stats: {data: {word: \"{{ lookup('env', 'WORD') }}\", forks: '{{ ansible_forks }}'}}")
    works = []
    for n in range(1, 5):
        attempt = new_attempt()
        attempt.ctx.state_folder = lambda n=n: tmp_path / f"state-{n}"
        env = {"WORD": str(n), "ANSIBLE_FORKS": str(n)}
        works.append(in_background(lambda attempt=attempt, env=env: run(attempt, playbook=book, hosts=local, env=env)))
    for work in works:
        work.join()
    assert [work.result.outputs for work in works] == [{"word": str(n), "forks": n} for n in range(1, 5)]


def test_settings_that_cannot_be_read_are_told_as_in_a_cold_start(new_attempt, playbook, failure, local, project):
    (project / "ansible.cfg").write_text("[defaults]\nforks = many\n")
    book = playbook("- debug: {}")
    warmly, coldly = new_attempt(), new_attempt(env={"DRYSTONE_ANSIBLE_WARM": "0"})
    errors = [failure(attempt, playbook=book, hosts=local) for attempt in (warmly, coldly)]
    assert errors[0].message == errors[1].message
    assert errors[0].failure_class is errors[1].failure_class


def test_warnings_about_settings_are_shown_every_time(new_attempt, playbook, run, local, project):
    (project / "ansible.cfg").write_text("[defaults]\nforks = 3\njinja2_extensions = jinja2.ext.do\n")
    book = playbook("- debug: {}")
    logs = []
    for env in ({"DRYSTONE_ANSIBLE_WARM": "0"}, {}, {}):
        attempt = new_attempt(env=env)
        run(attempt, playbook=book, hosts=local)
        logs.append([line for line in attempt.log.splitlines() if "WARNING" in line])
    assert logs[0] and logs == [logs[0]] * 3


def test_a_process_that_is_killed_between_two_playbooks_is_replaced(new_attempt, playbook, run, local, forks):
    book = playbook("- debug: {}")
    run(new_attempt(), playbook=book, hosts=local)
    _kill(ansible_pid(forks))
    attempt = new_attempt()
    assert run(attempt, playbook=book, hosts=local).result["ok"] == 1
    assert COLD not in attempt.log
    assert preloads(forks) == 2


def test_a_process_that_is_killed_under_a_playbook_does_not_end_it(
    new_attempt, playbook, run, local, in_background, eventually, tmp_path, forks
):
    book = playbook(f"- file: {{path: {tmp_path}/began, state: touch}}\n- wait_for: {{path: {tmp_path}/go, sleep: 0}}")
    work = in_background(lambda: run(new_attempt(), playbook=book, hosts=local))
    eventually((tmp_path / "began").exists)
    for pid in forks.pids():
        os.kill(pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    work.join()
    assert work.result.result["ok"] == 2


def test_without_a_process_to_fork_from_the_start_is_cold_and_says_so(new_attempt, playbook, run, local, forks, monkeypatch):
    # It ends between the question for it and its use.
    monkeypatch.setattr(warm, "prefixes", lambda *given: _killed(forks, PREFIXES(*given)))
    attempt = new_attempt()
    assert run(attempt, playbook=playbook("- debug: {}"), hosts=local).result["ok"] == 1
    assert attempt.log.count(COLD) == 2


PREFIXES = warm.prefixes


def _killed(forks, prefixes):
    for pid in forks.pids():
        _kill(pid)
    return prefixes


def _kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_an_ansible_playbook_that_is_killed_is_a_failure_and_nothing_goes_on(
    new_attempt, playbook, run, local, in_background, eventually, tmp_path
):
    mark = f"7{os.getpid()}"
    book = playbook(f"- shell: echo $PPID > {tmp_path}/pid; sleep {mark}")
    attempt = new_attempt()
    work = in_background(lambda: run(attempt, playbook=book, hosts=local))
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(_of_playbook(tmp_path), signal.SIGKILL)
    work.join()
    assert isinstance(work.error, TemporaryError)
    eventually(lambda: not _command_lines(f"sleep {mark}"))


def _of_playbook(folder):
    """The oldest ancestor of the module that still is Ansible's: the process that plays."""
    pid = int((folder / "pid").read_text())
    while b"forked_playbook" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        pid = _parent(pid)
    while b"forked_playbook" in Path(f"/proc/{_parent(_parent(_parent(pid)))}/cmdline").read_bytes():
        pid = _parent(pid)
    return pid


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _command_lines(text):
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if text in line and "ps -eo" not in line]


def test_cancel_ends_workers_in_sessions_of_their_own(new_attempt, playbook, run, local, in_background, eventually, tmp_path):
    mark = f"6{os.getpid()}"
    book = playbook(f"- shell: setsid sh -c 'trap \"\" INT TERM HUP; touch {tmp_path}/began; sleep {mark}; :'")
    attempt = new_attempt()
    work = in_background(lambda: run(attempt, playbook=book, hosts=local))
    eventually((tmp_path / "began").exists)
    attempt.stop()
    work.join()
    assert isinstance(work.error, CancelledError)
    assert _command_lines(f"sleep {mark}") == []


def test_much_output_arrives_as_it_does_cold(new_attempt, playbook, run, local):
    book = playbook("- shell: seq 1 20000\n  loop: [1, 2]\n- debug: {msg: \"{{ lookup('pipe', 'seq 1 5000') }}\"}")
    logs = []
    for env in ({}, {"DRYSTONE_ANSIBLE_WARM": "0"}):
        attempt = new_attempt(env=env)
        run(attempt, playbook=book, hosts=local, verbosity=1)
        logs.append([line for line in attempt.log.splitlines() if '"delta"' not in line and '"start"' not in line and '"end"' not in line])
    assert len(logs[0]) > 10
    assert [len(line) for line in logs[0]] == [len(line) for line in logs[1]]


def test_a_wrapper_around_ansible_is_started_cold(new_attempt, playbook, run, local, tmp_path, forks):
    wrapper = tmp_path / "ansible-playbook"
    real = Path(sys.executable).with_name("ansible-playbook")
    wrapper.write_text(f'#!/bin/sh\ntouch {tmp_path}/wrapped\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    attempt = new_attempt(env={"DRYSTONE_ANSIBLE_PLAYBOOK": str(wrapper)})
    assert run(attempt, playbook=playbook("- debug: {}"), hosts=local).result["ok"] == 1
    assert (tmp_path / "wrapped").exists()
    assert preloads(forks) == 1


def test_become_and_a_vault_password_work(new_attempt, playbook, run, local, project, canary):
    if os.getuid() != 0:
        pytest.skip("only root can become somebody without a password")
    password = project / "password"
    password.write_text("open\n")
    encrypt = [str(Path(sys.executable).with_name("ansible-vault")), "encrypt_string", "--vault-password-file", str(password), canary]
    sealed = subprocess.run(encrypt, capture_output=True, text=True, check=True).stdout
    (project / "secret.yaml").write_text(f"word: {sealed}")
    tasks = f"- include_vars: secret.yaml\n- assert: {{that: word == '{canary}'}}\n- command: id -un\n  register: who\n"
    book = playbook(tasks + "- set_stats: {data: {who: '{{ who.stdout }}'}}")
    config = {"become": {"user": "nobody", "method": "su"}, "vault": {"password": "open"}, "vars": {"ansible_become_flags": "-s /bin/sh"}}
    assert run(new_attempt(), playbook=book, hosts=local, **config).outputs == {"who": "nobody"}


def test_nothing_of_an_attempt_is_in_the_process_that_stays(new_attempt, playbook, run, local, canary, forks):
    book = playbook("- assert: {that: word is defined}")
    run(new_attempt(), playbook=book, hosts=local, vars={"word": canary}, vault={"password": canary})
    for pid in forks.pids():
        for name in ("environ", "cmdline"):
            assert canary.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_events_are_the_same_as_cold(new_attempt, playbook, run, local):
    book = playbook("- name: one\n  command: echo x\n- name: two\n  debug: {msg: y}\n- name: three\n  set_stats: {data: {a: 1}}")
    seen = []
    for env in ({}, {"DRYSTONE_ANSIBLE_WARM": "0"}):
        attempt = new_attempt(env=env)
        outcome = run(attempt, playbook=book, hosts=local)
        seen.append((outcome, json.dumps(attempt.progress), attempt.log))
    assert seen[0] == seen[1]
