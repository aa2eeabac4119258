"""What a task would do, said before it does it (DESIGN §4.12). Frozen data: kinds give it, `foresight` joins it, faces print it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Certainty(StrEnum):
    """How much of it is known. EXACT: the tool itself was asked, with all values. PARTIAL: what it is is known, but not with which
    values, or on what ground. DEFERRED: nothing can be said yet."""

    EXACT = "exact"
    PARTIAL = "partial"
    DEFERRED = "deferred"


class Action(StrEnum):
    """What would become of one thing. RUN: something would be done whose effect nobody can tell beforehand."""

    ADD = "add"
    CHANGE = "change"
    REPLACE = "replace"
    DESTROY = "destroy"
    RUN = "run"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that would be different.

    what:       a resource's address, a file's path, a host's name, a request.
    detail:     a diff or the like, several lines; secrets are hidden in it.
    attributes: names of what is different of it: a resource's attributes, a playbook's steps; none when it is the whole thing.
    """

    action: Action
    what: str
    detail: str = ""
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What one attempt would do.

    certainty: how much of this is known.
    summary:   in a few words: `1 to add, 0 to change, 0 to destroy`, `would run: make deploy`, `nothing to do`.
    changes:   what would be different; nothing when it would find all as it should be. Of a partial one: what is known of it.
    reason:    why it is not exact: `it waits for tasks.network.outputs.id`.
    outputs:   JSON: what the task would give, as far as that is known for certain; UNKNOWN stands for the rest.
    result:    the same for `tasks.NAME.result`.
    sensitive: names of outputs that must never be shown.
    hosts:     how many hosts the changes are on, for kinds that work on hosts.
    saved:     what `run` needs to do exactly this, such as Terraform's plan file; it may hold secrets.
    bound:     name -> value of what must not have moved until then, such as the serial of a state.
    outside:   what somebody else has changed and `run` would leave so; it is none of the changes.
    unseen:    what could not be looked at, and why: host -> reason.
    """

    certainty: Certainty = Certainty.EXACT
    summary: str = ""
    changes: Sequence[Change] = ()
    reason: str = ""
    outputs: Any = field(default_factory=dict)
    result: Any = field(default_factory=dict)
    sensitive: frozenset[str] = frozenset()
    hosts: int = 0
    saved: bytes | None = None
    bound: Mapping[str, str] = field(default_factory=dict)
    outside: Sequence[Change] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes_anything(self) -> bool:
        """True unless it is certain that all stays as it is."""
        return bool(self.changes) or self.certainty is not Certainty.EXACT
