"""The loop: take what happened, decide, write it down, perform.

One thread owns all runs. Each turn it drains its inbox, lets the core decide, writes the events of all runs in one transaction (one
fsync for all), tells the observers, and only then starts attempts. Attempts run in threads and answer through the inbox; kinds that
never block run in the loop itself.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby

from drystone.core.commands import Cancel, Command, Record, Start, StartUndo, Wake
from drystone.core.events import Event, EventType
from drystone.core.expected import Expected
from drystone.core.parts import label, lineage
from drystone.core.plan import OnConflict
from drystone.core.run import Run, evolve, request_cancel, slots_wanted, take
from drystone.core.states import RunStatus
from drystone.engines.attempt import Performer
from drystone.engines.context import Control
from drystone.engines.embedded.deciding import decided, idles, resting
from drystone.engines.embedded.driven import Call, CancelAsked, Done, Driven, Fact, Progress, stands_alone
from drystone.engines.embedded.facts import created, gives_up, requested, settled, was_cut_short
from drystone.engines.embedded.jobs import job_of
from drystone.engines.embedded.places import Places, has_the_key
from drystone.engines.embedded.pool import Pool
from drystone.engines.embedded.projections import summary_of
from drystone.engines.embedded.recovery import end_lost_attempts
from drystone.engines.embedded.timers import SteadyTime
from drystone.engines.embedded.writing import Observer, Writer
from drystone.engines.layout import Layout
from drystone.engines.vault import Vault
from drystone.errors import LockedError, NotFoundError, RefusedError, StoreError
from drystone.ports import Clock, Ids, Journal, Lease, Request, RunRecord
from drystone.settings import EngineSettings

Stays = Callable[[bool], bool]
"""Told each turn whether all runs in hand only wait for a person; answers whether to stay and wait for one."""

POLL = timedelta(milliseconds=200)
"""How often a cancel request of another process is looked for while nothing else happens."""


class EmbeddedEngine:
    """Drives runs to their end in this process. `cancel` and `call` may be called from any thread or signal handler; all else from one."""

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
        pools: Mapping[str, int] | None = None,
        observers: Sequence[Observer] = (),
        is_part: bool = False,
        on_end: Callable[[Run], None] | None = None,
    ) -> None:
        """For one caller.

        pools:   the project's, with their sizes.
        is_part: an attempt of another engine drives it, which has the same performer.
        on_end:  told of each run that it lets go, in the loop, instead of `drive` giving them all at the end.
        """
        self._journal = journal
        self._performer = performer
        self._layout = layout
        self._clock = clock
        self._time = SteadyTime(clock)
        self._ids = ids
        self._settings = settings
        self._owner = owner
        self._pools = pools or {}
        self._is_part = is_part
        self._ended: dict[str, Run] = {}
        self._tell_end = on_end or (lambda run: self._ended.update({run.id: run}))
        self._inbox: queue.SimpleQueue[Fact] = queue.SimpleQueue()
        self._pool = Pool()
        self._driven: dict[str, Driven] = {}
        self._places = Places(journal, owner, settings.lease, self._driven)
        self._writer = Writer(journal, clock, settings.lease, self._driven, list(observers))
        self._attends = False
        self._look_at = 0.0
        self._ask_at = 0.0
        self._has_looked = False

    # ---- taking runs ------------------------------------------------------------------------------------------------

    def start(self, record: RunRecord, run: Run, vault: Vault, *, expected: Mapping[str, Expected] | None = None) -> None:
        """Records a new run and takes it. Raises LockedError when its environment is held; then nothing is recorded.

        expected: task -> what its instances took in earlier runs; without it the graph alone gives the order.
        """
        now = self._clock.now()
        self._places.free_stale_lock(run, now)
        if record.concurrency is not None:
            self._stand_in_line(record, run, vault, now, expected or {})
            return
        self._journal.create(record, summary_of(run, record.plan), self._places.lock_for(record, run, now, "run"))
        driven = self._claimed(record, run, vault, now)
        driven.add([created(record, expected or {})])
        driven.add(self._taken(driven.run, driven.lease, driven.time(self._time.now())))

    def _stand_in_line(
        self, record: RunRecord, run: Run, vault: Vault, now: datetime, expected: Mapping[str, Expected]
    ) -> None:
        """Begins once the runs before it with the same concurrency key have ended; at once when there is none."""
        policy = self._make_room(record, run, now)
        self._journal.create(record, summary_of(run, record.plan))
        driven = self._claimed(record, run, vault, now)
        driven.add([created(record, expected)])
        driven.behind = []
        self._move_up(driven, self._time.now())
        if driven.behind and policy is OnConflict.REJECT:
            # Another came at the same moment.
            driven.add(gives_up(run, now, f"run {driven.behind[0]} has the concurrency key"))

    def _make_room(self, record: RunRecord, run: Run, now: datetime) -> OnConflict:
        """What its plan wants of the runs before it with the same concurrency key. Raises LockedError when it may not wait for them."""
        assert record.concurrency is not None and run.graph.plan.concurrency is not None
        policy = run.graph.plan.concurrency.on_conflict
        before = self._journal.line(record.concurrency)
        if before and policy is OnConflict.REJECT:
            raise has_the_key(record.concurrency, before[0])
        if policy is OnConflict.CANCEL_RUNNING:
            for place in before:
                self._ask_to_cancel(place.run, record, now)
        return policy

    def queue(self, record: RunRecord, run: Run, *, expected: Mapping[str, Expected] | None = None) -> None:
        """Records a new run for whoever looks for runs that nobody has. Raises LockedError when it may not wait for those before it."""
        now = self._clock.now()
        if record.concurrency is not None:
            self._make_room(record, run, now)
        self._journal.create(record, summary_of(run, record.plan))
        # Who has taken it meanwhile has begun it too.
        with suppress(LockedError):
            lease = self._journal.claim(run.id, self._owner, self._settings.lease, now)
            first = created(record, expected or {}).numbered(1)
            self._writer.add(lease, [first])
            self._journal.release(lease)

    def _ask_to_cancel(self, run: str, record: RunRecord, now: datetime) -> None:
        reason = f"run {record.id} takes its place"
        by = record.created_by
        self._journal.ask(Request(id=self._ids.run_id(), run=run, type="cancel", by=by, at=now, data={"reason": reason}))

    def _move_up(self, driven: Driven, now: datetime) -> None:
        """Looks whether its turn has come: the line before it is empty, and its environment is free."""
        run, key, at = driven.run, driven.record.concurrency, driven.time(now)
        assert key is not None and run.graph.plan.concurrency is not None
        behind = self._places.ahead(driven.record, run, now)
        if not behind:
            driven.behind = None
            driven.add(self._taken(run, driven.lease, at))
        elif at >= run.created_at + run.graph.plan.concurrency.timeout:
            driven.add(gives_up(run, at, f"run {behind[0]} did not end in time"))
        elif behind != driven.behind:
            driven.behind = behind
            driven.add([Event(type=EventType.RUN_QUEUED, at=at, run=run.id, data={"key": key, "behind": behind})])

    def _claimed(self, record: RunRecord, run: Run, vault: Vault, now: datetime) -> Driven:
        lease = self._journal.claim(run.id, self._owner, self._settings.lease, now)
        driven = self._driven[run.id] = self._in_hand(record, run, lease, vault)
        return driven

    def _in_hand(self, record: RunRecord, run: Run, lease: Lease, vault: Vault) -> Driven:
        ahead = max(timedelta(), (run.last_at or run.created_at) - self._time.now())
        of_parents = label(lineage(record, self._journal.record))
        return Driven(record=record, label=of_parents, run=run, lease=lease, vault=vault, ahead=ahead)

    def take_up(self, record: RunRecord, run: Run, vault: Vault, request: Callable[[Run, datetime], list[Event]]) -> None:
        """Takes a run that was begun, and makes of it what is requested: to go on with it, or to take it back.

        request: run, now -> events; a RefusedError of it leaves everything as it is. Raises LockedError while another process has the
        run, its environment or its concurrency key.
        """
        now = self._clock.now()
        request(run, now)  # refused before anything is taken
        lease = self._journal.claim(run.id, self._owner, self._settings.lease, now)
        try:
            # Another process may have written between our reading and our claim.
            run = evolve(run, *self._journal.events(run.id, after=run.seq))
            driven = self._in_hand(record, run, lease, vault)
            was_final = run.status.is_final
            if was_final:
                # A wish that came too late to end the run before must not end what is asked for now.
                self._journal.withdraw(run.id)
            if run.seq == 0:
                driven.add([created(record, {})])
            if driven.run.status is RunStatus.QUEUED and record.concurrency is not None:
                driven.behind = []
                self._journal.join(record.concurrency, run.id, now)
                driven.add(request(run, driven.time(self._time.now())))
                if not driven.run.cancel_requested:
                    self._move_up(driven, self._time.now())
                self._driven[run.id] = driven
                return
            self._places.take(record, run, now)
            at = driven.time(self._time.now())
            asked = request(run, at)
            driven.add(self._taken(run, lease, at))
            if not was_final:
                _, lost = end_lost_attempts(driven.run, self._performer, at)
                driven.add(lost)
            driven.add(asked)
        except Exception:
            if run.status.is_final:
                self._places.give_back(run)
            self._journal.release(lease)
            raise
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

    # ---- asking -----------------------------------------------------------------------------------------------------

    def cancel(self, run_id: str, *, by: str, reason: str = "") -> None:
        """Asks for a graceful end."""
        self._inbox.put(CancelAsked(run_id, by, reason))

    def has(self, run_id: str) -> bool:
        """Whether the run is in its hands; for `call`."""
        return run_id in self._driven

    def call(self, act: Callable[[], None]) -> None:
        """Has the loop do something between two turns, in its thread: to take another run, say. It must not raise."""
        self._inbox.put(Call(act))

    # ---- the loop ---------------------------------------------------------------------------------------------------

    def drive(self, stays: Stays | None = None) -> dict[str, Run]:
        """Drives every run it has taken to its end, or leaves it where only a person can move it on (`Stays`).

        Raises StoreError when events cannot be written: attempts are ended first.
        """
        try:
            while self._driven:
                self._turn(stays or (lambda idles: True))
                if self._driven:
                    self._wait()
        except (StoreError, LockedError):
            self._end_attempts("the store cannot be written")
            raise
        return dict(self._ended)

    def attend(self, leaves: Callable[[], bool]) -> None:
        """Drives what it has and what `call` brings, as `drive` does. A run that another process took is dropped, the others go on."""
        self._attends = True
        try:
            while not leaves():
                self._turn(lambda idles: True)
                self._wait()
        except StoreError:
            self._end_attempts("the store cannot be written")
            raise

    def hand_over(self, grace: timedelta) -> None:
        """Gives all runs back as they are: nothing more is begun, and what is in flight after the grace time is ended, to be made again."""
        end = self._clock.monotonic() + grace.total_seconds()
        while any(driven.controls for driven in self._driven.values()) and self._clock.monotonic() < end:
            for driven in self._driven.values():
                for control in resting(driven).values():
                    control.give_way()
            self._commit()
            self._wait()
        self._end_attempts("drystone is stopping")
        for driven in list(self._driven.values()):
            del self._driven[driven.run.id]
            self._journal.release(driven.lease)

    def _turn(self, stays: Stays) -> None:
        now = self._time.now()
        effects = self._decide(now)
        while self._found_room(now) and (more := self._decide(now)):
            effects += more
        self._commit()
        for driven, command in effects:
            if driven.run.id in self._driven:
                self._perform(driven, command)
        for driven in [d for d in self._driven.values() if d.run.status.is_final and not d.run.running]:
            self._let_go(driven)
        if self._has_looked and not self._attends:
            self._leave(now, stays)

    def _decide(self, now: datetime) -> list[tuple[Driven, Command]]:
        return [(driven, command) for driven in self._driven.values() for command in decided(driven, driven.time(now))]

    def _found_room(self, now: datetime) -> bool:
        """Moves runs up in their lines, and asks for slots in the pools; what others hold is looked at again after a while."""
        found, is_due = False, self._clock.monotonic() >= self._ask_at
        if is_due:
            self._ask_at = self._clock.monotonic() + POLL.total_seconds()
        for driven in self._driven.values():
            if is_due and driven.behind is not None and not driven.run.cancel_requested:
                self._move_up(driven, now)
                found |= bool(driven.pending)
            room = max(0, driven.run.max_parallel - len(driven.run.running))
            for pool, ready in slots_wanted(driven.run, driven.time(now)).items() if driven.run.graph.pools else ():
                held, size = driven.run.used.get(pool, 0), self._pools.get(pool, 1)
                wanted = min(ready, size, room)
                if (held, wanted) != driven.told.get(pool, (0, 0)) or (wanted and is_due):
                    granted = self._journal.slots(driven.lease, pool, size=size, held=held, wanted=wanted, now=now)
                    driven.slots[pool], driven.told[pool] = held + granted, (held + granted, wanted - granted)
                    found |= granted > 0
        return found

    def _leave(self, now: datetime, stays: Stays) -> None:
        """Leaves the runs that only a person can move on, if that is what was asked for; they keep what they hold."""
        idle = {id_: resting(driven) for id_, driven in self._driven.items() if idles(driven, driven.time(now), self._settings.patience)}
        all_idle = bool(idle) and len(idle) == len(self._driven)
        if stays(all_idle) or not all_idle:
            return
        for run_id, at_rest in idle.items():
            driven = self._driven[run_id]
            for control in at_rest.values():
                control.give_way()
            if not at_rest:
                self._tell_end(driven.run)
                del self._driven[run_id]
                self._journal.release(driven.lease)

    def _commit(self) -> None:
        while True:
            try:
                return self._writer.commit()
            except LockedError:
                if not self._drop_lost():
                    raise

    def _drop_lost(self) -> bool:
        """Lets go of the runs that another process has now; False where that ends the drive."""
        lost = self._writer.lost() if self._attends else []
        for driven in lost:
            for control in driven.controls.values():
                control.cancel("another process has the run")
            del self._driven[driven.run.id]
            self._tell_end(driven.run)
        return bool(lost)

    def _perform(self, driven: Driven, command: Command) -> None:
        match command:
            case Start() | StartUndo():
                self._begin(driven, command, undo=isinstance(command, StartUndo))
            case Cancel():
                if (control := driven.controls.get(command.instance)) is not None:
                    control.cancel(command.reason)
            case Record() | Wake():
                pass

    def _begin(self, driven: Driven, command: Start | StartUndo, *, undo: bool) -> None:
        run, id_ = driven.run, command.instance
        control = Control(self._clock, command.timeout)
        driven.controls[id_] = control
        job = job_of(driven, command, undo=undo)

        def progress(message: str, data: object) -> None:
            facts = {"message": message, **(data if isinstance(data, dict) else {}), "undo": undo}
            self._inbox.put(Progress(run.id, id_, command.attempt, facts))

        def call() -> None:
            self._inbox.put(Done(run.id, id_, undo, self._performer.perform(job, driven.vault, control, progress)))

        if self._performer.is_inline(run, id_, undo=undo):
            call()
        else:
            self._pool.submit(call)

    def _let_go(self, driven: Driven) -> None:
        run = driven.run
        self._tell_end(run)
        del self._driven[run.id]
        if run.environment is not None:
            self._layout.prune(run.environment, driven.label)
        self._places.give_back(run)
        if self._journal.requests([run.id]):
            # Before others may take it: a wish that comes later is meant for them.
            self._journal.withdraw(run.id)
        self._journal.release(driven.lease)

    # ---- facts ------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until something happened or a moment came; then takes all that is there."""
        try:
            self._writer.renew()
        except LockedError:
            if not self._drop_lost():
                raise
        timeout = self._timeout()
        facts: list[Fact] = []
        try:
            facts.append(self._inbox.get(timeout=timeout) if timeout > 0 else self._inbox.get_nowait())
            while True:
                facts.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        self._absorb(facts)
        self._look_for_requests()

    def _timeout(self) -> float:
        moments = [driven.wake_at - driven.ahead for driven in self._driven.values() if driven.wake_at is not None]
        poll = POLL.total_seconds()
        if not moments:
            return poll
        return min(poll, max(0.0, (min(moments) - self._time.now()).total_seconds()))

    def _absorb(self, facts: Iterable[Fact]) -> None:
        """Takes in what happened. Successes in a row are folded in together: none of them says what another means, as failures do."""
        for (run_id, alone), some in groupby(facts, key=lambda fact: (fact.run, stands_alone(fact))):
            if run_id is None:
                for fact in some:
                    fact.act() if isinstance(fact, Call) else None
                continue
            driven = self._driven.get(run_id)
            if driven is None:
                continue
            now = driven.time(self._time.now())
            if alone:
                for fact in some:
                    driven.add(self._events_of(driven, fact, now))
            else:
                driven.add([event for fact in some for event in self._events_of(driven, fact, now)])

    def _events_of(self, driven: Driven, fact: Fact, now: datetime) -> list[Event]:
        match fact:
            case Call():
                return []
            case Done():
                driven.controls.pop(fact.instance, None)
                return settled(driven.run, fact, now, jitter=self._ids.jitter())
            case Progress(run, instance, attempt, data):
                return [Event(type=EventType.TASK_PROGRESS, at=now, run=run, task=instance, attempt=attempt, data=data)]
            case CancelAsked():
                try:
                    return request_cancel(driven.run, now, by=fact.by, reason=fact.reason)
                except RefusedError:
                    return []  # it ended while the request was on its way

    def _look_for_requests(self) -> None:
        if self._clock.monotonic() < self._look_at:
            return
        self._look_at = self._clock.monotonic() + POLL.total_seconds()
        self._has_looked = True
        for request in self._journal.requests(list(self._driven)) if self._driven else ():
            driven = self._driven[request.run]
            # What does not fit the run any more was too late; it is answered by what happened.
            with suppress(RefusedError, NotFoundError):
                driven.add(requested(driven.run, request, driven.time(self._time.now())))
            driven.answered.append(request.id)

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
                fact = self._inbox.get(timeout=left)
                if isinstance(fact, Done) and (found := self._driven.get(fact.run)) and was_cut_short(found.run, fact):
                    # Left in flight it is taken for lost: who resumes the run looks what became of it, and makes it again.
                    found.controls.pop(fact.instance, None)
                else:
                    self._absorb([fact])
        try:
            self._commit()
        except (StoreError, LockedError):
            return  # the caller is about to say so; recovery finds the attempts lost

    def close(self) -> None:
        """Lets go of daemons and threads. Runs still in hand stay as the journal has them."""
        self._pool.close()
        if not self._is_part:
            self._performer.close()
