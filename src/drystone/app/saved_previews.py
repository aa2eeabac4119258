"""Saved previews: written to a file, read again, and checked against what is there now (DESIGN §4.12).

    {"drystone_preview": 1, "plan": ..., "environment": ..., "digest": ..., "created_at": ..., "by": ..., "summary": ..., "sha256": ...}
    gAAAA...                                        everything, sealed by the project's key: plan files of Terraform hold secrets

The first line is for people and programs that only want to know what it is; what counts is in the second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drystone.app import bundles, runs
from drystone.app.inputs import Given
from drystone.app.runs import Prepared
from drystone.app.world import Vault, World
from drystone.core.inputs import check_inputs
from drystone.core.preview import Preview
from drystone.core.run import Manner
from drystone.core.saved_preview import FORMAT, SavedPart, SavedPreview, moved_bounds, moved_files, moved_inputs
from drystone.errors import ProjectError, RefusedError
from drystone.plugin.files import write_atomic

if TYPE_CHECKING:
    from drystone.app.places import PlanFile
    from drystone.core.plan import Plan

MARK = "drystone_preview"
MAX_BYTES = 1 << 30
_AGAIN = "make a new one: drystone preview PLAN --out FILE"

BoundNow = Callable[[str, SavedPart], Mapping[str, str]]
"""Instance and what was said of it -> what that rests on in the world, as it is now."""


def write(path: Path, preview: SavedPreview, vault: Vault) -> None:
    """Puts it into a file (0600), in one step. Raises PermanentError when it cannot be written."""
    sealed = vault.seal_config(preview.to_json())
    head = {
        MARK: FORMAT,
        "plan": preview.plan,
        "environment": preview.environment,
        "digest": preview.digest,
        "created_at": preview.created_at,
        "by": preview.by,
        "summary": vault.mask(preview.summary),
        "sha256": hashlib.sha256(sealed.encode()).hexdigest(),
    }
    write_atomic(path, f"{json.dumps(head)}\n{sealed}\n".encode(), 0o600)


def save(world: World, path: Path, prepared: Prepared, parts: Mapping[str, SavedPart], *, summary: str, vault: Vault) -> SavedPreview:
    """Writes the preview of a run that could start, `preview --out`, and gives it.

    parts:   instance -> what was said of it, with real values.
    summary: the last line of the preview.
    vault:   the one that the preview was made with, so that the secrets in it are known.
    Raises InputError when an input is missing or does not fit, PermanentError when the file cannot be written.
    """
    checked = check_inputs(prepared.graph.plan, prepared.values)
    bundle, manifest = manifest_of(world, prepared, checked, vault)
    plan_file = prepared.plan.path.resolve()
    is_ours = plan_file.is_relative_to(world.project)
    preview = SavedPreview(
        plan=prepared.graph.plan.name,
        plan_file=str(plan_file.relative_to(world.project) if is_ours else plan_file),
        environment=runs.environment_of(prepared.graph, checked),
        salt=world.ids.run_id(),
        created_at=world.clock.now().isoformat(),
        by=world.by,
        summary=summary,
        inputs=checked,
        bundle=bundle,
        manifest=manifest,
        parts=parts,
    )
    write(world.cwd / path, preview, vault)
    return preview


def part_of(kind: str, preview: Preview, config: Any) -> SavedPart:
    """What is saved of an instance. `config`: rendered, with real values; None when not all of it is known."""
    return SavedPart(
        kind=kind,
        certainty=preview.certainty,
        config=config,
        summary=preview.summary,
        reason=preview.reason,
        changes=tuple(preview.changes),
        bound=preview.bound,
        saved=preview.saved,
    )


def read(path: Path, vault: Vault) -> SavedPreview:
    """What the file holds. Raises RefusedError, which says what is wrong with it."""
    head, sealed = _parts(path)
    if head.get("sha256") != hashlib.sha256(sealed.encode()).hexdigest():
        raise RefusedError(f'"{path}" is not whole: it was cut off or changed since it was written', hint=_AGAIN)
    try:
        data = vault.open_config(sealed)
    except ProjectError as error:
        message = f'"{path}" cannot be opened with this project\'s key: it was made in another project, or the key is another one'
        raise RefusedError(message, hint=f"run it in the project that it was made in (-C FOLDER); {error.hint}") from error
    try:
        preview = SavedPreview.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f'"{path}" holds something else than a preview', hint=_AGAIN) from error
    if head.get("digest") != preview.digest:
        raise RefusedError(f'the first line of "{path}" was changed: it names another digest than the preview has', hint=_AGAIN)
    return preview


def _parts(path: Path) -> tuple[Mapping[str, Any], str]:
    """The first line, and the sealed text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RefusedError(f'"{path}" is too large for a preview')
        first, _, sealed = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise RefusedError(f'"{path}" cannot be read: {(error.strerror or str(error)).lower()}', hint=_AGAIN) from error
    try:
        head = json.loads(first)
        text = sealed.decode("ascii").strip()
    except ValueError:
        head, text = None, ""
    if not isinstance(head, dict) or MARK not in head:
        raise RefusedError(f'"{path}" is no saved preview', hint=_AGAIN)
    if head[MARK] != FORMAT:
        message = f'"{path}" has format {head[MARK]} of a saved preview, and this drystone knows format {FORMAT}'
        raise RefusedError(message, hint="run it with the drystone that made it")
    return head, text


