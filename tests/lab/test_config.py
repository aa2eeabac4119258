"""Which lab is meant."""

from __future__ import annotations

import pytest

from drystone.errors import LabError
from drystone.lab.config import Mode, read_config


def test_the_provider_block_wins_over_the_environment() -> None:
    environ = {"DRYSTONE_LAB_ROOT": "/env", "DRYSTONE_LAB_MODE": "loopback"}
    config = read_config(environ, root="/block", mode="namespaces")
    assert (str(config.root), config.mode) == ("/block", Mode.NAMESPACES)


def test_the_environment_wins_over_the_default() -> None:
    config = read_config({"DRYSTONE_LAB_ROOT": "/env", "DRYSTONE_LAB_MODE": "loopback"})
    assert (str(config.root), config.mode) == ("/env", Mode.LOOPBACK)


def test_auto_leaves_the_mode_open() -> None:
    assert read_config({"DRYSTONE_LAB_ROOT": "/env"}, mode="auto").mode is None


def test_an_ordinary_users_lab_lies_below_the_state_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert str(read_config({"XDG_STATE_HOME": "/home/u/state"}).root) == "/home/u/state/drystone-lab"


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LabError, match='"docker"') as caught:
        read_config({}, mode="docker")
    assert "namespaces" in caught.value.hint


def test_a_relative_root_is_refused_with_the_whole_path() -> None:
    with pytest.raises(LabError, match='"labs" is relative') as caught:
        read_config({"DRYSTONE_LAB_ROOT": "labs"})
    assert "/labs" in caught.value.hint


@pytest.mark.parametrize("root", ["/a b", "/a:b", "/a,b"])
def test_a_root_that_overlayfs_cannot_name_is_refused(root: str) -> None:
    with pytest.raises(LabError, match="cannot live"):
        read_config({}, root=root)
