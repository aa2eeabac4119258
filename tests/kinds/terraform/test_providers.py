"""Providers that come as Python packages: found without touching the user's configuration, and served by a daemon each."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drystone.errors import DrystoneError, PermanentError
from drystone.kinds.terraform import hcl
from drystone.kinds.terraform.providers import Providers

SOURCE = "things.drystone.invalid/drystone/things"
TEXT = f'terraform {{\n  required_providers {{\n    things = {{ source = "{SOURCE}" }}\n  }}\n}}\n'


@dataclass
class Handle:
    environ: Mapping[str, str]
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class Things:
    """A provider that notes what is asked of it."""

    source: str = SOURCE
    version: str = "1.0.0"
    fails: bool = False
    handles: list[Handle] = field(default_factory=list)
    environs: list[Mapping[str, str]] = field(default_factory=list)

    def install(self, mirror: Path) -> None:
        (mirror / "installed").touch()

    def reattach(self, workdir: Path, environ: Mapping[str, str]) -> Handle:
        if self.fails:
            raise DrystoneError("no socket")
        self.environs.append(environ)
        self.handles.append(Handle({"TF_REATTACH_PROVIDERS": json.dumps({self.source: {"Pid": len(self.handles)}})}))
        return self.handles[-1]


@dataclass
class Entry:
    """An entry point for an object."""

    made: object
    name: str = "things"
    value: str = "things:Things"

    def load(self):
        if isinstance(self.made, Exception):
            raise self.made
        return lambda: self.made


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def providers(things):
    made = Providers(lambda: [Entry(things)])
    yield made
    made.close()


@pytest.fixture
def around(tmp_path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def environ(providers, around, own=None, log=None) -> dict[str, str]:
    return providers.environ(providers.required(TEXT), around, own or {}, log or (lambda line: None))


def test_a_module_that_needs_none_gets_nothing(providers, around, tmp_path):
    assert providers.required('source = "hashicorp/aws"') == []
    assert providers.environ([], around, {}, print) == {}
    assert list(tmp_path.iterdir()) == []


def test_terraform_is_led_to_the_mirror_and_to_the_daemon(providers, around, tmp_path):
    given = environ(providers, around)
    data = tmp_path / ".cache/drystone/terraform-data"
    assert given["XDG_DATA_DIRS"] == f"{data}:/usr/local/share:/usr/share"
    assert (data / "terraform/plugins/installed").exists()
    assert json.loads(given["TF_REATTACH_PROVIDERS"]) == {SOURCE: {"Pid": 0}}
    assert "TF_CLI_CONFIG_FILE" not in given


def test_one_daemon_serves_all_tasks(providers, things, around):
    assert environ(providers, around) == environ(providers, around)
    assert len(things.handles) == 1


def test_tasks_with_other_variables_have_another_daemon(providers, things, around):
    environ(providers, around | {"ZONE": "a"}, {"ZONE": "a"})
    environ(providers, around | {"ZONE": "b"}, {"ZONE": "b"})
    assert [given["ZONE"] for given in things.environs] == ["a", "b"]


def test_a_daemon_does_not_take_over_the_task_that_started_it(providers, things, around):
    environ(providers, around | {"DRYSTONE_TASK": "vm[0]", "PATH": "/bin"})
    assert things.environs == [around | {"PATH": "/bin"}]


def test_daemons_can_be_switched_off(providers, things, around):
    assert "TF_REATTACH_PROVIDERS" not in environ(providers, around | {"DRYSTONE_TERRAFORM_REATTACH": "0"})
    assert things.handles == []


def test_a_daemon_that_does_not_start_is_done_without(providers, things, around):
    things.fails = True
    log: list[str] = []
    given = environ(providers, around, log=log.append)
    assert "TF_REATTACH_PROVIDERS" not in given and "XDG_DATA_DIRS" in given
    assert "no socket" in log[0]


def test_other_reattached_providers_stay(providers, around):
    given = environ(providers, around | {"TF_REATTACH_PROVIDERS": '{"mine": {}}'})
    assert set(json.loads(given["TF_REATTACH_PROVIDERS"])) == {"mine", SOURCE}


def test_restart_and_close_end_the_daemons(providers, things, around):
    environ(providers, around)
    providers.restart(providers.required(TEXT), {})
    environ(providers, around)
    assert [handle.closed for handle in things.handles] == [True, False]
    providers.close()
    assert all(handle.closed for handle in things.handles)


USER = """
credentials "app.example" { token = "t" }
provider_installation {
  dev_overrides { "a/b" = "/dev/b" }
  network_mirror {
    url     = "https://mirror.example/"
    exclude = ["x/*/*"]
  }
  direct {}
}
"""


def test_a_users_own_installation_methods_are_kept(providers, around, tmp_path):
    (tmp_path / ".terraformrc").write_text(USER)
    file = Path(environ(providers, around)["TF_CLI_CONFIG_FILE"])
    merged = hcl.parse(file.read_text())
    assert next(merged.find("credentials")).labels == ("app.example",)
    (installation,) = merged.find("provider_installation")
    methods = {block.type: block for block in installation.blocks}
    assert list(methods) == ["filesystem_mirror", "dev_overrides", "network_mirror", "direct"]
    assert methods["filesystem_mirror"].attributes["include"] == f'["{SOURCE}"]'
    assert methods["network_mirror"].attributes["exclude"] == f'["x/*/*", "{SOURCE}"]'
    assert methods["direct"].attributes["exclude"] == f'["{SOURCE}"]'


def test_a_broken_package_is_named(around):
    broken = Providers(lambda: [Entry(ImportError("no module named x"))])
    with pytest.raises(PermanentError, match='terraform provider "things" cannot be loaded: no module named x'):
        broken.required(TEXT)


MODULES = Path(__file__).parents[3] / "modules"


@pytest.fixture
def lab(tmp_path) -> dict[str, str]:
    """An environment with a lab and a cache of its own."""
    return {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DRYSTONE_LAB_ROOT": str(tmp_path / "lab"),
        "DRYSTONE_LAB_MODE": "loopback",
    }


@pytest.fixture
def network(configure):
    return configure(str(MODULES / "network"), vars={"name": "trial", "cidr": "10.78.240.0/24"})


@pytest.mark.parametrize("reattach", ["1", "0"], ids=["daemon", "mirror"])
def test_the_lab_is_found_and_used(kind, new_attempt, network, lab, reattach):
    env = lab | {"DRYSTONE_TERRAFORM_REATTACH": reattach}
    outcome = kind.run(new_attempt(run="one", env=env).ctx, network)
    assert outcome.outputs["name"] == "trial"
    assert not kind.run(new_attempt(run="two", env=env).ctx, network).changed
    undo = new_attempt(run="one", env=env)
    assert kind.undo(undo.ctx, network).result["remove"] == 1
    assert list(undo.ctx.state.iterdir()) == []


def test_a_daemon_that_died_is_started_anew(kind, new_attempt, network, lab, eventually):
    kind.run(new_attempt(run="one", env=lab).ctx, network)
    (handle,) = kind.providers._daemons.values()
    (about,) = json.loads(handle.environ["TF_REATTACH_PROVIDERS"]).values()
    os.kill(about["Pid"], signal.SIGKILL)
    again = new_attempt(run="one", env=lab)
    assert kind.undo(again.ctx, network).result["remove"] == 1
    assert "starting it anew" in again.log


def test_a_launcher_that_was_built_anew_is_locked_anew(kind, new_attempt, network, lab):
    env = lab | {"DRYSTONE_TERRAFORM_REATTACH": "0"}
    first = new_attempt(run="one", env=env)
    kind.run(first.ctx, network)
    lock = next(first.ctx.state.rglob("work/**/.terraform.lock.hcl"))
    lock.write_text(lock.read_text().replace("h1:", "h1:A"))
    shutil.rmtree(first.ctx.state / "data")
    again = new_attempt(run="one", env=env)
    assert kind.undo(again.ctx, network).result["remove"] == 1
    assert "locking the present ones" in again.log
