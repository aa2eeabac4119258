"""How two runs differ: their plans, inputs and files, and how their tasks went."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from drystone.app import reading
from drystone.app.describe import FORMAT, masked
from drystone.app.reading import Look
from drystone.app.world import Vault, World
from drystone.core.run import Instance

MAX_LINES = 400
"""Of one file's difference that are given; how many there are more is said."""
MAX_TEXT_BYTES = 1 << 20
"""Files larger than this are only said to have changed."""
ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file, or the plan, that is not the same in both runs.

    diff: the unified diff, at most `MAX_LINES` long; empty for what is no text.
    more: lines of it that are left out.
    """

    name: str
    change: str
    plus: int = 0
    minus: int = 0
    diff: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True, kw_only=True)
class Between:
    """What `drystone diff` tells. `files` is None when the bundle of one of them is not here.

    inputs: name -> what it was and is, secrets masked; None for an input that a run does not have.
    tasks:  instance -> for each run its status and its seconds; None where there is no such instance.
    """

    old: Look
    new: Look
    plan: Part | None
    inputs: Mapping[str, tuple[Any, Any]]
    files: tuple[Part, ...] | None
    tasks: Mapping[str, tuple[tuple[str, float | None] | None, tuple[str, float | None] | None]]

    def to_json(self) -> dict[str, Any]:
        """Keys stay as they are within one `format`."""
        return {
            "format": FORMAT,
            "runs": [{"id": look.run.id, "plan": look.record.plan, "bundle": look.record.bundle} for look in (self.old, self.new)],
            "plan": None if self.plan is None else _part_json(self.plan),
            "inputs": {name: {"old": old, "new": new} for name, (old, new) in self.inputs.items()},
            "files": None if self.files is None else [_part_json(part) for part in self.files],
            "tasks": {name: {"old": _task_json(old), "new": _task_json(new)} for name, (old, new) in self.tasks.items()},
        }


def between(world: World, old: str, new: str) -> Between:
    """Compares two runs. Raises NotFoundError, RefusedError as for any word that names a run."""
    one, two = reading.look(world, old), reading.look(world, new)
    # It learns the runs' secret inputs, so that a file or a plan in which one stands is shown without it.
    vault = world.vault()
    inputs = _inputs(vault, one, two)
    plan = _of_texts(_plan_name(two), one.record.source.encode(), two.record.source.encode())
    files = _files(world, one, two)
    tasks = {id_: (_went(one, id_), _went(two, id_)) for id_ in dict.fromkeys((*_ids(one), *_ids(two)))}
    return Between(
        old=one,
        new=two,
        plan=None if plan is None else _hidden(vault, plan),
        inputs=inputs,
        files=None if files is None else tuple(_hidden(vault, part) for part in files),
        tasks=tasks,
    )


def _hidden(vault: Vault, part: Part) -> Part:
    return replace(part, diff=tuple(vault.mask(line) for line in part.diff))


def _inputs(vault: Vault, old: Look, new: Look) -> dict[str, tuple[Any, Any]]:
    # A secret is sealed anew with each run: only its value says whether it is another one.
    was, now = vault.reveal(old.run.inputs), vault.reveal(new.run.inputs)
    shown = masked(old.run.inputs), masked(new.run.inputs)
    names = sorted({*was, *now})
    return {
        name: (shown[0].get(name), shown[1].get(name))
        for name in names
        if (name in was) != (name in now) or was.get(name) != now.get(name)
    }


def _files(world: World, old: Look, new: Look) -> tuple[Part, ...] | None:
    bundles, ids = world.bundles(), (old.record.bundle, new.record.bundle)
    was, now = (bundles.manifest(digest) for digest in ids)
    if was is None or now is None:
        return None
    found = []
    for name in sorted({*was, *now}):
        if was.get(name) == now.get(name) or name in (_plan_name(old), _plan_name(new)):
            continue
        texts = [bundles.read(digest, name) if name in manifest else None for digest, manifest in zip(ids, (was, now), strict=True)]
        # Equal texts: it became a program, or is none any more.
        found.append(_of_texts(name, *texts) or Part(name=name, change=CHANGED))
    return tuple(found)


def _plan_name(look: Look) -> str:
    """Relative to the plan's root, as in its bundle."""
    return look.record.plan_file.removeprefix(f"{look.record.root}/")


def _of_texts(name: str, old: bytes | None, new: bytes | None) -> Part | None:
    if old == new:
        return None
    change = ADDED if old is None else REMOVED if new is None else CHANGED
    lines = [_lines(text) for text in (old, new)]
    if lines[0] is None or lines[1] is None:
        return Part(name=name, change=change)
    a, b = ("/dev/null" if old is None else f"a/{name}"), ("/dev/null" if new is None else f"b/{name}")
    diff = list(difflib.unified_diff(lines[0], lines[1], a, b, lineterm=""))
    body = diff[2:]
    plus, minus = (sum(line.startswith(sign) for line in body) for sign in "+-")
    return Part(name=name, change=change, plus=plus, minus=minus, diff=tuple(diff[:MAX_LINES]), more=max(0, len(diff) - MAX_LINES))


def _lines(text: bytes | None) -> list[str] | None:
    """None for what is no text, or too large to be read by a person."""
    if text is None:
        return []
    if len(text) > MAX_TEXT_BYTES or b"\0" in text:
        return None
    try:
        return text.decode().splitlines()
    except UnicodeDecodeError:
        return None


def _ids(look: Look) -> Iterator[str]:
    return (instance.id for instance in look.run.in_order())


def _went(look: Look, id_: str) -> tuple[str, float | None] | None:
    instance = look.run.instances.get(id_)
    return None if instance is None else (instance.status.value, _seconds(instance))


def _seconds(instance: Instance) -> float | None:
    """From the first start to the last end; None before that."""
    if not instance.attempts or (end := instance.attempts[-1].finished_at) is None or instance.attempts[0].started_at is None:
        return None
    return (end - instance.attempts[0].started_at).total_seconds()


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "change": part.change,
        "added_lines": part.plus,
        "removed_lines": part.minus,
        "diff": "\n".join(part.diff),
        "left_out_lines": part.more,
    }


def _task_json(went: tuple[str, float | None] | None) -> dict[str, Any] | None:
    return None if went is None else {"status": went[0], "seconds": went[1]}
