"""State -> what expressions see: the roots `inputs tasks each run environment secrets task result` of DESIGN §3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drystone.core import values
from drystone.core.run.state import Instance, Run


def scope_of(
    run: Run,
    instance: Instance | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    tasks: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    attempt: int | None = None,
) -> dict[str, Any]:
    """The names and values an expression may use.

    Secrets are handles here. An engine about to use a config passes `inputs`, `tasks` and `secrets` with the real values in.
    """
    scope: dict[str, Any] = {
        "inputs": run.inputs if inputs is None else inputs,
        "tasks": run.views if tasks is None else tasks,
        "secrets": values.SecretNames() if secrets is None else secrets,
        "run": {
            "id": run.id,
            "plan": run.graph.plan.name,
            "started_at": run.started_at and run.started_at.isoformat(),
            # How it ends is known to the tasks under `finally`.
            "status": (run.closing or {}).get("status", run.status.value),
            "error": run.error,
        },
        "environment": {"name": run.environment},
    }
    if instance is not None:
        scope["task"] = {"id": instance.id, "token": f"{run.id}:{instance.id}", "attempt": attempt}
        scope["result"] = {"changed": instance.changed, **instance.result}
        if instance.key is not None:
            scope["each"] = {"key": instance.key, "value": instance.value}
    return scope
