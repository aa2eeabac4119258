"""Inputs of a run, gathered: a file, then the environment, then the command line; the later wins.

Only gathers and reads text by the input's type; whether they fit is `core.inputs.check_inputs`' to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.app.places import shown
from drystone.app.plans import read
from drystone.app.world import World
from drystone.core.diagnostics import Diagnostics
from drystone.core.inputs import from_text
from drystone.core.nodes import to_data
from drystone.core.plan import Input, Plan
from drystone.errors import InputError, PlanError

PREFIX = "DRYSTONE_INPUT_"
"""An input `db_password` may come as DRYSTONE_INPUT_db_password: unlike the command line, others cannot read it."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the caller gave. `pairs` are `name=value` texts, `file` is YAML or JSON with a map of values."""

    pairs: Sequence[str] = ()
    file: Path | None = None


def gather(world: World, plan: Plan, given: Given) -> dict[str, Any]:
    """Values by name. Raises InputError for what is no `name=value`, PlanError for a file that is no YAML."""
    values = _from_file(world, given.file) if given.file is not None else {}
    texts = {**_from_environment(world.environ, plan), **_pairs(given.pairs)}
    for name, text in texts.items():
        values[name] = from_text(plan.inputs[name], text) if name in plan.inputs else text
    return values


def missing(plan: Plan, values: Mapping[str, Any]) -> list[Input]:
    """Required inputs that nobody gave, in the plan's order."""
    return [item for item in plan.inputs.values() if item.required and item.name not in values]


def _pairs(given: Sequence[str]) -> dict[str, str]:
    # Many programs take "-i=vms=3", so people write it: the command line hands on "=vms=3".
    pairs = [pair.removeprefix("=") for pair in given]
    wrong = [pair for pair in pairs if "=" not in pair or pair.startswith("=")]
    if wrong:
        # Only the name side is told: what was meant as a value may be a secret.
        problems = [f'"{pair.partition("=")[0]}" has no value' if pair[:1] != "=" else "a value has no name" for pair in wrong]
        raise InputError("an input is given as name=value", problems=problems, hint="for example: -i vms=3")
    return dict(pair.split("=", 1) for pair in pairs)


def _from_environment(environ: Mapping[str, str], plan: Plan) -> dict[str, str]:
    return {name: environ[PREFIX + name] for name in plan.inputs if PREFIX + name in environ}


def _from_file(world: World, path: Path) -> dict[str, Any]:
    name = shown(world.cwd / path, world.cwd)
    found = Diagnostics()
    tree = world.parse(read(world.cwd / path, name), name, found)
    if found.has_errors:
        raise PlanError(f"{name} is not YAML", diagnostics=tuple(found))
    data = to_data(tree) if tree is not None else {}
    if not isinstance(data, dict):
        raise InputError(f'"{name}" must hold a map of input names to values')
    return data
