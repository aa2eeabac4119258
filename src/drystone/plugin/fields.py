"""Field types for kinds' configs: durations, file modes, environment maps, text that may be a number.

A config arrives with its expressions evaluated, so a value may be a number where its author thinks of text. Each type
here takes what such a user writes, says clearly what it does not take, and carries the JSON Schema that `drystone
schema` prints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from drystone.core import durations


def parse_mode(value: Any) -> int:
    """`"0640"` -> 0o640. Raises ValueError for numbers: YAML reads 0640 as six hundred and forty."""
    if isinstance(value, str) and re.fullmatch(r"(0o?)?[0-7]{3,4}", value):
        return int(value.removeprefix("0o"), 8)
    raise ValueError(f'"{value}" is not a file mode; write it as quoted octal digits, such as "0640"')


def parse_text(value: Any) -> str:
    """Text as it is, numbers and truth values as YAML writes them. Raises ValueError for lists, maps and null."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            raise ValueError(f"must be text, not {type(value).__name__}")


def parse_env_name(value: Any) -> str:
    """The name of an environment variable. Raises ValueError when no shell would take it."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        return value
    raise ValueError(f'"{value}" is no name for an environment variable; use letters, digits and "_"')


def parse_texts(value: Any) -> Any:
    """One text stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def written(config: object, key: str) -> Any:
    """What a plan wrote under a key of a kind's config, which may be an expression; None for nothing.

    For the questions that a kind is asked before anything is evaluated. A config that is one expression may hold anything
    under any key, and so it is itself the answer.
    """
    return config.get(key) if isinstance(config, Mapping) else config


# A default is given as it is written ("30s", with `validate_default`), so that it fits the schema that shows it.
Duration = Annotated[
    timedelta,
    BeforeValidator(lambda value: value if isinstance(value, timedelta) else durations.parse(value)),
    WithJsonSchema({"type": ["string", "number"], "description": durations.SHAPE}),
]
Mode = Annotated[
    int,
    BeforeValidator(parse_mode),
    WithJsonSchema({"type": "string", "pattern": "^(0o?)?[0-7]{3,4}$", "description": 'octal digits, such as "0640"'}),
]
Text = Annotated[str, BeforeValidator(parse_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Texts = Annotated[tuple[Text, ...], BeforeValidator(parse_texts, json_schema_input_type=Text | list[Text])]
Env = dict[Annotated[str, BeforeValidator(parse_env_name), WithJsonSchema({"type": "string"})], Text]
