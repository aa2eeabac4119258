"""Events and values survive the way into the journal and back; people never see a secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.core import codec
from drystone.core.events import Event, EventType
from drystone.core.opaque import Secret
from drystone.errors import StoreError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEYS = st.sampled_from(["a", "$secret", "$$secret", "$$$secret", "secret", "$Secret"]) | st.text(max_size=5)
SECRETS = st.builds(Secret, reference=st.text(max_size=5), sealed=st.text(max_size=5))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10) | SECRETS
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20)
INSTANTS = st.datetimes(timezones=st.just(UTC))


def an_event(**changes: object) -> Event:
    given = {"type": EventType.TASK_STARTED, "at": NOON, "run": "01J", "seq": 7, "task": "vm[0]", "attempt": 2, **changes}
    return Event(**given)  # type: ignore[arg-type]


@given(JSON)
def test_any_value_comes_back_as_it_was(value: object) -> None:
    assert codec.unpack(codec.pack(value)) == value


@given(
    st.builds(
        Event,
        type=st.sampled_from(EventType),
        at=INSTANTS,
        run=st.text(),
        seq=st.integers(0),
        task=st.none() | st.text(),
        attempt=st.none() | st.integers(1),
        data=st.dictionaries(KEYS, JSON, max_size=4),
    )
)
def test_any_event_comes_back_as_it_was(event: Event) -> None:
    assert codec.loads(codec.dumps(event)) == event


@given(JSON)
def test_text_for_the_journal_is_one_ascii_line(value: object) -> None:
    assert codec.pack(value).isascii()
    assert "\n" not in codec.pack(value)


def test_answer_from_outside_cannot_name_a_secret() -> None:
    answer = {"body": {"$secret": {"reference": "prod_password"}}}
    stored = codec.loads(codec.dumps(an_event(data=answer)))
    assert stored.data == answer


def test_event_for_people_has_the_shape_of_the_reference_with_secrets_masked() -> None:
    event = an_event(data={"outputs": [{"password": Secret(sealed="gAAAA")}], "n": 1})
    assert codec.event_to_json(event) == {
        "seq": 7,
        "at": "2026-01-01T12:00:00.000000Z",
        "run": "01J",
        "type": "task.started",
        "task": "vm[0]",
        "attempt": 2,
        "data": {"outputs": [{"password": "***"}], "n": 1},
    }


@given(JSON)
def test_masked_data_is_plain_json_without_secrets(value: object) -> None:
    masked = codec.masked(value)
    assert json.loads(json.dumps(masked)) == masked


def test_data_without_secrets_is_not_copied() -> None:
    data = {"a": [1, 2]}
    assert codec.masked(data) is data


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object is not JSON data"):
        codec.pack({"a": object()})


def test_text_of_instants_sorts_as_they_do() -> None:
    instants = [NOON, NOON + timedelta(microseconds=1), NOON.replace(year=999), NOON + timedelta(days=400)]
    assert sorted(map(codec.to_text, instants)) == [codec.to_text(each) for each in sorted(instants)]


def test_instants_of_other_zones_are_written_in_utc() -> None:
    there = datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert codec.to_text(there) == "2026-01-01T12:00:00.000000Z"
    assert codec.from_text(codec.to_text(there)) == there


def test_event_of_a_newer_version_is_refused() -> None:
    text = codec.dumps(an_event()).replace('"v":1', '"v":2')
    with pytest.raises(StoreError, match="version 2 of an event"):
        codec.loads(text)


def test_unknown_type_of_event_is_refused() -> None:
    text = codec.dumps(an_event()).replace("task.started", "task.teleported")
    with pytest.raises(StoreError, match=r'"task\.teleported"'):
        codec.loads(text)


def test_event_of_an_older_version_is_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    first = codec.dumps(an_event()).replace('"v":1', '"v":-1').replace('"task":"vm[0]"', '"instance":"vm[0]"')

    def to_zero(shape: dict[str, object]) -> dict[str, object]:
        return {**shape, "v": 0, "task": shape["instance"]}

    monkeypatch.setattr(codec, "UPGRADES", {-1: to_zero, 0: lambda shape: {**shape, "v": 1, "attempt": 3}})
    assert codec.loads(first) == an_event(attempt=3)
