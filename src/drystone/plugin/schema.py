"""The JSON Schema of the plan language with all installed kinds, for editors: what `drystone schema` prints.

An editor checks shapes with it while a plan is written; references, cycles and kinds' finer rules are the compiler's. Wherever a value
may be given, an expression may stand in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from drystone.core.plan import OnConflict, OnFailure, OnUpdate, RunIf, UndoMode, UndoWhen
from drystone.core.planfile import NOT_UNDER_FINALLY, PLAN_KEYS, TASK_KEYS, UNDO_KEYS, VERSION
from drystone.core.retry import Backoff
from drystone.core.triggerlist import TRIGGER_KEYS
from drystone.errors import FailureClass, PluginError
from drystone.plugin.registry import Registry

Schema = dict[str, Any]

EXPRESSION: Schema = {"type": "string", "pattern": r"\{\{|\{%", "description": "an expression: {{ ... }}"}
DURATION: Schema = {
    "description": "such as 500ms, 30s, 15m or 1h30m; a number is seconds",
    "anyOf": [{"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$|^[0-9]+(\.[0-9]+)?$"}, {"type": "number", "minimum": 0}],
}


def plan_schema(registry: Registry) -> Schema:
    """JSON Schema, draft 2020-12. Kinds that cannot be loaded take any config."""
    definitions: Schema = {"expression": EXPRESSION, "duration": DURATION, "retry": _retry()}
    kinds = {name: _kind(registry, name, definitions) for name in registry.names()}
    definitions["task"] = _one_kind(_task(), kinds)
    definitions["closing"] = _one_kind({key: value for key, value in _task().items() if key not in NOT_UNDER_FINALLY}, kinds)
    definitions["remedy"] = _one_kind({}, kinds)
    definitions["undo"] = _one_kind(_undo(), kinds)
    properties = {**_plan(), "triggers": _triggers(registry, definitions)}
    assert properties.keys() == set(PLAN_KEYS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "drystone plan",
        "type": "object",
        "required": ["drystone", "name", "tasks"],
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _plan() -> Schema:
    return {
        "drystone": {"const": VERSION, "description": "version of the plan language"},
        "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"},
        "description": {"type": "string"},
        "inputs": {
            "description": "what a run is given: a JSON Schema for each, with default, secret and description beside it",
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_]{0,62}$"},
            "additionalProperties": {"type": "object", "properties": {"secret": {"type": "boolean"}, "description": {"type": "string"}}},
        },
        "environment": {"type": "string", "description": "the named thing a run changes; may use inputs"},
        "timeout": _duration("deadline of the whole run"),
        "on_failure": _words(OnFailure, "what a run does when a task failed for good"),
        "concurrency": {
            "description": "runs with the same key go one after the other: the key, or a map",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "required": ["key"],
                    "properties": {
                        "key": {"type": "string", "description": "may use inputs"},
                        "on_conflict": _words(OnConflict, "what a new run does while another has the key"),
                        "timeout": _duration("how long it waits for those before it"),
                    },
                    "additionalProperties": False,
                },
            ],
        },
        "defaults": {
            "description": "for every task that does not say otherwise",
            "type": "object",
            "properties": {"timeout": _duration("of one attempt"), "retry": {"$ref": "#/$defs/retry"}},
            "additionalProperties": False,
        },
        "tasks": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]{0,62}$"},
            "additionalProperties": {"$ref": "#/$defs/task"},
        },
        "finally": {
            "description": "tasks that come when all else is over, however it ended",
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]{0,62}$"},
            "additionalProperties": {"$ref": "#/$defs/closing"},
        },
        "outputs": {"type": "object", "description": "what the run gives out"},
    }


def _task() -> Schema:
    properties: Schema = {
        "description": {"type": "string"},
        "needs": {
            "description": "tasks that come before this one, besides those that its expressions name",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        "when": _or_expression({"type": "boolean", "description": "false skips the task"}),
        "run_if": _words(RunIf, "which ends of the tasks before it let it start"),
        "for_each": _or_expression({"type": ["array", "object", "integer"], "description": "one instance for each item"}),
        "max_parallel": {"type": "integer", "minimum": 1, "description": "instances at once; no limit unless given"},
        "max_failures": {"type": "integer", "minimum": 0, "description": "failed instances after which no other starts"},
        "max_items": {"type": "integer", "minimum": 1, "description": "more items than these are an error"},
        "retry": {"$ref": "#/$defs/retry"},
        "timeout": _duration("of one attempt"),
        "poll": {
            "description": "repeat it until a condition over its result is true",
            "type": "object",
            "required": ["until"],
            "properties": {
                "until": {"$ref": "#/$defs/expression"},
                "every": _duration("from one try to the next"),
                "timeout": _duration("after which it has failed"),
            },
            "additionalProperties": False,
        },
        "remedy": {"description": "done after a failed attempt, before the next one", "$ref": "#/$defs/remedy"},
        "undo": {
            "description": "how it is taken back",
            "anyOf": [_words(UndoMode, "", hidden=(UndoMode.UNSAID, UndoMode.BODY)), {"$ref": "#/$defs/undo"}],
        },
        "undo_when": _words(UndoWhen, "from when on it has something to undo"),
        "pivot": {"type": "boolean", "description": "once it has succeeded, nothing of the run is undone"},
        "allow_failure": {"type": "boolean", "description": "its failure does not fail the run"},
        "pool": {"type": "string", "description": "a limit of the project (drystone.toml, [pools]): so many attempts at once"},
        "priority": {"type": "integer", "description": "higher starts first, among equally urgent ones"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    assert properties.keys() == set(TASK_KEYS)
    return properties


def _undo() -> Schema:
    properties: Schema = {
        "on_update": _words(OnUpdate, "what takes back a change of what earlier runs made: this, or its last good version"),
        "retry": {"$ref": "#/$defs/retry"},
        "timeout": _duration("of one attempt; the task's unless given"),
    }
    assert properties.keys() == set(UNDO_KEYS)
    return properties


def _retry() -> Schema:
    classes = [item.value for item in FailureClass if item is not FailureClass.CANCELLED]
    policy: Schema = {
        "type": "object",
        "properties": {
            "attempts": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "every try counts, the first too"},
            "delay": _duration("before the second attempt"),
            "backoff": _words(Backoff, "how the wait grows"),
            "max_delay": _duration("at which the wait stops growing"),
            "jitter": {"type": "boolean", "description": "adds up to a quarter of the wait"},
            "on": {"type": "array", "items": {"enum": classes}, "description": "failure classes that are tried again"},
        },
        "additionalProperties": False,
    }
    return {"description": "how often it is tried", "anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, policy]}


def _duration(description: str) -> Schema:
    return {"$ref": "#/$defs/duration", "description": description}


def _words(choices: type[Any], description: str, hidden: tuple[Any, ...] = ()) -> Schema:
    words = [choice.value for choice in choices if choice not in hidden]
    return {"enum": words, "description": description} if description else {"enum": words}


def _one_kind(properties: Schema, kinds: Mapping[str, Schema]) -> Schema:
    """A map with these keys and exactly one kind."""
    return {
        "type": "object",
        "properties": {**properties, **kinds},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in kinds],
    }


def _triggers(registry: Registry, definitions: Schema) -> Schema:
    types = {name: _config(partial(registry.triggers.config_schema, name), f"trigger.{name}", definitions) for name in registry.triggers}
    own: Schema = {
        "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,62}$", "description": "unique in the plan; the type unless given"},
        "inputs": {"type": "object", "description": "of the run; may use event"},
    }
    assert own.keys() == set(TRIGGER_KEYS)
    return {"description": "what starts runs by itself", "type": "array", "items": _one_kind(own, types)}


# ---- kinds ------------------------------------------------------------------------------------------------------------


def _kind(registry: Registry, name: str, definitions: Schema) -> Schema:
    return _config(lambda: registry.config_schema(name), name, definitions)


def _config(ask: Callable[[], Schema], name: str, definitions: Schema) -> Schema:
    """A reference to a plugin's config, whose parts go to `definitions` under the name."""
    try:
        schema = ask()
    except PluginError:
        return {}
    for part, definition in schema.pop("$defs", {}).items():
        definitions[f"{name}.{part}"] = _opened(definition, name)
    definitions[name] = _opened(schema, name)
    return {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}, {"$ref": "#/$defs/expression"}]}


