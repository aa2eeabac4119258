"""Rules that ignore drift: which they fit, and when they do not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from drystone.app import drift_rules
from drystone.core.preview import Action, Change
from drystone.settings import IgnoreRule

STOPPED = Change(action=Action.CHANGE, what="lab_vm.this", attributes=("running", "size"))
DELETED = Change(action=Action.ADD, what="lab_vm.this")


def rule(**fields: Any) -> IgnoreRule:
    return IgnoreRule(until=date(2027, 1, 31), **fields)


def is_ignored(change: Change, *rules: IgnoreRule, task: str = "vm[0]") -> bool:
    return drift_rules.sorted_out([change], task, rules)[0].rule is not None


@pytest.mark.parametrize(
    ("rules", "ignored"),
    [
        ([rule()], True),
        ([rule(task="vm[*]", address="lab_vm.*")], True),
        ([rule(task="vm[?]")], True),
        ([rule(task="vm")], False),
        ([rule(task="v*0")], False),
        ([rule(address="lab_subnet.*")], False),
        ([rule(attribute="running")], False),
        ([rule(attribute="running"), rule(attribute="siz?")], True),
    ],
)
def test_a_change_is_ignored_when_rules_cover_all_of_it(rules: list[IgnoreRule], ignored: bool) -> None:
    assert is_ignored(STOPPED, *rules) is ignored


def test_what_is_gone_as_a_whole_is_not_ignored_for_an_attribute() -> None:
    assert not is_ignored(DELETED, rule(attribute="running"))
    assert is_ignored(DELETED, rule(address="lab_vm.this"))


def test_a_rule_is_for_the_environments_of_its_pattern() -> None:
    assert drift_rules.is_for(rule(environment="staging-*"), "staging-1")
    assert not drift_rules.is_for(rule(environment="staging-*"), "production")
