"""The way back: undos in reverse order of the graph, in parallel where the graph allows it (DESIGN §4.4).

A task is reached when everything behind it was passed. What could not be undone stands, and so does all that it rests on.
`evolve` calls `begin` when the way back begins and `pass_instance` when an undo ended.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rpds import HashTrieMap

from drystone.core.plan import UndoMode
from drystone.core.run.state import UNCOUNTED, Back, Instance, UndoStatus

if TYPE_CHECKING:
    from drystone.core.run.draft import Draft


def begin(
    draft: Draft, again: Collection[str] | None = None, *, destroys: bool = False, only: Collection[str] | None = None
) -> None:
    """Marks what has to be undone and finds where the way back can start.

    again:    failed undos to try again; None means all.
    destroys: what stands is taken away, whichever run made it.    only: of these instances; None means all.
    """
    graph = draft.run.graph
    left: dict[str, int] = {}
    for name in graph.nodes:
        instances = [draft.instances[id_] for id_ in draft.expansions[name]]
        left[name] = sum(_mark(draft, instance, again, destroys=destroys, only=only) for instance in instances)
    draft.back_left = HashTrieMap(left)
    draft.back_open = HashTrieMap({name: len(node.dependants) for name, node in graph.nodes.items()})
    draft.back_remaining = len(graph.nodes)
    _walk(draft, [name for name, node in graph.nodes.items() if not node.dependants])


def _mark(
    draft: Draft, instance: Instance, again: Collection[str] | None, *, destroys: bool, only: Collection[str] | None
) -> bool:
    """True when the instance is to be undone; what was undone before stays so."""
    undo = instance.undo
    if undo.status in (UndoStatus.SUCCEEDED, UndoStatus.WAIVED) or (undo.status is UndoStatus.NOT_NEEDED and not destroys):
        return False
    if undo.status is UndoStatus.FAILED and again is not None and instance.id not in again:
        return False
    task = draft.run.task_of(instance)
    # One that was tried before is not looked at again: its task's status has moved on since.
    is_due = bool(undo.attempts) or instance.to_undo(task) or (destroys and instance.is_in_place)
    if only is not None and instance.id not in only:
        status, reason = UndoStatus.NOT_NEEDED, "a later run has it now"
    elif task.closing or undo.mode is UndoMode.NONE or not is_due:
        status, reason = UndoStatus.NOT_NEEDED, _why_not(instance)
    elif undo.mode is UndoMode.IRREVERSIBLE:
        status, reason = UndoStatus.LEFT, "it cannot be undone"
    else:
        status, reason = UndoStatus.PENDING, ""
    budget = sum(attempt.status not in UNCOUNTED for attempt in undo.attempts)
    draft.undo(instance, status=status, reason=reason, retry_at=None, budget=budget)
    return status is UndoStatus.PENDING


def _why_not(instance: Instance) -> str:
    if not instance.was_tried:
        return "it never started"
    if instance.undo.mode is UndoMode.NONE:
        return "the plan names no undo"
    return "it did not succeed" if instance.is_touched else "it changed nothing"


def pass_instance(draft: Draft, instance: Instance) -> None:
    """The undo of an instance has ended, one way or the other."""
    name = instance.task
    if instance.undo.status is not UndoStatus.SUCCEEDED:
        draft.back_stands = draft.back_stands.insert(name, instance.id)
    draft.back_left = draft.back_left.insert(name, draft.back_left[name] - 1)
    if draft.back_left[name] == 0:
        _walk(draft, _pass(draft, name))


def _walk(draft: Draft, reached: list[str]) -> None:
    """Passes all tasks that have nothing to undo, and stops at those that have."""
    while reached:
        name = reached.pop()
        if (standing := draft.back_stands.get(name)) is not None:
            _leave(draft, name, standing)
        if draft.back_left[name] == 0:
            reached.extend(_pass(draft, name))
            continue
        for id_ in draft.expansions[name]:
            if draft.instances[id_].undo.status is UndoStatus.PENDING:
                draft.back_ready.append(id_)


def _leave(draft: Draft, name: str, standing: str) -> None:
    for id_ in draft.expansions[name]:
        instance = draft.instances[id_]
        if instance.undo.status is UndoStatus.PENDING:
            draft.undo(instance, status=UndoStatus.LEFT, reason=f"{standing} rests on it and still stands")
    draft.back_left = draft.back_left.insert(name, 0)


def _pass(draft: Draft, name: str) -> list[str]:
    """Task names that are reached now that `name` is passed."""
    draft.back_remaining -= 1
    standing = draft.back_stands.get(name) or _failed_before(draft, name)
    reached = []
    for need in draft.run.graph.nodes[name].needs:
        if standing is not None:
            draft.back_stands = draft.back_stands.insert(need, standing)
        open_ = draft.back_open[need] - 1
        draft.back_open = draft.back_open.insert(need, open_)
        if open_ == 0:
            reached.append(need)
    return reached


def _failed_before(draft: Draft, name: str) -> str | None:
    """An instance whose undo failed on an earlier way back, and which is not tried again on this one."""
    return next((id_ for id_ in draft.expansions[name] if draft.instances[id_].undo.status is UndoStatus.FAILED), None)


def index_of(draft: Draft, base: Back | None) -> Back | None:
    """The draft's index, frozen again; None while the run goes forward."""
    if not draft.goes_back:
        return None
    gone = draft.back_gone
    ready = (base.ready if base is not None and not draft.back_rebuilt else ()) + tuple(draft.back_ready)
    return Back(
        open=draft.back_open,
        left=draft.back_left,
        stands=draft.back_stands,
        ready=tuple(sorted(id_ for id_ in ready if id_ not in gone)) if gone or draft.back_ready else ready,
        retrying=draft.back_retrying,
        remaining=draft.back_remaining,
    )


def left_standing(instances: list[Instance]) -> tuple[str, ...]:
    """Ids of what a finished way back left, in graph order."""
    return tuple(i.id for i in instances if i.undo.status in (UndoStatus.FAILED, UndoStatus.LEFT))
