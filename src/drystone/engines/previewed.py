"""Runs that do a saved preview exactly: what is kept of it for them, and what an attempt may do without asking (DESIGN §4.12).

    exact in the preview, with the same config  -> it goes on, with what the preview saved
    anything else that would change something   -> a preview is made now, kept, and a person is asked; after the yes, exactly that is done
    a stage that changes nothing                -> it goes on
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.core.preview import Action, Certainty, Change, Preview
from drystone.core.run import Run
from drystone.core.saved_preview import SavedPart, digest_of, moved_bounds
from drystone.engines.context import AttemptContext
from drystone.engines.layout import Layout
from drystone.errors import FailureClass, PermanentError
from drystone.plugin.api import Approval, Config, Kind, Pause
from drystone.plugin.files import write_atomic

MAX_LINES = 20
"""Changes that a question names; the log has them all."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """What previews said of instances, below .drystone: sealed, a file each."""

    layout: Layout

    def keep(self, folder: Path, id_: str, sealed: str) -> None:
        """Keeps a part. Raises PermanentError(refused) when it cannot be written."""
        path = self.layout.of_preview(folder, id_)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(path, sealed.encode(), 0o600)

    def part(self, folder: Path, id_: str, ctx: AttemptContext) -> SavedPart | None:
        """What was kept of an instance; None when nothing was."""
        try:
            sealed = self.layout.of_preview(folder, id_).read_text("ascii")
        except FileNotFoundError:
            return None
        return SavedPart.from_json(ctx.unseal(sealed))

    def gate(self, run: Run, id_: str, kind: Kind, config: Config, rendered: Any, ctx: AttemptContext) -> Pause | None:
        """Called before the kind does its work on the way forward: a question, or None when it may go on, with `ctx.saved`.

        Raises PermanentError(refused) when what the preview rested on has moved.
        """
        if not run.manner.preview or not kind.changes_things(rendered):
            return None
        is_touched = any(attempt.changed for attempt in run.instances[id_].attempts[:-1])
        part = self.part(self.layout.preview(run.manner.preview), id_, ctx)
        if part is not None and part.is_exact and _same(part.config, rendered) and not (part.saved is not None and is_touched):
            _check_unmoved(id_, part, kind, config, ctx)
            ctx.saved = part.saved
            return None
        of_run = self.layout.run_preview(run.id)
        asked = self.part(of_run, id_, ctx)
        if asked is not None and ctx.approved == _digest(asked) and _same(asked.config, rendered):
            if not _moved(id_, asked, kind, config, ctx):
                ctx.saved = asked.saved
                return None
            ctx.log("what was approved is not what would be done any more: a new preview is made")
        return self._ask(run, id_, of_run, _now(kind, config, rendered, ctx), ctx)

    def _ask(self, run: Run, id_: str, folder: Path, part: SavedPart, ctx: AttemptContext) -> Pause | None:
        for line in _lines(part.changes):
            ctx.log(line)
        if not part.changes:
            ctx.saved = part.saved
            return None
        if run.manner.approve_deferred:
            ctx.emit(f"approved as asked for with the run: {part.summary}")
            ctx.saved = part.saved
            return None
        self.keep(folder, id_, ctx.seal(part.to_json()))
        lines = [f"{id_} was not certain in the preview, and now is: {part.summary}", *_lines(part.changes[:MAX_LINES])]
        if len(part.changes) > MAX_LINES:
            lines.append(f"and {len(part.changes) - MAX_LINES} more")
        return Pause(approval=Approval(message="\n".join(lines), digest=_digest(part), again=True, self_approval=True))


def bound_now(kind: Kind, config: Config, ctx: AttemptContext) -> Mapping[str, str] | None:
    """What a preview of this would rest on in the world, as it is now; None when the kind cannot say it without a preview."""
    own = getattr(kind, "bound", None)
    return None if own is None else own(ctx, config)


def _now(kind: Kind, config: Config, rendered: Any, ctx: AttemptContext) -> SavedPart:
    own = getattr(kind, "preview", None)
    run = Change(action=Action.RUN, what=kind.name)
    found: Preview = own(ctx, config) if own is not None else Preview(summary=f"would run {kind.name}", changes=(run,))
    changes = found.changes
    if not changes and found.changes_anything:
        changes = (run,)
    return SavedPart(
        kind=kind.name,
        certainty=Certainty.EXACT,
        config=rendered,
        summary=found.summary,
        changes=tuple(changes),
        bound=found.bound,
        saved=found.saved,
    )


def _moved(id_: str, part: SavedPart, kind: Kind, config: Config, ctx: AttemptContext) -> list[str]:
    now = bound_now(kind, config, ctx) if part.bound else None
    return [] if now is None else moved_bounds(id_, part.bound, now)


def _check_unmoved(id_: str, part: SavedPart, kind: Kind, config: Config, ctx: AttemptContext) -> None:
    if reasons := _moved(id_, part, kind, config, ctx):
        message = f"this is not what was previewed any more: {'; '.join(reasons)}"
        hint = "nothing was done here; look at what it would do now: drystone preview"
        raise PermanentError(FailureClass.REFUSED, message, changed=False, hint=hint)


def _digest(part: SavedPart) -> str:
    # Its config may hold secrets that are easy to guess: what was sealed beside it is not needed to tell two questions apart.
    saved = part.to_json()
    return digest_of({name: saved[name] for name in ("kind", "summary", "changes", "bound", "saved")})


def _same(before: Any, now: Any) -> bool:
    return json.dumps(before, sort_keys=True, default=str) == json.dumps(now, sort_keys=True, default=str)


def _lines(changes: Sequence[Change]) -> list[str]:
    return [f"{change.action.value} {change.what}" for change in changes]
