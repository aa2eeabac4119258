"""A preview that is kept, to be approved and then run exactly (DESIGN §4.12): what it holds, its digest, and what has moved since.

Pure data. It holds secrets in clear: only `app.saved_previews` writes it, sealed. Its `salt` goes into the digest, which people see:
without it, somebody could try out which value of a secret input gives that digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drystone.core.preview import Action, Certainty, Change

FORMAT = 1
_LONGEST_VALUE = 80
"""Characters of an input's value in a reason: a longer one is only said to have changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPart:
    """What the preview said of one instance.

    config: as it was rendered, when all of it was known; None otherwise.
    bound, saved: see `core.preview.Preview`.
    """

    kind: str
    certainty: Certainty
    config: Any = None
    summary: str = ""
    reason: str = ""
    changes: Sequence[Change] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    saved: bytes | None = None

    @property
    def is_exact(self) -> bool:
        """True when a run must do this, and may do nothing else."""
        return self.certainty is Certainty.EXACT

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "kind": self.kind,
            "certainty": self.certainty.value,
            "config": self.config,
            "summary": self.summary,
            "reason": self.reason,
            "changes": [{"action": change.action.value, "what": change.what, "detail": change.detail} for change in self.changes],
            "bound": dict(self.bound),
            "saved": None if self.saved is None else base64.b64encode(self.saved).decode(),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SavedPart:
        """The reverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        changes = tuple(Change(action=Action(item["action"]), what=item["what"], detail=item["detail"]) for item in data["changes"])
        return SavedPart(
            kind=data["kind"],
            certainty=Certainty(data["certainty"]),
            config=data["config"],
            summary=data["summary"],
            reason=data["reason"],
            changes=changes,
            bound=dict(data["bound"]),
            saved=None if data["saved"] is None else base64.b64decode(data["saved"], validate=True),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPreview:
    """A whole one.

    plan_file: relative to the project when it is below it.
    inputs:    checked, with real values.
    manifest:  file's name -> digest of its content, for all that the run uses.
    bundle:    digest of these.
    parts:     instance -> what was said of it.
    created_at: in ISO 8601.
    """

    plan: str
    plan_file: str
    environment: str | None
    salt: str
    created_at: str
    by: str
    summary: str
    inputs: Mapping[str, Any]
    bundle: str
    manifest: Mapping[str, str]
    parts: Mapping[str, SavedPart]

    @property
    def digest(self) -> str:
        """What an approval of it names: sha256 over everything that a run of it rests on."""
        data = {
            "salt": self.salt,
            "plan": self.plan,
            "environment": self.environment,
            "bundle": self.bundle,
            "inputs": dict(self.inputs),
            "parts": {id_: _bound_to(part) for id_, part in self.parts.items()},
        }
        return digest_of(data)

    def to_json(self) -> dict[str, Any]:
        """JSON data, secrets in clear."""
        names = ("plan", "plan_file", "environment", "salt", "created_at", "by", "summary", "bundle")
        return {
            **{name: getattr(self, name) for name in names},
            "inputs": dict(self.inputs),
            "manifest": dict(self.manifest),
            "parts": {id_: part.to_json() for id_, part in self.parts.items()},
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SavedPreview:
        """The reverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        parts = {id_: SavedPart.from_json(part) for id_, part in data["parts"].items()}
        return SavedPreview(**{**data, "parts": parts})


def _bound_to(part: SavedPart) -> dict[str, Any]:
    saved = None if part.saved is None else hashlib.sha256(part.saved).hexdigest()
    return {"certainty": part.certainty.value, "config": part.config, "bound": dict(part.bound), "saved": saved}


def digest_of(data: Any) -> str:
    """`sha256:...` of JSON data, the same however its maps are ordered."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


# ---- what has moved -------------------------------------------------------------------------------------------------------


def moved_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Reasons, by file: name -> digest of its content, then and now."""
    reasons = []
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            reasons.append(f"{name} is gone")
        elif name not in before:
            reasons.append(f"{name} is new")
        elif before[name] != now[name]:
            reasons.append(f"{name} has changed")
    return reasons


def moved_inputs(before: Mapping[str, Any], now: Mapping[str, Any], *, secret: frozenset[str]) -> list[str]:
    """Reasons, by input; the values of secret ones are not told."""
    names = sorted(name for name in before.keys() | now.keys() if _json(before.get(name)) != _json(now.get(name)))
    return [f"input {name} {_was_and_is(before.get(name), now.get(name), tells=name not in secret)}" for name in names]


def moved_bounds(id_: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Reasons, of one instance: what its preview rested on in the world, then and now."""
    return list(_moved_bounds(id_, before, now))


def _moved_bounds(id_: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        was, is_ = before.get(name), now.get(name)
        if was != is_:
            tells = len(was or "") <= _LONGEST_VALUE and not (was or is_ or "").startswith("sha256:")
            yield f"the {name} of {id_} {_was_and_is(was, is_, tells=tells)}"


def _was_and_is(was: Any, is_: Any, *, tells: bool) -> str:
    said = (_shown(was), _shown(is_))
    if not tells or max(map(len, said)) > _LONGEST_VALUE:
        return "has changed"
    return f"was {said[0]} and is {said[1]}"


def _shown(value: Any) -> str:
    if value is None:
        return "not there"
    return value if isinstance(value, str) and value else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
