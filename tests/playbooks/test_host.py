"""What the modules know of their host: its folders, its accounts, its supervisor."""

import fcntl
import os
import pwd
from pathlib import Path

import pytest
from ansible.module_utils import notes_host


def account(uid, gid):
    return pwd.struct_passwd(("somebody", "x", uid, gid, "", "/", "/bin/sh"))


def test_base_stays_below_lab_root(monkeypatch):
    monkeypatch.setenv("LAB_ROOT", "/lab/vm")
    assert notes_host.find_base("") == Path("/lab/vm/opt/drystone-app")
    assert notes_host.find_base("/srv/app") == Path("/srv/app")

    monkeypatch.delenv("LAB_ROOT")
    assert notes_host.find_base("") == Path("/opt/drystone-app")


@pytest.mark.parametrize(
    ("mode", "stranger", "member", "owner"),
    [(0o700, False, False, True), (0o710, False, True, True), (0o755, True, True, True), (0o701, True, False, True)],
)
def test_folder_can_be_reached_by_whom_its_mode_lets_in(public, mode, stranger, member, owner):
    public.chmod(mode)
    uid, gid = public.stat().st_uid or 4242, public.stat().st_gid
    if os.geteuid() == 0:
        os.chown(public, uid, gid)

    assert notes_host.can_reach(public / "not there yet", account(uid + 1, gid + 1)) is stranger
    assert notes_host.can_reach(public, account(uid + 1, gid)) is member
    assert notes_host.can_reach(public, account(uid, gid + 1)) is owner
    assert notes_host.can_reach(public, account(0, 0))


def test_file_is_written_only_when_it_is_different(tmp_path):
    path = tmp_path / "file"

    assert notes_host.write_file(path, "one") is True
    assert notes_host.write_file(path, "one") is False
    assert notes_host.write_file(path, "two") is True
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("file", "two")]


def test_supervisor_runs_as_long_as_its_lock_is_held(tmp_path):
    assert notes_host.read_supervisor(tmp_path) is None
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert notes_host.read_supervisor(tmp_path) == {"pid": None, "release": None}
        lock.write('{"pid": 7, "release": "r"}\n')
        lock.flush()
        assert notes_host.read_supervisor(tmp_path) == {"pid": 7, "release": "r"}
    assert notes_host.read_supervisor(tmp_path) is None
