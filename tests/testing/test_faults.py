"""Faults: values and sentences say the same, and what is no fault is refused with the next step."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.errors import FailureClass, InputError, NotFoundError
from drystone.testing.fault_plan import FaultPlan
from drystone.testing.faults import (
    Answer,
    Fails,
    Fault,
    Interruption,
    Takes,
    approved,
    cancel_after,
    cancel_at,
    changes_nothing,
    crash_after,
    crash_at,
    fails,
    faults_of,
    parse,
    rejected,
    takes,
    undo_fails,
)
from drystone.testing.graphs import graph_of, task

SENTENCES = {
    "migration fails": fails("migration"),
    "migration fails on attempt 1 with unreachable": fails("migration", attempt=1, as_="unreachable"),
    "migration fails twice": fails("migration", times=2),
    "migration fails 3 times with rate_limited": fails("migration", times=3, as_="rate_limited"),
    "migration fails for good": fails("migration", for_good=True),
    "migration fails, having changed nothing": fails("migration", changed=False),
    'migration fails with conflict: relation "notes" exists': fails("migration", as_="conflict", message='relation "notes" exists'),
    "undo of vm[0] fails twice": undo_fails("vm[0]", times=2),
    'vm["a b"] fails once': fails('vm["a b"]', times=1),
    "vm takes 1m30s": takes("vm", "90s"),
    "undo of vm takes 5m": takes("vm", timedelta(minutes=5), undo=True),
    "network changes nothing": changes_nothing("network"),
    "crash after event 7": crash_after(event=7),
    "crash during migration": crash_at("migration"),
    "cancel after event 7": cancel_after(event=7),
    "cancel during software": cancel_at("software"),
    "cancel during undo of vm[1]": cancel_at("vm[1]", undo=True),
    "gate is approved": approved("gate"),
    "gate is rejected by ada@host: not today": rejected("gate", by="ada@host", comment="not today"),
}

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,9}(\[\d\]|\[\"[a-z ]{1,5}\"\])?", fullmatch=True)
PEOPLE = st.from_regex(r"[a-z]+(@[a-z.-]+)?", fullmatch=True)
COUNTS = st.one_of(st.none(), st.integers(1, 99))
FAILURES = st.builds(
    lambda times, attempt, message, **fields: Fails(
        times=times, attempt=None if times else attempt, message=message.strip() or "no", **fields
    ),
    task=NAMES,
    undo=st.booleans(),
    times=COUNTS,
    attempt=COUNTS,
    as_=st.sampled_from(FailureClass),
    for_good=st.booleans(),
    changed=st.booleans(),
    message=st.text(),
)
DURATIONS = st.integers(1, 10**6).map(lambda ms: timedelta(milliseconds=ms))
WHATS = st.sampled_from(["crash", "cancel"])
FAULTS = st.one_of(
    FAILURES,
    st.builds(Takes, task=NAMES, duration=DURATIONS, undo=st.booleans()),
    st.builds(changes_nothing, NAMES),
    st.builds(Interruption, what=WHATS, event=st.integers(1, 999)),
    st.builds(Interruption, what=WHATS, task=NAMES, undo=st.booleans()),
    st.builds(Answer, task=NAMES, approves=st.booleans(), by=st.none() | PEOPLE, comment=st.text().map(str.strip)),
)


@pytest.mark.parametrize(("sentence", "fault"), SENTENCES.items())
def test_a_sentence_says_what_the_value_says(sentence: str, fault: Fault) -> None:
    assert parse(sentence) == fault
    assert str(fault) == sentence


@given(FAULTS)
def test_every_fault_can_be_read_from_its_own_sentence(fault: Fault) -> None:
    assert parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("sentence", "hint"),
    [
        ("migration fals", 'did you mean "fails"?'),
        ("migration fails on atempt 1", 'did you mean "attempt"?'),
        ("migration fails with unreachabel", 'did you mean "unreachable"?'),
        ("crsh after event 7", 'did you mean "crash"?'),
        ("vm takes soon", "like 500ms, 30s"),
        ("migration", "TASK fails"),
        ("", "TASK fails"),
    ],
)
def test_what_is_no_fault_is_refused_with_what_was_meant(sentence: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(sentence)
    assert hint in f"{caught.value.message}\n{caught.value.hint}"


@pytest.mark.parametrize("sentence", ["a fails on attempt 0", "a fails 0 times", "crash after event 0"])
def test_what_counts_from_one_is_not_zero(sentence: str) -> None:
    with pytest.raises(InputError, match="count from 1"):
        parse(sentence)


def test_one_fault_needs_no_list() -> None:
    assert faults_of("a fails") == faults_of(fails("a")) == faults_of(["a fails"])


GRAPH = graph_of({"network": [], "vm": task("vm", ["network"], for_each=None)})


@pytest.mark.parametrize("fault", ["netwrok fails", "undo of netwrok fails", "crash during netwrok", "netwrok changes nothing"])
def test_a_fault_of_a_task_that_the_plan_does_not_have_is_refused(fault: str) -> None:
    with pytest.raises(NotFoundError, match="netwrok") as caught:
        FaultPlan(fault, GRAPH)
    assert caught.value.hint == 'did you mean "network"?'


def test_a_fault_of_an_instance_is_refused_where_there_is_no_fan_out() -> None:
    with pytest.raises(InputError, match="one instance only"):
        FaultPlan("network[0] fails", GRAPH)
