"""Asks kinds what they would do: with a context like that of an attempt, whose folders are the preview's own and go with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from drystone.core.foresight import Question
from drystone.core.opaque import UNKNOWN
from drystone.core.preview import Certainty, Change, Preview
from drystone.core.run.decide import folder_of
from drystone.engines.attempt import checked_config
from drystone.engines.breaker import Breakers
from drystone.engines.context import AttemptContext, Control
from drystone.engines.layout import Layout
from drystone.engines.vault import Vault
from drystone.errors import AttemptError, FailureClass
from drystone.plugin.api import Kind
from drystone.plugin.registry import Registry
from drystone.ports import Clock, Forks, Process

PASSING = frozenset({FailureClass.UNREACHABLE, FailureClass.TIMEOUT, FailureClass.CONFLICT, FailureClass.RATE_LIMITED})
"""What keeps somebody from looking, and says nothing about what would be done."""


@dataclass(frozen=True, kw_only=True)
class Foreseer:
    """Asks for the instances of one plan in one environment.

    id:   of the preview; what its questions leave is below .drystone/previews/ID until `close`.
    plan: what the state of its instances is kept under (`core.parts.label`).
    tree: the project as the preview's bundle has it.
    """

    id: str
    plan: str
    environment: str | None
    project: Path
    bundle: str
    tree_of: Callable[[str], Path | None]
    registry: Registry
    process: Process
    forks: Forks
    layout: Layout
    environ: Mapping[str, str]
    breakers: Breakers
    clock: Clock
    vault: Vault

    def ask(self, question: Question, moved: list[str]) -> tuple[Preview, str]:
        """What the instance would do; and why a run would fail here, or nothing.

        moved: tasks before it that would change something.
        """
        kind = self.registry.get(question.body.kind)
        if question.waits:
            source = self.tree_of(self.bundle) or self.project
            return self._masked(kind.outline(question.config, source)), ""
        ctx = self._context(question)
        try:
            config = checked_config(kind, question.body, question.config)
            own = getattr(kind, "preview", None)
            found = own(ctx, config) if own is not None else _by_outline(kind, question, ctx.source)
        except AttemptError as error:
            message = self.vault.mask(error.message)
            if error.failure_class in PASSING or (moved and kind.looks_at_world):
                outlined = kind.outline(question.config, ctx.source)
                reason = f"it cannot be looked at now: {message}"
                return self._masked(replace(outlined, certainty=Certainty.DEFERRED, reason=reason, outputs=UNKNOWN, result=UNKNOWN)), ""
            return Preview(certainty=Certainty.DEFERRED, summary="would fail", reason=message, outputs=UNKNOWN, result=UNKNOWN), message
        finally:
            ctx.close()
        if moved and kind.looks_at_world and found.certainty is Certainty.EXACT:
            found = replace(found, certainty=Certainty.PARTIAL, reason=f"seen before {', '.join(moved[:3])} changed", outputs=UNKNOWN)
        return self._masked(found), ""

    def look(self, question: Question) -> Preview | None:
        """How the world differs from what the config made; None when its kind cannot tell. Raises AttemptError, with secrets in it."""
        kind = self.registry.get(question.body.kind)
        own = getattr(kind, "drift", None)
        if own is None:
            return None
        ctx = self._context(question)
        try:
            return self._masked(own(ctx, checked_config(kind, question.body, question.config)))
        finally:
            ctx.close()

    def _masked(self, found: Preview) -> Preview:
        mask = self.vault.mask

        def masked(changes: Sequence[Change]) -> tuple[Change, ...]:
            return tuple(replace(item, what=mask(item.what), detail=mask(item.detail)) for item in changes)

        return replace(
            found,
            summary=mask(found.summary),
            reason=mask(found.reason),
            changes=masked(found.changes),
            outside=masked(found.outside),
            unseen={name: mask(reason) for name, reason in found.unseen.items()},
        )

    def _context(self, question: Question) -> AttemptContext:
        """As that of the attempt which the question is about: a preview's own, or one of a run that was."""
        home = self.layout.home / "previews" / self.id
        own = home / folder_of(question.id)
        run, task = question.scope["run"], question.scope["task"]
        return AttemptContext(
            run_id=run["id"],
            plan=run["plan"],
            task=question.id,
            attempt=task["attempt"],
            token=task["token"],
            environment=self.environment or "",
            project=self.project,
            folder=lambda: own,
            state_folder=lambda: self.layout.state(self.environment, self.plan, question.id),
            artifacts_folder=lambda: home / "artifacts",
            environ=self.environ,
            control=Control(self.clock, question.task.timeout),
            vault=self.vault,
            runner=self.process,
            on_progress=lambda message, data: None,
            breakers=self.breakers,
            forks=self.forks,
            bundle=self.bundle,
            tree_of=self.tree_of,
        )

    def to_destroy(self, question: Question) -> Preview | None:
        """What taking an instance away would do; None when its kind cannot tell. Raises AttemptError, with secrets in it."""
        kind = self.registry.get(question.body.kind)
        own = getattr(kind, "preview_destroy", None)
        if own is None:
            return None
        ctx = self._context(question)
        try:
            return self._masked(own(ctx, checked_config(kind, question.body, question.config)))
        finally:
            ctx.close()

    def close(self) -> None:
        """Nothing of the preview stays."""
        self.registry.close()
        self.forks.close()
        home = self.layout.home / "previews"
        shutil.rmtree(home / self.id, ignore_errors=True)
        with suppress(OSError):
            home.rmdir()
        if self.environment is not None:
            self.layout.prune(self.environment, self.plan)


def _by_outline(kind: Kind, question: Question, source: Path) -> Preview:
    """Of a kind that cannot look: what it would do is all that is known, and it is known exactly."""
    found = kind.outline(question.config if isinstance(question.config, Mapping) else {}, source)
    return replace(found, certainty=Certainty.EXACT, reason="")
