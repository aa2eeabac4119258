"""Playbooks written by the test, run by the real Ansible."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from drystone.adapters.forks import ForkServers
from drystone.errors import PermanentError, TemporaryError
from drystone.kinds.ansible.task import Ansible


@pytest.fixture(params=["cold", "warm"])
def forks(request: pytest.FixtureRequest) -> Iterator[ForkServers | None]:
    """Every playbook is started in both ways: nothing that a test sees may tell them apart."""
    if request.param == "cold":
        yield None
        return
    servers = ForkServers()
    yield servers
    servers.close()


@pytest.fixture
def memory() -> Iterator[Path]:
    """The folder in memory in which the attempts of this test, and of no other, put their scratch."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new_attempt(new_attempt: Callable[..., Any], memory: Path) -> Callable[..., Any]:
    """Attempts whose scratch is in `memory`."""

    def make(*, env: Mapping[str, str] | None = None, **values: Any) -> Any:
        return new_attempt(env={"XDG_RUNTIME_DIR": str(memory), **(env or {})}, **values)

    return make


LOCAL = {"name": "here", "address": "127.0.0.1", "vars": {"ansible_connection": "local"}}


@pytest.fixture
def local() -> dict[str, Any]:
    """A host that needs no connection."""
    return LOCAL


@pytest.fixture
def playbook(project: Path) -> Callable[..., str]:
    """Writes a playbook of one play on all hosts with these tasks (YAML); gives its path."""

    def write(tasks: str, *, name: str = "site.yaml", play: str = "hosts: all") -> str:
        indented = "\n".join(f"    {line}" for line in tasks.strip("\n").splitlines())
        text = f"- {play}\n  gather_facts: false\n  tasks:\n{indented}\n"
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
        return name

    return write


@pytest.fixture
def run() -> Callable[..., Any]:
    """One attempt with a config as a plan has it."""
    ansible = Ansible()

    def call(attempt: Any, **config: Any) -> Any:
        return ansible.run(attempt.ctx, Ansible.Config.model_validate(config))

    return call


@pytest.fixture
def failure(run: Callable[..., Any]) -> Callable[..., Any]:
    """The error of an attempt that does not succeed."""

    def call(attempt: Any, **config: Any) -> Any:
        with pytest.raises((TemporaryError, PermanentError)) as caught:
            run(attempt, **config)
        return caught.value

    return call
