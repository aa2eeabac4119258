"""A project, a lab and an address range of its own for each end-to-end test."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.mail_sink import MailSink
from tests.postgres import postgres

from drystone.lab import manage
from drystone.lab.namespaces import probe

# pytest imports test files without putting their folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from e2e_support import COMMAND, Project

__all__ = ["postgres"]


@pytest.fixture(scope="session")
def namespaces_refused(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    return probe(tmp_path_factory.getbasetemp())


@pytest.fixture
def block() -> Iterator[str]:
    """The first three parts of a /24 that no other test of this machine uses at the same time, such as "10.90.7"."""
    for number in range(5 * 256):
        found = f"10.{90 + number // 256}.{number % 256}"
        # A name in the abstract namespace is a lock without a file, and goes with its process.
        guard = socket.socket(socket.AF_UNIX)
        try:
            guard.bind(f"\0drystone-lab-test-{found}")
        except OSError:
            guard.close()
            continue
        yield found
        guard.close()
        return
    pytest.fail("all test ranges are in use")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="e2e-") as folder:
        yield Path(folder)


@pytest.fixture
def environ(tmp_path: Path, short_folder: Path) -> dict[str, str]:
    """A person's environment: home, temporary files and lab are the test's; no setting of the one who runs the tests shows."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "DRYSTONE_", "ANSIBLE_"))}
    home, temporary = tmp_path / "home", short_folder / "tmp"
    home.mkdir()
    temporary.mkdir()
    return {**kept, "HOME": str(home), "TMPDIR": str(temporary), "DRYSTONE_LAB_ROOT": str(short_folder / "lab")}


@pytest.fixture
def new_project(tmp_path: Path, environ: dict[str, str], block: str) -> Iterator[Callable[..., Project]]:
    """Makes projects in folders of those names; what they left running, and the lab, is gone after the test.

    After `block`, so that the lab is gone before its range is free again.
    """
    made: list[Project] = []

    def make(name: str = "project") -> Project:
        made.append(Project(tmp_path / name, environ))
        return made[-1]

    yield make
    for project in made:
        project.end()
    manage.reap(Path(environ["DRYSTONE_LAB_ROOT"]), force=True)


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    """One project with settings and nothing else."""
    project = new_project()
    project.write("drystone.toml", "")
    return project


@pytest.fixture
def shop(project: Project, namespaces_refused: str | None) -> Project:
    """A new project as `drystone init` makes it, with a lab in namespaces mode."""
    if namespaces_refused is not None:
        pytest.skip(f"NAMESPACES NOT TESTED: {namespaces_refused}")
    (project.folder / "drystone.toml").unlink()
    project.environ["DRYSTONE_LAB_MODE"] = "namespaces"
    project.run("init")
    return project


@pytest.fixture
def provision(block: str) -> Callable[..., list[str]]:
    """The words of `drystone run environment` in the test's own range, with these inputs."""

    def words(**inputs: str) -> list[str]:
        ranges = {"network_cidr": f"{block}.0/24", "subnet_cidr": f"{block}.0/25"}
        return ["run", "environment", *(f"-i{name}={value}" for name, value in ({"name": "shop"} | ranges | inputs).items())]

    return words


@pytest.fixture
def mail_sink() -> Iterator[MailSink]:
    """A mail server on loopback."""
    sink = MailSink()
    yield sink
    sink.close()


@pytest.fixture
def as_person(person: pwd.struct_passwd) -> list[str]:
    """What to put before a command to run it as that user."""
    if os.geteuid() != 0:
        return []
    # The interpreter may lie in root's home, so the right to read everything is kept, which alone is left of root. What
    # it would show and no ordinary user sees is hidden: sshd would find in /etc/shadow that system users are locked.
    hide = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /etc/shadow && exec "$@"', "sh"]
    drop = ["setpriv", f"--reuid={person.pw_uid}", f"--regid={person.pw_gid}", "--clear-groups"]
    keep = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    before = [*hide, *drop, *keep]
    if subprocess.run([*before, *COMMAND, "--version"], capture_output=True).returncode != 0:
        pytest.skip(f"ORDINARY USER NOT TESTED: root cannot become {person.pw_name} here")
    return before


@pytest.fixture
def within(tmp_path: Path, namespaces_refused: str | None) -> Callable[[Project, str], None]:
    """Makes a project's commands run with mounts that only they see, and that go with them."""
    if namespaces_refused is not None:
        pytest.skip(f"FULL AND READ-ONLY DISKS NOT TESTED: {namespaces_refused}")

    def mount(project: Project, command: str) -> None:
        project.before = ["unshare", "--mount", "sh", "-c", f'{command} && cd "$PWD" && exec "$@"', "sh"]

    return mount
