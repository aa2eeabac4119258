"""The kinds that are installed: entry points of the group `drystone.kinds`, loaded by name when one is used.

Shipped kinds come in as strangers' do. A registry belongs to one instance of drystone; nothing is kept in the module or a class.
The compiler asks it through `info`, the engines take the objects that do the work from `get`.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any

from drystone.core.graph import KindInfo
from drystone.core.planfile import TASK_KEYS, UNDO_KEYS
from drystone.errors import NotFoundError, PluginError
from drystone.plugin import configs
from drystone.plugin.api import Kind, TerraformProvider
from drystone.plugin.trigger_registry import TRIGGERS, Triggers

KINDS = "drystone.kinds"
PROVIDERS = "drystone.terraform_providers"

__all__ = ["KINDS", "PROVIDERS", "TRIGGERS", "Registry"]


class Registry:
    """Installed kinds by name; a collection of their names. Safe to use from several threads.

    entry_points: those to use, of all groups; None means what is installed.
    """

    def __init__(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        self._given = None if entry_points is None else tuple(entry_points)
        self._found: dict[str, list[EntryPoint]] | None = None
        self._kinds: dict[str, Kind] = {}
        self._infos: dict[str, KindInfo] = {}
        self._lock = threading.RLock()

    def __contains__(self, name: object) -> bool:
        return name in self._points()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._points())

    def names(self) -> tuple[str, ...]:
        """Names of all kinds, sorted. Loads none of them."""
        return tuple(sorted(self._points()))

    def get(self, name: str) -> Kind:
        """The kind's object, the same for the life of the registry.

        Raises NotFoundError when no kind has that name, PluginError when it cannot be loaded or is no kind.
        """
        with self._lock:
            kind = self._kinds.get(name)
            if kind is None:
                kind = self._kinds[name] = self._load(name)
            return kind

    def info(self, name: str) -> KindInfo | None:
        """What the compiler must know of a kind; None when it is not installed. Raises PluginError when it cannot be loaded."""
        if name not in self:
            return None
        with self._lock:
            info = self._infos.get(name)
            if info is None:
                info = self._infos[name] = _info_of(name, type(self.get(name)))
            return info

    def origin(self, name: str) -> tuple[str, str]:
        """Distribution and version that a kind comes from; empty when unknown. Raises NotFoundError."""
        distribution = self._point(name).dist
        return (distribution.name, distribution.version) if distribution is not None else ("", "")

    @cached_property
    def triggers(self) -> Triggers:
        """Installed types of triggers."""
        return Triggers(self._given)

    def versions(self) -> dict[str, str]:
        """Kind -> `distribution version`: what a run notes of the plugins it could use. Loads none of them."""
        return {name: " ".join(self.origin(name)).strip() for name in self.names()}

    def config_schema(self, name: str) -> dict[str, Any]:
        """JSON Schema of a kind's config. Raises as `get` does."""
        return self.get(name).Config.model_json_schema()

    def providers(self) -> dict[str, TerraformProvider]:
        """Terraform providers that come as Python packages, by name. Raises PluginError when one cannot be loaded."""
        points = self._given if self._given is not None else importlib.metadata.entry_points(group=PROVIDERS)
        return {point.name: _construct(point) for point in points if point.group == PROVIDERS}

    def close(self) -> None:
        """Tells every kind that was used that the engine ends."""
        with self._lock:
            kinds, self._kinds = list(self._kinds.values()), {}
        for kind in kinds:
            kind.close()

    def _points(self) -> Mapping[str, list[EntryPoint]]:
        if self._found is None:
            found: dict[str, list[EntryPoint]] = {}
            points = self._given if self._given is not None else importlib.metadata.entry_points(group=KINDS)
            for point in points:
                # The same distribution may be seen twice, in a checkout and where it is installed.
                others = found.setdefault(point.name, []) if point.group == KINDS else []
                if all(other.value != point.value for other in others):
                    others.append(point)
            self._found = found
        return self._found

    def _point(self, name: str) -> EntryPoint:
        points = self._points().get(name)
        if not points:
            raise NotFoundError(f'kind "{name}" is not installed', hint=f"installed are {', '.join(self.names()) or 'none'}")
        return points[0]

    def _load(self, name: str) -> Kind:
        point = self._point(name)
        if len(points := self._points()[name]) > 1:
            sources = " and ".join(sorted(point.dist.name if point.dist is not None else point.value for point in points))
            raise PluginError(f'kind "{name}" is there twice, from {sources}', plugin=name, hint="uninstall one of them")
        if name in TASK_KEYS or name in UNDO_KEYS:
            raise PluginError(f'kind "{name}" has the name of a key of the plan language', plugin=name, hint="its author must rename it")
        kind = _construct(point)
        if not isinstance(kind, Kind) or not hasattr(kind, "Config"):
            message = f'"{point.value}", the kind "{name}", is not a subclass of drystone.plugin.api.Kind with a Config'
            raise PluginError(message, plugin=name)
        return kind


def _construct(point: EntryPoint) -> Any:
    try:
        return point.load()()
    # A stranger's module may raise anything while it is imported.
    except Exception as error:
        source = point.dist.name if point.dist is not None else point.value.partition(":")[0]
        reason = " ".join(str(error).split())
        message = f'plugin "{point.name}" cannot be loaded: {type(error).__name__}: {reason}'
        raise PluginError(message, plugin=point.name, hint=f"reinstall or remove {source}") from error


def _info_of(name: str, kind: type[Kind]) -> KindInfo:
    return KindInfo(
        name=name,
        has_undo=hasattr(kind, "undo"),
        changes=kind.changes,
        undo_when=kind.undo_when,
        outputs=kind.outputs,
        check=lambda config: configs.problems_of(kind.Config, config),
        changes_with=lambda config: kind.changes_things(config) if isinstance(config, Mapping) else kind.changes,
        pauses=kind.pauses,
        asks=kind.asks,
    )
