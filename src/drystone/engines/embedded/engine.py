"""The loop: take what happened, decide, write it down, perform.

One thread owns all runs. Each turn it drains its inbox, lets the core decide, writes the events of all runs in one transaction (one
fsync for all), tells the observers, and only then starts attempts. Attempts run in threads and answer through the inbox; kinds that
never block run in the loop itself.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from drystone.core.commands import Cancel, Command, Record, Start, StartUndo, Wake
from drystone.core.events import Event, EventType
from drystone.core.expected import Expected
from drystone.core.plan import UndoMode
from drystone.core.run import (
    AttemptStatus,
    Instance,
    Run,
    decide,
    evolve,
    failed,
    finished_undo,
    request_cancel,
    request_resume,
    request_undo,
    succeeded,
    take,
    undo_failed,
)
from drystone.engines.attempt import Ended, Job, Performer
from drystone.engines.context import Control
from drystone.engines.embedded.pool import Pool
from drystone.engines.embedded.projections import row_of, summary_of
from drystone.engines.embedded.recovery import end_lost_attempts
from drystone.engines.embedded.timers import SteadyTime
from drystone.engines.layout import Layout
from drystone.engines.vault import Vault
from drystone.errors import LockedError, RefusedError, StoreError
from drystone.ports import Batch, Clock, Ids, Journal, Lease, LockInfo, RunRecord
from drystone.settings import EngineSettings

Observer = Callable[[Run, Sequence[Event]], None]
"""Told of every batch of durable events, with the run as it is after them; called in the loop, so it must be quick."""

POLL = timedelta(milliseconds=200)
"""How often a cancel request of another process is looked for while nothing else happens."""


@dataclass(frozen=True, slots=True)
class _Done:
    run: str
    instance: str
    undo: bool
    ended: Ended


@dataclass(frozen=True, slots=True)
class _Progress:
    run: str
    instance: str
    attempt: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class _CancelAsked:
    run: str
    by: str
    reason: str


_Fact = _Done | _Progress | _CancelAsked


def _stands_alone(fact: _Fact) -> bool:
    """True when what it means may depend on the fact before it, or decide about the next one."""
    return isinstance(fact, _CancelAsked) or (isinstance(fact, _Done) and fact.ended.failure is not None)


@dataclass
class _Driven:
    """A run in this engine's hands."""

    run: Run
    lease: Lease
    vault: Vault
    project: Path
    pending: list[Event] = field(default_factory=list)
    controls: dict[str, Control] = field(default_factory=dict)
    wake_at: datetime | None = None

    def add(self, events: Sequence[Event]) -> None:
        """Numbers the events, folds them in, and keeps them for the next write."""
        if events:
            numbered = [event.numbered(seq) for seq, event in enumerate(events, self.run.seq + 1)]
            self.run = evolve(self.run, *numbered)
            self.pending.extend(numbered)


