"""The state machine under random graphs, endings, crashes and cancels: what must hold whatever happens."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.core.events import EventType
from drystone.core.graph import Graph
from drystone.core.plan import Fanout, OnFailure, RunIf, Task, Undo, UndoMode, UndoWhen
from drystone.core.retry import RetryPolicy
from drystone.core.run import UndoStatus
from drystone.core.states import RunStatus
from drystone.errors import RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Ending, Simulation, fail, ok

NAMES = [f"t{n}" for n in range(8)]


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


ENDINGS = st.one_of(
    st.builds(ok, changed=st.booleans(), after=st.integers(0, 60).map(lambda n: timedelta(seconds=n))),
    st.builds(
        fail,
        st.sampled_from(["failed", "unreachable", "refused"]),
        permanent=st.booleans(),
        changed=st.booleans(),
        after=st.integers(0, 60).map(lambda n: timedelta(seconds=n)),
    ),
)
DISTURBANCES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["crash", "cancel", "lose"])), max_size=4)


def drive(graph: Graph, endings: list[Ending], disturbances: list[tuple[int, str]], width: int) -> Simulation:
    """Runs to the end; after the N-th step of a disturbance the process dies, loses its last event, or is told to cancel."""

    def script(name: str, attempt: int) -> Ending:
        # Equal for equal facts, so that a replay after a crash is the same world.
        return endings[(sum(name.encode()) + 7 * attempt) % len(endings)]

    simulation = Simulation(graph, script=script, max_parallel=width)
    planned = dict(disturbances)
    for step in range(10_000):
        if simulation.run.status.is_final:
            return simulation
        match planned.get(step):
            case "crash":
                simulation.crash()
            case "lose":
                # What was not on disk was reported to nobody; the record of the run itself always is.
                simulation.crash(lost_writes=1)
            case "cancel":
                simulation.cancel()
            case _:
                simulation.step()
    raise AssertionError("the run never ends")


@settings(max_examples=300, deadline=None)
@given(graphs(), st.lists(ENDINGS, min_size=1, max_size=6), DISTURBANCES, st.integers(1, 4))
def test_every_run_ends_and_keeps_its_promises(
    graph: Graph, endings: list[Ending], disturbances: list[tuple[int, str]], width: int
) -> None:
    simulation = drive(graph, endings, disturbances, width)
    run = simulation.run
    assert run.status.is_final and not run.running
    assert simulation.replayed() == run, "replay of the journal gives the same state"
    seen: dict[str, str] = {}
    undone: Counter[str] = Counter()
    for event in simulation.history:
        id_ = event.task or ""
        match event.type:
            case EventType.TASK_STARTED:
                _needs_have_ended(run.graph, id_, seen)
                assert seen.get(id_) in (None, "ready", "retrying", "lost"), f"{id_} started twice after {seen.get(id_)}"
                seen[id_] = "started"
            case EventType.UNDO_STARTED:
                _nothing_rests_on_it(simulation, id_, undone)
                assert undone[id_] == 0, f"{id_} was undone twice"
            case EventType.UNDO_SUCCEEDED:
                undone[id_] += 1
            case EventType.TASK_EXPANDED:
                seen[id_] = "expanded"
            case kind if kind.value.startswith("task.") and kind is not EventType.TASK_PROGRESS:
                seen[id_] = kind.value.removeprefix("task.")
    _the_end_is_told_truly(simulation)


def _needs_have_ended(graph: Graph, id_: str, seen: dict[str, str]) -> None:
    for need in graph.nodes[id_.split("[")[0]].needs:
        open_ = [other for other, what in seen.items() if other.split("[")[0] == need and what in ("started", "retrying", "lost")]
        assert not open_, f"{id_} started before {open_} had ended"


def _nothing_rests_on_it(simulation: Simulation, id_: str, undone: Counter[str]) -> None:
    run = simulation.run
    behind = _behind(run.graph, id_.split("[")[0])
    for instance in run.in_order():
        if instance.task in behind and instance.undo.status is UndoStatus.SUCCEEDED:
            assert undone[instance.id] == 1, f"{id_} was undone before {instance.id}"
        if instance.task in behind:
            assert instance.undo.status is not UndoStatus.FAILED, f"{id_} was undone though {instance.id} stands"


def _behind(graph: Graph, name: str) -> set[str]:
    return {other for other in graph.nodes if name in graph.upstream(other)}


def _the_end_is_told_truly(simulation: Simulation) -> None:
    run = simulation.run
    for name, node in run.graph.nodes.items():
        if node.task.closing:
            assert run.instances[name].status.is_settled and run.instances[name].status.value != "cancelled"
    if pivot := run.passed_pivot:
        assert not any(name.startswith("undo:") for name in simulation.started), f"undone past {pivot}"
    standing = [i.id for i in run.in_order() if i.undo.status in (UndoStatus.FAILED, UndoStatus.LEFT)]
    match run.status:
        case RunStatus.COMPENSATED:
            assert not standing
        case RunStatus.COMPENSATION_FAILED:
            assert list(run.left) == standing and standing
        case RunStatus.SUCCEEDED:
            assert not run.fatal
            assert all(i.status.is_settled for i in run.in_order())
        case RunStatus.FAILED | RunStatus.CANCELLED:
            assert all(i.status.is_settled for i in run.in_order())


@settings(max_examples=100, deadline=None)
@given(graphs(), st.lists(ENDINGS, min_size=1, max_size=4), st.data())
def test_a_resumed_run_keeps_its_promises_too(graph: Graph, endings: list[Ending], data: st.DataObject) -> None:
    simulation = drive(graph, endings, [], 2)
    nodes = simulation.run.graph.nodes
    succeeded = {i.id for i in simulation.run.in_order() if i.status.value == "succeeded" and not nodes[i.task].task.closing}
    if simulation.run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return
    before = len(simulation.started)
    drawn: dict[tuple[str, int], Ending] = {}

    def script(name: str, attempt: int) -> Ending:
        return drawn[name, attempt] if (name, attempt) in drawn else drawn.setdefault((name, attempt), data.draw(ENDINGS))

    simulation.resume(script=script)
    simulation.finish()
    again = {name for name in simulation.started[before:] if not name.startswith("undo:")}
    assert not again & succeeded, "what succeeded is not run again"
    assert simulation.replayed() == simulation.run


@settings(max_examples=150, deadline=None)
@given(graphs(), st.lists(ENDINGS, min_size=1, max_size=4), st.data())
def test_a_run_taken_up_again_and_again_folds_to_the_same_state_from_its_journal(
    graph: Graph, endings: list[Ending], data: st.DataObject
) -> None:
    simulation = drive(graph, endings, [], 2)
    for wish in data.draw(st.lists(st.sampled_from(["undo", "resume"]), min_size=1, max_size=3)):
        with contextlib.suppress(RefusedError):
            simulation.undo() if wish == "undo" else simulation.resume()
        for _ in range(data.draw(st.integers(0, 3))):
            if not simulation.run.status.is_final:
                simulation.step()
        simulation.crash()
        simulation.finish()
        assert simulation.replayed() == simulation.run
        assert all(i.status.is_settled for i in simulation.run.in_order())
