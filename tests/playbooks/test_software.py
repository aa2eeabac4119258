"""playbooks/software.yaml and its rollback, played against real hosts."""

import json
import os
import shutil
import signal
import socket


def test_second_run_changes_nothing_and_health_answers(host):
    first = host.play("software.yaml", app_version="1.2.0")

    assert first.changed == 2
    assert first.published == {"version": "1.2.0", "port": 8080, "url": f"http://{host.address}:8080"}
    assert host.play("software.yaml", app_version="1.2.0").changed == 0
    health = host.health()
    assert (health["status"], health["version"], health["schema_version"]) == ("waiting", "1.2.0", 0)
    assert health["database"]["state"] == "absent"
    assert host.ask("/notes")[0] == 503


def test_killed_application_comes_back(deployed, wait_for):
    (before,) = deployed.processes("notes.py")

    os.kill(before, signal.SIGKILL)

    wait_for(lambda: deployed.processes("notes.py") not in ([], [before]), "a new process")
    wait_for(lambda: deployed.health()["status"] == "waiting", "its answer")


def test_application_ends_with_its_supervisor_and_the_playbook_starts_both(deployed, wait_for):
    (supervisor,) = deployed.processes("supervise.py")

    os.kill(supervisor, signal.SIGKILL)

    wait_for(lambda: not deployed.processes("notes.py"), "the end of the application")
    version = json.loads((deployed.base / "etc" / "app.json").read_text())["version"]
    assert deployed.play("software.yaml", app_version=version).changed == 1
    assert deployed.health()["status"] == "waiting"


def test_another_version_restarts_the_application(deployed):
    before = deployed.processes("notes.py")

    upgrade = deployed.play("software.yaml", app_version="2.0.0")

    assert upgrade.changed == 2
    assert deployed.health()["version"] == "2.0.0"
    assert len(deployed.processes("notes.py")) == len(before) == 1
    assert deployed.processes("notes.py") != before


def test_release_that_was_put_in_place_but_never_started_is_started(deployed):
    lock = deployed.base / "run" / "supervisor.lock"
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"release": "of before"}) + "\n")
    before = deployed.processes("notes.py")
    version = json.loads((deployed.base / "etc" / "app.json").read_text())["version"]

    assert deployed.play("software.yaml", app_version=version).changed == 1

    assert deployed.processes("notes.py") != before


def test_application_whose_folder_is_taken_away_ends(host, wait_for):
    host.play("software.yaml")

    shutil.rmtree(host.base)

    wait_for(lambda: not host.processes(), "the end of the application")


def test_taken_port_is_reported_with_its_reason(host):
    with socket.create_server((host.address, 8080), backlog=0):
        played = host.play("software.yaml", app_port=8080, app_start_timeout=1)

    assert played.exit == 2
    assert "does not tell the health of this release after 1 s" in played.messages[host.name]
    assert "set app_port" in played.messages[host.name]
    assert "Address already in use" in played.output


def test_check_mode_shows_the_change_and_makes_none(host):
    look = host.play("software.yaml", "--check", "--diff")

    assert look.changed == 2
    assert '+  "version": "1.0.0"' in look.output
    assert not host.base.exists()


def test_hosts_of_one_machine_leave_each_other_alone(host, new_host):
    other = new_host()
    assert host.play("software.yaml", beside=other).changed == 4

    assert host.play("rollback/software.yaml").changed == 2

    assert not host.processes()
    assert other.health()["status"] == "waiting"


def test_rollback_removes_the_application_but_no_data_and_twice_is_harmless(host):
    host.play("software.yaml")
    (host.base / "db").mkdir()
    (host.base / "db" / "precious").touch()

    assert host.play("rollback/software.yaml").changed == 2
    assert host.play("rollback/software.yaml").changed == 0

    assert not host.processes()
    assert [path.name for path in host.base.rglob("*")] == ["db", "precious"]


def test_rollback_of_half_a_deployment_removes_it(host):
    host.write(host.base / "app" / ".notes.py.new", "half a progr")

    assert host.play("rollback/software.yaml").changed == 1

    assert not host.base.exists()


def test_published_url_can_be_asked_though_the_application_listens_everywhere(host):
    played = host.play("software.yaml", "--check", app_address="0.0.0.0")

    assert played.published["url"] == f"http://{host.address}:8080"
