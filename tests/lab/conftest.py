"""A lab of its own for each test, in both modes, and the real terraform to drive it."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drystone.lab import manage
from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import Lab, open_lab
from drystone.lab.namespaces import probe
from drystone.lab.terraform import LabProvider

# pytest imports test files without putting their folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from lab_support import Terraform, terraform_command


@pytest.fixture(scope="session")
def terraform_binary() -> list[str]:
    return terraform_command()


@pytest.fixture(scope="session")
def namespaces_refused(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    return probe(tmp_path_factory.getbasetemp())


def need_mode(mode: Mode, refused: str | None) -> Mode:
    if mode is Mode.NAMESPACES and refused is not None:
        pytest.skip(f"NAMESPACES NOT TESTED: {refused}")
    return mode


@pytest.fixture(params=list(Mode))
def mode(request: pytest.FixtureRequest, namespaces_refused: str | None) -> Mode:
    return need_mode(request.param, namespaces_refused)


@pytest.fixture
def namespaces(namespaces_refused: str | None) -> Mode:
    return need_mode(Mode.NAMESPACES, namespaces_refused)


@pytest.fixture
def block() -> Iterator[str]:
    """The first three parts of a /24 that no other test of this machine uses at the same time, such as "10.78.7"."""
    for number in range(256):
        # A name in the abstract namespace is a lock without a file, and goes with its process.
        guard = socket.socket(socket.AF_UNIX)
        try:
            guard.bind(f"\0drystone-lab-test-10.78.{number}")
        except OSError:
            guard.close()
            continue
        yield f"10.78.{number}"
        guard.close()
        return
    pytest.fail("all test ranges are in use")


@pytest.fixture
def lab_root(tmp_path: Path, block: str) -> Iterator[Path]:
    """After `block`, so that the lab is gone before its range is free again."""
    root = tmp_path / "lab"
    yield root
    manage.reap(root, force=True)


@pytest.fixture
def lab(lab_root: Path, mode: Mode) -> Lab:
    return open_lab(LabConfig(root=lab_root, mode=mode))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For sockets, whose paths must be short, and which a killed provider leaves."""
    with tempfile.TemporaryDirectory(prefix="lab-test-") as folder:
        yield Path(folder)


@pytest.fixture
def environ(tmp_path: Path, lab_root: Path, short_folder: Path) -> dict[str, str]:
    """What a terraform needs to find the provider in a mirror, and nothing on the network."""
    mirror = tmp_path / "mirror"
    LabProvider().install(mirror)
    rc = tmp_path / "terraform.rc"
    rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "DRYSTONE_"))}
    return {
        **kept,
        "TF_CLI_CONFIG_FILE": str(rc),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "DRYSTONE_LAB_ROOT": str(lab_root),
        "TMPDIR": str(short_folder),
    }


@pytest.fixture
def mirrored(terraform_binary: list[str], tmp_path: Path, environ: dict[str, str]) -> Callable[[str], Terraform]:
    """Makes a module whose terraform starts the provider itself, from the mirror. Mode as `auto` finds it."""
    return lambda name: Terraform(terraform_binary, tmp_path / name, environ)


@pytest.fixture
def reattached(terraform_binary: list[str], tmp_path: Path, environ: dict[str, str], mode: Mode) -> Iterator[Callable[[str], Terraform]]:
    """Makes a module whose terraform uses one provider daemon, shared by all modules of the test."""
    daemon = LabProvider().reattach(tmp_path, {**environ, "DRYSTONE_LAB_MODE": mode.value})
    yield lambda name: Terraform(terraform_binary, tmp_path / name, {**environ, **daemon.environ})
    daemon.close()
