"""What a failing playbook run becomes: the class, the host and task to blame, and what a person may read of it."""

from __future__ import annotations

import socket

from drystone.errors import FailureClass


def test_a_failed_task_is_told_with_host_task_and_reason(attempt, playbook, failure, local):
    error = failure(attempt, playbook=playbook("- name: install\n  command: ls /nowhere"), hosts=local)
    assert error.failure_class is FailureClass.FAILED
    assert not error.permanent
    assert error.message.startswith('here: task "install": non-zero return code (2): ls: ')
    assert "PLAY RECAP" in error.detail
    assert ("here: install: failed", {"step": "install", "host": "here", "status": "failed"}) in attempt.progress


def test_an_item_that_failed_is_named(attempt, playbook, failure, local):
    book = playbook('- fail: {msg: "no {{ item }}"}\n  when: item == "b"\n  loop: [a, b]')
    assert 'task "fail": item b: no b' in failure(attempt, playbook=book, hosts=local).message


def test_no_log_hides_the_reason(attempt, playbook, failure, local, canary):
    book = playbook("- shell: echo {{ word }}; false\n  no_log: true")
    error = failure(attempt, playbook=book, hosts=local, vars={"word": canary})
    assert error.message == 'here: task "shell": no_log hides why'
    assert canary not in error.detail + attempt.log + str(attempt.progress)


def test_what_a_block_rescued_is_not_blamed(attempt, playbook, failure, run, local):
    rescued = "- block:\n  - fail: {msg: first}\n  rescue:\n  - debug: {msg: saved}\n"
    outcome = run(attempt, playbook=playbook(rescued), hosts=local)
    assert outcome.result["rescued"] == 1
    error = failure(attempt, playbook=playbook(rescued + "- fail: {msg: second}"), hosts=local)
    assert "second" in error.message


def test_an_unknown_variable_fails_with_its_name(attempt, playbook, failure, local):
    error = failure(attempt, playbook=playbook("- debug: {msg: '{{ missing }}'}"), hosts=local)
    assert "'missing' is undefined" in error.message


def test_a_mistake_in_the_syntax_is_invalid(attempt, project, failure, local):
    (project / "bad.yaml").write_text("- hosts: all\n  tasks:\n  - debug: {msg: x\n")
    error = failure(attempt, playbook="bad.yaml", hosts=local)
    assert (error.failure_class, error.permanent, error.changed) == (FailureClass.INVALID, True, False)
    assert "YAML parsing failed" in error.message
    assert "bad.yaml" in error.detail


def test_an_unknown_module_is_invalid(attempt, playbook, failure, local):
    error = failure(attempt, playbook=playbook("- no_such_module: {}"), hosts=local)
    assert error.failure_class is FailureClass.INVALID
    assert "no_such_module" in error.message


def test_a_missing_playbook_inventory_or_role_is_invalid(attempt, playbook, failure, local):
    for config in (
        {"playbook": "none.yaml", "hosts": local},
        {"playbook": playbook("- debug: {}"), "inventory": "none"},
        {"playbook": playbook("- import_role: {name: none}"), "hosts": local},
    ):
        error = failure(attempt, **config)
        assert error.failure_class is FailureClass.INVALID
        assert "none" in error.message


def test_a_vault_without_its_password_is_invalid(attempt, project, playbook, failure, local):
    (project / "group_vars").mkdir()
    (project / "group_vars/all.yaml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6461746120697320776f72746820\n")
    error = failure(attempt, playbook=playbook("- debug: {}"), hosts=local)
    assert error.failure_class is FailureClass.INVALID
    assert error.hint == "give the password under `vault`"


def test_a_limit_that_fits_no_host_is_invalid(attempt, playbook, failure, local):
    error = failure(attempt, playbook=playbook("- debug: {}"), hosts=local, limit="nobody")
    assert error.failure_class is FailureClass.INVALID


def test_a_missing_program_has_crashed(new_attempt, playbook, failure, local):
    attempt = new_attempt(env={"DRYSTONE_ANSIBLE_PLAYBOOK": "no-such-ansible"})
    error = failure(attempt, playbook=playbook("- debug: {}"), hosts=local)
    assert error.failure_class is FailureClass.CRASHED
    assert "no-such-ansible" in error.message


def test_a_refused_connection_is_unreachable(attempt, playbook, failure, sshd):
    sshd.stop()
    error = failure(attempt, playbook=playbook("- ping: {}"), hosts=sshd.host())
    assert (error.failure_class, error.permanent) == (FailureClass.UNREACHABLE, False)
    assert "web1" in error.message
    assert "Connection refused" in error.message


def test_a_name_that_nobody_knows_is_unreachable(attempt, playbook, failure):
    error = failure(attempt, playbook=playbook("- ping: {}"), hosts="no-such-host.invalid")
    assert error.failure_class is FailureClass.UNREACHABLE


def test_one_host_that_fails_outweighs_one_that_is_unreachable(attempt, playbook, failure, local, sshd):
    sshd.stop()
    error = failure(attempt, playbook=playbook("- command: 'false'"), hosts=[local, sshd.host()])
    assert error.failure_class is FailureClass.FAILED
    assert error.message.endswith("(and 1 more host)")


def test_another_host_key_is_refused_for_good(attempt, playbook, failure, new_sshd):
    real, other = new_sshd(), new_sshd()
    error = failure(attempt, playbook=playbook("- ping: {}"), hosts=real.host(host_key=other.host_key))
    assert (error.failure_class, error.permanent) == (FailureClass.REFUSED, True)
    assert "host_key" in error.hint


def test_a_host_that_nobody_vouches_for_is_refused(attempt, playbook, failure, sshd, tmp_path):
    error = failure(attempt, playbook=playbook("- ping: {}"), hosts=sshd.host(host_key=None))
    assert error.failure_class is FailureClass.REFUSED


def test_a_user_may_turn_host_key_checking_off(attempt, playbook, run, sshd, project):
    (project / "ansible.cfg").write_text(
        "[defaults]\nhost_key_checking = false\n[ssh_connection]\nssh_args = -o UserKnownHostsFile=/dev/null\n"
    )
    run(attempt, playbook=playbook("- ping: {}"), hosts=sshd.host(host_key=None))


def test_a_key_that_does_not_open_is_refused(attempt, playbook, failure, new_sshd):
    real, other = new_sshd(), new_sshd()
    error = failure(attempt, playbook=playbook("- ping: {}"), hosts=real.host(key_file=str(other.key_file)))
    assert error.failure_class is FailureClass.REFUSED
    assert "Permission denied" in error.message


def test_nothing_answers_is_a_timeout_of_the_connection(attempt, playbook, failure, sshd):
    with socket.socket() as silent:
        silent.bind((sshd.address, 0))
        silent.listen()
        host = sshd.host(port=silent.getsockname()[1])
        error = failure(attempt, playbook=playbook("- ping: {}"), hosts=host, env={"ANSIBLE_TIMEOUT": 1})
    assert error.failure_class is FailureClass.UNREACHABLE
