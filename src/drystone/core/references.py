"""What the expressions of a plan look at, held against what the plan defines. Two of the compiler's steps.

Each place of the language sees certain roots only; what a root has is known from the plan and from the kinds. An expression that looks at
something whose own definition is broken is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.graph import KindInfo
from drystone.core.plan import Plan, Task, Value
from drystone.core.planfile import NO_KIND
from drystone.core.values import Reference, Template, templates

ATTRIBUTES: Mapping[str, Collection[str]] = {
    "tasks": ("outputs", "result", "status"),
    "each": ("key", "value"),
    "run": ("id", "plan", "started_at", "status", "error"),
    "environment": ("name",),
    "task": ("id", "token", "attempt"),
}
"""What stands below each root; of a task, below its name."""

ANYWHERE = ("inputs", "run")
IN_RUN = (*ANYWHERE, "tasks", "environment")
IN_CONFIG = (*IN_RUN, "secrets", "task")
IN_UNDO = (*IN_CONFIG, "result")
_WHY_NOT = {
    "each": '"each" is there only in a task with "for_each"',
    "result": '"result" is there only in an undo, and in the until of a poll',
    "secrets": "secrets can be used only in what a task is given, its config",
    "event": '"event" is there only in the inputs of a trigger, and in what it asks of each event',
}
FEW = 20
"""So many names are listed in a hint when none is near."""

_SCALARS = frozenset({"string", "integer", "number", "boolean"})


class Checker:
    """Checks references of one plan. `kinds` has the facts of every kind in it that could be loaded."""

    def __init__(self, plan: Plan, kinds: Mapping[str, KindInfo], diagnostics: Diagnostics) -> None:
        self.plan = plan
        self.kinds = kinds
        self.diagnostics = diagnostics

    def task(self, task: Task) -> None:
        """Every expression of a task, its undo's too."""
        each = ("each",) if task.for_each is not None else ()
        self.value(task.body.config, (*IN_CONFIG, *each))
        if task.when is not None:
            self.value(task.when, (*IN_RUN, *each))
        if task.for_each is not None:
            self.value(task.for_each.items, IN_RUN)
        if task.poll is not None:
            self.value(task.poll.until, (*IN_RUN, "result", *each))
        if task.remedy is not None:
            self.value(task.remedy.config, (*IN_CONFIG, *each))
        if task.undo.body is not None:
            self.value(task.undo.body.config, (*IN_UNDO, *each))

    def value(self, value: Value, roots: Collection[str]) -> None:
        """Every expression in a value, at a place that sees these roots."""
        for template in templates(value):
            for reference in sorted(template.references, key=str):
                self._reference(template, reference, roots)

    def _reference(self, template: Template, reference: Reference, roots: Collection[str]) -> None:
        root, path = reference.root, reference.path
        if root not in roots:
            self._unknown_root(template, reference, roots)
        elif root == "inputs":
            self._input(template, reference)
        elif root == "tasks":
            self._task_reference(template, reference)
        elif root != "secrets" and path and path[0] not in ATTRIBUTES.get(root, path):
            self._error(template, Reference(root, path[:1]), f'"{root}" has no "{path[0]}"', self._nearest(path[0], ATTRIBUTES[root]))

    def _unknown_root(self, template: Template, reference: Reference, roots: Collection[str]) -> None:
        root = reference.root
        shown = Reference(root, reference.path[:1])
        if root in _WHY_NOT:
            self._error(template, shown, f'"{shown}" cannot be used here', _WHY_NOT[root])
        elif root in IN_UNDO:
            self._error(template, shown, f'"{shown}" cannot be used here', f"only {', '.join(sorted(roots))} can")
        elif not any(root in near.split("-")[1:] for near in self._dashed_in(template)):
            self._error(template, Reference(root), f'"{root}" is not defined', self._root_hint(root, roots))

    def _root_hint(self, root: str, roots: Collection[str]) -> str:
        """A name without its root is the most common slip: say where it belongs."""
        if root in self.plan.inputs:
            return f'did you mean "inputs.{root}"?'
        if root in self.plan.tasks and "tasks" in roots:
            return f'did you mean "tasks.{root}.outputs"?'
        return self._nearest(root, roots)

    def _input(self, template: Template, reference: Reference) -> None:
        if not reference.path:
            return
        name, *rest = reference.path
        declared = self.plan.inputs.get(str(name))
        if declared is None:
            hint = self._nearest(name, self.plan.inputs) if self.plan.inputs else "the plan has no inputs"
            self._error(template, Reference("inputs", (name,)), f'the plan has no input "{name}"', hint)
        elif rest and isinstance(rest[0], str) and declared.schema.get("type") in _SCALARS:
            self._error(template, reference, f'input "{name}" is of type {declared.schema["type"]}: it has no "{rest[0]}"', "")

    def _task_reference(self, template: Template, reference: Reference) -> None:
        if not reference.path:
            self._error(template, reference, '"tasks" must be followed by the name of a task', "write tasks.NAME.outputs")
            return
        name, *rest = reference.path
        task = self.plan.tasks.get(str(name))
        if task is None:
            near = self._dashed.get(str(name))
            hint = f'write tasks["{near}"]: a name with a dash needs brackets' if near else self._nearest(name, self.plan.tasks)
            self._error(template, Reference("tasks", (name,)), f'the plan has no task "{name}"', hint)
        elif not rest:
            return
        elif rest[0] not in ATTRIBUTES["tasks"]:
            hint = f'did you mean "tasks.{name}.outputs.{rest[0]}"?' if isinstance(rest[0], str) else ""
            shown = Reference("tasks", (name, rest[0]))
            self._error(template, shown, f'a task has no "{rest[0]}"', hint or self._nearest(rest[0], ATTRIBUTES["tasks"]))
        elif rest[0] == "outputs" and len(rest) > 1:
            self._outputs(template, reference, task, tuple(rest[1:]))

    @cached_property
    def _dashed(self) -> Mapping[str, str]:
        """What stands before a dash in a task's name -> the name: `tasks.my-task` is a subtraction in Jinja2."""
        return {task[:at]: task for task in self.plan.tasks for at, letter in enumerate(task) if letter == "-"}

    def _dashed_in(self, template: Template) -> list[str]:
        """Tasks that the template names without the brackets which a dash needs."""
        names = {str(ref.path[0]) for ref in template.references if ref.root == "tasks" and ref.path}
        return [self._dashed[name] for name in names if name not in self.plan.tasks and name in self._dashed]

    def _outputs(self, template: Template, reference: Reference, task: Task, path: tuple[str | int, ...]) -> None:
        """`path` is what follows `tasks.X.outputs`."""
        if task.for_each is not None:
            if self._is_wrong_index(template, reference, task, path[0]):
                return
            path = path[1:]
        info = self.kinds.get(task.body.kind)
        if not path or task.body.kind == NO_KIND or info is None or info.outputs is None or path[0] in info.outputs:
            return
        if isinstance(path[0], str):
            hint = self._nearest(path[0], info.outputs)
            self._error(template, reference, f'a task of kind "{info.name}" has no output "{path[0]}"', hint)

    def _is_wrong_index(self, template: Template, reference: Reference, task: Task, index: str | int) -> bool:
        """True, with a diagnostic, when it is certain that the outputs of a fan-out have no such item."""
        assert task.for_each is not None
        items = task.for_each.items
        if isinstance(items, dict) and str(index) not in items:
            self._error(template, reference, f'"{task.name}" has no instance "{index}"', self._nearest(index, items))
            return True
        if _is_list(items) and isinstance(index, str):
            hint = f'take one of them, such as tasks.{task.name}.outputs[0].{index}, or all with the filter map(attribute="{index}")'
            self._error(template, reference, f'the outputs of "{task.name}" are a list, one for each instance', hint)
            return True
        size = items if isinstance(items, int) else len(items) if isinstance(items, list) else None
        if isinstance(index, int) and size is not None and not -size <= index < size:
            self._error(template, reference, f'"{task.name}" has {size} instances: there is no [{index}]', "they count from 0")
            return True
        return False

    def _nearest(self, name: str | int, known: Collection[str]) -> str:
        """The nearest word, or all words when they are few."""
        few = f"there is {', '.join(sorted(known))}" if len(known) <= FEW else ""
        return self.diagnostics.near(str(name), known) or few

    def _error(self, template: Template, reference: Reference, summary: str, hint: str) -> None:
        where, length = template.place_of(reference)
        self.diagnostics.error(summary, where, hint=hint, length=length)


def _is_list(items: Value) -> bool:
    if isinstance(items, Template):
        return items.source.strip("{} ").startswith("range(") and items.source.strip("{} ").endswith(")")
    return isinstance(items, int | list)


def tasks_in(value: Value, names: Collection[str]) -> dict[str, tuple[Template, Reference]]:
    """The tasks that a value looks at, each with the first place where it does."""
    found: dict[str, tuple[Template, Reference]] = {}
    for template in templates(value):
        for reference in sorted(template.references, key=str):
            if reference.root == "tasks" and reference.path and reference.path[0] in names:
                found.setdefault(str(reference.path[0]), (template, reference))
    return found


def place_of(look: tuple[Template, Reference]) -> Where:
    """Where an expression looks at a task."""
    template, reference = look
    return template.place_of(Reference(reference.root, reference.path[:1]))[0]
