"""What is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drystone.errors import PluginError

if TYPE_CHECKING:
    from drystone.plugin.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A kind. `problem` says why it cannot be loaded; then the other facts are not known."""

    name: str
    distribution: str
    version: str
    has_undo: bool | None
    changes: bool | None
    problem: str = ""


def installed(registry: Registry) -> list[Installed]:
    """Every kind by name; one that cannot be loaded is listed with the reason."""
    return [_look(registry, name) for name in sorted(registry.names())]


def _look(registry: Registry, name: str) -> Installed:
    distribution, version = registry.origin(name)
    try:
        info = registry.info(name)
    except PluginError as error:
        return Installed(name=name, distribution=distribution, version=version, has_undo=None, changes=None, problem=error.message)
    assert info is not None
    return Installed(name=name, distribution=distribution, version=version, has_undo=info.has_undo, changes=info.changes)
