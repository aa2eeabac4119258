"""What drift is put up with: the rules of drystone.toml against what was seen. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drystone.core.preview import Change
from drystone.settings import IgnoreRule


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it was. `rule`: what ignores it; None when it counts."""

    change: Change
    rule: IgnoreRule | None = None


def is_for(rule: IgnoreRule, environment: str) -> bool:
    """Whether a rule has anything to say of an environment."""
    return _fits(rule.environment, environment)


def sorted_out(changes: Sequence[Change], task: str, rules: Sequence[IgnoreRule]) -> list[Difference]:
    """Each change with the rule that ignores it. `rules`: those that hold, for this environment.

    A change is ignored when one rule is for all of it, or each of its attributes has a rule.
    """
    own = [rule for rule in rules if _fits(rule.task, task)]
    return [Difference(change=change, rule=_ignoring(change, own)) for change in changes]


def _ignoring(change: Change, rules: Sequence[IgnoreRule]) -> IgnoreRule | None:
    here = [rule for rule in rules if _fits(rule.address, change.what)]
    if (whole := next((rule for rule in here if rule.attribute == "*"), None)) is not None:
        return whole
    found = [next((rule for rule in here if _fits(rule.attribute, name)), None) for name in change.attributes]
    return found[0] if found and all(rule is not None for rule in found) else None


def _fits(pattern: str, text: str) -> bool:
    # Not fnmatch: the brackets of `vm[0]` are meant as they stand.
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None
