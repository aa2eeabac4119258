"""What a person gets who installs the wheel instead of working in a checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from drystone.adapters.library import FOLDERS, library_root

ROOT = Path(__file__).parents[1]
LEFTOVERS = ("__pycache__", ".terraform/", ".tfstate")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Not through pip: the build must not depend on which tools pip would fetch.
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    result = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, check=True)
    return folder / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; the dependencies are those of the running one."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    pip = [sys.executable, "-m", "pip", "--python", home / "bin/python", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    site = next(home.glob("lib/python*/site-packages"))
    # A .pth file found this way is not read, so the checkout that is installed in place there stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_the_whole_library(wheel: Path):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("drystone/library/")}
    files = {path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}
    shipped = {path for path in files if not any(mark in str(path) for mark in LEFTOVERS)}
    assert packed == {f"drystone/library/{path}" for path in shipped}


def test_the_wheel_holds_no_leftovers(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if any(mark in name for mark in LEFTOVERS)] == []


def test_an_installed_wheel_finds_its_library(installed: Path):
    code = "from drystone.adapters.library import library_root; print(library_root())"
    result = subprocess.run([installed / "python", "-c", code], cwd="/", capture_output=True, text=True, check=True)
    root = Path(result.stdout.strip())
    assert root.is_relative_to(installed.parent)
    assert all((root / folder).is_dir() for folder in FOLDERS)


def test_an_installed_wheel_runs(installed: Path):
    result = subprocess.run([installed / "drystone", "--help"], cwd="/", capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "validate" in result.stdout


def test_a_checkout_is_its_own_library():
    assert library_root() == ROOT