class EmbeddedEngine:
    """Drives runs to their end in this process. `cancel` may be called from any thread or signal handler; all else from one."""

    def __init__(
        self,
        *,
        journal: Journal,
        performer: Performer,
        layout: Layout,
        clock: Clock,
        ids: Ids,
        settings: EngineSettings,
        owner: str,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._journal = journal
        self._performer = performer
        self._layout = layout
        self._clock = clock
        self._time = SteadyTime(clock)
        self._ids = ids
        self._settings = settings
        self._owner = owner
        self.observers = list(observers)
        self._inbox: queue.SimpleQueue[_Fact] = queue.SimpleQueue()
        self._pool = Pool()
        self._driven: dict[str, _Driven] = {}
        self._ended: dict[str, Run] = {}
        self._renew_at = 0.0
        self._look_at = 0.0

    # ---- taking runs ------------------------------------------------------------------------------------------------

    def start(self, record: RunRecord, run: Run, vault: Vault, *, expected: Mapping[str, Expected] | None = None) -> None:
        """Records a new run and takes it. Raises LockedError when its environment is held; then nothing is recorded.

        expected: task -> what its instances took in earlier runs; without it the graph alone gives the order.
        """
        now = self._clock.now()
        self._free_stale_lock(run)
        lock = self._lock_of(run, now, "run") if run.environment is not None else None
        self._journal.create(record, summary_of(run, record.plan), lock)
        self._take(run, vault, Path(record.root), [_created(record, expected or {})])

    def resume(self, record: RunRecord, run: Run, vault: Vault, *, by: str) -> None:
        """Takes a run that was begun: after a crash it goes on, a stopped one starts its failed tasks afresh."""
        self._again(record, run, vault, lambda run, now: request_resume(run, now, by=by))

    def undo(self, record: RunRecord, run: Run, vault: Vault, *, by: str) -> None:
        """Takes an ended run back."""
        self._again(record, run, vault, lambda run, now: request_undo(run, now, by=by))

    def _again(
        self, record: RunRecord, run: Run, vault: Vault, request: Callable[[Run, datetime], list[Event]]
    ) -> None:
        now = self._clock.now()
        request(run, now)  # refused before anything is taken
        lease = self._journal.claim(run.id, self._owner, self._settings.lease, now)
        try:
            self._free_stale_lock(run)
            if run.environment is not None:
                self._journal.lock(self._lock_of(run, now, "resume"))
            # Another process may have written between our reading and our claim.
            run = evolve(run, *self._journal.events(run.id, after=run.seq))
            driven = _Driven(run=run, lease=lease, vault=vault, project=Path(record.root))
            was_final = run.status.is_final
            if was_final:
                # A wish that came too late to end the run before must not end what is asked for now.
                self._layout.cancel_request(run.id).unlink(missing_ok=True)
            if run.seq == 0:
                driven.add([_created(record, {})])
            asked = request(run, now)
            driven.add(self._taken(run, lease, now))
            if not was_final:
                _, lost = end_lost_attempts(driven.run, self._performer, now)
                driven.add(lost)
            driven.add(asked)
        except Exception:
            if run.status.is_final and run.environment is not None:
                self._journal.unlock(run.environment, run.id)
            self._journal.release(lease)
            raise
        self._driven[run.id] = driven

    def _take(self, run: Run, vault: Vault, project: Path, events: list[Event]) -> None:
        now = self._clock.now()
        lease = self._journal.claim(run.id, self._owner, self._settings.lease, now)
        driven = _Driven(run=run, lease=lease, vault=vault, project=project)
        driven.add(events)
        driven.add(self._taken(driven.run, lease, now))
        self._driven[run.id] = driven

    def _taken(self, run: Run, lease: Lease, now: datetime) -> list[Event]:
        settings = self._settings
        return take(
            run,
            now,
            owner=self._owner,
            epoch=lease.epoch,
            max_parallel=settings.max_parallel,
            finish_grace=settings.finish_grace,
        )

    def _lock_of(self, run: Run, now: datetime, reason: str) -> LockInfo:
        assert run.environment is not None
        return LockInfo(environment=run.environment, run=run.id, owner=self._owner, reason=reason, since=now)

    def _free_stale_lock(self, run: Run) -> None:
        """A crash may come between the end of a run and the release of its lock: then nobody holds it any more."""
        held = next((lock for lock in self._journal.locks() if lock.environment == run.environment), None)
        if held is None or held.run == run.id or held.run in self._driven:
            return
        if not self._journal.summary(held.run).status.is_final:
            return
        # Only who has the run may give its lock back: another process may be about to take it up again.
        with suppress(LockedError):
            lease = self._journal.claim(held.run, self._owner, self._settings.lease, self._clock.now())
            self._journal.unlock(held.environment, held.run)
            self._journal.release(lease)

    # ---- asking -----------------------------------------------------------------------------------------------------

    def cancel(self, run_id: str, *, by: str, reason: str = "") -> None:
        """Asks for a graceful end."""
        self._inbox.put(_CancelAsked(run_id, by, reason))

    # ---- the loop ---------------------------------------------------------------------------------------------------

    def drive(self) -> dict[str, Run]:
        """Drives every run it has taken to its end. Raises StoreError when events cannot be written: attempts are ended first."""
        try:
            while self._driven:
                self._turn()
                if self._driven:
                    self._wait()
        except (StoreError, LockedError):
            self._end_attempts("the store cannot be written")
            raise
        return dict(self._ended)

    def _turn(self) -> None:
        now = self._time.now()
        effects = [(driven, command) for driven in self._driven.values() for command in _decided(driven, now)]
        self._commit()
        for driven, command in effects:
            self._perform(driven, command)
        for driven in [d for d in self._driven.values() if d.run.status.is_final and not d.run.running]:
            self._let_go(driven)

    def _commit(self) -> None:
        written = [driven for driven in self._driven.values() if driven.pending]
        if not written:
            return
        self._journal.append([_batch(driven) for driven in written])
        for driven in written:
            events, driven.pending = driven.pending, []
            for observer in self.observers:
                observer(driven.run, events)

    def _perform(self, driven: _Driven, command: Command) -> None:
        match command:
            case Start() | StartUndo():
                self._begin(driven, command, undo=isinstance(command, StartUndo))
            case Cancel():
                if (control := driven.controls.get(command.instance)) is not None:
                    control.cancel(command.reason)
            case Record() | Wake():
                pass

    def _begin(self, driven: _Driven, command: Start | StartUndo, *, undo: bool) -> None:
        run, id_ = driven.run, command.instance
        control = Control(self._clock, command.timeout)
        driven.controls[id_] = control
        job = Job(
            run=run,
            instance=id_,
            attempt=command.attempt,
            token=command.token,
            undo=undo,
            after_loss=_follows(AttemptStatus.LOST, run.instances[id_], undo=undo) or (undo and _undoes_a_lost_one(run.instances[id_])),
            after_failure=_follows(AttemptStatus.FAILED, run.instances[id_], undo=undo),
            project=driven.project,
        )

        def progress(message: str, data: object) -> None:
            facts = {"message": message, **(data if isinstance(data, dict) else {}), "undo": undo}
            self._inbox.put(_Progress(run.id, id_, command.attempt, facts))

        def call() -> None:
            self._inbox.put(_Done(run.id, id_, undo, self._performer.perform(job, driven.vault, control, progress)))

        if self._performer.is_inline(run, id_, undo=undo):
            call()
        else:
            self._pool.submit(call)

    def _let_go(self, driven: _Driven) -> None:
        run = driven.run
        self._ended[run.id] = run
        del self._driven[run.id]
        if run.environment is not None:
            self._layout.prune(run.environment, run.graph.plan.name)
            self._journal.unlock(run.environment, run.id)
        # Before others may take it: a wish that comes later is meant for them.
        with suppress(OSError):
            self._layout.cancel_request(run.id).unlink()
        self._journal.release(driven.lease)

    # ---- facts ------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until something happened or a moment came; then takes all that is there."""
        self._renew()
        timeout = self._timeout()
        facts: list[_Fact] = []
        try:
            facts.append(self._inbox.get(timeout=timeout) if timeout > 0 else self._inbox.get_nowait())
            while True:
                facts.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        self._absorb(facts)
        self._look_for_requests()

    def _timeout(self) -> float:
        moments = [driven.wake_at for driven in self._driven.values() if driven.wake_at is not None]
        poll = POLL.total_seconds()
        if not moments:
            return poll
        return min(poll, max(0.0, (min(moments) - self._time.now()).total_seconds()))

    def _absorb(self, facts: Iterable[_Fact]) -> None:
        """Takes in what happened. Successes in a row are folded in together: none of them says what another means, as failures do."""
        for (run_id, alone), some in groupby(facts, key=lambda fact: (fact.run, _stands_alone(fact))):
            driven = self._driven.get(run_id)
            if driven is None:
                continue
            now = self._time.now()
            if alone:
                for fact in some:
                    driven.add(self._events_of(driven, fact, now))
            else:
                driven.add([event for fact in some for event in self._events_of(driven, fact, now)])

    def _events_of(self, driven: _Driven, fact: _Fact, now: datetime) -> list[Event]:
        match fact:
            case _Done():
                driven.controls.pop(fact.instance, None)
                return self._settled(driven, fact, now)
            case _Progress(run, instance, attempt, data):
                return [Event(type=EventType.TASK_PROGRESS, at=now, run=run, task=instance, attempt=attempt, data=data)]
            case _CancelAsked():
                try:
                    return request_cancel(driven.run, now, by=fact.by, reason=fact.reason)
                except RefusedError:
                    return []  # it ended while the request was on its way

    def _settled(self, driven: _Driven, fact: _Done, now: datetime) -> list[Event]:
        run, id_, ended = driven.run, fact.instance, fact.ended
        attempts = run.instances[id_].undo.attempts if fact.undo else run.instances[id_].attempts
        log = attempts[-1].log if ended.has_log else ""
        if ended.failure is None:
            if fact.undo:
                return finished_undo(run, id_, now, result=ended.result, changed=ended.changed, log=log)
            return succeeded(
                run, id_, now, outputs=ended.outputs, result=ended.result, changed=ended.changed, log=log
            )
        jitter = self._ids.jitter()
        if fact.undo:
            return undo_failed(run, id_, now, ended.failure, jitter=jitter, retry_in=ended.retry_in, log=log)
        return failed(
            run,
            id_,
            now,
            ended.failure,
            jitter=jitter,
            changed=ended.changed,
            result=ended.result,
            retry_in=ended.retry_in,
            log=log,
        )

    def _look_for_requests(self) -> None:
        if self._clock.monotonic() < self._look_at:
            return
        self._look_at = self._clock.monotonic() + POLL.total_seconds()
        for run_id in list(self._driven):
            path = self._layout.cancel_request(run_id)
            try:
                asked = json.loads(path.read_text(encoding="utf-8"))
                self._absorb([_CancelAsked(run_id, str(asked.get("by", "")), str(asked.get("reason", "")))])
                path.unlink(missing_ok=True)
            except (OSError, ValueError, AttributeError):
                continue

    def _renew(self) -> None:
        if self._clock.monotonic() < self._renew_at:
            return
        lease = self._settings.lease
        self._renew_at = self._clock.monotonic() + lease.total_seconds() / 3
        for driven in self._driven.values():
            self._journal.renew(driven.lease, self._clock.now() + lease)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _end_attempts(self, reason: str) -> None:
        """Ends what runs, gracefully, and tries once more to write down how it ended."""
        for driven in self._driven.values():
            for control in driven.controls.values():
                control.cancel(reason)
        end = self._clock.monotonic() + self._settings.finish_grace.total_seconds()
        # A kind that does not listen must not keep the process for ever.
        while any(driven.controls for driven in self._driven.values()) and (left := end - self._clock.monotonic()) > 0:
            with suppress(queue.Empty):
                self._absorb([self._inbox.get(timeout=left)])
        try:
            self._commit()
        except (StoreError, LockedError):
            return  # the caller is about to say so; recovery finds the attempts lost

    def close(self) -> None:
        """Lets go of daemons and threads. Runs still in hand stay as the journal has them."""
        self._pool.close()
        self._performer.close()


def _decided(driven: _Driven, now: datetime) -> list[Command]:
    """Decides until nothing new follows; the events are kept for the next write, what has an effect is given back."""
    effects: list[Command] = []
    driven.wake_at = None
    while commands := decide(driven.run, now):
        driven.add([command.event for command in commands if isinstance(command, Record | Start | StartUndo)])
        effects += [command for command in commands if isinstance(command, Start | StartUndo | Cancel)]
        if all(isinstance(command, Cancel | Wake) for command in commands):
            driven.wake_at = min((command.at for command in commands if isinstance(command, Wake)), default=None)
            break
    return effects


def _created(record: RunRecord, expected: Mapping[str, Expected]) -> Event:
    data = {
        "plan": record.plan,
        "environment": record.environment,
        "inputs": record.inputs,
        "bundle": record.bundle,
        "token": record.token,
        "by": record.created_by,
        "expected": expected,
    }
    return Event(type=EventType.RUN_CREATED, at=record.created_at, run=record.id, data=data)


def _follows(end: AttemptStatus, instance: Instance, *, undo: bool) -> bool:
    """Whether the attempt before the last ended so."""
    attempts = instance.undo.attempts if undo else instance.attempts
    return len(attempts) > 1 and attempts[-2].status is end


def _undoes_a_lost_one(instance: Instance) -> bool:
    """Whether the kind itself now takes back what nobody saw the end of: then it must look at the world first."""
    if instance.undo.mode is not UndoMode.AUTO or not instance.attempts:
        return False
    return len(instance.undo.attempts) == 1 and instance.attempts[-1].status is AttemptStatus.LOST


def _batch(driven: _Driven) -> Batch:
    run, events = driven.run, driven.pending
    touched = {event.task for event in events if event.task is not None and event.type is not EventType.TASK_PROGRESS}
    rows = [row_of(run, run.instances[id_]) for id_ in sorted(touched) if id_ in run.instances]
    summary = summary_of(run, run.graph.plan.name, driven.lease.owner)
    return Batch(run=run.id, epoch=driven.lease.epoch, events=events, summary=summary, tasks=rows)
