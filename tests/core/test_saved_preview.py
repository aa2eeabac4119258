"""Saved previews as data: the digest names all that a run rests on, and what has moved is said by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drystone.core.preview import Action, Certainty, Change
from drystone.core.saved_preview import SavedPart, SavedPreview, moved_bounds, moved_files, moved_inputs

PART = SavedPart(
    kind="terraform",
    certainty=Certainty.EXACT,
    config={"module": "modules/network"},
    summary="1 to add",
    changes=(Change(action=Action.ADD, what="lab_network.this"),),
    bound={"state serial": "3"},
    saved=b"\x00plan",
)
PREVIEW = SavedPreview(
    plan="shop",
    plan_file="plans/shop.yaml",
    environment="staging",
    salt="S",
    created_at="2026-01-01T00:00:00+00:00",
    by="alice@host",
    summary="Preview: 1 to add, 0 to change, 0 to destroy",
    inputs={"vms": 2},
    bundle="sha256:b",
    manifest={"plans/shop.yaml": "sha256:1"},
    parts={"network": PART},
)


def test_it_is_the_same_after_json() -> None:
    again = SavedPreview.from_json(PREVIEW.to_json())
    assert again == PREVIEW and again.digest == PREVIEW.digest


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": {"vms": 3}},
        {"bundle": "sha256:c"},
        {"environment": "prod"},
        {"salt": "T"},
        {"parts": {"network": replace(PART, config={"module": "modules/other"})}},
        {"parts": {"network": replace(PART, bound={"state serial": "4"})}},
        {"parts": {"network": replace(PART, saved=b"other")}},
        {"parts": {"network": replace(PART, certainty=Certainty.PARTIAL)}},
    ],
)
def test_anything_else_is_another_digest(other: dict[str, Any]) -> None:
    assert replace(PREVIEW, **other).digest != PREVIEW.digest


def test_what_has_moved_is_named() -> None:
    assert moved_files({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == ["b has changed", "c is gone", "d is new"]
    assert moved_inputs({"vms": 2, "n": "x"}, {"vms": 3, "n": "x"}, secret=frozenset()) == ["input vms was 2 and is 3"]
    assert moved_bounds("network", {"state serial": "3"}, {"state serial": "4"}) == ["the state serial of network was 3 and is 4"]
    assert moved_bounds("net", {"lock": "sha256:1"}, {"lock": "sha256:2"}) == ["the lock of net has changed"]


def test_a_secret_input_is_not_told() -> None:
    assert moved_inputs({"p": "one"}, {"p": "two"}, secret=frozenset({"p"})) == ["input p has changed"]
