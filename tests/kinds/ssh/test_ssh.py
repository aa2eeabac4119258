"""Commands, files and waits on real SSH servers."""

from __future__ import annotations

import hashlib
import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from drystone.errors import CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.ssh import Ssh

ssh = Ssh()


def run(attempt, **config):
    return ssh.run(attempt.ctx, Ssh.Config.model_validate(config))


def failure(attempt, **config):
    with pytest.raises((TemporaryError, PermanentError)) as caught:
        run(attempt, **config)
    return caught.value


@pytest.fixture
def attempt(new_attempt, tmp_path):
    """Nothing of the user's own ssh folder is seen."""
    return new_attempt(env={"HOME": str(tmp_path / "home")})


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- commands --------------------------------------------------------------------------------------------------------


def test_outputs_stand_by_host_name(attempt, sshd):
    outcome = run(attempt, hosts=[sshd.host("web1"), sshd.host("web2")], run=["echo out; echo err >&2", "echo more"])
    assert outcome.outputs["web2"] == {"exit": 0, "stdout": "out\nmore", "stderr": "err", "files": []}
    assert list(outcome.outputs) == ["web1", "web2"]
    assert "web1 | out" in attempt.log
    assert outcome.changed


def test_output_is_in_the_log_while_the_command_runs(attempt, sshd, in_background, eventually, tmp_path):
    command = f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo second"
    work = in_background(lambda: run(attempt, hosts=sshd.host(), run=command))
    eventually(lambda: "web1 | first" in attempt.log)
    assert "second" not in attempt.log
    (tmp_path / "go").touch()
    work.join()
    assert work.result.outputs["web1"]["stdout"] == "first\nsecond"


def test_variables_reach_the_command_but_not_the_list_of_processes(attempt, sshd, canary):
    command = f"cat /proc/*/cmdline | tr '\\0' ' '; printf '|%s|' \"$WORD\" # {canary}"
    outcome = run(attempt, hosts=sshd.host(), run={"command": command, "env": {"WORD": f"a'b {canary}"}})
    processes, word, _ = outcome.outputs["web1"]["stdout"].rsplit("|", 2)
    assert word == f"a'b {canary}"
    assert canary not in processes


def test_a_command_has_no_input_to_wait_for(attempt, sshd):
    assert run(attempt, hosts=sshd.host(), run="cat; echo done").outputs["web1"]["stdout"] == "done"


def test_the_first_command_that_fails_ends_it(attempt, sshd, tmp_path):
    commands = ["echo reason >&2; exit 7", f"touch {tmp_path}/later"]
    error = failure(attempt, hosts=sshd.host(), run=commands)
    assert error.failure_class is FailureClass.FAILED
    assert error.message == 'web1: "echo reason >&2; exit 7" ended with exit code 7: reason'
    assert not (tmp_path / "later").exists()


def test_a_line_that_fails_ends_its_command(attempt, sshd):
    assert failure(attempt, hosts=sshd.host(), run="false\necho later").failure_class is FailureClass.FAILED
    assert "later" not in attempt.log


def test_other_exit_codes_can_be_a_success(attempt, sshd):
    assert run(attempt, hosts=sshd.host(), run={"command": "exit 3", "ok": [0, 3]}).outputs["web1"]["exit"] == 3


def test_a_killed_command_has_crashed(attempt, sshd):
    error = failure(attempt, hosts=sshd.host(), run="kill -9 $$")
    assert error.failure_class is FailureClass.CRASHED


def test_only_the_end_of_long_output_is_kept(attempt, sshd):
    outcome = run(attempt, hosts=sshd.host(), run="seq 1 200000; echo end", sensitive=True)
    assert len(outcome.outputs["web1"]["stdout"]) <= 1 << 18
    assert outcome.outputs["web1"]["stdout"].endswith("200000\nend")


def test_sensitive_output_is_sealed_and_not_logged(attempt, sshd, canary):
    outcome = run(attempt, hosts=sshd.host(), run=f"echo {canary}", sensitive=True)
    assert outcome.sensitive == {"web1"}
    assert canary not in attempt.log


@pytest.mark.parametrize(("first", "said"), [("#!/usr/bin/env python3", "python"), ("echo shell", "shell")])
def test_a_script_is_run_by_what_its_first_line_names(attempt, sshd, project, first, said):
    (project / "job").write_text(f"{first}\n: 'EOF $HOME'\n" if said == "shell" else f"{first}\nimport sys; print('python', sys.argv[1:])")
    outcome = run(attempt, hosts=sshd.host(), script="job", args=["a b", 2])
    assert outcome.outputs["web1"]["stdout"].startswith(said)
    if said == "python":
        assert outcome.outputs["web1"]["stdout"] == "python ['a b', '2']"


