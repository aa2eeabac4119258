"""Which versions of Terraform a task takes, written as Terraform's own `required_version`: `>= 1.6, < 2`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

Release = tuple[int, ...]

_OPERATORS: Mapping[str, Callable[[Release, Release], bool]] = {
    "": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_PART = re.compile(r"(!=|>=|<=|~>|[=<>]|)\s*v?(\d+(?:\.\d+){0,2})")
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-\S+)?")
_FINAL, _PRERELEASE = 1, 0


def parse_constraint(value: Any) -> str:
    """The constraint as it is written. Raises ValueError, with the part that is wrong."""
    # YAML reads 1.6 as a number; 1.10 would have lost its zero by then.
    if not isinstance(value, str):
        raise ValueError('must be quoted text, such as ">= 1.6, < 2"')
    for part in value.split(","):
        if _PART.fullmatch(part.strip()) is None:
            raise ValueError(f'"{part.strip()}" is no constraint; write =, !=, >, >=, <, <= or ~> and a version, as in ">= 1.6, < 2"')
    return value


def satisfies(version: str, constraint: str) -> bool:
    """Whether a version, such as `1.11.4` or `1.12.0-beta1`, keeps a constraint. A prerelease comes before its release.

    Raises ValueError when the version is none.
    """
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        raise ValueError(f'"{version}" is no version')
    own = (*(int(part) for part in found.groups()[:3]), _PRERELEASE if found.group(4) else _FINAL)
    return all(_keeps(own, part.strip()) for part in constraint.split(","))


def _keeps(own: Release, part: str) -> bool:
    match = _PART.fullmatch(part)
    assert match is not None, part
    sign, numbers = match.group(1), [int(number) for number in match.group(2).split(".")]
    wanted = _release(numbers)
    if sign == "~>":
        # `~> 1.6.2` stays in 1.6, `~> 1.6` in 1: all but the last number are kept. A prerelease of what follows is beyond.
        kept = numbers[:-1] or numbers
        return own >= wanted and own[: len(kept)] == tuple(kept)
    return _OPERATORS[sign](own, wanted)


def _release(numbers: list[int]) -> Release:
    return (*numbers, *[0] * (3 - len(numbers)), _FINAL)


Constraint = Annotated[str, BeforeValidator(parse_constraint), WithJsonSchema({"type": "string", "examples": [">= 1.6, < 2"]})]
