"""A kind's config in a plan, checked before anything runs: Pydantic's errors -> problems in the words of a diagnostic.

Expressions are open: `UNKNOWN` stands in their place, and nothing is said of what depends on one. Of the alternatives of a union that
all fail, the one that came nearest speaks. Used by `registry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from drystone.core.diagnostics import did_you_mean
from drystone.core.graph import Problem
from drystone.core.nodes import describe
from drystone.core.opaque import UNKNOWN, Unknown, find

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class _Error:
    """One of Pydantic's errors, at its place in the config.

    choice: how much of the path leads to a union, when the error comes out of one of its alternatives; `branch` says which.
    """

    path: Path
    type: str
    text: str
    value: Any
    choice: int | None
    branch: str

    @property
    def is_certain(self) -> bool:
        """False when it may be the fault of an expression that is still open."""
        return self.type in ("missing", "extra_forbidden") or not find(self.value, Unknown)


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
    """Takes what Pydantic's location says of unions and validators out of the path."""
    path: list[str | int] = []
    value, choice, branch = config, None, ""
    last = len(error["loc"]) - 1
    for index, part in enumerate(error["loc"]):
        if _has(value, part):
            value = value[part]
            path.append(part)
        elif error["type"] == "missing" and index == last:
            path.append(part)
        elif choice is None:
            choice, branch = len(path), str(part)
    return _Error(tuple(path), error["type"], error["msg"], error["input"], choice, branch)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _told(errors: Iterable[_Error]) -> Iterator[_Error]:
    """The errors worth telling: certain ones, and of each union those of one alternative."""
    unions: dict[Path, dict[str, list[_Error]]] = {}
    for error in errors:
        if error.choice is None:
            if error.is_certain:
                yield error
        else:
            unions.setdefault(error.path[: error.choice], {}).setdefault(error.branch, []).append(error)
    for branches in unions.values():
        certain = [[error for error in branch if error.is_certain] for branch in branches.values()]
        # An alternative in which nothing is certainly wrong may turn out to fit.
        if all(certain):
            yield from _nearest(certain)


def _nearest(branches: list[list[_Error]]) -> list[_Error]:
    """The alternative that got deepest into the value, with the fewest errors; all of them as one when none got anywhere."""
    deep = [branch for branch in branches if any(len(error.path) > (error.choice or 0) for error in branch)]
    if deep:
        return min(deep, key=lambda branch: (-max(len(error.path) for error in branch), len(branch)))
    first = branches[0][0]
    texts = list(dict.fromkeys(_wanted(error) for branch in branches for error in branch))
    return [_Error(first.path, "union", f"Input should be {' or '.join(texts)}", first.value, None, "")]


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
