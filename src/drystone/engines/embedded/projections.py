"""What the store keeps of a run besides its events, so that lists need not fold them; `engine` writes it with each batch."""

from __future__ import annotations

from drystone.core.run import Instance, Run, attention, made
from drystone.core.states import RunStatus
from drystone.ports import RunSummary, TaskRow


def summary_of(run: Run, plan: str, owner: str | None = None) -> RunSummary:
    """The run's line of `drystone runs`; `owner` drives it."""
    total = len(run.graph.nodes)
    error = run.error
    return RunSummary(
        id=run.id,
        plan=plan,
        environment=run.environment,
        status=run.status,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        tasks_done=total if run.status is RunStatus.SUCCEEDED else total - run.forward.remaining - run.forward.closing,
        tasks_total=total,
        error=None if error is None else f"{error['task'] or 'run'}: {error['message']}",
        owner=None if run.status.is_final else owner,
        attention=len(attention(run)) if run.status.is_final else 0,
    )


def row_of(run: Run, instance: Instance) -> TaskRow:
    """The projection of one instance."""
    first, last = (instance.attempts[0], instance.attempts[-1]) if instance.attempts else (None, None)
    return TaskRow(
        run=run.id,
        id=instance.id,
        task=instance.task,
        kind=instance.kind,
        status=instance.status.value,
        attempts=made(instance.attempts),
        started_at=first.started_at if first else None,
        finished_at=last.finished_at if last else None,
        failure_class=last.failure.failure_class.value if last and last.failure else None,
    )