@dataclass(frozen=True, kw_only=True)
class Now:
    """What a run would rest on if it began now. `inputs` are checked, with real values."""

    environment: str | None
    inputs: Mapping[str, Any]
    manifest: Mapping[str, str]
    bound: BoundNow


def check(preview: SavedPreview, plan: Plan, now: Now) -> None:
    """Raises RefusedError, with a reason on each line, when anything has moved since the preview was made."""
    secret = frozenset(name for name, item in plan.inputs.items() if item.secret)
    reasons = [
        *moved_files(preview.manifest, now.manifest),
        *moved_inputs(preview.inputs, now.inputs, secret=secret),
    ]
    if plan.name != preview.plan:
        reasons.append(f"the plan was {preview.plan} and is {plan.name}")
    if now.environment != preview.environment:
        reasons.append(f"the environment was {preview.environment or 'none'} and is {now.environment or 'none'}")
    for id_, part in preview.parts.items():
        if part.bound:
            reasons += moved_bounds(id_, part.bound, now.bound(id_, part))
    if reasons:
        message = "this is not what was previewed any more:\n" + "\n".join(f"  {reason}" for reason in reasons)
        raise RefusedError(message, hint="look at what it would do now, and save that: drystone preview PLAN --out FILE")


def manifest_of(world: World, prepared: Prepared, checked: Mapping[str, Any], vault: Vault) -> tuple[str, Mapping[str, str]]:
    """The bundle that a run would begin with now, and its files. Raises ProjectError."""
    secret = frozenset(name for name in checked if prepared.graph.plan.inputs[name].secret)
    stored = vault.seal_outputs(checked, secret)
    bundle = bundles.of(world, prepared.plan, prepared.graph, prepared.source, stored)
    return bundle, world.bundles().manifest(bundle) or {}


def prepare(world: World, preview: SavedPreview, plan: PlanFile, given: Given, *, approve_deferred: bool) -> tuple[Prepared, Manner]:
    """A run that does exactly this preview, which is kept for it. Raises RefusedError when anything has moved; PlanError, InputError.

    given: what somebody says beside the file; it must agree with it.
    """
    vault = world.vault()
    prepared = runs.prepare(world, plan, given)
    # What was given by hand, or by the environment, counts; the rest is as it was.
    checked = check_inputs(prepared.graph.plan, {**preview.inputs, **prepared.values})
    prepared = replace(prepared, values=checked, missing=())
    _, manifest = manifest_of(world, prepared, checked, vault)
    environment = runs.environment_of(prepared.graph, checked)

    def bound(id_: str, part: SavedPart) -> Mapping[str, str]:
        now = world.bound_now(prepared.graph.plan.name, environment, id_, part, prepared.plan.root, vault)
        return part.bound if now is None else now

    check(preview, prepared.graph.plan, Now(environment=environment, inputs=checked, manifest=manifest, bound=bound))
    world.keep_preview(preview.digest, {id_: vault.seal_config(part.to_json()) for id_, part in preview.parts.items()})
    return prepared, Manner(preview=preview.digest, approve_deferred=approve_deferred)
