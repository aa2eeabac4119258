"""What a run uses, gathered when it begins: its plan, and the files that its tasks read (DESIGN §4.9).

Each kind says which files a config leads to (`Kind.files`); what depends on other tasks is not known yet, and then the folder is taken
whole that the known beginning of the path names. A sub-plan of the same root is in the bundle with all that its own tasks read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drystone.app import places, plans
from drystone.app.places import PlanFile
from drystone.app.world import World
from drystone.core import values
from drystone.core.opaque import UNKNOWN, is_opaque
from drystone.core.parts import KIND, MAX_DEPTH
from drystone.core.values import ExpressionError, Template
from drystone.errors import DrystoneError, PluginError
from drystone.plugin import sources
from drystone.plugin.api import Kind
from drystone.plugin.sources import Beginning

if TYPE_CHECKING:
    from drystone.core.graph import Graph
    from drystone.core.plan import Body, Task
    from drystone.ports import RunRecord

_WRITTEN = re.compile(r"""(?:>{1,2}|\btee(?:\s+-a)?|\s-o|--out(?:put)?(?:=|\s)|\s-out=)\s*["']?([\w./-]+)""")
"""What stands where a shell, or most programs, are told to write."""
MAX_PLANS = 500
"""Sub-plans, each with other inputs, that are looked into: one that starts itself twice would double them with each step."""


def of(world: World, plan: PlanFile, graph: Graph, source: str, inputs: Mapping[str, Any]) -> str:
    """Keeps what a run of the plan uses, and gives the bundle's digest. `inputs`: as the store has them, secrets as handles.

    Raises ProjectError when it cannot be kept.
    """
    gatherer = _Gatherer(world, plan.root)
    gatherer.plan(plan, graph, source, inputs)
    made = [path for path in gatherer.made if path.exists()]
    paths = [part for path in gatherer.paths for part in sources.without(path, made)] if made else gatherer.paths
    return world.bundles().keep(plan.root, paths, gatherer.texts)


def of_part(world: World, within: RunRecord, plan: PlanFile) -> str | None:
    """The bundle that a part of a run goes on with: that of the whole, when it has the part's plan. Else None."""
    name = _name(plan.path, plan.root)
    if name is None or str(plan.root) != within.root:
        return None
    manifest = world.bundles().manifest(within.bundle)
    return within.bundle if manifest is not None and name in manifest else None


def find_part(world: World, within: RunRecord, name: str | None, path: str | None) -> tuple[PlanFile, str] | None:
    """A sub-plan as the bundle of the whole has it, and its text; None when it is not in there."""
    root = Path(within.root)
    names = [os.path.normpath(path)] if path else [f"{places.PLANS}/{name}{suffix}" for suffix in places.SUFFIXES]
    for file in names:
        if (text := world.bundles().read(within.bundle, file)) is not None:
            found = root / file
            shown = places.shown(found, world.cwd)
            return PlanFile(path=found, shown=shown, root=places.plan_root(found), project=world.project), text.decode()
    return None


class _Gatherer:
    def __init__(self, world: World, root: Path) -> None:
        self._world, self._root = world, root
        self._seen: list[tuple[Path, Mapping[str, Any]]] = []
        self._loaded: dict[Path, tuple[Graph, str]] = {}
        self.paths: dict[Path, None] = {}
        self.made: set[Path] = set()
        self.texts: dict[str, str] = {}

    def plan(self, plan: PlanFile, graph: Graph, source: str, inputs: Mapping[str, Any], depth: int = 1) -> None:
        """A plan with these inputs, and all that it leads to."""
        if (plan.path, inputs) in self._seen or depth > MAX_DEPTH or len(self._seen) >= MAX_PLANS:
            return  # it starts itself
        self._seen.append((plan.path, inputs))
        if (name := _name(plan.path, self._root)) is not None:
            self.texts[name] = source
        scope = {"inputs": inputs, **dict.fromkeys(("tasks", "each", "run", "task", "result", "environment"), UNKNOWN)}
        for node in graph.nodes.values():
            for body in _bodies(node.task):
                self._body(body, scope, depth)

    def _body(self, body: Body, scope: Mapping[str, Any], depth: int) -> None:
        kind = type(self._world.registry.get(body.kind))
        if kind.files.__func__ is Kind.files.__func__:  # type: ignore[attr-defined]
            return
        config = _as_known(body.config, scope)
        if not isinstance(config, Mapping):
            return
        try:
            self.paths.update(dict.fromkeys(kind.files(config, self._root)))
        except Exception as error:  # a stranger's kind may raise anything
            raise PluginError(f'kind "{body.kind}" cannot say which files it reads: {error}', plugin=body.kind) from error
        self.made.update(self._root / name for name in _made(config))
        if body.kind == KIND:
            self._sub_plan(config, depth)

    def _sub_plan(self, config: Mapping[str, Any], depth: int) -> None:
        world, name, path, inputs = self._world, config.get("name"), config.get("path"), config.get("inputs", {})
        if not isinstance(name or path, str) or not isinstance(inputs, Mapping):
            return
        try:
            found = places.find_sub_plan(
                name, path, root=self._root, cwd=world.cwd, project=world.project, library=world.library
            )
            if found.root != self._root:
                return  # its own run keeps what is below another root
            if found.path not in self._loaded:
                self._loaded[found.path] = plans.load(world, found)
            graph, source = self._loaded[found.path]
        except DrystoneError:
            return  # its task says what is wrong, if it ever starts
        defaults = {key: UNKNOWN if given.required else given.default for key, given in graph.plan.inputs.items()}
        self.plan(found, graph, source, {**defaults, **inputs}, depth + 1)


def _bodies(task: Task) -> Iterator[Body]:
    for body in (task.body, task.undo.body, task.remedy):
        if body is not None:
            yield body


def _as_known(value: Any, scope: Mapping[str, Any]) -> Any:
    """A config with all evaluated that is known; a `Beginning`, or UNKNOWN, in the place of the rest."""
    match value:
        case Template():
            try:
                found = values.render(value, scope)
            except ExpressionError:
                found = UNKNOWN
            if not is_opaque(found):
                return found
            known = values.beginning(value, scope)
            return Beginning(known) if known else UNKNOWN
        case values.PlainMap():
            return value
        case Mapping():
            return {key: _as_known(item, scope) for key, item in value.items()}
        case list() | tuple():
            return [_as_known(item, scope) for item in value]
        case _:
            return value


def _made(config: Mapping[str, Any]) -> Iterator[str]:
    """Files that a task writes, as far as its config says so: they are what a run makes, not what it starts from."""
    argv, shell, dest = config.get("argv"), config.get("shell"), config.get("dest")
    words = [word for word in argv if isinstance(word, str)] if isinstance(argv, list | tuple) else []
    for text in (" ".join(words), shell):
        if isinstance(text, str):
            yield from _WRITTEN.findall(text)
    if isinstance(dest, str) and dest.startswith("/"):
        yield dest


def _name(path: Path, root: Path) -> str | None:
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    return str(path.relative_to(root)) if path.is_relative_to(root) else None
