"""What earlier runs let expect: statistics, sizes of fan-outs, and the longest paths in time."""

from __future__ import annotations

import json

import pytest

from drystone.core.codec import pack, unpack
from drystone.core.expected import Expected, Outlook, expect, from_json
from drystone.core.plan import Fanout
from drystone.testing.graphs import graph_of, task

TEMPLATE = object()
"""Stands for an expression: what is no number, list or map is known only at run time."""


@pytest.mark.parametrize(
    ("seconds", "p50", "p90"),
    [
        ([2.0], 2.0, 2.0),
        ([3.0, 1.0], 2.0, 2.8),  # between the two nearest
        ([float(n) for n in range(1, 11)], 5.5, 9.1),
        ([1.0, 1.0, 1.0, 100.0], 1.0, 70.3),
        ([0.12345], 0.123, 0.123),  # to the millisecond
        ([-5.0, 1.0], 0.5, 0.9),  # a clock that was set back
    ],
)
def test_half_and_nine_in_ten_of_earlier_instances_keep_to_what_is_expected(seconds: list[float], p50: float, p90: float) -> None:
    assert expect({"a": seconds})["a"] == Expected(pytest.approx(p50), pytest.approx(p90), len(seconds))


def test_a_task_without_a_history_is_left_out() -> None:
    assert expect({"a": [], "b": [1.0]}) == {"b": Expected(1.0, 1.0, 1)}


def test_the_journal_gives_back_what_was_expected() -> None:
    expected = expect({"a": [0.1, 0.2, 0.3], "b": [60.0]})
    assert from_json(unpack(pack(expected))) == expected
    assert json.loads(pack(expected))["b"] == [60.0, 60.0, 1]


def test_a_task_without_a_history_is_taken_to_be_the_median_of_the_others() -> None:
    outlook = Outlook(graph_of({"a": [], "b": [], "new": []}), {"a": Expected(1, 2, 5), "b": Expected(3, 10, 5)})
    assert outlook.instance("new")[:2] == (2, 6)
    assert outlook.knows("a") and not outlook.knows("new")


@pytest.mark.parametrize(
    ("fanout", "size"),
    [
        (None, 1),
        (Fanout(items=4), 4),
        (Fanout(items=["a", "b"]), 2),
        (Fanout(items={"x": 1}), 1),
        (Fanout(items=0), 0),
        (Fanout(items=10**12, max_items=50), 50),
        (Fanout(items=TEMPLATE), 3),  # as many as in each of the earlier runs
    ],
)
def test_a_fan_out_has_as_many_instances_as_written_or_as_in_earlier_runs(fanout: Fanout | None, size: int) -> None:
    graph = graph_of({"network": [], "vm": task("vm", ["network"], for_each=fanout)})
    outlook = Outlook(graph, {"network": Expected(1, 1, 10), "vm": Expected(1, 1, 30)})
    assert outlook.size(graph.nodes["vm"].task) == size


def test_how_many_runs_the_history_is_of_is_not_known_from_fan_outs_alone() -> None:
    graph = graph_of({"vm": task("vm", for_each=Fanout(items=TEMPLATE))})
    outlook = Outlook(graph, {"vm": Expected(1, 1, 30)})
    assert outlook.runs == 0 and outlook.size(graph.nodes["vm"].task) == 1


def test_urgency_is_the_longest_path_in_time_and_a_rolling_update_counts_every_round() -> None:
    rolling = Fanout(items=5, max_parallel=2)
    tasks = {"a": [], "b": [], "slow": ["a"], "quick": ["a", "b"], "roll": task("roll", ["b"], for_each=rolling)}
    took = {"a": 1.0, "b": 1.0, "slow": 10.0, "quick": 0.5, "roll": 6.0}
    expected = expect({name: [seconds] for name, seconds in took.items()})
    assert Outlook(graph_of(tasks), expected).urgency() == {"a": 11_000, "b": 16_000, "slow": 10_000, "quick": 500, "roll": 15_000}


def test_what_stands_under_finally_makes_nothing_before_it_urgent() -> None:
    tasks = {"a": [], "report": task("report", closing=True), "tidy": task("tidy", ["report"], closing=True)}
    expected = {"a": Expected(1, 1, 1), "report": Expected(60, 60, 1), "tidy": Expected(5, 5, 1)}
    assert Outlook(graph_of(tasks), expected).urgency() == {"a": 1000, "report": 65_000, "tidy": 5000}
