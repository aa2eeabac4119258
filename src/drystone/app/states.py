"""States that kinds keep of instances between runs, as Terraform does: which there are, and one of them in clear.

They are sealed at rest. What lies in an instance's folder is the truth, whatever the run that has it in place said when it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drystone.app.environments import Content, Standing
from drystone.app.world import World
from drystone.core.diagnostics import did_you_mean
from drystone.core.parts import label, lineage
from drystone.core.run.decide import folder_of
from drystone.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from drystone.plugin.api import KeptState


def of(world: World, standing: Standing) -> Sequence[KeptState]:
    """Those of one instance, in the order in which they came to be; none when its kind keeps none here."""
    own = getattr(world.registry.get(standing.instance.kind), "states", None)
    if own is None:
        return ()
    journal, record = world.journal(), standing.look.record
    folder = world.plan_state(record.environment, label(lineage(record, journal.record))) / folder_of(standing.instance.id)
    found: Sequence[KeptState] = own(folder, world.vault().open_config)
    return found


def find(world: World, content: Content, task: str, *, serial: int | None = None, name: str | None = None) -> KeptState:
    """The state of now of a task (`vm[0]`, or `PLAN/vm[0]`), or that with this serial.

    name: of the workspace, when it keeps states of several. Raises NotFoundError, and RefusedError when several fit.
    """
    standing = _standing(content, task)
    states = of(world, standing)
    if not states:
        kind = standing.instance.kind
        keeps = hasattr(world.registry.get(kind), "states")
        hint = "a module with a backend block has its state there: terraform state pull, in the module's folder"
        raise NotFoundError(f"no state of {task} is kept here", hint=hint if keeps else f'kind "{kind}" keeps none')
    names = list(dict.fromkeys(state.name for state in states))
    if name is None and len(names) > 1:
        raise RefusedError(f"{task} keeps states of several workspaces: {', '.join(map(_shown, names))}", hint="--workspace NAME")
    of_name = [state for state in states if state.name == (names[0] if name is None else name)]
    if not of_name:
        raise NotFoundError(f'{task} has no state of workspace "{name}"', hint=f"there are: {', '.join(map(_shown, names))}")
    fitting = [state for state in of_name if (state.is_current if serial is None else state.serial == serial)]
    if not fitting:
        serials = ", ".join(str(state.serial) for state in of_name)
        raise NotFoundError(f"no state of {task} with serial {serial} is kept", hint=f"there are: {serials}")
    return fitting[-1]


def _shown(name: str) -> str:
    return name or "default"


def _standing(content: Content, task: str) -> Standing:
    names = {f"{item.look.record.plan}/{item.instance.id}": item for item in content.standing}
    fitting = {name: item for name, item in names.items() if task in (name, item.instance.id)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if fitting:
        raise RefusedError(f"{task} stands there of several plans", hint=f"say which: {', '.join(fitting)}")
    known = [item.instance.id for item in content.standing]
    raise NotFoundError(
        f'nothing called "{task}" stands in environment "{content.environment.name}"',
        hint=did_you_mean(task, known) or (f"there are: {', '.join(known)}" if known else "nothing stands there"),
    )
