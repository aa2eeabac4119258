"""What to type next: the commands that a run in its state takes, as they work when they are pasted here. Pure but for where it is."""

from __future__ import annotations

from collections.abc import Sequence

from drystone.app.reading import Look
from drystone.cli import commands, words
from drystone.core.run import Item, UndoStatus, Way, attention, questions
from drystone.core.states import RunStatus, TaskStatus

MOST = 3
"""Tasks for which a command of their own is told; more of them look alike."""


def next_steps(look: Look) -> list[str]:
    """Commands, the first one to look and the others to go on, each with what it means where that is not plain."""
    run, id_ = look.run, words.short(look.run.id)
    start = commands.start_of(look.home)

    def step(*command: str, means: str = "") -> str:
        return commands.typed(start, *command) + (f"      # {means}" if means else "")

    show = step("show", id_)
    undo = [] if run.passed_pivot or run.started_at is None else [step("undo", id_)]
    match run.status:
        case RunStatus.SUCCEEDED:
            tolerated = any(item.status is TaskStatus.FAILED and not run.task_of(item).closing for item in run.in_order())
            again = step("resume", id_, "--only-failed", means="tries again what failed, and what was made without it")
            return [show, *([again] if tolerated else []), *(undo if any(item.changed for item in run.in_order()) else [])]
        case (RunStatus.FAILED | RunStatus.COMPENSATION_FAILED) if items := attention(run):
            back = items[0].way is Way.BACK
            skips = [step("attention", "skip", id_, item.instance, "--reason", "TEXT") for item in items[:MOST]]
            retry = step("attention", "retry", id_, means="tries the undo again" if back else "tries again what failed")
            return [show, *([retry] if _can_retry(look, items) else []), *skips, *([] if back else undo)]
        case RunStatus.FAILED | RunStatus.CANCELLED if run.started_at is None:
            return [show, step("resume", id_, means="stands in line again")]
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return [show, step("resume", id_, means="goes on where it stopped"), *undo]
        case RunStatus.COMPENSATED:
            return [show, step("logs", id_)]
        case RunStatus.COMPENSATION_FAILED:
            return [show, step("resume", id_, means="tries the undo again")]
        case _ if look.is_abandoned:
            return [step("resume", id_, means="goes on with it"), step("cancel", id_, means="ends it")]
        case RunStatus.QUEUED:
            return [*(step("show", other) for other in look.behind[-1:]), step("cancel", id_, means="leaves the line")]
        case _:
            answers = [step(answer, id_, task) for task in questions(run)[:MOST] for answer in ("approve", "reject")]
            parts = [waiting.run for item in run.in_order() if (waiting := item.waiting) is not None and waiting.run is not None]
            answers += [step("show", part, means="says what it waits for") for part in parts[:MOST]]
            stay = look.run.status is RunStatus.WAITING and not look.is_driven
            follow = step("resume", id_, "--wait", means="stays until then, and goes on") if stay else step("logs", id_, "-f")
            return [*answers, follow, step("cancel", id_)]


def _can_retry(look: Look, items: Sequence[Item]) -> bool:
    """What cannot be undone at all can only be taken on."""
    return any(item.way is Way.FORWARD or look.run.instances[item.instance].undo.status is UndoStatus.FAILED for item in items)