def test_a_script_leaves_no_file_on_the_host(attempt, sshd, project, canary):
    (project / "job").write_text(f'# {canary}\necho "$0"; exit 4\n')
    failure(attempt, hosts=sshd.host(), script="job")
    path = attempt.log.splitlines()[0].removeprefix("web1 | ")
    assert path.startswith("/tmp/")
    assert not Path(path).exists()


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancel_ends_the_command_on_the_host(attempt, sshd, in_background, eventually, tmp_path, stubborn):
    trap = "trap '' INT; " if stubborn else ""
    command = f"{trap}sleep 600 & echo $! > {tmp_path}/background; echo $$ > {tmp_path}/shell; sleep 600; sleep 600"
    work = in_background(lambda: run(attempt, hosts=sshd.host(), run=command))
    eventually(lambda: (tmp_path / "shell").exists() and (tmp_path / "shell").read_text().endswith("\n"))
    attempt.stop()
    work.join()
    assert isinstance(work.error, CancelledError)
    for name in ("background", "shell"):
        eventually(lambda name=name: not is_alive((tmp_path / name).read_text().strip()))


def test_a_command_that_takes_too_long_is_ended(attempt, sshd, eventually, tmp_path):
    command = {"command": f"echo $$ > {tmp_path}/shell; sleep 600", "timeout": "300ms"}
    error = failure(attempt, hosts=sshd.host(), run=command)
    assert (error.failure_class, error.message) == (FailureClass.TIMEOUT, "web1: no end after 300ms")
    shell = tmp_path / "shell"
    eventually(lambda: not shell.exists() or not is_alive(shell.read_text().strip()))


def test_a_connection_that_breaks_is_unreachable(attempt, sshd, in_background, eventually, tmp_path):
    work = in_background(lambda: run(attempt, hosts=sshd.host(), run=f"echo $PPID > {tmp_path}/sshd; sleep 2"))
    eventually(lambda: (tmp_path / "sshd").exists() and (tmp_path / "sshd").read_text().endswith("\n"))
    os.kill(int((tmp_path / "sshd").read_text()), 9)
    work.join()
    assert work.error.failure_class is FailureClass.UNREACHABLE
    assert work.error.changed


# ---- files -----------------------------------------------------------------------------------------------------------


def test_files_go_there_whole_with_their_mode(attempt, sshd, project, tmp_path):
    (project / "tool").write_bytes(os.urandom(200_000))
    uploads = [{"src": "tool", "dest": f"{tmp_path}/there", "mode": "0750"}, {"src": "tool", "dest": f"{tmp_path}/"}]
    assert run(attempt, hosts=sshd.host(), upload=uploads).changed
    assert (tmp_path / "there").read_bytes() == (tmp_path / "tool").read_bytes() == (project / "tool").read_bytes()
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "tool").stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.glob("*.part")) == []


def test_an_existing_file_keeps_its_mode(attempt, sshd, project, tmp_path):
    (project / "file").write_text("new")
    (tmp_path / "there").write_text("old")
    (tmp_path / "there").chmod(0o600)
    run(attempt, hosts=sshd.host(), upload=[{"src": "file", "dest": f"{tmp_path}/there"}])
    assert (tmp_path / "there").read_text() == "new"
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o600


def test_a_template_is_made_for_each_host(attempt, sshd, project, tmp_path):
    (project / "motd.j2").write_text("{{ host.name }} runs {{ version }}\n")
    hosts = [sshd.host("web1"), sshd.host("web2")]
    upload = {"src": "motd.j2", "dest": f"{tmp_path}/", "template": True}
    outcome = run(attempt, hosts=hosts, upload=[upload], vars={"version": 3}, max_parallel=1)
    assert (tmp_path / "motd").read_text() == "web2 runs 3\n"
    assert outcome.outputs["web1"]["exit"] is None


def test_a_missing_folder_or_a_folder_in_the_way_is_told(attempt, sshd, project, tmp_path):
    (project / "file").write_text("x")
    error = failure(attempt, hosts=sshd.host(), upload=[{"src": "file", "dest": "/nowhere/file"}])
    assert error.message == 'web1: there is no "/nowhere/file", or no folder for it'
    error = failure(attempt, hosts=sshd.host(), upload=[{"src": "file", "dest": str(tmp_path)}])
    assert error.failure_class is FailureClass.INVALID


def test_a_missing_file_of_the_project_is_found_before_any_host_is_touched(attempt, sshd):
    error = failure(attempt, hosts=sshd.host(), run="echo x", upload=[{"src": "none", "dest": "/tmp/none"}])
    assert (error.failure_class, error.changed) == (FailureClass.INVALID, False)