def _opened(schema: Any, kind: str) -> Any:
    """A kind's schema in which every value may be an expression, and references lead to the shared definitions."""
    if isinstance(schema, list):
        return [_opened(item, kind) for item in schema]
    if not isinstance(schema, dict):
        return schema
    opened: Schema = {}
    for keyword, value in schema.items():
        match keyword:
            case "$ref":
                opened[keyword] = f"#/$defs/{kind}.{value.rpartition('/')[2]}"
            case "properties" | "patternProperties":
                opened[keyword] = {name: _or_expression(_opened(item, kind)) for name, item in value.items()}
            case "items" | "additionalProperties" if isinstance(value, dict):
                opened[keyword] = _or_expression(_opened(value, kind))
            case "prefixItems":
                opened[keyword] = [_or_expression(_opened(item, kind)) for item in value]
            case "anyOf" | "oneOf" | "allOf":
                opened[keyword] = _opened(value, kind)
            case _:
                opened[keyword] = value
    return opened


def _or_expression(schema: Schema) -> Schema:
    """The schema, or an expression; what an editor shows of it stays outside, where editors look."""
    takes_anything = not schema.keys() - {"title", "description", "default"}
    if takes_anything or (schema.get("type") == "string" and not _is_narrow(schema)):
        return schema
    shown: Schema = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in shown}
    alternatives = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    return {**shown, "anyOf": [*alternatives, {"$ref": "#/$defs/expression"}]}


def _is_narrow(schema: Schema) -> bool:
    return any(key in schema for key in ("enum", "const", "pattern", "format", "minLength", "maxLength"))
