"""The command line by data cases (tests/cases/ansible), and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from drystone.kinds.ansible.argv import CALLBACKS, Files, playbook_argv, playbook_env
from drystone.kinds.ansible.config import AnsibleConfig

CASES = sorted((Path(__file__).parents[2] / "cases" / "ansible").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_command_line_of(path):
    case = yaml.safe_load(path.read_text())
    vaults = tuple((name, file) for name, file in case["files"].pop("vaults", []))
    argv = playbook_argv("ansible-playbook", AnsibleConfig.model_validate(case["given"]), Files(**case["files"], vaults=vaults))
    assert argv == case["argv"]
    assert "hidden" not in " ".join(argv)


def env(environ=(), settings="", **config):
    made = AnsibleConfig.model_validate({"playbook": "site.yaml", **config})
    return playbook_env(made, dict(environ), settings=settings, settings_path="/p/ansible.cfg", scratch="/s")


def test_defaults_are_fast_and_private():
    assert env() == {
        "ANSIBLE_CALLBACK_PLUGINS": CALLBACKS,
        "DRYSTONE_STOPPED_EARLY": "/s/stopped-early",
        "ANSIBLE_CONFIG": "/p/ansible.cfg",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_LOCAL_TEMP": "/s/tmp",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": "/s/c",
        "LC_ALL": "C.UTF-8",
    }


def test_the_projects_settings_win_over_defaults():
    made = env(settings="[defaults]\ninterpreter_python = /opt/python\n[ssh_connection]\npipelining = False\n")
    assert not {"ANSIBLE_PIPELINING", "ANSIBLE_PYTHON_INTERPRETER"} & made.keys()


def test_settings_that_cannot_be_read_are_left_to_ansible():
    assert env(settings="no section")["ANSIBLE_PIPELINING"] == "True"


def test_the_users_environment_wins_over_defaults_and_the_plan_over_both():
    made = env({"ANSIBLE_PIPELINING": "0", "ANSIBLE_CONFIG": "/mine", "LANG": "de_DE.UTF-8"}, env={"ANSIBLE_NOCOLOR": "0"})
    assert not {"ANSIBLE_PIPELINING", "ANSIBLE_CONFIG", "LC_ALL"} & made.keys()
    assert made["ANSIBLE_NOCOLOR"] == "0"


def test_the_users_callbacks_are_kept():
    assert env({"ANSIBLE_CALLBACK_PLUGINS": "/mine"})["ANSIBLE_CALLBACK_PLUGINS"] == f"/mine:{CALLBACKS}"


def test_collections_are_searched_before_the_usual_places():
    made = playbook_env(AnsibleConfig(playbook="x"), {}, settings="", settings_path=None, scratch="/s", collections=("/p/collections",))
    assert made["ANSIBLE_COLLECTIONS_PATH"] == "/p/collections:~/.ansible/collections:/usr/share/ansible/collections"


@pytest.mark.parametrize(
    "config",
    [
        {"hosts": ["a"], "inventory": "b"},
        {"vault": {}},
        {"vault": {"password": "a", "password_file": "b"}},
        {"vault": {"id": "a b", "password": "a"}},
        {"forks": 0},
        {"unknown": 1},
    ],
)
def test_a_config_that_cannot_work_is_refused(config):
    with pytest.raises(ValidationError):
        AnsibleConfig.model_validate({"playbook": "x", **config})


def test_the_schema_tells_every_key():
    properties = AnsibleConfig.model_json_schema()["properties"]
    assert {"playbook", "hosts", "inventory", "vars", "limit", "tags", "check", "diff", "vault", "env"} <= properties.keys()
