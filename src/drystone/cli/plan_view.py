"""What `drystone validate` says."""

from __future__ import annotations

import json as codec
from collections.abc import Sequence

import typer

from drystone.app.plans import Checked
from drystone.cli import problems

FORMAT = 1


def validation(checked: Sequence[Checked], *, strict: bool, json: bool) -> None:
    """The verdict on standard output; for people, the mistakes go before it to standard error."""
    if json:
        typer.echo(codec.dumps(validation_json(checked, strict=strict), indent=2))
        return
    for item in checked:
        for line in problems.diagnostics(item.diagnostics):
            typer.echo(line, err=True)
        typer.echo(f"{item.plan.shown}: {_verdict(item, strict=strict)}")


def _verdict(item: Checked, *, strict: bool) -> str:
    if not item.diagnostics:
        assert item.graph is not None
        tasks, waves = len(item.graph.nodes), len(item.graph.waves)
        return f"valid ({tasks} task{'' if tasks == 1 else 's'} in {waves} wave{'' if waves == 1 else 's'})"
    return f"{'valid' if item.is_fine(strict=strict) else 'not valid'}: {problems.count(item.diagnostics)}"


def validation_json(checked: Sequence[Checked], *, strict: bool) -> dict[str, object]:
    """One entry for each plan."""
    plans = [
        {
            "file": item.plan.shown,
            "valid": item.is_fine(strict=strict),
            "tasks": list(item.graph.nodes) if item.graph is not None else [],
            "diagnostics": [diagnostic.to_json() for diagnostic in item.diagnostics],
        }
        for item in checked
    ]
    return {"format": FORMAT, "valid": all(plan["valid"] for plan in plans), "plans": plans}
