"""What Terraform would do: a saved plan read back, as the resources and outputs that it would change. Sensitive values stay hidden."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drystone.kinds.terraform import hcl, marks, parse
from drystone.kinds.terraform.records import Records
from drystone.kinds.terraform.session import Session
from drystone.plugin.api import UNKNOWN, Action, Certainty, Change, Preview

_ACTIONS = {("create",): Action.ADD, ("update",): Action.CHANGE, ("delete",): Action.DESTROY}
_HIDDEN, _LATER = "(sensitive value)", "(known after apply)"
_LONGEST_VALUE = 120


def copy_of(records: Records) -> Records:
    """Records of the preview's own: a plan must not disturb what runs rely on. For as long as the instance is claimed.

    The state stays where it is, for a saved plan names the place of the state that it is to be applied to.
    """
    own = replace(records, folder=records.of_preview, state_folder=records.folder)
    own.folder.mkdir(mode=0o700)
    if (records.folder / "instance.json").is_file():
        shutil.copy(records.folder / "instance.json", own.folder / "instance.json")
    return own


def of(session: Session) -> Preview:
    """The preview that the session's plan file stands for."""
    planned = session.planned()
    for text in marks.in_plan(planned):
        session.ctx.redact(text)
    changes = tuple(_changes(planned))
    outputs = planned.get("output_changes") or {}
    differing = [name for name, item in outputs.items() if item.get("actions") not in (["no-op"], ["read"])]
    moved = tuple(Change(action=Action.CHANGE, what=f"output {name}") for name in differing)
    counts = {"add": 0, "change": 0, "remove": 0}
    for change in changes:
        counts["add"] += change.action in (Action.ADD, Action.REPLACE)
        counts["change"] += change.action is Action.CHANGE
        counts["remove"] += change.action in (Action.DESTROY, Action.REPLACE)
    unmoved = "only outputs would change" if moved else "nothing to do"
    return Preview(
        summary=parse.summary_line(counts, ("to add", "to change", "to destroy")) if changes else unmoved,
        # What outputs follow from is told already.
        changes=changes or moved,
        outputs={name: _output(item) for name, item in outputs.items() if item.get("actions") != ["delete"]},
        sensitive=frozenset(name for name, item in outputs.items() if item.get("after_sensitive")),
        saved=session.records.plan_file.read_bytes(),
        bound=bound(session),
        outside=tuple(_left_outside(planned, {change.what for change in changes})),
    )


def bound(session: Session) -> dict[str, str]:
    """What a saved plan rests on."""
    state = session.state() or {}
    lock = session.workdir.lock_file
    # A saved plan is applied to the state in the place that it names, wherever the project has been moved or copied to.
    place = {"state file": str(session.records.state.clear)} if session.facts.backend is None else {}
    return place | {
        "state serial": str(state.get("serial", "none")),
        "state lineage": str(state.get("lineage", "none")),
        "provider lock file": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
    }


def _output(item: Mapping[str, Any]) -> Any:
    return UNKNOWN if item.get("after_unknown") else item.get("after")


def _changes(planned: Mapping[str, Any]) -> Iterator[Change]:
    for item in planned.get("resource_changes") or ():
        actions = tuple(item["change"]["actions"])
        if item.get("mode") != "data" and actions not in (("no-op",), ("read",)):
            yield _change(item, _ACTIONS.get(actions, Action.REPLACE))


def _left_outside(planned: Mapping[str, Any], put_back: set[str]) -> Iterator[Change]:
    """What the refresh found different from the state and the plan does not touch: attributes that the configuration does not set."""
    for item in planned.get("resource_drift") or ():
        if item.get("mode") != "data" and item["address"] not in put_back:
            yield _change(item, _ACTIONS.get(tuple(item["change"]["actions"]), Action.CHANGE))


def _change(item: Mapping[str, Any], action: Action) -> Change:
    differing = dict(_attributes(item["change"]))
    # What is known after the apply only follows from the rest.
    attributes = tuple(name for name, text in differing.items() if not text.endswith(_LATER))
    return Change(action=action, what=item["address"], detail="\n".join(differing.values()), attributes=attributes)


def _attributes(change: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The attributes that an update or a replacement changes, and how."""
    before, after = change.get("before"), change.get("after")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return
    unknown = change.get("after_unknown")
    for name in sorted({*before, *after, *(unknown if isinstance(unknown, Mapping) else ())}):
        is_unknown = isinstance(unknown, Mapping) and bool(unknown.get(name))
        if before.get(name) == after.get(name) and not is_unknown:
            continue
        if any(isinstance(marks := change.get(side), Mapping) and marks.get(name) for side in ("before_sensitive", "after_sensitive")):
            yield name, f"{name}: {_HIDDEN}"
            continue
        forces = " (forces a replacement)" if [name] in (change.get("replace_paths") or ()) else ""
        yield name, f"{name}: {_shown(before.get(name))} → {_LATER if is_unknown else _shown(after.get(name))}{forces}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def outline(config: Mapping[str, Any], source: Path) -> Preview:
    """What the text of a module says while its variables are not known: its resources, without counting them."""
    module = config.get("module")
    found: list[str] = []
    if isinstance(module, str) and (source / module).is_dir():
        for file in sorted((source / module).glob("*.tf")):
            try:
                blocks = hcl.parse(file.read_text(encoding="utf-8", errors="replace"))
            except (hcl.HclSyntaxError, OSError):
                continue
            found += [".".join(block.labels) for block in blocks.find("resource") if len(block.labels) == 2]
    changes = tuple(Change(action=Action.RUN, what=address) for address in found) or (Change(action=Action.RUN, what=f"{module}"),)
    many = f"{len(found)} resource{'' if len(found) == 1 else 's'}" if found else "a module"
    return Preview(certainty=Certainty.PARTIAL, summary=f"would plan {many}", changes=changes, outputs=UNKNOWN, result=UNKNOWN)
