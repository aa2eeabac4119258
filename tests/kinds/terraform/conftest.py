"""Modules for the terraform kind's tests, and one kind for all of them: real Terraform, no provider but its builtin one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from drystone.kinds.terraform.config import TerraformConfig
from drystone.kinds.terraform.records import Records
from drystone.kinds.terraform.task import Terraform
from drystone.plugin.api import Context

APP = """
variable "name" {}
resource "terraform_data" "a" {
  input = var.name
}
output "name" { value = terraform_data.a.output }
"""

HALF_WAY = """
variable "broken" { default = true }
resource "terraform_data" "first" {
  input = "first"
}
resource "terraform_data" "second" {
  input = terraform_data.first.output
  provisioner "local-exec" {
    command = var.broken ? "echo the disk is full >&2; exit 3" : "true"
  }
}
resource "terraform_data" "third" {
  input = terraform_data.second.output
}
"""


@pytest.fixture
def kind() -> Iterator[Terraform]:
    """The kind under test."""
    made = Terraform()
    yield made
    made.close()


@pytest.fixture
def write_module(project: Path) -> Callable[..., Path]:
    """Writes files of a module into the project; returns its folder."""

    def write(files: Mapping[str, str] | str, name: str = "app") -> Path:
        folder = project / name
        for file, text in ({"main.tf": files} if isinstance(files, str) else files).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        return folder

    return write


@pytest.fixture
def configure() -> Callable[..., TerraformConfig]:
    """A task's config."""

    def make(module: str = "app", **keys: Any) -> TerraformConfig:
        return TerraformConfig.model_validate({"module": module, **keys})

    return make


@pytest.fixture
def app(write_module: Callable[..., Path]) -> Path:
    """A module with one resource, whose input is the variable `name`."""
    return write_module(APP)


@pytest.fixture
def half_way(write_module: Callable[..., Path]) -> Path:
    """A module whose second resource of three fails after it was made, unless `broken` is false."""
    return write_module(HALF_WAY)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def state_of(ctx: Context) -> dict[str, Any] | None:
    """The environment's own state as it is between attempts; None when there is none."""
    state = Records(folder=ctx.state, seals=ctx).state
    assert not state.clear.exists(), "the state lies there in clear"
    return json.loads(state.text()) if state.sealed.exists() else None
