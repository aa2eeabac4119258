"""The types of triggers that are installed: entry points of the group `drystone.triggers`, each loaded when one is used.

The compiler asks through `info`, as it asks `registry` for kinds; those that fire triggers take the objects from `get`.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

from drystone.core.trigger_check import TriggerInfo
from drystone.core.triggerlist import TRIGGER_KEYS
from drystone.errors import NotFoundError, PluginError
from drystone.plugin import configs
from drystone.plugin.triggers import Trigger

TRIGGERS = "drystone.triggers"


class Triggers:
    """Installed types by name. Safe to use from several threads. entry_points: those to use; None means what is installed."""

    def __init__(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        points = importlib.metadata.entry_points(group=TRIGGERS) if entry_points is None else entry_points
        self._points = {point.name: point for point in points if point.group == TRIGGERS}
        self._loaded: dict[str, Trigger] = {}
        self._lock = threading.Lock()

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> tuple[str, ...]:
        """Names of all types, sorted. Loads none of them."""
        return tuple(sorted(self._points))

    def get(self, name: str) -> Trigger:
        """The type's object. Raises NotFoundError when there is none of that name, PluginError when it cannot be loaded."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def info(self, name: str) -> TriggerInfo | None:
        """What the compiler must know of a type; None when it is not installed. Raises PluginError."""
        if name not in self:
            return None
        trigger = self.get(name)
        return TriggerInfo(
            name=name,
            check=lambda config: configs.problems_of(trigger.Config, config),
            roots=trigger.roots,
            per_event=trigger.per_event,
            event=trigger.event,
        )

    def config_schema(self, name: str) -> dict[str, Any]:
        """JSON Schema of a type's config. Raises as `get` does."""
        return self.get(name).Config.model_json_schema()

    def _load(self, name: str) -> Trigger:
        if name not in self._points:
            raise NotFoundError(f'there is no trigger of type "{name}"', hint=f"installed are {', '.join(self.names()) or 'none'}")
        point = self._points[name]
        if name in TRIGGER_KEYS:
            raise PluginError(f'trigger "{name}" has the name of a key of the plan language', plugin=name, hint="its author must rename it")
        try:
            trigger = point.load()()
        # A stranger's module may raise anything while it is imported.
        except Exception as error:
            reason = " ".join(str(error).split())
            message = f'plugin "{name}" cannot be loaded: {type(error).__name__}: {reason}'
            raise PluginError(message, plugin=name, hint=f"reinstall or remove {point.value.partition(':')[0]}") from error
        if not isinstance(trigger, Trigger) or not hasattr(trigger, "Config"):
            message = f'"{point.value}", the trigger "{name}", is not a subclass of drystone.plugin.triggers.Trigger with a Config'
            raise PluginError(message, plugin=name)
        return trigger
