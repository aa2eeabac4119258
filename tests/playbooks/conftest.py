"""Hosts to play against: a real sshd on loopback, with LAB_ROOT in its sessions, as the lab's loopback mode has it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest

PROJECT = Path(__file__).parents[2]
PLAYBOOKS = PROJECT / "playbooks"
ROLE = PLAYBOOKS / "roles" / "notes"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
PYTHON = shutil.which("python3", path="/usr/bin") or sys.executable

# What the modules of the role find on a host, the tests find here.
ansible.module_utils.__path__.append(str(ROLE / "module_utils"))

from ansible.module_utils import notes_database, notes_postgres  # noqa: E402

SSHD_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
SetEnv LAB_ROOT={root}
"""


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a play came to: its exit code, its words, the data it published, and per host the counts and the failure."""

    exit: int
    output: str
    hosts: dict[str, dict[str, int]]
    published: dict[str, Any]
    messages: dict[str, str]

    @property
    def changed(self) -> int:
        assert self.exit == 0, self.output
        return sum(host["changed"] for host in self.hosts.values())


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host which keeps to the folder `root`, reached by ssh as `account`; without ssh if that is root."""

    name: str
    address: str
    port: int
    account: str
    folder: Path
    root: Path

    @property
    def base(self) -> Path:
        return self.root / "opt" / "drystone-app"

    def inventory(self) -> dict[str, Any]:
        if self.account == "root":
            return {"ansible_connection": "local", "ansible_host": self.address, "ansible_python_interpreter": PYTHON}
        return {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": self.account,
            "ansible_ssh_private_key_file": str(self.folder / "client_key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.folder}/known_hosts",
            "ansible_python_interpreter": PYTHON,
        }

    def play(self, playbook: str, *arguments: str, beside: Host | None = None, **variables: Any) -> Played:
        """Run a playbook against this host, and another one `beside` it."""
        return play([self, beside] if beside else [self], playbook, *arguments, **variables)

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer of the application."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://{self.address}:8080{path}", data, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def health(self) -> dict[str, Any]:
        status, health = self.ask("/health")
        assert status == 200, health
        return health

    def write(self, path: Path, text: str) -> None:
        """Write a file of the host's account, with its folders."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{self.account}:", str(self.root)], check=True)

    def stop_database(self) -> None:
        """Stop the PostgreSQL server as a restart of the host would: without any word to the playbooks."""
        pid = int((self.base / "db" / "postgresql" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGINT)
        wait_for(lambda: pid not in self.processes(), "the end of the database")

    def processes(self, word: str = "") -> list[int]:
        """Pids of what runs for this host, other than its sshd, and has `word` in its command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (folder / "cmdline").read_bytes()
                if f"LAB_ROOT={self.root}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found += [int(folder.name)] if word.encode() in line and b"sshd" not in line else []
        return found


def play(hosts: list[Host], playbook: str, *arguments: str, **variables: Any) -> Played:
    """Play a playbook against hosts, with the arguments that ansible-playbook takes."""
    folder = hosts[0].folder
    inventory, record, output = folder / "inventory.json", folder / "record.json", folder / "output"
    record.unlink(missing_ok=True)
    inventory.write_text(json.dumps({"all": {"hosts": {host.name: host.inventory() for host in hosts}}}))
    code = warm_ansible().play(
        arguments=["-i", str(inventory), str(PLAYBOOKS / playbook), "-e", json.dumps(variables), *arguments],
        environment={"HOME": str(folder), "LAB_ROOT": str(hosts[0].root), "RECORD_FILE": str(record)},
        folder=str(folder),
        output=str(output),
    )
    assert record.exists(), output.read_text()
    return Played(exit=code, output=output.read_text(), **json.loads(record.read_text()))


class WarmAnsible:
    """The process of warm.py."""

    def __init__(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
        }
        self._home = Path(tempfile.mkdtemp(prefix="drystone-ansible-"))
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "warm.py")],
            env=environment | {"HOME": str(self._home), "ANSIBLE_LOCAL_TEMP": str(self._home)},
            cwd=self._home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, **request: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=10)
        shutil.rmtree(self._home)


@cache
def warm_ansible() -> WarmAnsible:
    """Started by the first play of the session, ended by `_end_warm_ansible`."""
    return WarmAnsible()


@pytest.fixture(scope="session", autouse=True)
def _end_warm_ansible() -> Iterator[None]:
    yield
    if warm_ansible.cache_info().currsize:
        warm_ansible().close()


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    return wait_for


def wait_for(look: Callable[[], Any], what: str, seconds: float = 15) -> Any:
    """The first true answer of `look`; fails when none comes in time."""
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        with suppress(OSError):
            if answer := look():
                return answer
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def ordinary_account() -> str:
    """An account that is not root and may log in: ourselves, or PostgreSQL's when the tests run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    with suppress(KeyError):
        if pwd.getpwnam("postgres").pw_shell not in ("/usr/sbin/nologin", "/bin/false"):
            return "postgres"
    pytest.skip("AN ORDINARY HOST IS NOT TESTED: no account to log in as; install postgresql, or do not run as root")


def free_address() -> str:
    """An address of this machine on which nothing listens at the application's port."""
    while True:
        first, second = os.urandom(2)
        address = f"127.77.{200 + first % 20}.{1 + second % 254}"
        with socket.socket() as probe, suppress(OSError):
            probe.bind((address, 8080))
            return address


