"""The shape of the source: what imports what, how long things are, what a module must say about itself."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/drystone"
MODULES = sorted(SOURCE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

LONGEST_FILE = 500
LONGEST_FUNCTION = 60


def name_of(module: Path) -> str:
    return str(module.relative_to(SOURCE))


def test_layers_hold():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_tells_its_place(module: Path):
    assert ast.get_docstring(ast.parse(module.read_text())), "a module opens with a paragraph on its place in the flow"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_files_and_functions_stay_readable(module: Path):
    text = module.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {node.name for node in functions if length(node) > LONGEST_FUNCTION} == set()


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_importing_the_package_brings_nothing_along():
    code = "import sys; before = set(sys.modules); import drystone; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['drystone']"


def test_the_lock_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock and "--find-links" not in lock and "--extra-index" not in lock


def test_the_lock_has_everything_that_is_declared():
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    assert {canonicalize_name(Requirement(line).name) for line in declared()} <= locked


def test_every_dependency_is_used_and_everything_used_is_a_dependency():
    providers = packages_distributions()
    used = {canonicalize_name(name) for module in imported_modules() for name in providers.get(module, ())}
    asked = {canonicalize_name(Requirement(line).name) for line in declared()}
    assert (asked | {"drystone"}) ^ ((used - FOR_TESTS) | NOT_IMPORTED) == set()


NOT_IMPORTED = {"ansible-core", "psycopg", "tzdata", "drystone"}
"""ansible-playbook is a child process, and SQLAlchemy loads psycopg from the store's URL."""

FOR_TESTS = {"pytest"}
"""Whoever runs the suites of drystone.testing has it."""


def declared() -> list[str]:
    return [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]


def imported_modules() -> set[str]:
    names: set[str] = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Import():
                    names.update(alias.name.split(".")[0] for alias in node.names)
                case ast.ImportFrom(module=str(name), level=0):
                    names.add(name.split(".")[0])
    return names
