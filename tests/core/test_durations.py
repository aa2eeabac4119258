"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.core.durations import parse, to_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", 900), ("2s", 2), ("1h30m", 5400), ("500ms", 0.5), ("2d", 172800), ("1.5h", 5400), (90, 90), (0.25, 0.25), ("90", 90),
        ("0s", 0),
    ],
)  # fmt: skip
def test_a_duration_is_what_it_says(text, seconds):
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", "soon", "5 m", "-5s", "5x", "1h-1m", -1, True, None, [], "1e3s", "99999999d", 1e300, float("nan"), "9" * 50]
)
def test_what_is_no_duration_is_refused_with_its_value(value):
    with pytest.raises(ValueError, match="is not a duration; a duration is written like 500ms"):
        parse(value)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30000)))
def test_text_is_read_back_to_the_millisecond(duration):
    assert abs(parse(to_text(duration)) - duration) <= timedelta(milliseconds=1)
