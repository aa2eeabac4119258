"""What the use cases work with: one project and the parts of drystone that serve it. Built by `wiring`, for one command.

Everything that costs time to open is behind a call, so that a command pays only for what it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from drystone.core.diagnostics import Diagnostics
    from drystone.core.events import Event
    from drystone.core.expected import Expected
    from drystone.core.foresight import Question
    from drystone.core.nodes import Node
    from drystone.core.preview import Preview
    from drystone.core.run import Run
    from drystone.core.saved_preview import SavedPart
    from drystone.plugin.registry import Registry
    from drystone.ports import Bundles, Clock, Ids, Journal, RunRecord
    from drystone.settings import DriftSettings

    Observer = Callable[[Run, Sequence[Event]], None]

Stays = Callable[[bool], bool]
"""Told again and again whether a run only waits for a person; answers whether to stay and wait for one."""


class Parser(Protocol):
    """YAML text -> the tree, or None when there is none; mistakes go to `diagnostics`, placed in `file`."""

    def __call__(self, text: str, file: str, diagnostics: Diagnostics) -> Node | None: ...


class Vault(Protocol):
    """Opens and seals the secrets of one run."""

    def reveal(self, data: Any) -> Any:
        """JSON data with each handle replaced by its value."""
        ...

    def seal_outputs(self, outputs: Any, sensitive: frozenset[str]) -> Any:
        """Outputs, or inputs, as they may be stored: those named sensitive are sealed, and any text in which a known secret shows."""
        ...

    def seal_config(self, config: Any) -> str:
        """JSON data -> text that only this project's key opens, with a note of which known secrets are in it."""
        ...

    def open_config(self, sealed: str) -> Any:
        """The reverse of `seal_config`. Raises ProjectError when the key is another one."""
        ...

    def names(self) -> Mapping[str, str]:
        """`secrets` as an expression sees it: resolved when one is looked at."""
        ...

    def public_key(self) -> bytes:
        """The 32 bytes that check what the project signs. Raises ProjectError."""
        ...

    def mask(self, text: str) -> str:
        """The text without the values that this vault has opened or sealed."""
        ...


class Foreseer(Protocol):
    """Asks kinds what they would do."""

    def ask(self, question: Question, moved: list[str]) -> tuple[Preview, str]:
        """What an instance would do; and why a run would fail here, or nothing. `moved`: tasks before it that would change something."""
        ...

    def to_destroy(self, question: Question) -> Preview | None:
        """What taking an instance away would do; None when its kind cannot tell. Raises AttemptError, with secrets in it."""
        ...

    def look(self, question: Question) -> Preview | None:
        """How the world differs from what the config made; None when its kind cannot tell. Raises AttemptError, with secrets in it."""
        ...

    def close(self) -> None:
        """Nothing of the preview stays."""
        ...


class Engine(Protocol):
    """Drives runs to their end. `cancel` may be called from any thread or signal handler; all else from one."""

    def start(self, record: RunRecord, run: Run, vault: Any, *, expected: Mapping[str, Expected] | None = None) -> None:
        """Records a new run, with what to expect of its tasks, and takes it. Raises LockedError, RefusedError."""
        ...

    def queue(self, record: RunRecord, run: Run, *, expected: Mapping[str, Expected] | None = None) -> None:
        """Records a new run, with what to expect of its tasks, for a server to take. Raises LockedError, RefusedError."""
        ...

    def take_up(self, record: RunRecord, run: Run, vault: Any, request: Callable[[Run, datetime], list[Event]]) -> None:
        """Takes a run that was begun, and makes of it what is requested. Raises LockedError while another process has it, RefusedError."""
        ...

    def cancel(self, run_id: str, *, by: str, reason: str = "") -> None:
        """Asks for a graceful end."""
        ...

    def drive(self, stays: Stays | None = None) -> dict[str, Run]:
        """Drives every run it has taken to its end, or leaves it where only a person can move it on."""
        ...

    def close(self) -> None:
        """Lets go of daemons and threads."""
        ...


@dataclass(frozen=True, kw_only=True)
class World:
    """One command's surroundings.

    project: whose `home`, the .drystone folder, holds the runs.
    cwd:     the folder that paths on the command line are relative to.
    environ: the process's environment, read once.
    by:      who asks, for the record: `user@host`.    owner: the process that asks, as leases name it.
    pools: the project's concurrency limits, with their sizes.
    drift: how drift is looked for, and what of it is ignored.
    has_store: False when nothing ever ran in this project; then `journal` would make a store.
    plan_state: the folder in which the instances of a plan keep things between runs, by environment and plan.
    end_children: ends all child processes of this process at once, without grace.
    bundles: the snapshots of what runs use.
    keep_preview: digest of a saved preview and instance -> what was said of that, sealed: kept for the runs that do it.
    foreseer: preview's id, label of its instances' state, environment, root, bundle, vault -> who asks kinds what they would do.
    bound_now: plan, environment, instance, what was said of it, root -> what that rests on in the world now; None when nobody can say.
    """

    project: Path
    home: Path
    library: Path
    cwd: Path
    environ: Mapping[str, str]
    by: str
    owner: str
    registry: Registry
    parse: Parser
    clock: Clock
    ids: Ids
    pools: Callable[[], Mapping[str, int]]
    drift: Callable[[], DriftSettings]
    has_store: Callable[[], bool]
    journal: Callable[[], Journal]
    vault: Callable[[], Vault]
    engine: Callable[[Sequence[Observer]], Engine]
    plan_state: Callable[[str | None, str], Path]
    end_children: Callable[[], None]
    bundles: Callable[[], Bundles]
    keep_preview: Callable[[str, Mapping[str, str]], None]
    foreseer: Callable[[str, str, str | None, Path, str, Any], Foreseer]
    bound_now: Callable[[str, str | None, str, SavedPart, Path, Any], Mapping[str, str] | None]
