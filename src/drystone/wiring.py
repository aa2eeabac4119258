"""The only place that builds things: which class stands behind which port. Read it to see what drystone is made of.

Nothing is imported before it is asked for, so that a command pays only for what it uses.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drystone.adapters.redact import Redactor
    from drystone.adapters.secrets import ProjectSecrets
    from drystone.app.doctor import Machine
    from drystone.app.world import Engine, Observer, World
    from drystone.engines.layout import Layout
    from drystone.engines.vault import Vault
    from drystone.plugin.registry import Registry
    from drystone.ports import Journal
    from drystone.settings import Settings


def environ() -> Mapping[str, str]:
    """The environment of this process; read nowhere else."""
    return os.environ


def library() -> Path:
    """Where the plans, modules and playbooks that ship are."""
    from drystone.adapters.library import library_root

    return library_root()


def library_folders() -> Sequence[str]:
    """What of `library` a new project gets."""
    from drystone.adapters.library import FOLDERS

    return FOLDERS


def machine(project: Path) -> Machine:
    """What `drystone doctor` looks at."""
    from drystone.adapters.process import SupervisedProcess
    from drystone.app.doctor import Machine

    return Machine(project=project, environ=environ(), process=SupervisedProcess())


def world(project: Path) -> World:
    """The surroundings of a command that works in a project."""
    from drystone.adapters.clock import SystemClock
    from drystone.adapters.ids import Ulids
    from drystone.adapters.yaml_text import parse
    from drystone.app.world import World
    from drystone.plugin.registry import Registry

    parts = Parts(project, Registry())
    return World(
        project=project,
        home=parts.layout.home,
        library=library(),
        cwd=Path.cwd(),
        environ=environ(),
        by=f"{getpass.getuser()}@{socket.gethostname()}",
        registry=parts.registry,
        parse=parse,
        clock=SystemClock(),
        ids=Ulids(),
        has_store=parts.has_store,
        journal=lambda: parts.journal,
        vault=parts.vault,
        engine=parts.engine,
        cancel_request=parts.layout.cancel_request,
    )


class Parts:
    """The parts that serve one project, each built when it is first asked for."""

    def __init__(self, project: Path, registry: Registry) -> None:
        self.project = project
        self.registry = registry
