"""Terraform's streams, recorded from the real one, are understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drystone.kinds.terraform import parse
from drystone.kinds.terraform.parse import Stream

STREAMS = Path(__file__).parents[2] / "cases/terraform/streams"


def feed(*names: str) -> tuple[Stream, list[str], list[str]]:
    """A stream fed with recordings, and what went into the log and to those who watch."""
    stream, log, told = Stream(), [], []
    for name in names:
        for line in (STREAMS / f"{name}.ndjson").read_text().splitlines():
            shown, progress = stream.feed(line)
            log += [shown] if shown is not None else []
            told += [progress.message] if progress is not None else []
    return stream, log, told


def test_a_create_is_told_resource_by_resource():
    stream, _, told = feed("plan-create", "apply-create")
    assert told[0] == "4 to add, 0 to change, 0 to destroy"
    assert told[-1] == "4 added, 0 changed, 0 destroyed"
    assert {"terraform_data.first[0]: creating…", "terraform_data.first[0]: created"} <= set(told)
    assert {change.status for change in stream.changes.values()} == {parse.DONE}


def test_what_was_planned_is_logged_once():
    _, log, _ = feed("plan-create", "apply-create")
    assert log.count("terraform_data.third: Plan to create") == 1


def test_an_apply_gives_outputs_without_the_sensitive_values():
    stream, _, _ = feed("apply-create")
    assert stream.outputs["size"]["value"] == 1
    assert "value" not in stream.outputs["password"]


def test_no_changes_are_no_changes():
    stream, _, told = feed("plan-no-changes")
    assert (stream.changes, told) == ({}, ["0 to add, 0 to change, 0 to destroy"])


def test_a_failed_replacement_leaves_done_failed_and_not_reached():
    stream, _, told = feed("plan-replace", "apply-fails")
    half = "the old one is gone, and the new one is not whole"
    reason = "local-exec provisioner error: Error running command 'echo no space left >&2; exit 3': exit status 3. Output: no space left"
    assert stream.resources() == [
        {"address": "terraform_data.first[0]", "action": "update", "status": "done"},
        {"address": "terraform_data.first[1]", "action": "update", "status": "done"},
        {"address": "terraform_data.second", "action": "replace", "status": "failed", "message": f"{half}: {reason}"},
        {"address": "terraform_data.third", "action": "update", "status": "not_reached"},
    ]
    assert "terraform_data.second: failed" in told
    (error,) = stream.errors
    assert error.title.startswith("local-exec provisioner error: Error running command 'echo no space left >&2; exit 3': exit status 3.")
    assert error.title.endswith("(terraform_data.second, main.tf:13)")


def test_a_resource_whose_end_nobody_saw_is_unknown():
    stream = Stream()
    begun: list[str] = []
    stream.on_create = begun.append
    for type_, part in (("planned_change", "change"), ("apply_start", "hook")):
        for name in ("a", "b") if type_ == "planned_change" else ("a",):
            body = {"resource": {"addr": f"terraform_data.{name}"}, "action": "create"}
            stream.feed(json.dumps({"@message": "", "type": type_, part: body}))
    assert [item["status"] for item in stream.resources()] == ["unknown", "not_reached"]
    assert stream.reached() == "0 done, 0 failed, 1 unknown, 1 not reached"
    assert begun == ["terraform_data.a"]


def test_a_replacement_is_done_after_both_steps():
    change = parse.Change(address="a", action="replace", steps={"create", "delete"})
    change.step("delete")
    assert change.status == parse.NOT_REACHED
    change.step("create")
    assert change.status == parse.DONE


def test_a_destroy_counts_what_went():
    stream, _, told = feed("plan-destroy", "apply-destroy")
    assert told[-1] == "0 added, 0 changed, 4 destroyed"
    assert stream.summary["remove"] == 4


def test_lines_that_are_not_json_are_shown_without_colours():
    stream = Stream()
    assert stream.feed("\x1b[31mpanic: oh no\x1b[0m") == ("panic: oh no", None)
    assert stream.feed('{"half": ') == ('{"half":', None)
    assert stream.feed('["a list"]')[0] == '["a list"]'
    assert stream.tail.startswith("panic: oh no")


FRAMED = """
╷
│ Warning: Something is old
│
│ Do not worry.
╵
╷
│ Error: Failed to query available provider packages
│
│   on versions.tf line 4, in terraform:
│    4: required_providers {
│
│ Could not retrieve the list of available versions for provider
│ example.com/a/b: could not connect to example.com
╵
"""


@pytest.mark.parametrize("text", [FRAMED, FRAMED.replace("│ ", "").replace("│", "")], ids=["framed", "plain"])
def test_errors_in_text_form_are_found(text):
    warning, error = parse.text_diagnostics(text.splitlines())
    assert (warning.severity, warning.summary) == ("warning", "Something is old")
    assert error.where == "versions.tf:4"
    assert error.title == (
        "Failed to query available provider packages: Could not retrieve the list of available versions for provider "
        "example.com/a/b: could not connect to example.com (versions.tf:4)"
    )


def test_a_wrapped_summary_is_joined():
    (error,) = parse.text_diagnostics(["Error: One two", "three four", "", "Detail."])
    assert (error.summary, error.detail) == ("One two three four", "Detail.")
