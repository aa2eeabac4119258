"""What a run leaves as it stands: instances for which nothing has changed since the last good run, or that it was not asked for.

Nothing is kept for it: the last good run's config is rendered again from its journal, its files are those of its bundle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.core import values
from drystone.core.run import Instance, Run
from drystone.plugin.api import Kind

_THE_SAME_FOR_ALL = "(of the run)"
"""In the place of what differs with every run by its nature."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Good:
    """The newest run of a plan in an environment that succeeded, and its bundle. `undone`: instances that were taken back since."""

    run: Run
    bundle: str
    undone: frozenset[str] = frozenset()


GoodOf = Callable[[Run], Good | None]
"""The last good run of the same plan in the same environment, before this one; None without one, or without an environment."""

ManifestOf = Callable[[str], Mapping[str, str] | None]


def reason_to_leave(good: Good, run: Run, instance: Instance, same: Callable[[], bool]) -> str:
    """Why an instance is left as it stands; empty when it is to be done. `same`: nothing that it is made from has changed."""
    known = good.run.instances.get(instance.id)
    if known is None or not known.is_in_place or instance.id in good.undone:
        return ""
    manner = run.manner
    if manner.only is not None and instance.id in manner.only:
        return ""
    if manner.changed_only:
        return f"unchanged since run {_maker(known, good)}" if same() else ""
    return "" if manner.only is None else f"not asked for; it stands since run {_maker(known, good)}"


def _maker(known: Instance, good: Good) -> str:
    return known.stands or good.run.id


Made = tuple[Any, Mapping[str, Any], str]
"""What an instance is made from: the config as the plan has it, its scope with real values, and the bundle."""


def is_same(kind: Kind, now: Made, then: Made, tree: Path, manifest_of: ManifestOf) -> bool:
    """Whether two instances are made from the same: the config with all values, and the files that it names."""
    first, second = (_made_from(kind, config, scope, bundle, tree, manifest_of) for config, scope, bundle in (now, then))
    return first is not None and first == second


def _made_from(
    kind: Kind, config: Any, scope: Mapping[str, Any], bundle: str, tree: Path, manifest_of: ManifestOf
) -> tuple[str, Mapping[str, str]] | None:
    manifest = manifest_of(bundle)
    if manifest is None:
        return None
    run = {**scope["run"], "id": _THE_SAME_FOR_ALL, "started_at": _THE_SAME_FOR_ALL}
    task = {**scope.get("task", {}), "token": _THE_SAME_FOR_ALL}
    rendered = values.render(config, {**scope, "run": run, "task": task})
    named = [path.relative_to(tree).as_posix() for path in kind.files(rendered or {}, tree) if path.is_relative_to(tree)]
    files = {
        name: digest for name, digest in manifest.items() if any(part in (".", name) or name.startswith(f"{part}/") for part in named)
    }
    return json.dumps(rendered, sort_keys=True, default=str), files
