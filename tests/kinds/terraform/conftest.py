"""Modules for the terraform kind's tests, and one kind for all of them: real Terraform, no provider but its builtin one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from drystone.kinds.terraform.config import TerraformConfig
from drystone.kinds.terraform.task import Terraform


@pytest.fixture
def kind() -> Iterator[Terraform]:
    """The kind under test."""
    made = Terraform()
    yield made
    made.close()


@pytest.fixture
def write_module(project: Path) -> Callable[..., Path]:
    """Writes files of a module into the project; returns its folder."""

    def write(name: str, files: Mapping[str, str] | str) -> Path:
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