def test_files_come_back_with_size_and_digest(attempt, sshd, tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "data.bin").write_bytes(content)
    hosts = [sshd.host("web1"), sshd.host("web2")]
    outcome = run(attempt, hosts=hosts, download=[{"src": f"{tmp_path}/data.bin"}])
    path = attempt.ctx.artifacts / "web2" / "data.bin"
    expected = {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size": 300_000}
    assert outcome.outputs["web2"]["files"] == [expected]
    assert path.read_bytes() == content
    assert not outcome.changed


def test_an_absolute_download_has_the_hosts_name_in_it(attempt, sshd, tmp_path):
    (tmp_path / "data").write_text("x")
    run(attempt, hosts=sshd.host(), download=[{"src": f"{tmp_path}/data", "dest": f"{tmp_path}/got/{{host}}.txt"}])
    assert (tmp_path / "got" / "web1.txt").read_text() == "x"


def test_a_download_that_is_not_there_has_failed_and_leaves_nothing(attempt, sshd):
    error = failure(attempt, hosts=sshd.host(), download=[{"src": "/nowhere/data"}])
    assert error.failure_class is FailureClass.FAILED
    assert [path for path in attempt.ctx.artifacts.rglob("*") if path.is_file()] == []


# ---- trust and waiting -----------------------------------------------------------------------------------------------


def test_another_host_key_is_refused_naming_both(attempt, new_sshd):
    real, other = new_sshd(), new_sshd()
    error = failure(attempt, hosts=real.host(host_key=other.host_key), wait="30s", run="true")
    assert (error.failure_class, error.permanent, error.changed) == (FailureClass.REFUSED, True, False)
    assert error.message.count("SHA256:") == 2
    assert "another host answers" in error.message


def test_a_host_that_nobody_vouches_for_is_refused_with_its_fingerprint(attempt, sshd):
    error = failure(attempt, hosts=sshd.host(host_key=None), run="true")
    assert (error.failure_class, error.permanent) == (FailureClass.REFUSED, True)
    assert "SHA256:" in error.message
    assert "`host_key`" in error.hint


def test_the_users_known_hosts_vouch_too(attempt, sshd, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_text(f"[{sshd.address}]:{sshd.port} {sshd.host_key}\n")
    monkeypatch.setenv("HOME", str(home))
    assert run(attempt, hosts=sshd.host(host_key=None), run="true").outputs["web1"]["exit"] == 0


def test_the_users_ssh_config_fills_what_the_plan_leaves_open(attempt, sshd, tmp_path):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(
        f"Host web1\n  HostName {sshd.address}\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile {sshd.key_file}\n"
    )
    assert run(attempt, hosts={"name": "web1", "host_key": sshd.host_key}, run="true").outputs["web1"]["exit"] == 0


def test_a_key_may_stand_in_the_users_home(attempt, sshd, tmp_path):
    (tmp_path / "home").mkdir()
    sshd.key_file.rename(tmp_path / "home" / "key")
    assert run(attempt, hosts=sshd.host(key_file="~/key"), run="true").outputs["web1"]["exit"] == 0


def test_a_jump_host_is_refused_in_words(attempt, tmp_path):
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "config").write_text("Host web1\n  ProxyJump gate\n")
    assert "jump host" in failure(attempt, hosts="web1", run="true").message


def test_a_key_that_does_not_open_is_refused(attempt, new_sshd):
    real, other = new_sshd(), new_sshd()
    error = failure(attempt, hosts=real.host(key_file=str(other.key_file)), run="true")
    assert (error.failure_class, error.permanent) == (FailureClass.REFUSED, False)
    assert f"{real.user} may not log in" in error.message


def test_a_key_file_that_is_none_is_invalid(attempt, sshd, project):
    (project / "key").write_text("no key")
    for key_file in ("none", "key"):
        assert failure(attempt, hosts=sshd.host(key_file=key_file), run="true").failure_class is FailureClass.INVALID


def test_a_refused_connection_is_unreachable(attempt, sshd):
    sshd.stop()
    error = failure(attempt, hosts=sshd.host(), run="true")
    assert (error.failure_class, error.changed) == (FailureClass.UNREACHABLE, False)
    assert error.message == f"web1: {sshd.address} port {sshd.port}: connection refused"


def test_an_unknown_name_is_unreachable(attempt):
    assert failure(attempt, hosts="no-such-host.invalid", run="true").failure_class is FailureClass.UNREACHABLE


def test_a_server_that_says_nothing_is_unreachable(attempt, sshd):
    with socket.socket() as silent:
        silent.bind((sshd.address, 0))
        silent.listen()
        host = sshd.host(port=silent.getsockname()[1])
        assert failure(attempt, hosts=host, run="true", connect_timeout="500ms").failure_class is FailureClass.UNREACHABLE


def test_wait_goes_on_until_the_host_is_there(attempt, sshd, in_background, eventually):
    sshd.stop()
    tries = []
    ctx_wait = attempt.ctx.wait
    attempt.ctx.wait = lambda duration: (tries.append(duration), ctx_wait(timedelta(milliseconds=10)))
    work = in_background(lambda: run(attempt, hosts=sshd.host(), wait="1m"))
    eventually(lambda: len(tries) >= 2)
    sshd.start()
    work.join()
    assert work.error is None
    assert not work.result.changed
    assert [message for message, _ in attempt.progress] == ["web1: connected"]


def with_cloud_init(tmp_path, script):
    """A host on which `cloud-init` says that; its own package needs a boot of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cloud-init").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "cloud-init").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_wait_lasts_until_cloud_init_has_ended(attempt, sshd, tmp_path, in_background, eventually):
    env = with_cloud_init(tmp_path, f"echo \"$@\" > {tmp_path}/asked; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo status: done")
    work = in_background(lambda: run(attempt, hosts=sshd.host(), wait="1m", env=env, run="echo ready"))
    eventually(lambda: (tmp_path / "asked").exists())
    assert (tmp_path / "asked").read_text() == "status --wait --long\n"
    assert "ready" not in attempt.log
    (tmp_path / "go").touch()
    work.join()
    assert work.result.outputs["web1"]["stdout"] == "ready"


@pytest.mark.parametrize(
    ("script", "failure_class", "message"),
    [
        ("echo 'status: error'; exit 1", FailureClass.FAILED, "web1: cloud-init failed: status: error"),
        ("sleep 60", FailureClass.TIMEOUT, "web1: not ready after 1s: cloud-init has not ended"),
    ],
)
def test_a_cloud_init_that_fails_or_does_not_end_is_told(attempt, sshd, tmp_path, script, failure_class, message):
    error = failure(attempt, hosts=sshd.host(), wait="1s", env=with_cloud_init(tmp_path, script))
    assert (error.failure_class, error.message, error.changed) == (failure_class, message, False)


def test_warnings_of_cloud_init_do_not_keep_a_host_back_and_it_need_not_be_waited_for(attempt, sshd, tmp_path):
    env = with_cloud_init(tmp_path, "exit 2")
    assert run(attempt, hosts=sshd.host(), wait="1m", env=env).result["ok"] == 1
    (tmp_path / "bin/cloud-init").write_text("#!/bin/sh\nexit 1\n")
    assert run(attempt, hosts=sshd.host(), wait="1m", env=env, cloud_init=False).result["ok"] == 1


def test_wait_tells_the_last_reason(attempt, sshd):
    sshd.stop()
    error = failure(attempt, hosts=sshd.host(), wait="600ms")
    assert error.failure_class is FailureClass.UNREACHABLE
    assert error.message.startswith("web1: not ready after 600ms: ")
    assert error.message.endswith("connection refused")


# ---- many hosts ------------------------------------------------------------------------------------------------------


def test_a_host_that_fails_does_not_keep_others_from_their_end(attempt, sshd, tmp_path):
    away = sshd.host("web0", port=1)
    hosts = [away, sshd.host("web1"), sshd.host("web2")]
    command = f"[ -e {tmp_path}/first ] && exit 5; touch {tmp_path}/first"
    error = failure(attempt, hosts=hosts, run=command, max_parallel=1)
    assert error.failure_class is FailureClass.FAILED
    assert error.message.startswith("web2: ")
    assert error.message.endswith("(and 1 more host)")
    assert "web0" in error.detail
    assert error.changed


def test_no_hosts_is_nothing_to_do(attempt):
    assert not run(attempt, hosts=[], run="true").changed


def test_what_only_looks_needs_no_undo():
    assert not Ssh.changes_things({"hosts": object(), "wait": "60s"})
    assert not Ssh.changes_things({"hosts": [], "download": [{}]})
    assert Ssh.changes_things({"hosts": [], "run": ["x"]})
    assert Ssh.changes_things({"hosts": [], "upload": object()})


def test_what_may_be_repeated_is_known_before_it_runs():
    assert Ssh.is_idempotent({"upload": [{}]})
    assert not Ssh.is_idempotent({"run": "x"})
    assert Ssh.is_idempotent({"run": "x", "idempotent": True})


@pytest.mark.parametrize(
    "config",
    [
        {"run": "a", "script": "b"},
        {"args": ["a"], "run": "b"},
        {"hosts": ["a", "b"], "download": [{"src": "/a", "dest": "/tmp/a"}]},
        {"upload": [{"src": "a", "dest": "b", "mode": 644}]},
        {"wait": "soon"},
    ],
)
def test_a_config_that_cannot_work_is_refused(config):
    with pytest.raises(ValidationError):
        Ssh.Config.model_validate({"hosts": ["web1"], **config})


def test_questions_about_an_expression_are_answered_with_care():
    assert Ssh.changes_things(object())
    assert not Ssh.is_idempotent(object())
    assert not Ssh.changes_things(None)
