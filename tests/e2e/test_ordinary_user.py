"""The same plan for somebody who is not root: VMs are an sshd each on loopback, and everything is theirs."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_support import Project, health, left_of, statuses


@pytest.fixture
def theirs(
    project: Project, person: pwd.struct_passwd, as_person: list[str], tmp_path: Path, short_folder: Path, environ: dict[str, str]
) -> Project:
    """A new project of that user."""
    project.before = as_person
    (project.folder / "drystone.toml").unlink()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{person.pw_uid}:{person.pw_gid}", tmp_path, short_folder], check=True)
        # pytest's own folders are root's, and the way in.
        for folder in list(tmp_path.parents)[:2]:
            if folder.stat().st_uid == 0 and folder.name.startswith("pytest-"):
                folder.chmod(0o755)
    project.environ |= {"USER": person.pw_name, "LOGNAME": person.pw_name}
    project.run("init")
    return project


def test_an_ordinary_user_provisions_the_environment_and_takes_it_back(theirs: Project, provision: Callable[..., list[str]]) -> None:
    theirs.run(*provision())
    shown = theirs.show()
    assert shown["outputs"]["url"].startswith("http://127.77.")
    assert health(shown["outputs"]["url"])["status"] == "ok"
    assert set(statuses(shown).values()) == {"succeeded"}
    theirs.run("undo", "last", "--yes")
    assert left_of(theirs) == []
