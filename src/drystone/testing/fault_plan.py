"""What a list of faults means for a run: how each attempt ends, how long it takes, when the run is interrupted.

Asked by `rehearsal`, where nothing is done, and by the fake kind under an engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from drystone.core.diagnostics import did_you_mean
from drystone.core.events import Event, EventType
from drystone.core.graph import Graph
from drystone.core.plan import UndoMode
from drystone.core.run import Failure, Run, questions
from drystone.core.states import TaskStatus
from drystone.errors import InputError, NotFoundError
from drystone.testing.faults import Answer, ChangesNothing, Fails, Fault, Faults, Interruption, Takes, faults_of
from drystone.testing.simulation import Ending

UNDO = "undo:"
"""Stands before the id of an instance when its undo is meant, as in `Simulation.started`."""


class FaultPlan:
    """Faults over a graph. `happened` fills as they come true; what names one instance wins over what names its task.

    Raises NotFoundError or InputError for a fault that cannot happen in this graph.
    """

    def __init__(self, given: Faults, graph: Graph) -> None:
        self.faults = faults_of(given)
        self.happened: set[Fault] = set()
        for fault in self.faults:
            _check(fault, graph)

    @property
    def unused(self) -> tuple[Fault, ...]:
        """Those that never came true."""
        return tuple(fault for fault in self.faults if fault not in self.happened)

    def ending(self, name: str, attempt: int) -> Ending:
        """How an attempt of `name` (`undo:ID` for an undo) ends: well, unless a fault says otherwise."""
        undo, id_ = name.startswith(UNDO), name.removeprefix(UNDO)
        meant = [fault for fault in self.faults if _means(fault, id_, undo)]
        ending = Ending()
        for fault in sorted(meant, key=lambda fault: fault.task == id_):
            match fault:
                case Takes():
                    ending = replace(ending, after=fault.duration)
                case Fails() if fault.covers(attempt):
                    failure = Failure(failure_class=fault.as_, message=fault.message, permanent=fault.for_good)
                    ending = replace(ending, failure=failure, changed=fault.changed)
                case ChangesNothing():
                    ending = replace(ending, changed=False)
                case _:
                    continue
            self.happened.add(fault)
        return ending

    def due(self, run: Run, last: int) -> Interruption | None:
        """The interruption whose moment has come; each comes once. `last`: the newest event after which a crash changes anything."""
        return self._first(lambda fault: _is_due(fault, run, last))

    def cancels(self, run: Run) -> bool:
        """Whether a person cancels now; once for each fault that says so."""
        return self._first(lambda fault: fault.what == "cancel" and _is_due(fault, run, run.seq)) is not None

    def dies_after(self, event: Event) -> bool:
        """Whether the process dies when this event is on disk; once for each fault that says so."""
        return self._first(lambda fault: fault.what == "crash" and _ends_with(fault, event)) is not None

    def _first(self, is_it: Callable[[Interruption], bool]) -> Interruption | None:
        waiting = (fault for fault in self.faults if isinstance(fault, Interruption) and fault not in self.happened)
        found = next((fault for fault in waiting if is_it(fault)), None)
        if found is not None:
            self.happened.add(found)
        return found

    def answer(self, run: Run) -> tuple[str, Answer, str] | None:
        """A question that is open and will be answered: the instance that asks, the answer, and who gives it."""
        for id_ in questions(run):
            for fault in self.faults:
                if isinstance(fault, Answer) and _names(fault.task, id_):
                    self.happened.add(fault)
                    return id_, fault, fault.by or _who_may_answer(run, id_)
        return None

    @property
    def held(self) -> set[str]:
        """Tasks and instances whose attempts must not end before the cancel comes that waits for them."""
        cancels = [fault for fault in self.faults if isinstance(fault, Interruption) and fault.what == "cancel" and not fault.undo]
        return {fault.task for fault in cancels if fault.task is not None}


def _who_may_answer(run: Run, id_: str) -> str:
    waiting = run.instances[id_].waiting
    assert waiting is not None and waiting.approval is not None
    return str(next(iter(waiting.approval["approvers"]), "somebody"))


def _means(fault: Fault, id_: str, undo: bool) -> bool:
    match fault:
        case Interruption() | Answer():
            return False
        case ChangesNothing():
            return not undo and _names(fault.task, id_)
        case _:
            return fault.undo is undo and _names(fault.task, id_)


def _names(task: str, id_: str) -> bool:
    return id_ == task or task_of(id_) == task


def task_of(id_: str) -> str:
    """The task of an instance: `vm` of `vm[0]`."""
    return id_.partition("[")[0]


def _is_in(fault: Interruption, id_: str, undo: bool) -> bool:
    return fault.task is not None and fault.undo is undo and _names(fault.task, id_)


def _is_due(fault: Interruption, run: Run, last: int) -> bool:
    if fault.event is not None:
        return fault.event <= last and not (fault.what == "cancel" and run.status.is_final)
    # What waits is under way too, though nobody works on it.
    under_way = (*run.running, *run.forward.waiting)
    return any(_is_in(fault, id_, run.instances[id_].status is TaskStatus.UNDOING) for id_ in under_way)


def _ends_with(fault: Interruption, event: Event) -> bool:
    if fault.event is not None:
        return event.seq >= fault.event
    begins = EventType.UNDO_STARTED if fault.undo else EventType.TASK_STARTED
    return event.type is begins and _names(str(fault.task), str(event.task))


def _check(fault: Fault, graph: Graph) -> None:
    """Raises for what can never come true, so that no test proves nothing by a typing error."""
    if fault.task is None:
        return
    name = task_of(fault.task)
    node = graph.nodes.get(name)
    if node is None:
        hint = did_you_mean(name, graph.nodes) or f"tasks: {', '.join(graph.nodes)}"
        raise NotFoundError(f'fault "{fault}": plan "{graph.plan.name}" has no task "{name}"', hint=hint)
    if fault.task != name and node.task.for_each is None:
        raise InputError(f'fault "{fault}": task "{name}" has one instance only', hint=f'it has no for_each: write "{name}"')
    is_undo = isinstance(fault, Fails | Takes | Interruption) and fault.undo
    if is_undo and node.task.undo.mode in (UndoMode.NONE, UndoMode.IRREVERSIBLE):
        raise InputError(f'fault "{fault}": task "{name}" is never undone', hint=f"its undo is {node.task.undo.mode.value}")
