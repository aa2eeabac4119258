"""Values as JSON and errors as failure classes, without a database."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from drystone.errors import FailureClass
from drystone.kinds.sql.answers import MAX_BYTES, Rows, parameter, to_json, unique
from drystone.kinds.sql.failures import Place, class_of, to_error


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_loses_nothing(value):
    found = to_json(value)
    assert Decimal(found if isinstance(found, int | str) else repr(found)) == value


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (Decimal("5.00"), 5),
        (Decimal("0.1"), 0.1),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (Decimal("NaN"), "NaN"),
        (float("inf"), "inf"),
        (2**80, 2**80),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(minutes=-1), -60.0),
        (memoryview(b"\x00\xff"), "AP8="),
        ({1: (b"a", {2.5})}, {"1": ["YQ==", [2.5]]}),
    ],
)
def test_values_have_a_form_in_json(value, found):
    assert to_json(value) == found
    json.dumps(to_json(value), allow_nan=False)


@given(st.lists(st.sampled_from(["a", "a_2", "b", ""])))
def test_column_names_become_unique_and_the_first_stays(columns):
    names = unique(columns)
    assert len(set(names)) == len(names) == len(columns)
    assert all(names[columns.index(column)] == column for column in columns)


@given(st.lists(st.integers(0, MAX_BYTES // 2), max_size=20), st.integers(0, 20))
def test_what_is_kept_has_room_in_the_store(sizes, max_rows):
    rows = Rows(["x"], max_rows)
    for size in sizes:
        rows.add(["x" * size])
    assert len(json.dumps(rows.kept)) <= MAX_BYTES + 2
    assert [len(row["x"]) for row in rows.kept] == sizes[: len(rows.kept)]
    assert rows.truncated is (len(rows.kept) < len(sizes))


@pytest.mark.parametrize(
    ("value", "dialect", "bound"),
    [
        ([1, 2], "postgresql", [1, 2]),
        ((1, 2), "postgresql", [1, 2]),
        ([{"a": 1}], "postgresql", '[{"a": 1}]'),
        ([1, 2], "sqlite", "[1, 2]"),
        ({"a": 1}, "postgresql", '{"a": 1}'),
        (None, "sqlite", None),
        ("x", "sqlite", "x"),
    ],
)
def test_values_of_a_plan_are_bound_as_the_driver_takes_them(value, dialect, bound):
    assert parameter(value, dialect) == bound


# ---- failures --------------------------------------------------------------------------------------------------------


class OperationalError(Exception):
    """As every driver has one (PEP 249)."""


class IntegrityError(Exception):
    """As every driver has one (PEP 249)."""


@pytest.mark.parametrize(
    ("error", "connecting", "failure_class"),
    [
        (OperationalError(1045, "Access denied for user"), True, FailureClass.REFUSED),
        (OperationalError(2003, "Can't connect"), True, FailureClass.UNREACHABLE),
        (OperationalError(1213, "Deadlock found"), False, FailureClass.CONFLICT),
        (OperationalError(1040, "Too many connections"), True, FailureClass.RATE_LIMITED),
        (OperationalError("server closed the connection unexpectedly"), False, FailureClass.UNREACHABLE),
        (OperationalError("FATAL:  sorry, too many clients already"), True, FailureClass.RATE_LIMITED),
        (OperationalError("no route to host"), True, FailureClass.UNREACHABLE),
        (OperationalError("disk full"), False, FailureClass.FAILED),
        (IntegrityError("duplicate"), False, FailureClass.FAILED),
    ],
)
def test_drivers_without_codes_of_ours_are_understood_too(error, connecting, failure_class):
    assert class_of(error, connecting=connecting) is failure_class


def test_a_message_never_has_the_statement_or_its_parameters():
    error = DBAPIError("SELECT :secret", {"secret": "hunter2"}, OperationalError("went wrong\nmore of it"))
    told = to_error(error, Place(what="statement 1"), changed=False)
    assert (told.message, told.detail) == ("statement 1: went wrong", "more of it")
