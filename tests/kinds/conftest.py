"""A real attempt for the kinds' tests: the engine's own context, supervised child processes, folders of the test."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import string
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drystone.adapters.process import SupervisedProcess
from drystone.adapters.secrets import ProjectSecrets
from drystone.engines.breaker import Breakers
from drystone.engines.context import AttemptContext, Control
from drystone.engines.vault import Vault
from drystone.ports import Forks
from drystone.settings import SecretSettings

ADDRESS = f"127.77.201.{1 + os.getpid() % 250}"
"""Of this process alone: other parts of the suite have SSH servers too, and may run at the same time."""


class RealClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class PlainRedactor:
    """Replaces what it was told, and nothing else."""

    def __init__(self) -> None:
        self.values: set[str] = set()

    def add(self, value: Any) -> None:
        self.values.add(str(value))

    def known_in(self, data: Any) -> list[str]:
        shown = str(data)
        return sorted(value for value in self.values if value in shown)

    def text(self, text: str) -> str:
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def data(self, data: Any) -> Any:
        match data:
            case str():
                return self.text(data)
            case dict():
                return {key: self.data(value) for key, value in data.items()}
            case list() | tuple():
                return [self.data(value) for value in data]
            case _:
                return data


@dataclass(kw_only=True)
class Attempt:
    """A context and what was seen of it. `stop` cancels as the engine does."""

    ctx: AttemptContext
    folder: Path
    control: Control
    progress: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def stop(self) -> None:
        self.control.cancel("cancelled by the test")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The root of the plan's paths."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def real_clock() -> RealClock:
    """The machine's time."""
    return RealClock()


@pytest.fixture
def breakers(real_clock: RealClock) -> Breakers:
    """Of all attempts of a test. They open late, so that only tests about them meet them."""
    return Breakers(clock=real_clock, jitter=lambda: 0.0, failures=100, cooldown=timedelta(seconds=30))


@pytest.fixture
def forks() -> Forks | None:
    """Where warm starts come from: there are none."""
    return None


@pytest.fixture
def new_attempt(tmp_path: Path, project: Path, breakers: Breakers, forks: Forks | None) -> Iterator[Callable[..., Attempt]]:
    """Makes attempts of one instance: they share its state folder, as attempts of a run do."""
    made: list[Attempt] = []

    def make(
        *, run: str = "01JRUN", timeout: timedelta | None = None, env: Mapping[str, str] | None = None, state: str = "state",
        previous: Mapping[str, Any] | None = None,
    ) -> Attempt:
        folder = tmp_path / "runs" / run / f"task-{len(made) + 1}"
        control = Control(RealClock(), timeout)
        progress: list[tuple[str, Mapping[str, Any]]] = []
        ctx = AttemptContext(
            run_id=run, plan="trial", task="task", attempt=1, token=f"{run}.task", environment="staging",
            project=project, folder=lambda: folder, state_folder=lambda: tmp_path / state,
            artifacts_folder=lambda: tmp_path / "runs" / run / "artifacts", environ={**os.environ, **(env or {})},
            control=control,
            vault=Vault(ProjectSecrets(SecretSettings(), home=tmp_path, root=tmp_path, environ={}), PlainRedactor()),
            runner=SupervisedProcess(),
            forks=forks, previous=previous or {},
            on_progress=lambda message, data: progress.append((message, data)), breakers=breakers,
        )  # fmt: skip
        made.append(Attempt(ctx=ctx, folder=folder, control=control, progress=progress))
        return made[-1]

    yield make
    for attempt in made:
        attempt.ctx.close()


@pytest.fixture
def attempt(new_attempt: Callable[..., Attempt]) -> Attempt:
    """One attempt."""
    return new_attempt()


@pytest.fixture
def canary() -> str:
    """A secret that stands nowhere else."""
    return "canary-" + "".join(random.choices(string.ascii_lowercase, k=16))


@pytest.fixture
def in_background() -> Iterator[Callable[[Callable[[], Any]], Background]]:
    """Runs a function in a thread, which is joined after the test."""
    started: list[Background] = []

    def start(work: Callable[[], Any]) -> Background:
        started.append(Background(work))
        return started[-1]

    yield start
    for each in started:
        each.thread.join(60)


class Background:
    """A function at work in a thread. `error` is what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._work = work
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error

    def join(self, seconds: float = 60) -> None:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "still at work"


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until a condition holds."""

    def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
        pause = threading.Event()
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "the condition never came true"
            pause.wait(0.02)

    return wait


class Sshd:
    """A real SSH server on loopback with keys of its own. `user` logs in with `key_file`; nothing else opens it."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = address
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.key_file = folder / "client"
        self.folder = folder
        for name in ("client", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        self.host_key = (folder / "host.pub").read_text().strip()
        (folder / "authorized").write_text((folder / "client.pub").read_text())
        with socket.socket() as probe:
            probe.bind((address, 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress {self.address}\nPort {self.port}\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\nMaxSessions 100\n"
            "Subsystem sftp internal-sftp\nUseDNS no\nPrintMotd no\n"
        )
        if os.getuid() == 0:
            # sshd gives up its rights in this folder; Debian's service makes it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = (self.folder / "sshd.log").open("ab")
        self._process = subprocess.Popen([find_sshd(), "-D", "-e", "-f", config], stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        self._wait_until(self._answers)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until, (self.folder / "sshd.log").read_text()
            threading.Event().wait(0.01)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
            # A child that serves the last connection may have the port for a moment longer.
            self._wait_until(lambda: not self._answers())

    def host(self, name: str = "web1", **fields: Any) -> dict[str, Any]:
        """The host as a plan would have it."""
        known = {"name": name, "address": self.address, "port": self.port, "user": self.user}
        return {**known, "key_file": str(self.key_file), "host_key": self.host_key, **fields}


def find_sshd() -> str:
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("NO SSH SERVER: install openssh-server; nothing of ssh or ansible over ssh is tested without it")
    return found


@pytest.fixture
def new_sshd(tmp_path: Path) -> Iterator[Callable[[], Sshd]]:
    """Starts SSH servers, each with keys of its own."""
    started: list[Sshd] = []

    def start() -> Sshd:
        folder = tmp_path / f"sshd-{len(started)}"
        folder.mkdir()
        started.append(Sshd(folder, ADDRESS))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def sshd(new_sshd: Callable[[], Sshd]) -> Sshd:
    """One SSH server."""
    return new_sshd()
