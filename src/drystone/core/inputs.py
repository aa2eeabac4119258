"""Inputs against their JSON Schemas: when a plan is read (is the schema one, does the default fit) and when a run is given values.

`planfile` calls `check_schema` and `problems_of`, the faces `from_text` and `check_inputs`. A value that is secret is in no message.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drystone.core.diagnostics import did_you_mean
from drystone.core.graph import Problem
from drystone.core.nodes import describe
from drystone.core.plan import Input, Plan
from drystone.errors import InputError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Path = tuple[str | int, ...]
KEYWORDS = frozenset({
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref", "$schema", "additionalProperties", "allOf", "anyOf",
    "const", "contains", "contentEncoding", "contentMediaType", "contentSchema", "default", "dependentRequired", "dependentSchemas",
    "deprecated", "description", "else", "enum", "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items", "maxContains",
    "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
    "not", "oneOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames", "readOnly", "required", "then", "title",
    "type", "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "writeOnly",
})  # fmt: skip
"""Draft 2020-12. JSON Schema lets unknown keywords pass; here a misspelt one is a mistake, as everywhere in a plan."""

_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = (
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems",
    "unevaluatedProperties",
)  # fmt: skip
_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_ARTICLES = {"integer": "an integer", "array": "a list", "object": "a map", "boolean": "true or false", "string": "text", "null": "null"}


# ---- schemas ----------------------------------------------------------------------------------------------------------


def check_schema(schema: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a schema; empty when it can be used."""
    found = list(_check_keywords(schema, ()))
    if found:
        return found
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)
    return [_schema_problem(tuple(error.absolute_path), error) for error in _deepest(errors)]


def _schema_problem(path: Path, error: ValidationError) -> Problem:
    if not path:
        return Problem(path, f"the schema {_describe(error, secret=False)}")
    if path[-1] == "type":
        return Problem(path, f'there is no type {describe(error.instance)}', f"a type is one of {', '.join(_TYPES)}")
    hint = "an input without a default is required; give it a default to make it optional" if path == ("required",) else ""
    return Problem(path, f'"{path[-1]}" {_describe(error, secret=False)}', hint)


def _check_keywords(schema: Any, path: Path) -> Iterator[Problem]:
    if not isinstance(schema, Mapping):
        return
    for keyword, value in schema.items():
        here = (*path, keyword)
        if keyword not in KEYWORDS:
            yield Problem(here, f'unknown key "{keyword}" in a schema', did_you_mean(keyword, KEYWORDS), at_key=True)
        elif keyword == "$ref" and not str(value).startswith("#"):
            yield Problem(here, '"$ref" may only point into this schema', 'write it as "#/$defs/NAME"')
        elif keyword == "pattern" or (keyword == "patternProperties" and isinstance(value, Mapping)):
            for pattern in [value] if keyword == "pattern" else value:
                if message := _check_pattern(pattern):
                    yield Problem(here, message)
        yield from _check_parts(keyword, value, here)


def _check_parts(keyword: str, value: Any, here: Path) -> Iterator[Problem]:
    if keyword in _SCHEMAS:
        yield from _check_keywords(value, here)
    elif keyword in _MAPS_OF_SCHEMAS and isinstance(value, Mapping):
        for name, part in value.items():
            yield from _check_keywords(part, (*here, name))
    elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
        for index, part in enumerate(value):
            yield from _check_keywords(part, (*here, index))


def _check_pattern(pattern: Any) -> str:
    """Why this is no regular expression, or nothing; what is no text is the schema's own concern."""
    try:
        # Python only warns of "[[:alpha:]]", and then matches something else.
        with warnings.catch_warnings(action="error"):
            re.compile(pattern if isinstance(pattern, str) else "")
    except (re.error, RecursionError, OverflowError, FutureWarning) as error:
        return f'"{pattern}" is not a regular expression: {error}'
    return ""


# ---- values -----------------------------------------------------------------------------------------------------------


def problems_of(declared: Input, value: Any) -> list[tuple[Path, str]]:
    """Why a value does not fit its input: (path inside the value, message); empty when it fits."""
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing.exceptions import Unresolvable

    validator = Draft202012Validator(dict(declared.schema), format_checker=FormatChecker())
    try:
        return [(tuple(error.absolute_path), _describe(error, secret=declared.secret)) for error in _deepest(validator.iter_errors(value))]
    except Unresolvable as error:
        return [((), f"its schema refers to what is not there: {error}")]
    except RecursionError:
        return [((), "its schema refers to itself without end")]


