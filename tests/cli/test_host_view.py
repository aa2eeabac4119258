"""What a person reads of a playbook that some hosts were lost in, and of its retry: the real Ansible under the real command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from drystone.cli import task_view
from drystone.cli.main import run

PLAN = """
drystone: 1
name: fleet
on_failure: stop
tasks:
  app:
    ansible:
      playbook: playbooks/app.yaml
      hosts: [{name: web1, vars: &here {ansible_connection: local}}, {name: web2, vars: *here}, {name: web3, vars: *here}]
    retry: {attempts: ATTEMPTS, delay: 1ms}
    undo: none
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
  - shell: echo {{ inventory_hostname }} >> SEEN
  - name: start
    shell: test $(grep -c web3 SEEN) = 2
    when: inventory_hostname == "web3"
  - debug: {msg: done}
"""
LOST = """\
hosts (1 failed, 2 changed):
  ✓ web1  changed  ok=2  changed=1  failed=0  unreachable=0  skipped=1
  ✓ web2  changed  ok=2  changed=1  failed=0  unreachable=0  skipped=1
  ✗ web3  failed   ok=1  changed=1  failed=1  unreachable=0  skipped=0  task "start": non-zero return code (1)
"""


@pytest.fixture
def fleet(project: Path) -> Callable[[int], Path]:
    """A project with the plan; a run of it has so many attempts. Gives the file in which hosts note that they were there."""

    def write(attempts: int) -> Path:
        seen = project / "seen"
        (project / "plans/fleet.yaml").write_text(PLAN.replace("ATTEMPTS", str(attempts)))
        (project / "playbooks").mkdir(exist_ok=True)
        (project / "playbooks/app.yaml").write_text(PLAYBOOK.replace("SEEN", str(seen)))
        return seen

    return write


def indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in text.splitlines())


def test_a_run_that_lost_a_host_shows_what_became_of_each(fleet, capfd: pytest.CaptureFixture[str]) -> None:
    fleet(1)
    assert run(["run", "fleet"]) == 7
    capfd.readouterr()
    assert run(["show", "last"]) == 0
    assert indented(LOST, 2) in capfd.readouterr().out
    assert run(["show", "last", "app"]) == 0
    assert indented(LOST, 4) in capfd.readouterr().out


def test_a_retry_runs_on_the_lost_host_alone_and_the_result_is_of_all(fleet, capfd: pytest.CaptureFixture[str]) -> None:
    seen = fleet(2)
    assert run(["run", "fleet"]) == 0
    assert "app: again on web3; 2 hosts are done" in capfd.readouterr().err
    assert sorted(seen.read_text().split()) == ["web1", "web2", "web3", "web3"]
    assert run(["show", "last", "--json"]) == 0
    task = json.loads(capfd.readouterr().out)["tasks"][0]
    assert {name: host["status"] for name, host in task["result"]["hosts"].items()} == dict.fromkeys(("web1", "web2", "web3"), "changed")
    assert task["attempts"][0]["result"]["hosts"]["web3"]["status"] == "failed"


def test_of_many_hosts_a_summary_shows_the_lost_ones_first() -> None:
    counts = dict.fromkeys(("ok", "changed", "failed", "unreachable", "skipped"), 0)
    hosts = {f"web{number:03}": {"status": "ok", **counts, "ok": 1} for number in range(1000)}
    hosts["web777"] = {"status": "unreachable", **counts, "unreachable": 1, "step": "ping", "message": "no route"}
    lines = list(task_view.hosts({"hosts": hosts}, 12))
    assert lines[0] == "hosts (1 unreachable, 999 ok):"
    assert "✗ web777  unreachable" in lines[1]
    assert lines[1].endswith('task "ping": no route')
    assert (len(lines), lines[-1]) == (14, "  and 988 more")
