"""What a retry runs on, and what the attempts of a task come to together. Three hosts that are this machine; the real Ansible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = ("web1", "web2", "web3")


@pytest.fixture
def three(local: dict[str, Any]) -> list[dict[str, Any]]:
    """Hosts that need no connection."""
    return [{**local, "name": name} for name in NAMES]


@pytest.fixture
def retried(new_attempt: Callable[..., Any], failure: Callable[..., Any]) -> Callable[..., Any]:
    """An attempt that fails, and the one that follows it."""

    def call(**config: Any) -> tuple[Any, Any]:
        error = failure(new_attempt(), **config)
        return error, new_attempt(previous=error.result)

    return call


FAILS_ONCE_ON_WEB3 = """
- shell: "echo {{ inventory_hostname }} >> TMP/seen"
- command: "test -e TMP/mended"
  when: inventory_hostname == 'web3'
  changed_when: false
- set_stats: {data: {"{{ inventory_hostname }}": up, all: "{{ {inventory_hostname: 1} }}"}}
"""


def seen(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "seen").read_text().split())


def test_a_retry_runs_on_the_hosts_that_were_lost_and_merges_what_came_before(retried, playbook, run, three, tmp_path):
    config = {"playbook": playbook(FAILS_ONCE_ON_WEB3.replace("TMP", str(tmp_path))), "hosts": three}
    error, again = retried(**config)
    assert [host["status"] for host in error.result["hosts"].values()] == ["changed", "changed", "failed"]
    assert error.result["hosts"]["web3"]["message"].startswith("non-zero return code (1)")
    assert error.changed
    (tmp_path / "mended").touch()
    outcome = run(again, **config)
    assert seen(tmp_path) == ["web1", "web2", "web3", "web3"]
    assert ("again on web3; 2 hosts are done", {}) in again.progress
    assert (outcome.result["failed"], outcome.result["hosts"]["web3"]["changed"], outcome.result["changed"]) == (0, 2, 4)
    assert outcome.outputs == {"web1": "up", "web2": "up", "web3": "up", "all": {"web1": 1, "web2": 1, "web3": 1}}


def test_what_the_first_attempt_gave_is_sealed_while_it_waits_for_the_second(retried, playbook, three, canary):
    book = playbook(f"- set_stats: {{data: {{word: {canary}}}}}\n- fail: {{}}\n  when: inventory_hostname == 'web3'")
    error, _ = retried(playbook=book, hosts=three)
    assert canary not in str(error.result)


def test_a_plan_may_have_all_hosts_run_again(retried, playbook, run, three, tmp_path):
    config = {"playbook": playbook(FAILS_ONCE_ON_WEB3.replace("TMP", str(tmp_path))), "hosts": three, "retry_hosts": "all"}
    _, again = retried(**config)
    (tmp_path / "mended").touch()
    outcome = run(again, **config)
    assert seen(tmp_path) == sorted(NAMES * 2)
    assert outcome.result["changed"] == 6


def test_batches_that_were_not_begun_are_run_by_the_retry(retried, playbook, run, three, tmp_path):
    book = playbook(
        f"- command: test -e {tmp_path}/mended\n  changed_when: false\n- shell: echo {{{{ inventory_hostname }}}} >> {tmp_path}/seen",
        play="hosts: all\n  serial: 1",
    )
    error, again = retried(playbook=book, hosts=three)
    assert list(error.result["hosts"]) == ["web1"]
    assert error.result["stopped_early"]
    (tmp_path / "mended").touch()
    outcome = run(again, playbook=book, hosts=three)
    assert seen(tmp_path) == list(NAMES)
    assert list(outcome.result["hosts"]) == list(NAMES)
    assert "stopped_early" not in outcome.result


@pytest.mark.parametrize("why", ["any_errors_fatal: true", "max_fail_percentage: 10"])
def test_hosts_that_were_given_up_because_of_others_are_run_again(retried, playbook, run, three, tmp_path, why):
    book = playbook(FAILS_ONCE_ON_WEB3.replace("TMP", str(tmp_path)), play=f"hosts: all\n  {why}")
    _, again = retried(playbook=book, hosts=three)
    (tmp_path / "mended").touch()
    outcome = run(again, playbook=book, hosts=three)
    assert outcome.outputs["all"] == {"web1": 1, "web2": 1, "web3": 1}


def test_a_play_after_one_that_lost_all_its_hosts_is_not_forgotten(retried, project, run, three, tmp_path):
    (project / "site.yaml").write_text(
        f"- hosts: web1\n  gather_facts: false\n  tasks: [{{command: test -e {tmp_path}/mended}}]\n"
        f"- hosts: web2\n  gather_facts: false\n  tasks: [{{command: touch {tmp_path}/second}}]\n"
    )
    _, again = retried(playbook="site.yaml", hosts=three)
    (tmp_path / "mended").touch()
    run(again, playbook="site.yaml", hosts=three)
    assert (tmp_path / "second").exists()


def test_an_unreachable_host_takes_nothing_from_what_others_changed(retried, playbook, run, local, sshd, tmp_path):
    config = {"playbook": playbook(f"- shell: date >> {tmp_path}/{{{{ inventory_hostname }}}}"), "hosts": [local, sshd.host()]}
    sshd.stop()
    error, again = retried(**config)
    assert (error.result["changed"], error.result["unreachable"]) == (1, 1)
    assert error.result["hosts"]["web1"]["status"] == "unreachable"
    assert "Connection refused" in error.result["hosts"]["web1"]["message"]
    sshd.start()
    outcome = run(again, **config)
    assert (outcome.result["changed"], outcome.result["unreachable"]) == (2, 0)
    assert len((tmp_path / "here").read_text().splitlines()) == 1


def test_a_lost_host_that_the_plan_no_longer_names_is_not_looked_for(retried, playbook, run, three, tmp_path):
    book = playbook(FAILS_ONCE_ON_WEB3.replace("TMP", str(tmp_path)))
    _, again = retried(playbook=book, hosts=three)
    outcome = run(again, playbook=book, hosts=three[:2])
    assert outcome.result["hosts"]["web1"]["changed"] == 2
