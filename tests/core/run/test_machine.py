"""The state machine under random graphs, endings, crashes, cancels, answers and wishes: what must hold whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.core.commands import Record, Start, StartUndo
from drystone.core.events import Event, EventType
from drystone.core.graph import Graph
from drystone.core.plan import Fanout, OnFailure, RunIf, Task, Undo, UndoMode, UndoWhen
from drystone.core.retry import RetryPolicy
from drystone.core.run import (
    Failure,
    Run,
    UndoStatus,
    attention,
    decide,
    evolve,
    failed,
    finished_undo,
    new_run,
    questions,
    succeeded,
    take,
)
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import FailureClass, NotFoundError, RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Ending, Simulation, asks, fail, held_back, ok, waits

NAMES = [f"t{n}" for n in range(8)]
POOLS = {"narrow": 1, "wide": 2}
PERSONS = ["test@desk", "ann@desk", "bob", "eve@desk"]
"""Who started the run, two approvers, and somebody else."""


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Task]:
    made: dict[str, Task] = {}
    for index in range(draw(st.integers(1, len(NAMES)))):
        name = NAMES[index]
        needs = draw(st.lists(st.sampled_from(NAMES[:index]), unique=True, max_size=3)) if index else []
        modes = st.sampled_from([UndoMode.AUTO, UndoMode.AUTO, UndoMode.NONE, UndoMode.IRREVERSIBLE])
        fanout = draw(
            st.one_of(
                st.none(),
                st.builds(
                    Fanout,
                    items=st.integers(0, 3),
                    max_parallel=st.one_of(st.none(), st.integers(1, 2)),
                    max_failures=st.integers(0, 2),
                ),
            )
        )
        made[name] = task(
            name,
            needs,
            for_each=fanout,
            when=draw(st.sampled_from([None, None, None, True, False])),
            run_if=draw(st.sampled_from([RunIf.ALL_SUCCEEDED, RunIf.ALL_SUCCEEDED, *RunIf])),
            allow_failure=draw(st.booleans()),
            retry=RetryPolicy(attempts=draw(st.integers(1, 3)), delay=timedelta(seconds=draw(st.integers(0, 30)))),
            undo=Undo(mode=draw(modes), retry=RetryPolicy(attempts=draw(st.integers(1, 2)))),
            undo_when=draw(st.sampled_from(UndoWhen)),
            pool=draw(st.sampled_from([None, None, *POOLS])),
            pivot=draw(st.sampled_from([False, False, False, False, True])),
        )
    for name in ["report", "tidy"][: draw(st.integers(0, 2))]:
        needs = ["report"] if name == "tidy" and draw(st.booleans()) else []
        made[name] = task(name, needs, closing=True, undo=Undo(mode=UndoMode.NONE))
    return made


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    timeout = draw(st.one_of(st.none(), st.integers(1, 200).map(lambda n: timedelta(seconds=n))))
    return graph_of(draw(tasks()), on_failure=draw(st.sampled_from(OnFailure)), timeout=timeout)


@st.composite
def simple_graphs(draw: st.DrawFn) -> Graph:
    """Few things beside the order: what a person asks for has more to work on."""
    made = {}
    for index, name in enumerate(NAMES[: draw(st.integers(1, 4))]):
        needs = draw(st.lists(st.sampled_from(NAMES[:index]), unique=True, max_size=2)) if index else []
        made[name] = task(name, needs, undo_when=draw(st.sampled_from(UndoWhen)), pivot=draw(st.integers(0, 9)) == 9)
    return graph_of(made, on_failure=draw(st.sampled_from(OnFailure)))


SECONDS = st.integers(0, 60).map(lambda n: timedelta(seconds=n))
SUCCESSES = st.builds(ok, changed=st.booleans(), after=SECONDS)
FAILURES = st.builds(
    fail, st.sampled_from(["failed", "unreachable", "refused"]), permanent=st.booleans(), changed=st.booleans(), after=SECONDS
)
QUESTIONS = st.builds(
    asks,
    st.sampled_from(["ann", "bob"]),
    timeout=SECONDS,
    on_timeout=st.sampled_from(["approve", "reject"]),
    self_approval=st.booleans(),
)
OPEN_QUESTIONS = st.builds(asks, timeout=SECONDS, on_timeout=st.sampled_from(["approve", "reject"]), self_approval=st.booleans())
WAITS = st.one_of(st.builds(waits, SECONDS), st.builds(held_back, SECONDS), QUESTIONS, OPEN_QUESTIONS)
ENDINGS = st.one_of(SUCCESSES, FAILURES, WAITS)
SOME_ENDINGS = st.lists(ENDINGS, min_size=1, max_size=5)

DEEDS = st.sampled_from(["crash", "crash in doubt", "lose", "cancel", "approve", "approve", "reject"])
DISTURBANCES = st.lists(st.tuples(st.integers(1, 40), DEEDS, st.sampled_from(PERSONS)), max_size=5)
WISHES = st.sampled_from(["undo", "resume", "from", "only_failed", "retry", "retry one", "skip"])
Disturbance = tuple[int, str, str]


def script_of(endings: list[Ending]) -> Callable[[str, int], Ending]:
    def script(name: str, attempt: int) -> Ending:
        # Equal for equal facts, so that a replay after a crash is the same world.
        ending = endings[(sum(name.encode()) + 7 * attempt) % len(endings)]
        # Nothing is held back for ever, so that the run ends.
        return ending if ending.held_for is None or attempt % 3 else ok()

    return script


def simulate(graph: Graph, endings: list[Ending], width: int) -> Simulation:
    return Simulation(graph, script=script_of(endings), max_parallel=width, slots=POOLS)


def drive(simulation: Simulation, disturbances: list[Disturbance]) -> None:
    """Runs to the end; after the N-th step of a disturbance the process dies, is told to cancel, or gets an answer."""
    planned = {step: (what, who) for step, what, who in disturbances}
    for step in range(10_000):
        if simulation.run.status.is_final:
            return
        what, who = planned.get(step, ("", ""))
        match what:
            case "crash" | "crash in doubt":
                simulation.crash(idempotent=what == "crash")
            case "lose":
                # What was not on disk was reported to nobody; the record of the run itself always is.
                simulation.crash(lost_writes=1)
            case "cancel":
                simulation.cancel()
            case "approve" | "reject" if asked := questions(simulation.run):
                answer(simulation, asked[0], what, who)
            case _:
                simulation.step()
    raise AssertionError("the run never ends")


def answer(simulation: Simulation, id_: str, given: str, by: str) -> None:
    waiting = simulation.run.instances[id_].waiting
    assert waiting is not None and waiting.approval is not None
    user = by.partition("@")[0]
    is_named = not waiting.approval["approvers"] or user in waiting.approval["approvers"]
    is_other = user != "test" or waiting.approval["self_approval"]
    try:
        simulation.answer(id_, given, by=by)
    except RefusedError:
        assert not (is_named and is_other), f"{by} may answer"
    else:
        assert is_named and is_other, f"{by} may not answer"


def wish(simulation: Simulation, what: str, number: int) -> None:
    """Asks for something; what does not fit is refused, and then nothing has changed."""
    before = simulation.run
    names = list(before.graph.nodes)
    ids = [instance.id for instance in before.in_order()] or names
    stuck = [item.instance for item in attention(before)] or names
    with contextlib.suppress(RefusedError, NotFoundError):
        match what:
            case "undo":
                simulation.undo()
            case "resume":
                simulation.resume()
            case "from":
                simulation.resume(start=[*names, *ids][number % len([*names, *ids])])
            case "only_failed":
                simulation.resume(only_failed=True)
            case "retry":
                simulation.retry()
            case "retry one":
                simulation.retry(stuck[number % len(stuck)])
            case "skip":
                simulation.skip(stuck[number % len(stuck)])
        return
    assert simulation.run == before


# ---- what must hold -----------------------------------------------------------------------------------------------------


def check(simulation: Simulation, width: int) -> None:
    """Goes through the journal event by event, and looks at each against the state before it."""
    run = simulation.run
    assert run.status.is_final and not run.running
    assert simulation.replayed() == run, "folded in one batch, the journal gives the same state"
    blank = new_run(id=run.id, graph=run.graph, inputs={}, environment=None, created_at=START)
    state, last, undone = blank, dict[str, str](), set[str]()
    rests = 0
    for place, event in enumerate(simulation.history):
        _check_event(state, event, last, undone, width)
        state = evolve(state, event)
        if state.status is RunStatus.WAITING and rests < 3:
            rests += 1
            assert evolve(blank, *simulation.history[: place + 1]) == state, "it waits, however its journal is folded"
    assert state == run, "folded event by event, the journal gives the same state"
    _the_end_is_told_truly(run)


def _check_event(state: Run, event: Event, last: dict[str, str], undone: set[str], width: int) -> None:
    id_ = event.task or ""
    match event.type:
        case EventType.TASK_STARTED:
            assert last.get(id_) in (None, "reset", "ready", "retrying", "lost"), f"{id_} started twice, after {last.get(id_)}"
            _has_room(state, id_, width)
            _needs_have_ended(state, id_)
            last[id_] = "started"
        case EventType.UNDO_STARTED:
            assert id_ not in undone, f"{id_} was undone twice"
            assert state.passed_pivot is None, f"undone past {state.passed_pivot}"
            _has_room(state, id_, width)
            _nothing_rests_on_it(state, id_)
        case EventType.UNDO_SUCCEEDED:
            undone.add(id_)
        case EventType.RUN_RESUMED | EventType.RUN_COMPENSATING:
            afresh = set(event.data.get("reset", ()))
            if state.closing is not None:
                afresh |= {name for name, node in state.graph.nodes.items() if node.task.closing}
            last.update(dict.fromkeys(afresh, "reset"))
            undone -= afresh
        case kind if kind.value.startswith("task."):
            last[id_] = kind.value.removeprefix("task.")


def _has_room(state: Run, id_: str, width: int) -> None:
    assert id_ not in state.running
    assert len(state.running) < width, f"{id_} started, and there was no room"
    if (pool := state.task_of(state.instances[id_]).pool) is not None:
        inside = [other for other in state.running if state.task_of(state.instances[other]).pool == pool]
        assert len(inside) < POOLS[pool], f"{id_} started beside {inside} in the pool {pool}"


def _needs_have_ended(state: Run, id_: str) -> None:
    for need in state.graph.nodes[state.instances[id_].task].needs:
        open_ = [other for other in state.expansions[need] if not state.instances[other].status.is_settled]
        assert not open_, f"{id_} started before {open_} had ended"


def _nothing_rests_on_it(state: Run, id_: str) -> None:
    name = state.instances[id_].task
    behind = [instance for instance in state.in_order() if name in state.graph.upstream(instance.task)]
    for instance in behind:
        assert instance.id not in state.running, f"{id_} was undone while {instance.id} ran"
        undo = instance.undo
        assert undo.status not in _TO_COME, f"{id_} was undone before {instance.id}"
        stands = undo.status is UndoStatus.FAILED or (undo.status is UndoStatus.LEFT and undo.mode is not UndoMode.IRREVERSIBLE)
        assert not stands, f"{id_} was undone though {instance.id} stands"


def _the_end_is_told_truly(run: Run) -> None:
    for name, node in run.graph.nodes.items():
        if node.task.closing:
            assert run.instances[name].status.is_settled and run.instances[name].status is not TaskStatus.CANCELLED
    assert all(instance.status.is_settled for instance in run.in_order())
    standing = [i.id for i in run.in_order() if i.undo.status in (UndoStatus.FAILED, UndoStatus.LEFT)]
    match run.status:
        case RunStatus.COMPENSATED:
            assert not standing
            assert not [i.id for i in run.in_order() if _was_done(run, i.id) and i.undo.status not in _GONE]
        case RunStatus.COMPENSATION_FAILED:
            assert list(run.left) == standing and standing
        case RunStatus.SUCCEEDED:
            assert not run.fatal


_TO_COME = (None, UndoStatus.PENDING, UndoStatus.RUNNING, UndoStatus.RETRYING)
_GONE = (UndoStatus.SUCCEEDED, UndoStatus.WAIVED)


def _was_done(run: Run, id_: str) -> bool:
    """An attempt of it succeeded and changed something that has an undo."""
    instance = run.instances[id_]
    done = any(attempt.status.value == "succeeded" and attempt.changed for attempt in instance.attempts)
    return done and instance.undo.mode is UndoMode.AUTO and not run.task_of(instance).closing


# ---- proof --------------------------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(graphs(), SOME_ENDINGS, DISTURBANCES, st.integers(1, 4))
def test_every_run_ends_and_keeps_its_promises(graph: Graph, endings: list[Ending], disturbances: list[Disturbance], width: int) -> None:
    simulation = simulate(graph, endings, width)
    drive(simulation, disturbances)
    check(simulation, width)


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(graphs(), simple_graphs()),
    st.one_of(st.just([ok()]), SOME_ENDINGS),
    DISTURBANCES,
    st.lists(st.tuples(WISHES, st.integers(0, 20), SOME_ENDINGS, DISTURBANCES), min_size=1, max_size=4),
)
def test_a_run_that_is_taken_up_again_and_again_keeps_its_promises(
    graph: Graph, endings: list[Ending], disturbances: list[Disturbance], wishes: list[tuple[str, int, list[Ending], list[Disturbance]]]
) -> None:
    simulation = simulate(graph, endings, 3)
    drive(simulation, disturbances)
    for what, number, later, more in wishes:
        simulation.follow(script_of(later))
        wish(simulation, what, number)
        # The process that was asked dies at once: the wish is on disk.
        simulation.crash()
        drive(simulation, more)
    check(simulation, 3)


@settings(max_examples=500, deadline=None)
@given(simple_graphs(), st.integers(0, 3), SOME_ENDINGS, DISTURBANCES)
def test_a_good_run_that_is_resumed_from_one_of_its_tasks_keeps_its_promises(
    graph: Graph, number: int, endings: list[Ending], disturbances: list[Disturbance]
) -> None:
    simulation = simulate(graph, [ok()], 3)
    drive(simulation, [])
    simulation.follow(script_of(endings))
    wish(simulation, "from", number)
    drive(simulation, disturbances)
    check(simulation, 3)


@settings(max_examples=300, deadline=None)
@given(simple_graphs(), SOME_ENDINGS, st.lists(st.sampled_from(["skip", "retry", "retry one"]), min_size=1, max_size=4), st.integers(0, 3))
def test_a_run_of_which_a_person_took_something_on_keeps_its_promises(
    graph: Graph, endings: list[Ending], decisions: list[str], number: int
) -> None:
    asking = replace(graph, plan=replace(graph.plan, on_failure=OnFailure.ASK))
    simulation = simulate(asking, [fail("refused"), *endings], 3)
    for what in [*decisions, "undo", *decisions]:
        drive(simulation, [])
        wish(simulation, what, number)
    drive(simulation, [])
    check(simulation, 3)


@settings(max_examples=150, deadline=None)
@given(graphs(), SOME_ENDINGS, SOME_ENDINGS)
def test_a_resumed_run_does_not_repeat_what_succeeded(graph: Graph, endings: list[Ending], later: list[Ending]) -> None:
    simulation = simulate(graph, endings, 2)
    drive(simulation, [])
    if simulation.run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return
    done = {i.id for i in simulation.run.in_order() if i.status is TaskStatus.SUCCEEDED and not simulation.run.task_of(i).closing}
    before = len(simulation.started)
    simulation.resume(script=script_of(later))
    drive(simulation, [])
    again = {name for name in simulation.started[before:] if not name.startswith("undo:")}
    assert not again & done
    check(simulation, 2)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.sets(st.sampled_from(NAMES), max_size=2), st.integers(2, 6), st.randoms(use_true_random=False))
def test_decisions_do_not_depend_on_the_order_in_which_equal_facts_arrive(graph: Graph, bad: set[str], width: int, random: Random) -> None:
    run = new_run(id="01ORDER", graph=graph, inputs={}, environment=None, created_at=START)
    run = _written(run, take(run, START, owner="test", epoch=1, max_parallel=width, finish_grace=timedelta(minutes=5)))
    now = START
    for _ in range(1000):
        while events := [command.event for command in decide(run, now, POOLS) if isinstance(command, Record | Start | StartUndo)]:
            run = _written(run, events)
        if run.status.is_final:
            return
        now += timedelta(seconds=1)
        ids = sorted(run.running)
        good = [id_ for id_ in ids if run.instances[id_].task not in bad or run.status is RunStatus.COMPENSATING]
        mixed = list(good)
        random.shuffle(mixed)
        one, other = _all_succeeded(run, good, now), _all_succeeded(run, mixed, now)
        assert _unordered(one) == _unordered(other)
        assert sorted(map(repr, decide(one, now, POOLS))) == sorted(map(repr, decide(other, now, POOLS)))
        run = other
        for id_ in ids:
            if id_ not in good:
                failure = Failure(failure_class=FailureClass.REFUSED, message="as the test says", permanent=True)
                run = _written(run, failed(run, id_, now, failure, jitter=0.0))
    raise AssertionError("the run never ends")


def _written(run: Run, events: list[Event]) -> Run:
    return evolve(run, *(event.numbered(run.seq + place) for place, event in enumerate(events, 1)))


def _all_succeeded(run: Run, ids: list[str], now: datetime) -> Run:
    for id_ in ids:
        if run.status is RunStatus.COMPENSATING and run.closing is None:
            run = _written(run, finished_undo(run, id_, now, result={}, changed=True))
        else:
            run = _written(run, succeeded(run, id_, now, outputs={}, result={}, changed=True))
    return run


def _unordered(run: Run) -> Run:
    """What was reached at one moment has no order before its conditions were looked at."""
    return replace(run, forward=replace(run.forward, reached=tuple(sorted(run.forward.reached))))
