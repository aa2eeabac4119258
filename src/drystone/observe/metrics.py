"""What a server counts of the runs that it drives, for Prometheus. Names are stable; docs/reference/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from drystone.core.events import Event, EventType
from drystone.core.run import Run

BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
"""Seconds: from a no-op to a database that is migrated."""
OUTCOMES: Mapping[EventType, str] = {
    EventType.TASK_SUCCEEDED: "succeeded",
    EventType.TASK_FAILED: "failed",
    EventType.TASK_CANCELLED: "cancelled",
    EventType.TASK_LOST: "lost",
}
UNDONE: Mapping[EventType, str] = {EventType.UNDO_SUCCEEDED: "succeeded", EventType.UNDO_FAILED: "failed", EventType.UNDO_LOST: "lost"}


disable_created_metrics()  # type: ignore[no-untyped-call]  # no types in prometheus-client


class Metrics:
    """Of one server. `observe` is called in the engine's loop, `expose` from anywhere."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        seconds = partial(Histogram, buckets=BUCKETS, registry=own)
        self._runs = Counter("drystone_runs", "Runs that ended, by how.", ["plan", "status"], registry=own)
        self._run_seconds = seconds("drystone_run_seconds", "From the start of a run to its end.", ["plan"])
        self._attempts = Counter("drystone_attempts", "Attempts of tasks that ended.", ["plan", "kind", "outcome", "failure"], registry=own)
        self._seconds = seconds("drystone_attempt_seconds", "How long attempts took.", ["kind"])
        self._undos = Counter("drystone_undos", "Attempts to undo a task that ended.", ["plan", "outcome"], registry=own)
        self._approvals = Counter("drystone_approvals", "Answers to approvals.", ["plan", "answer"], registry=own)
        self._in_hand = Gauge("drystone_runs_in_hand", "Runs that this server drives.", registry=own)
        self._ready = Gauge("drystone_ready", "1 when the server takes runs and events.", registry=own)
        self._mine: set[str] = set()
        self._in_hand.set_function(lambda: len(self._mine))

    def ask_readiness(self, is_ready: Callable[[], bool]) -> None:
        """Where to look whether the server is ready."""
        self._ready.set_function(lambda: float(is_ready()))

    def observe(self, run: Run, events: Sequence[Event]) -> None:
        """Counts what happened."""
        plan = run.graph.plan.name
        for event in events:
            if event.type is EventType.RUN_FINISHED:
                self._runs.labels(plan, str(event.data.get("status", run.status.value))).inc()
                if run.started_at is not None:
                    self._run_seconds.labels(plan).observe((event.at - run.started_at).total_seconds())
            elif event.type in OUTCOMES:
                self._count(run, event, plan)
            elif event.type in UNDONE:
                self._undos.labels(plan, UNDONE[event.type]).inc()
            elif event.type is EventType.APPROVAL_GIVEN:
                self._approvals.labels(plan, str(event.data.get("answer", ""))).inc()
        if run.status.is_final:
            self._mine.discard(run.id)
        else:
            self._mine.add(run.id)

    def _count(self, run: Run, event: Event, plan: str) -> None:
        instance = run.instances.get(event.task or "")
        if instance is None or event.attempt is None:
            return
        self._attempts.labels(plan, instance.kind, OUTCOMES[event.type], str(event.data.get("class", ""))).inc()
        attempt = next((each for each in instance.attempts if each.number == event.attempt), None)
        if attempt is not None and attempt.started_at is not None:
            self._seconds.labels(instance.kind).observe((event.at - attempt.started_at).total_seconds())

    def expose(self, accepted: str) -> tuple[bytes, str]:
        """The metrics as the reader accepts them (its Accept header), and their media type."""
        encode, media_type = choose_encoder(accepted)
        return encode(self.registry), media_type
