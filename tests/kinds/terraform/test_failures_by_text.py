"""Which class a message of Terraform or of a provider stands for."""

from __future__ import annotations

import pytest

from drystone.errors import FailureClass
from drystone.kinds.terraform.failures import from_diagnostics
from drystone.kinds.terraform.parse import Diagnostic

MESSAGES = {
    FailureClass.CONFLICT: [
        ("Saved plan is stale", ""),
        ("Error acquiring the state lock", "Error message: resource temporarily unavailable"),
    ],
    FailureClass.RATE_LIMITED: [
        ("creating EC2 Instance", "api error RequestLimitExceeded: Request limit exceeded."),
        ("Error creating server", "Expected HTTP response code [202], but got 429 instead"),
    ],
    FailureClass.REFUSED: [
        ("Instance cannot be destroyed", "Resource db.main has lifecycle.prevent_destroy set"),
        ("No valid credential sources found", ""),
        ("creating S3 Bucket", "api error AccessDenied: Access Denied"),
        ("updating", "operation error S3: PutObject, https response error StatusCode: 403, RequestID: x"),
        ("googleapi", "Error 403: The caller does not have permission, forbidden"),
    ],
    FailureClass.UNREACHABLE: [
        ("Failed to query available provider packages", "could not connect to registry.example: lookup registry.example: no such host"),
        ("Error making request", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("Error refreshing state: Get \"http://127.0.0.1:1/state\": dial tcp 127.0.0.1:1: connect: connection refused", ""),
        ("Plugin did not respond", "The plugin encountered an error"),
        ("Failed to download module", "Could not download module: read: connection reset by peer"),
    ],
    FailureClass.TIMEOUT: [("waiting for instance", "timeout while waiting for state to become 'running'"), ("reading", "i/o timeout")],
    FailureClass.INVALID: [
        ("Unsupported argument", 'An argument named "x" is not expected here.'),
        ("Missing required argument", 'The argument "y" is required.'),
        ("Invalid reference", "There are 403 of them, and 429 more."),
        ("Error refreshing state: state snapshot was created by Terraform v9.0.0, which is newer than current v1.11.4", ""),
    ],
}
ROWS = [(failure_class, *message) for failure_class, messages in MESSAGES.items() for message in messages]


@pytest.mark.parametrize(("failure_class", "summary", "detail"), ROWS, ids=[row[1] for row in ROWS])
def test_a_message_has_its_class(failure_class, summary, detail):
    error = from_diagnostics("plan", 1, [Diagnostic(severity="error", summary=summary, detail=detail)])
    assert error.failure_class is failure_class
    assert error.permanent == (failure_class in (FailureClass.REFUSED, FailureClass.INVALID))


def test_what_fails_while_applying_is_the_world_not_the_author():
    error = from_diagnostics("apply", 1, [Diagnostic(severity="error", summary="creating thing", detail="no.")], applying=True)
    assert error.failure_class is FailureClass.FAILED


def test_a_data_source_that_fails_while_planning_is_the_world_too():
    lost = Diagnostic(severity="error", summary="Your query returned no results", address="data.image.x", where="main.tf:1")
    assert from_diagnostics("plan", 1, [lost]).failure_class is FailureClass.FAILED


def test_what_a_script_prints_decides_nothing():
    error = Diagnostic(severity="error", summary="local-exec provisioner error", detail="Output: permission denied, timed out")
    assert from_diagnostics("apply", 1, [error], applying=True).failure_class is FailureClass.FAILED


def test_a_crash_is_no_answer():
    assert from_diagnostics("apply", -9, []).failure_class is FailureClass.CRASHED
    assert from_diagnostics("apply", 2, [], tail="panic: runtime error\ngoroutine 1").failure_class is FailureClass.CRASHED


def test_without_a_diagnostic_the_last_line_tells():
    assert from_diagnostics("plan", 1, [], tail="one\nthe reason").message == "terraform plan failed: the reason"


def test_all_errors_are_in_the_detail():
    errors = [Diagnostic(severity="error", summary=name) for name in ("First", "Second")]
    error = from_diagnostics("plan", 1, errors)
    assert (error.message, "Error: Second" in error.detail) == ("First", True)
