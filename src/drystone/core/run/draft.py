"""A run while events are folded into it: plain attributes in place of frozen ones. Used by `evolve`, `forward` and `back`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from rpds import HashTrieMap

from drystone.core.run import back, forward
from drystone.core.run.state import Instance, Run
from drystone.core.states import RUN_TRANSITIONS, TASK_TRANSITIONS, RunStatus, TaskStatus


class Draft:
    """A run being changed: plain attributes in place of frozen ones, until `finish`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.instances, self.expansions = run.instances, run.expansions
        self.views, self.running, self.used = run.views, run.running, run.used
        self.fatal, self.stopping_since = run.fatal, run.stopping_since
        self.now = self.last_at = run.last_at or run.created_at
        self.fields: dict[str, Any] = {}
        index = run.forward
        self.open, self.unsettled, self.failures = index.open, index.unsettled, index.failures
        self.held, self.retrying, self.waiting = index.held, index.retrying, index.waiting
        self.remaining, self.closing_left = index.remaining, index.closing
        self.reached = list(index.reached)
        self.ready: list[tuple[tuple[int, ...], str]] = []
        self.base_ready, self.base_pooled = index.ready, index.pooled
        self.pooled: dict[str, list[tuple[tuple[int, ...], str]]] = {}
        self.gone: set[str] = set()
        self.left_reached: set[str] = set()
        way_back = run.back
        self.goes_back = way_back is not None
        self.back_left: HashTrieMap[str, int] = way_back.left if way_back else HashTrieMap()
        self.back_open = way_back.open if way_back else HashTrieMap()
        self.back_stands: HashTrieMap[str, str] = way_back.stands if way_back else HashTrieMap()
        self.back_retrying: HashTrieMap[str, datetime] = way_back.retrying if way_back else HashTrieMap()
        self.back_remaining = way_back.remaining if way_back else 0
        self.back_ready: list[str] = []
        self.back_gone: set[str] = set()
        self.back_rebuilt = False

    def changed(self, instance: Instance, **fields: Any) -> Instance:
        """The instance with other fields; not yet put back."""
        return replace(instance, **fields)

    def put(self, instance: Instance, **fields: Any) -> Instance:
        """Changes an instance and keeps it."""
        new = replace(instance, **fields)
        self.instances = self.instances.insert(new.id, new)
        return new

    def set(self, instance: Instance, status: TaskStatus, **fields: Any) -> Instance:
        """Changes an instance's status, which the table of transitions must allow."""
        assert (instance.status, status) in TASK_TRANSITIONS, f"{instance.id}: {instance.status} -> {status}"
        return self.put(instance, status=status, **fields)

    def undo(self, instance: Instance, **fields: Any) -> Instance:
        """Changes the way back of an instance."""
        return self.put(self.instances[instance.id], undo=replace(self.instances[instance.id].undo, **fields))

    def enqueue(self, instance: Instance) -> None:
        """It may start as soon as there is room."""
        pool = self.run.task_of(instance).pool
        queue = self.ready if pool is None else self.pooled.setdefault(pool, [])
        queue.append((instance.rank, instance.id))

    def clear_queues(self) -> None:
        """Nothing starts any more."""
        self.base_ready, self.base_pooled = (), HashTrieMap()
        self.ready, self.pooled, self.reached = [], {}, []

    def begin(self, instance: Instance, number: int) -> None:
        """An attempt is in flight."""
        self.running = self.running.insert(instance.id, number)
        if (pool := self.run.task_of(instance).pool) is not None:
            self.used = self.used.insert(pool, self.used.get(pool, 0) + 1)

    def end(self, instance: Instance) -> None:
        """The attempt in flight has ended."""
        if instance.id not in self.running:
            return
        self.running = self.running.remove(instance.id)
        if (pool := self.run.task_of(instance).pool) is not None:
            self.used = self.used.insert(pool, self.used[pool] - 1)

    def current(self, name: str) -> Any:
        """A field of the run as this batch has it so far."""
        return self.fields.get(name, getattr(self.run, name))

    def set_run(self, status: RunStatus, **fields: Any) -> None:
        """Changes the run's status, which the table of transitions must allow."""
        current = self.current("status")
        if current is RunStatus.WAITING:
            # Whether it waits follows from all the rest, see `finish`: the table is about what events say.
            current = RunStatus.RUNNING
        if current is not status:
            assert (current, status) in RUN_TRANSITIONS, f"{self.run.id}: {current} -> {status}"
        self.fields.update(status=status, **fields)

    def finish(self) -> Run:
        """The new state."""
        after = replace(
            self.run,
            instances=self.instances,
            expansions=self.expansions,
            views=self.views,
            running=self.running,
            used=self.used,
            fatal=self.fatal,
            stopping_since=self.stopping_since,
            forward=forward.index_of(self, self.base_ready),
            back=back.index_of(self, self.run.back),
            **self.fields,
        )
        waits = RunStatus.WAITING if after.closing is None and after.only_waits() else RunStatus.RUNNING
        if after.status in (RunStatus.RUNNING, RunStatus.WAITING) and after.status is not waits:
            return replace(after, status=waits)
        return after
