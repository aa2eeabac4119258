"""Inputs that a plan writes for the run of a plan, checked before anything runs: of a sub-plan, or of a trigger's run.

What an expression gives is only known later; literal values, names and what is missing are known now.
"""

from __future__ import annotations

from collections.abc import Mapping

from drystone.core import inputs, values
from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.nodes import Node, place
from drystone.core.opaque import Unknown, find
from drystone.core.plan import Plan, Value


def check(plan: Plan, given: Mapping[str, Value], node: Node | None, where: Where, found: Diagnostics) -> None:
    """Adds every mistake in the inputs `given` to a run of `plan`.

    node:  the map that they were written as; None when nothing was written.
    where: the place to which something missing is told.
    """
    for name, value in given.items():
        declared = plan.inputs.get(name)
        if declared is None:
            few = f"its inputs are {', '.join(plan.inputs)}" if plan.inputs else "it has no inputs"
            hint = found.near(name, plan.inputs) or few
            at = where if node is None else place(node, (name,), at_key=True)
            found.error(f'plan "{plan.name}" has no input "{name}"', at, hint=hint, length=len(name))
        elif not find(literal := values.without_expressions(value), Unknown):
            for path, message in inputs.problems_of(declared, literal):
                inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
                at = where if node is None else place(node, (name, *path))
                found.error(f'input "{name}{inside}" of plan "{plan.name}" {message}', at)
    if missing := [name for name, declared in plan.inputs.items() if declared.required and name not in given]:
        names = ", ".join(f'"{name}"' for name in missing)
        found.error(f'plan "{plan.name}" needs the input{"s" if len(missing) > 1 else ""} {names}', where)
