"""A kind's config in a plan, checked before anything runs: Pydantic's errors -> problems in the words of a diagnostic.

Expressions are open: `UNKNOWN` stands in their place, and nothing is said of what depends on one. Of the alternatives of a union that
all fail, the one that came nearest speaks. Used by `registry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from drystone.core.diagnostics import did_you_mean
from drystone.core.graph import Problem
from drystone.core.nodes import describe
from drystone.core.opaque import UNKNOWN, Unknown, find

Path = tuple[str | int, ...]


Step = tuple[bool, str | int]
"""One part of Pydantic's location: True and a key or an index of the config, or False and the name of a union's alternative."""


@dataclass(frozen=True)
class _Error:
    """One of Pydantic's errors: the way to it, what sort it is, its words, and the value it is about."""

    steps: tuple[Step, ...]
    type: str
    text: str
    value: Any

    @property
    def path(self) -> Path:
        """The way to it through the config alone."""
        return tuple(part for is_key, part in self.steps if is_key)

    @property
    def is_certain(self) -> bool:
        """False when it may be the fault of an expression that is still open."""
        if self.type in ("missing", "extra_forbidden"):
            return True
        # A list is no text, whatever its items will be.
        return self.value is not UNKNOWN if self.type in _WORDS else not find(self.value, Unknown)


def problems_of(model: type[BaseModel], config: Any) -> list[Problem]:
    """What is wrong with a config, whatever its open expressions will give."""
    if config is UNKNOWN:
        return []
    if not isinstance(config, Mapping):
        return [Problem((), f"its config must be a map, not {describe(config)}")]
    try:
        model.model_validate(config)
    except ValidationError as error:
        found = [_placed(config, item) for item in error.errors(include_url=False)]
        return _without_echoes([_problem(item, model) for item in _told(found)])
    # A validator of a stranger may stumble over what is open.
    except Exception as error:
        return [] if find(config, Unknown) else [Problem((), f"its config cannot be checked: {type(error).__name__}: {error}")]
    return []


def _placed(config: Any, error: Mapping[str, Any]) -> _Error:
    """Tells apart what in Pydantic's location leads through the config, and what names an alternative of a union."""
    steps: list[Step] = []
    value = config
    last = len(error["loc"]) - 1
    for index, part in enumerate(error["loc"]):
        is_key = _has(value, part)
        if is_key:
            value = value[part]
        steps.append((is_key or (error["type"] == "missing" and index == last), part))
    return _Error(tuple(steps), error["type"], error["msg"], error["input"])


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _told(errors: list[_Error], depth: int = 0) -> list[_Error]:
    """The errors worth telling: certain ones, and of each union those of one alternative. All share their first `depth` steps."""
    told: list[_Error] = []
    below: dict[Step, list[_Error]] = {}
    for error in errors:
        if len(error.steps) > depth:
            below.setdefault(error.steps[depth], []).append(error)
        elif error.is_certain:
            told.append(error)
    alternatives = []
    for (is_key, _), group in below.items():
        found = _told(group, depth + 1)
        if is_key:
            told += found
        else:
            alternatives.append(found)
    # An alternative in which nothing is certainly wrong may turn out to fit.
    return told + _nearest(alternatives, depth) if all(alternatives) else told


def _nearest(alternatives: list[list[_Error]], depth: int) -> list[_Error]:
    """The alternative that got deepest into the value, with the fewest errors; all of them as one when none got anywhere."""
    if not alternatives:
        return []
    first = alternatives[0][0]
    at = sum(is_key for is_key, _ in first.steps[:depth])
    deep = [found for found in alternatives if any(len(error.path) > at for error in found)]
    if deep:
        return min(deep, key=lambda found: (-max(len(error.path) for error in found), len(found)))
    wanted = list(dict.fromkeys(_wanted(error) for found in alternatives for error in found))
    return [_Error(first.steps[:depth], "union", f"Input should be {' or '.join(wanted)}", first.value)]


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """A key that is missing because it is misspelt is one mistake: the misspelling."""
    meant = {(*problem.path[:-1], problem.hint.partition('"')[2].rpartition('"')[0]) for problem in problems if problem.at_key}
    return [problem for problem in problems if problem.at_key or problem.path not in meant or "missing" not in problem.message]


_WORDS = {
    "int_parsing": "a whole number", "int_type": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number",
    "float_type": "a number", "bool_parsing": "true or false", "bool_type": "true or false", "string_type": "text",
    "dict_type": "a map", "model_type": "a map", "model_attributes_type": "a map", "mapping_type": "a map", "list_type": "a list",
    "tuple_type": "a list", "set_type": "a list", "frozen_set_type": "a list",
}  # fmt: skip
"""Pydantic's types of errors in the words of the plan language."""


def _wanted(error: _Error) -> str:
    """What the value should be."""
    return _WORDS.get(error.type, error.text.removeprefix("Input should be ").removeprefix("a valid "))


def _problem(error: _Error, model: type[BaseModel]) -> Problem:
    name = _name_of(error.path)
    match error.type:
        case "missing":
            return Problem(error.path, f'"{name}" is missing')
        case "extra_forbidden":
            known = sorted(_keys_at(model.model_json_schema(), error.path[:-1]))
            hint = did_you_mean(str(error.path[-1]), known) or (f"known keys: {', '.join(known)}" if known else "")
            return Problem(error.path, f'unknown key "{name}"', hint, at_key=True)
        case "value_error" | "assertion_error":
            text = error.text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
            return Problem(error.path, f'"{name}": {text}' if name else text)
        case _:
            is_wish = error.type in _WORDS or error.text.startswith("Input should be ")
            text = f"must be {_wanted(error)}, not {describe(error.value)}" if is_wish else error.text[:1].lower() + error.text[1:]
            return Problem(error.path, f'"{name}" {text}' if is_wish else f'"{name}": {text}')


def _name_of(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _keys_at(schema: Mapping[str, Any], path: Path) -> set[str]:
    """The keys that a config may have at `path`, over all alternatives of its schema."""
    level = [schema]
    for part in path:
        level = [child for item in level for child in _children(schema, item, part)]
    return {key for item in level for option in _options(schema, item) for key in option.get("properties", {})}


def _children(root: Mapping[str, Any], schema: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    for option in _options(root, schema):
        named = option.get("properties", {}).get(part, option.get("additionalProperties"))
        child = option.get("items") if isinstance(part, int) else named
        if isinstance(child, Mapping):
            yield child


def _options(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema itself, or what its references and alternatives lead to."""
    if "$ref" in schema:
        yield from _options(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    for alternative in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _options(root, alternative)
    if "properties" in schema or "items" in schema or "additionalProperties" in schema:
        yield schema
