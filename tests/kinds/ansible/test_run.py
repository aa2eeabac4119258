"""Successful runs of real playbooks on the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from drystone.errors import TemporaryError


def test_outputs_are_what_the_playbook_set(attempt, playbook, run, local):
    book = playbook("- set_stats: {data: {version: 3, names: [a, b]}}")
    assert run(attempt, playbook=book, hosts=local).outputs == {"version": 3, "names": ["a", "b"]}


def test_the_recap_is_the_result(attempt, playbook, run, local, tmp_path):
    book = playbook(f"""
- copy: {{content: x, dest: "{tmp_path}/made"}}
- command: "false"
  ignore_errors: true
- debug: {{msg: never}}
  when: false
""")
    outcome = run(attempt, playbook=book, hosts=local)
    sums = {"ok": 2, "changed": 2, "failed": 0, "unreachable": 0, "skipped": 1, "rescued": 0, "ignored": 1}
    assert outcome.result == {**sums, "hosts": {"here": {"status": "changed", **sums}}, "check": False}
    assert outcome.changed
    assert ("here: copy: changed", {"step": "copy", "host": "here", "status": "changed"}) in attempt.progress


def test_a_second_run_that_changes_nothing_says_so(new_attempt, playbook, run, local, tmp_path):
    book = playbook(f'- copy: {{content: x, dest: "{tmp_path}/made"}}')
    assert run(new_attempt(), playbook=book, hosts=local).changed
    assert not run(new_attempt(), playbook=book, hosts=local).changed


def test_a_check_changes_nothing_and_shows_the_difference(attempt, playbook, run, local, tmp_path):
    book = playbook(f'- copy: {{content: "hello\\n", dest: "{tmp_path}/made"}}')
    outcome = run(attempt, playbook=book, hosts=local, check=True, diff=True)
    assert not outcome.changed
    assert (outcome.result["changed"], outcome.result["check"]) == (1, True)
    assert not (tmp_path / "made").exists()
    assert "+hello" in attempt.log


def test_a_check_that_fails_leaves_nothing_to_undo(attempt, playbook, run, local):
    book = playbook("- fail: {msg: stop}")
    with pytest.raises(TemporaryError) as caught:
        run(attempt, playbook=book, hosts=local, check=True)
    assert not caught.value.changed


def test_variables_arrive_as_they_are(attempt, playbook, run, local):
    values = {"n": 3, "yes": True, "none": None, "list": ["a", {"b": 1.5}], "text": 'a "b" \n\t\\ ü 😀 \x01 yes'}
    book = playbook("- set_stats: {data: {got: '{{ given }}'}}")
    assert run(attempt, playbook=book, hosts=local, vars={"given": values}).outputs["got"] == values


def test_a_value_with_template_marks_is_not_run_on_the_controller(attempt, playbook, run, local, tmp_path):
    trap = "{{ lookup('pipe', 'touch " + str(tmp_path / "trap") + "') }}"
    book = playbook("- copy: {content: '{{ given }}{{ of_host }}', dest: '{{ into }}'}")
    host = {**local, "vars": {**local["vars"], "of_host": trap}}
    run(attempt, playbook=book, hosts=host, vars={"given": trap, "into": str(tmp_path / "made")})
    assert (tmp_path / "made").read_text() == trap * 2
    assert not (tmp_path / "trap").exists()


def test_run_task_and_environment_are_known_to_the_playbook(attempt, playbook, run, local):
    book = playbook("- set_stats: {data: {got: '{{ drystone_run }} {{ drystone_task }} {{ drystone_environment }}'}}")
    assert run(attempt, playbook=book, hosts=local).outputs["got"] == "01JRUN task staging"
    assert run(attempt, playbook=book, hosts=local, vars={"drystone_task": "mine"}).outputs["got"] == "01JRUN mine staging"


def test_groups_and_limits_choose_the_hosts(attempt, playbook, run, local):
    hosts = {"app": [{**local, "name": "web1"}, {**local, "name": "web2"}], "db": [{**local, "name": "db1"}]}
    book = playbook("- debug: {msg: x}", play="hosts: app")
    assert list(run(attempt, playbook=book, hosts=hosts).result["hosts"]) == ["web1", "web2"]
    assert list(run(attempt, playbook=book, hosts=hosts, limit=["web2", "db"]).result["hosts"]) == ["web2"]


def test_tags_choose_the_tasks(attempt, playbook, run, local):
    book = playbook("- set_stats: {data: {a: 1}}\n  tags: a\n- set_stats: {data: {b: 1}}\n  tags: b")
    assert run(attempt, playbook=book, hosts=local, tags="a").outputs == {"a": 1}
    assert run(attempt, playbook=book, hosts=local, skip_tags=["a"]).outputs == {"b": 1}


def test_roles_and_group_vars_beside_the_playbook_work(attempt, playbook, run, local, project):
    book = playbook("- include_role: {name: greet}", name="books/site.yaml")
    (project / "books/roles/greet/tasks").mkdir(parents=True)
    (project / "books/roles/greet/tasks/main.yaml").write_text("- set_stats: {data: {said: '{{ greeting }}'}}\n")
    (project / "books/group_vars").mkdir()
    (project / "books/group_vars/all.yaml").write_text("greeting: hello\n")
    assert run(attempt, playbook=book, hosts=local).outputs == {"said": "hello"}


def test_an_inventory_folder_brings_its_own_group_vars(attempt, playbook, run, project):
    folder = project / "inventories/staging"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "hosts.yaml").write_text("app: {hosts: {web1: {ansible_connection: local}}}\n")
    (folder / "group_vars/app.yaml").write_text("colour: blue\n")
    book = playbook("- set_stats: {data: {colour: '{{ colour }}'}}", play="hosts: app")
    assert run(attempt, playbook=book, inventory="inventories/staging").outputs == {"colour": "blue"}


def test_the_nearest_ansible_cfg_counts(attempt, playbook, run, local, project):
    book = playbook("- include_role: {name: greet}", name="books/site.yaml")
    (project / "books/my_roles/greet/tasks").mkdir(parents=True)
    (project / "books/my_roles/greet/tasks/main.yaml").write_text("- set_stats: {data: {said: hello}}\n")
    (project / "books/ansible.cfg").write_text("[defaults]\nroles_path = my_roles\n")
    assert run(attempt, playbook=book, hosts=local).outputs == {"said": "hello"}


def test_a_vault_password_opens_variables(attempt, playbook, run, local, project, canary, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(canary)
    encrypt = ["ansible-vault", "encrypt_string", "--vault-password-file", str(secret), "hidden", "--name", "word"]
    import subprocess
    import sys

    encrypt[0] = str(Path(sys.executable).with_name(encrypt[0]))
    made = subprocess.run(encrypt, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    (project / "group_vars").mkdir()
    (project / "group_vars/all.yaml").write_text(made.stdout)
    book = playbook("- set_stats: {data: {word: '{{ word }}'}}")
    assert run(attempt, playbook=book, hosts=local, vault={"password": canary}).outputs == {"word": "hidden"}
    by_file = {"id": "dev", "password_file": str(secret)}
    assert run(attempt, playbook=book, hosts=local, vault=[by_file]).outputs == {"word": "hidden"}


def test_environment_variables_reach_lookups(attempt, playbook, run, local):
    book = playbook("- set_stats: {data: {got: \"{{ lookup('env', 'COLOUR') }}\"}}")
    assert run(attempt, playbook=book, hosts=local, env={"COLOUR": "blue"}).outputs == {"got": "blue"}


def test_no_hosts_is_nothing_to_do(attempt, playbook, run):
    outcome = run(attempt, playbook=playbook("- debug: {msg: x}"), hosts=[])
    assert not outcome.changed
    assert outcome.result["hosts"] == {}
    assert "no hosts: nothing was run" in attempt.log
    assert ("no hosts: nothing was run", {}) in attempt.progress


def test_a_playbook_that_asks_is_not_waited_for(attempt, project, run, local):
    (project / "ask.yaml").write_text(
        "- hosts: all\n  gather_facts: false\n  vars_prompt: [{name: colour, default: red}]\n"
        "  tasks:\n  - set_stats: {data: {colour: '{{ colour }}'}}\n  - pause: {prompt: really}\n"
    )
    assert run(attempt, playbook="ask.yaml", hosts=local).outputs == {"colour": "red"}


def test_without_hosts_the_project_says_where_to_work(attempt, playbook, run, project):
    (project / "hosts.yaml").write_text("all: {hosts: {mine: {ansible_connection: local}}}\n")
    (project / "ansible.cfg").write_text("[defaults]\ninventory = hosts.yaml\n")
    assert list(run(attempt, playbook=playbook("- debug: {msg: x}")).result["hosts"]) == ["mine"]


def test_outputs_whose_names_say_so_are_secret_and_those_that_the_plan_names(attempt, playbook, run, local):
    book = playbook("- set_stats: {data: {version: 3, db_password: x, API_TOKEN: y, licence_1: z}}")
    assert run(attempt, playbook=book, hosts=local).sensitive == {"db_password", "API_TOKEN"}
    assert run(attempt, playbook=book, hosts=local, sensitive=["licence_*"]).sensitive == {"db_password", "API_TOKEN", "licence_1"}