def start_sshd(host: Host) -> subprocess.Popen[bytes]:
    """Start the host's sshd as the host's account, and wait until it answers."""
    if SSHD is None:
        pytest.skip("PLAYBOOKS ARE NOT TESTED: there is no sshd; install openssh-server")
    account = pwd.getpwnam(host.account)
    for key in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host.folder / key], check=True)
    shutil.copy(host.folder / "client_key.pub", host.folder / "authorized_keys")
    public = " ".join((host.folder / "host_key.pub").read_text().split()[:2])
    (host.folder / "known_hosts").write_text(f"[{host.address}]:{host.port} {public}\n")
    config = SSHD_CONFIG.format(port=host.port, address=host.address, folder=host.folder, root=host.root)
    (host.folder / "sshd_config").write_text(config)
    as_account: dict[str, Any] = {}
    if os.geteuid() == 0:
        for name in ("host_key", "authorized_keys"):
            os.chown(host.folder / name, account.pw_uid, account.pw_gid)
        os.chown(host.root, account.pw_uid, account.pw_gid)
        as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with (host.folder / "sshd.log").open("w") as log:
        command = [SSHD, "-D", "-e", "-f", str(host.folder / "sshd_config")]
        sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_account)
    wait_for(lambda: socket.create_connection((host.address, host.port), 1).close() is None, "sshd")
    return sshd


def end_processes(host: Host) -> None:
    """End what the plays left running: asked first, and then made to."""
    for pid in host.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        wait_for(lambda: not host.processes(), "the end of the host's processes")
    finally:
        for pid in host.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def hosts() -> Iterator[Callable[..., Host]]:
    """Makes hosts, each with an sshd of an ordinary account; ends them, and all that runs for them."""
    running: list[tuple[Host, subprocess.Popen[bytes] | None]] = []

    def make(account: str | None = None) -> Host:
        account = account or ordinary_account()
        folder = public_folder("host")
        (folder / "root").mkdir(mode=0o755)
        name, address = f"host-{len(running)}", free_address()
        host = Host(name=name, address=address, port=2222, account=account, folder=folder, root=folder / "root")
        running.append((host, None if account == "root" else start_sshd(host)))
        return host

    try:
        yield make
    finally:
        for host, sshd in running:
            end_processes(host)
            if sshd is not None:
                sshd.terminate()
                sshd.wait(10)
            shutil.rmtree(host.folder)


def public_folder(name: str) -> Path:
    """A folder that every account may enter; below pytest's own, only its owner may walk."""
    folder = Path(tempfile.mkdtemp(prefix=f"drystone-{name}-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def new_host() -> Iterator[Callable[..., Host]]:
    with hosts() as make:
        yield make


@pytest.fixture
def host(new_host: Callable[..., Host]) -> Host:
    return new_host()


@pytest.fixture
def root_host(new_host: Callable[..., Host]) -> Host:
    """A host whose playbooks run as root, as they do in a machine of one's own."""
    if os.geteuid() != 0:
        pytest.skip("HOSTS OF ROOT ARE NOT TESTED: the tests do not run as root")
    return new_host("root")


@pytest.fixture(scope="module")
def deployed() -> Iterator[Host]:
    """A host on which the application runs. A test may do to it what it can mend."""
    with hosts() as make:
        host = make()
        assert host.play("software.yaml").changed == 2
        yield host


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each kind of database which this machine can run."""
    if request.param == "postgresql":
        need_postgresql()
    return str(request.param)


def need_postgresql() -> None:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("POSTGRESQL IS NOT TESTED: its server is not installed (Debian: postgresql)")


@pytest.fixture(scope="session")
def server() -> Iterator[notes_postgres.Server]:
    """A PostgreSQL server; its socket's path is longer than an address may be."""
    need_postgresql()
    folder = public_folder("server")
    server = notes_postgres.Server(folder / ("long" * 30))
    server.create(pwd.getpwuid(os.geteuid()).pw_name)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def settings(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Where a database of each kind is, as `database.json` has it."""
    if engine == "sqlite":
        location = tmp_path / "notes.sqlite3"
        location.touch()
    else:
        location = request.getfixturevalue("server").socket_folder
    return {"engine": engine, "location": str(location), "user": "notes", "name": "notes"}


@pytest.fixture
def connection(settings: dict[str, str]) -> Iterator[notes_database.Connection]:
    """An empty database of each kind, opened as the application opens it."""
    with closing(notes_database.connect(settings)) as connection:
        yield connection
        if settings["engine"] == "postgresql":
            connection.script("DROP OWNED BY notes")


@pytest.fixture(scope="session")
def role() -> Path:
    """The folder of the role."""
    return ROLE


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every account may enter."""
    folder = public_folder("public")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A copy of the application's migrations, to be changed."""
    return Path(shutil.copytree(ROLE / "files" / "migrations", tmp_path / "migrations"))
