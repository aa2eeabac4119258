"""The plan language (DESIGN §3): a tree of nodes -> a Plan, with a diagnostic for every mistake.

Reads what one map says by itself. What needs more than that, such as whether a task exists that an expression names, is the compiler's.
A task with a mistake still becomes a Task, as far as it can be read, so that the rest of the plan can be checked against it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from drystone.core import inputs as schemas
from drystone.core import policies, triggerlist, values
from drystone.core.burst import in_one_burst
from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.fields import Fields, unknown_key
from drystone.core.nodes import Node, describe, place, stripped, to_data
from drystone.core.plan import Body, Input, OnFailure, OnUpdate, Plan, RunIf, Task, Undo, UndoMode, UndoWhen, Value
from drystone.core.retry import NO_RETRY, UNDO_RETRY, RetryPolicy

__all__ = ["NOT_BUILT", "PLAN_KEYS", "TASK_KEYS", "Node", "to_plan"]

VERSION = 1
PLAN_KEYS = (
    "drystone", "name", "description", "inputs", "environment", "timeout", "on_failure", "concurrency", "defaults", "tasks",
    "finally", "outputs", "triggers",
)  # fmt: skip
TASK_KEYS = (
    "description", "needs", "when", "run_if", "for_each", *policies.FANOUT_KEYS, "retry", "timeout", "poll", "remedy", "undo", "undo_when",
    "pivot", "allow_failure", "pool", "priority", "labels",
)  # fmt: skip
UNDO_KEYS = ("on_update", "retry", "timeout")
NOT_UNDER_FINALLY = ("undo", "undo_when", "pivot", "allow_failure")
"""Task keys that mean nothing where nothing is undone and no failure counts."""

NOT_BUILT = frozenset({
    ("plan", "notify"),
})  # fmt: skip
"""Parts of the language that this version does not build: where they stand, and the word."""

NO_KIND = ""
"""The kind of a body whose kind cannot be read; its mistake is recorded."""

_PLAN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")
_INPUT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


@dataclass(frozen=True)
class _Defaults:
    timeout: timedelta | None = None
    retry: RetryPolicy = NO_RETRY


@in_one_burst
def to_plan(
    node: Node, kinds: Collection[str], diagnostics: Diagnostics, *, triggers: Collection[str] | None = None
) -> Plan | None:
    """The plan, or None when there is so little of it that checking more makes no sense; mistakes go to `diagnostics`.

    kinds:    names of the installed kinds: a task has exactly one key of these.
    triggers: names of the installed types of triggers; None when nobody knows them, then any is taken.
    """
    if not isinstance(node.value, Mapping):
        diagnostics.error(f"a plan is a map, not {describe(node.value)}", node.where, hint="it begins with: drystone: 1")
        return None
    fields = Fields(node, "the plan", diagnostics)
    _check_version(fields)
    _check_plan_keys(fields)
    defaults = _defaults(fields)
    return Plan(
        name=_plan_name(fields),
        where=node.where,
        description=fields.text("description") or "",
        inputs=_inputs(fields),
        environment=_environment(fields),
        timeout=fields.duration("timeout", None),
        on_failure=fields.choice("on_failure", OnFailure, OnFailure.COMPENSATE),
        concurrency=policies.concurrency(fields),
        tasks=_all_tasks(fields, kinds, defaults),
        outputs=_outputs(fields),
        triggers=triggerlist.read(fields, triggers),
    )


# ---- the plan itself --------------------------------------------------------------------------------------------------


def _check_version(fields: Fields) -> None:
    node = fields.get("drystone")
    if node is None:
        hint = f"begin the file with: drystone: {VERSION}"
        fields.diagnostics.error('"drystone" is missing: the version of the plan language', fields.node.where, hint=hint)
    elif node.value is True or node.value != VERSION:
        hint = f"it is the version of the plan language, and this drystone reads version {VERSION}"
        fields.diagnostics.error(f'"drystone" must be {VERSION}, not {describe(node.value)}', node.where, hint=hint)


def _check_plan_keys(fields: Fields) -> None:
    for key, (where, _) in fields.entries.items():
        if key not in PLAN_KEYS and not _not_built("plan", key, where, fields.diagnostics):
            unknown_key(key, where, "the plan", PLAN_KEYS, fields.diagnostics)


def _not_built(level: str, word: str, where: Where, diagnostics: Diagnostics) -> bool:
    if (level, word) not in NOT_BUILT:
        return False
    diagnostics.error(f'"{word}" is part of the plan language but this version does not build it yet', where, length=len(word))
    return True


def _plan_name(fields: Fields) -> str:
    name = fields.text("name")
    if "name" not in fields:
        fields.diagnostics.error('"name" is missing: what the plan is called', fields.node.where)
    elif name is not None:
        _check_name(name, "a plan", _PLAN_NAME, "letters, digits, dots, dashes and underscores", fields, "name")
    return name or ""


def _check_name(name: str, what: str, shape: re.Pattern[str], allowed: str, fields: Fields, key: str) -> None:
    if not shape.match(name):
        node = fields.get(key)
        where = node.where if node is not None and node.value == name else fields.key_where(key)
        hint = f"it has at most 63 {allowed}, and begins with a letter{'' if shape is not _PLAN_NAME else ' or digit'}"
        fields.diagnostics.error(f'"{name}" cannot be the name of {what}', where, hint=hint, length=len(name))


def _environment(fields: Fields) -> Value:
    node = fields.get("environment")
    if node is None:
        return None
    value = values.compile_value(node, fields.diagnostics)
    if isinstance(value, str) and not _ENVIRONMENT.match(value):
        fields.refuse("environment", "a name of letters, digits, dots, dashes and underscores")
    elif not isinstance(value, str | values.Template | values.Unknown):
        fields.refuse("environment", "a name, or an expression that gives one")
    return value


def _defaults(fields: Fields) -> _Defaults:
    node = fields.get("defaults")
    if node is None:
        return _Defaults()
    given = Fields(node, "the defaults", fields.diagnostics)
    given.check_keys(("timeout", "retry"))
    return _Defaults(timeout=given.duration("timeout", None), retry=policies.retry(given, NO_RETRY, partial=True))


def _outputs(fields: Fields) -> dict[str, Value]:
    node = fields.get("outputs")
    if node is None:
        return {}
    given = Fields(node, "the plan's outputs", fields.diagnostics)
    return {name: values.compile_value(child, fields.diagnostics) for name, (_, child) in given.entries.items()}


# ---- inputs -----------------------------------------------------------------------------------------------------------


def _inputs(fields: Fields) -> dict[str, Input]:
    node = fields.get("inputs")
    if node is None:
        return {}
    given = Fields(node, '"inputs"', fields.diagnostics)
    return {name: _input(name, given) for name in given.entries}


def _input(name: str, inputs: Fields) -> Input:
    where, node = inputs.entries[name]
    diagnostics = inputs.diagnostics
    _check_name(name, "an input", _INPUT_NAME, "letters, digits and underscores", inputs, name)
    if not isinstance(node.value, Mapping):
        hint = f"write for example {name}: {{type: string}}"
        diagnostics.error(f'input "{name}" must be a JSON Schema, not {describe(node.value)}', node.where, hint=hint)
        return Input(name=name, schema={}, where=where)
    fields = Fields(node, f'input "{name}"', diagnostics)
    beside = ("default", "secret", "description")
    schema = {key: to_data(child) for key, (_, child) in fields.entries.items() if key not in beside}
    default = fields.get("default")
    declared = Input(
        name=name,
        schema=schema,
        where=where,
        required=default is None,
        default=None if default is None else to_data(default),
        secret=fields.flag("secret", False),
        description=fields.text("description") or "",
    )
    if not _check_schema(fields, schema):
        # What is no schema fits everything: its mistake is recorded, and nothing else follows from it.
        return replace(declared, schema={})
    if default is not None:
        for path, message in schemas.problems_of(declared, declared.default):
            diagnostics.error(f'the default of input "{name}" {message}', place(default, path))
    return declared


def _check_schema(fields: Fields, schema: Mapping[str, object]) -> bool:
    problems = schemas.check_schema(schema)
    for problem in problems:
        where = place(fields.node, problem.path, at_key=problem.at_key)
        length = len(str(problem.path[-1])) if problem.at_key else 1
        fields.diagnostics.error(f"{fields.what}: {problem.message}", where, hint=problem.hint, length=length)
    return not problems


# ---- tasks ------------------------------------------------------------------------------------------------------------


def _all_tasks(fields: Fields, kinds: Collection[str], defaults: _Defaults) -> dict[str, Task]:
    """Those under `tasks`, then those under `finally`: no two have the same name."""
    if fields.get("tasks") is None:
        fields.diagnostics.error('"tasks" is missing: what the plan does', fields.node.where)
    tasks = _tasks(fields, "tasks", kinds, defaults)
    for name, task in _tasks(fields, "finally", kinds, defaults).items():
        if name in tasks:
            hint = f"the other is at {tasks[name].where}"
            fields.diagnostics.error(f'there are two tasks "{name}"', task.where, hint=hint, length=len(name))
        else:
            tasks[name] = replace(task, closing=True)
    return tasks


def _tasks(fields: Fields, key: str, kinds: Collection[str], defaults: _Defaults) -> dict[str, Task]:
    node = fields.get(key)
    if node is None:
        return {}
    given = Fields(node, f'"{key}"', fields.diagnostics)
    if not given.entries and isinstance(node.value, Mapping):
        fields.diagnostics.error("the plan has no tasks" if key == "tasks" else f'there is nothing under "{key}"', node.where)
    if key == "finally":
        for _, child in given.entries.values():
            _check_closing(child, fields.diagnostics)
    return {name: _task(name, given, kinds, defaults) for name in given.entries}


def _check_closing(node: Node, diagnostics: Diagnostics) -> None:
    for key in NOT_UNDER_FINALLY:
        if isinstance(node.value, Mapping) and key in node.value:
            hint = "what stands there is never undone, and its failure does not change how the run ended"
            diagnostics.error(f'"{key}" means nothing under "finally"', node.value[key][0], hint=hint, length=len(key))


def _task(name: str, tasks: Fields, kinds: Collection[str], defaults: _Defaults) -> Task:
    where, node = tasks.entries[name]
    _check_name(name, "a task", _TASK_NAME, "letters, digits, dashes and underscores", tasks, name)
    fields = Fields(node, f'task "{name}"', tasks.diagnostics)
    if not fields.entries:
        if isinstance(node.value, Mapping):
            fields.diagnostics.error(f'task "{name}" does nothing: it has no kind', where, hint=_kinds_hint(kinds))
        return Task(name=name, where=where, body=Body(kind=NO_KIND, config=None, where=where))
    needs, needs_where = _needs(fields)
    return Task(
        name=name,
        where=where,
        description=fields.text("description") or "",
        body=_body(fields, kinds, TASK_KEYS),
        needs=needs,
        needs_where=needs_where,
        when=_when(fields),
        run_if=fields.choice("run_if", RunIf, RunIf.ALL_SUCCEEDED),
        for_each=policies.fanout(fields),
        retry=policies.retry(fields, defaults.retry),
        timeout=fields.duration("timeout", defaults.timeout),
        poll=policies.poll(fields),
        remedy=_remedy(fields, kinds),
        undo=_undo(fields, kinds),
        undo_when=fields.choice("undo_when", UndoWhen, UndoWhen.SUCCEEDED) if "undo_when" in fields else None,
        pivot=fields.flag("pivot", False),
        allow_failure=fields.flag("allow_failure", False),
        priority=fields.integer("priority", 0),
        pool=_pool(fields),
        labels=_labels(fields),
    )


def _kinds_hint(kinds: Collection[str]) -> str:
    return f"a task has one of: {', '.join(sorted(kinds))}"


def _body(fields: Fields, kinds: Collection[str], known: Collection[str]) -> Body:
    """The one key that names a kind, and what stands behind it."""
    chosen = [key for key in fields.entries if key in kinds and key not in known]
    others = [key for key in fields.entries if key not in kinds and key not in known]
    all_known = [*known, *kinds]
    strangers = [key for key in others if not _not_built("task", key, fields.key_where(key), fields.diagnostics)]
    for key in strangers:
        unknown_key(key, fields.key_where(key), fields.what, all_known, fields.diagnostics)
    for key in chosen[1:]:
        summary = f'{fields.what} has two kinds: "{chosen[0]}" and "{key}"'
        fields.diagnostics.error(summary, fields.key_where(key), hint="make two tasks of it", length=len(key))
    if not chosen:
        # An unknown key may well be a kind that is misspelt; then it has been reported.
        if not others:
            fields.diagnostics.error(f"{fields.what} has no kind", fields.node.where, hint=_kinds_hint(kinds))
        return Body(kind=NO_KIND, config=None, where=fields.node.where)
    where, node = fields.entries[chosen[0]]
    config = values.PlainMap() if node.value is None else values.compile_value(node, fields.diagnostics)
    return Body(kind=chosen[0], config=config, where=where, node=node)


def _needs(fields: Fields) -> tuple[tuple[str, ...], tuple[Where, ...]]:
    node = fields.get("needs")
    if node is None:
        return (), ()
    items = node.value if isinstance(node.value, tuple) else (node,)
    found: dict[str, Where] = {}
    for item in items:
        if isinstance(item.value, str):
            found.setdefault(item.value, item.where)
        else:
            summary = f'"needs" of {fields.what} must be a list of task names, not {describe(item.value)}'
            fields.diagnostics.error(summary, item.where)
    return tuple(found), tuple(found.values())


def _when(fields: Fields) -> Value:
    node = fields.get("when")
    if node is None:
        return None
    value = values.compile_value(stripped(node), fields.diagnostics)
    if isinstance(value, bool | values.Template | values.Unknown):
        return value
    hint = f'write "{{{{ {value} }}}}"' if isinstance(value, str) else ""
    summary = f'"when" of {fields.what} must be true, false or an expression, not {describe(node.value)}'
    fields.diagnostics.error(summary, node.where, hint=hint)
    return None


def _pool(fields: Fields) -> str | None:
    name = fields.text("pool")
    if name is not None and not _TASK_NAME.match(name):
        fields.refuse("pool", "the name of a pool of drystone.toml")
        return None
    return name


def _labels(fields: Fields) -> dict[str, str]:
    node = fields.get("labels")
    if node is None:
        return {}
    labels = {}
    given = Fields(node, f"the labels of {fields.what}", fields.diagnostics)
    for name, (_, child) in given.entries.items():
        if isinstance(child.value, str):
            labels[name] = child.value
        else:
            given.refuse(name, "text: quote it")
    return labels


# ---- remedy and undo --------------------------------------------------------------------------------------------------


def _remedy(fields: Fields, kinds: Collection[str]) -> Body | None:
    node = fields.get("remedy")
    if node is None:
        return None
    return _body(Fields(node, f"the remedy of {fields.what}", fields.diagnostics), kinds, ())


def _undo(fields: Fields, kinds: Collection[str]) -> Undo:
    node = fields.get("undo")
    if node is None:
        return Undo()
    if isinstance(node.value, Mapping):
        return _undo_body(node, fields, kinds)
    mode = fields.choice("undo", UndoMode, UndoMode.NONE, hidden=(UndoMode.UNSAID, UndoMode.BODY))
    return Undo(mode=mode, where=node.where)


def _undo_body(node: Node, task: Fields, kinds: Collection[str]) -> Undo:
    fields = Fields(node, f"the undo of {task.what}", task.diagnostics)
    return Undo(
        mode=UndoMode.BODY,
        body=_body(fields, kinds, UNDO_KEYS),
        on_update=fields.choice("on_update", OnUpdate, OnUpdate.UNDO),
        retry=policies.retry(fields, UNDO_RETRY),
        timeout=fields.duration("timeout", None),
        where=task.key_where("undo"),
    )
