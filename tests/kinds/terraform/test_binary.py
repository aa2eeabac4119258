"""Which terraform is run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from drystone.errors import FailureClass, PermanentError
from drystone.kinds.terraform import binary


@pytest.fixture
def programs(tmp_path: Path):
    """Makes programs in a folder of their own; returns the PATH."""

    def make(*names: str) -> str:
        for name in names:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        return str(tmp_path)

    return make


def test_terraform_comes_before_tofu(programs):
    assert binary.find({"PATH": programs("tofu", "terraform")}).name == "terraform"
    assert binary.find({"PATH": programs("tofu"), "DRYSTONE_TERRAFORM": "tofu"}).name == "tofu"


def test_tofu_is_taken_when_it_is_alone(programs):
    assert binary.find({"PATH": programs("tofu")}).name == "tofu"


def test_without_either_the_bundled_one_is_taken():
    found = binary.find({"PATH": ""})
    assert (found.name, found.program[0]) == ("bundled", sys.executable)


def test_a_choice_may_have_arguments(programs):
    path = programs("wrapper")
    assert binary.find({"PATH": path, "DRYSTONE_TERRAFORM": "wrapper --fast"}).program == (f"{path}/wrapper", "--fast")


def test_another_build_has_another_identity(programs, tmp_path):
    path = programs("terraform")
    before = binary.find({"PATH": path}).identity
    (tmp_path / "terraform").write_text("#!/bin/sh\n# newer\n")
    assert binary.find({"PATH": path}).identity != before


def test_a_choice_that_is_not_there_is_named():
    with pytest.raises(PermanentError, match='"nonesuch", which DRYSTONE_TERRAFORM names, is not a program') as caught:
        binary.find({"PATH": "", "DRYSTONE_TERRAFORM": "nonesuch"})
    assert caught.value.failure_class is FailureClass.CRASHED
