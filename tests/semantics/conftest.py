"""A project in which the real command runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)