def check_inputs(plan: Plan, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run: what was given, and defaults for the rest, in the order of the plan.

    Raises InputError with every problem: unknown names, missing values, values that do not fit.
    """
    problems = [_unknown(name, plan.inputs) for name in given if name not in plan.inputs]
    values: dict[str, Any] = {}
    for name, declared in plan.inputs.items():
        if name in given:
            values[name] = given[name]
            for path, message in problems_of(declared, given[name]):
                problems.append(f'input "{name}"{_shown(path)} {message}')
        elif declared.required:
            about = f": {declared.description}" if declared.description else ""
            problems.append(f'input "{name}" is missing{about}')
        else:
            values[name] = declared.default
    if problems:
        hint = f'"{plan.name}" takes {_listed(plan.inputs)}'
        count = f"{len(problems)} problems with the inputs" if len(problems) > 1 else problems[0]
        raise InputError(count, problems=problems, hint=hint)
    return values


def _unknown(name: str, known: Mapping[str, Input]) -> str:
    hint = did_you_mean(name, known)
    return f'the plan has no input "{name}"{"; " + hint if hint else ""}'


def _listed(inputs: Mapping[str, Input]) -> str:
    return ", ".join(inputs) if inputs else "no inputs"


def _shown(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f" at {text.removeprefix('.')}" if text else ""


def from_text(declared: Input, text: str) -> Any:
    """What somebody typed, as the type that the schema asks for; the text itself when it is none, so that `check_inputs` can say so."""
    types = _types(declared.schema)
    if "string" in types:
        return text
    value = _from_json(text)
    if not types:
        return value
    if value is text and "boolean" in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return value if _type_of(value) in types or ("number" in types and _type_of(value) == "integer") else text


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types a schema allows, from `type`, else from its `enum`, `const` and alternatives; empty when it does not say."""
    if "type" in schema:
        types = schema["type"]
        return frozenset([types] if isinstance(types, str) else types)
    if "enum" in schema:
        return frozenset(_type_of(value) for value in schema["enum"])
    if "const" in schema:
        return frozenset({_type_of(schema["const"])})
    if any(keyword in schema for keyword in ("pattern", "minLength", "maxLength", "format")):
        return frozenset({"string"})
    parts = [_types(part) for key in ("anyOf", "oneOf") for part in schema.get(key, ()) if isinstance(part, Mapping)]
    return frozenset().union(*parts) if parts and all(parts) else frozenset()


def _from_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


# ---- messages ---------------------------------------------------------------------------------------------------------


def _deepest(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """One error for each place; of alternatives that all failed, what the nearest one says, if it is nearer than the choice itself."""
    from jsonschema.exceptions import best_match

    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        if error.validator in ("anyOf", "oneOf") and error.context:
            best = best_match(error.context)
            yield best if best is not None and len(best.absolute_path) > len(error.absolute_path) else error
        else:
            yield error


def _describe(error: ValidationError, *, secret: bool) -> str:
    """The error in the words of a message, without the value when it is secret."""
    rule = error.validator_value
    value = "its value" if secret else describe(error.instance)
    match error.validator:
        case "type":
            types = [rule] if isinstance(rule, str) else list(rule)
            return f"must be {' or '.join(_ARTICLES.get(name, f'a {name}') for name in types)}, not {value}"
        case "enum":
            return f"must be one of {', '.join(json.dumps(item) for item in rule)}, not {value}"
        case "const":
            return f"must be {json.dumps(rule)}, not {value}"
        case "pattern":
            return f'must match the pattern "{rule}", and {value} does not'
        case "minimum" | "maximum":
            return f"must be {'at least' if error.validator == 'minimum' else 'at most'} {rule}, not {value}"
        case "exclusiveMinimum" | "exclusiveMaximum":
            return f"must be {'more' if error.validator == 'exclusiveMinimum' else 'less'} than {rule}, not {value}"
        case "minLength" | "maxLength":
            return f"must have {'at least' if error.validator == 'minLength' else 'at most'} {rule} characters"
        case "minItems" | "maxItems":
            return f"must have {'at least' if error.validator == 'minItems' else 'at most'} {rule} items"
        case "format":
            return f"must be written as {rule}, and {value} is not"
        case "required":
            absent = [name for name in rule if isinstance(error.instance, Mapping) and name not in error.instance]
            return f"needs {', '.join(json.dumps(name) for name in absent)}"
        case "additionalProperties":
            known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
            extra = [] if secret else [name for name in error.instance if name not in known]
            return f"has {', '.join(json.dumps(name) for name in extra) or 'keys'} that the schema does not know"
        case "anyOf" | "oneOf":
            return f"fits none of the alternatives of its schema: {value}" if not secret else "fits none of the alternatives of its schema"
        case _:
            return f'does not fit the rule "{error.validator}" of its schema'
