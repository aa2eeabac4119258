"""The lab of somebody who is not root: loopback mode, found by itself."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_support import Terraform, environment, ssh, trace_of

Module = Callable[[str], Terraform]


@pytest.fixture
def as_person(person: pwd.struct_passwd, namespaces_refused: str | None) -> list[str]:
    """What to put before a command to run it as that user."""
    if os.geteuid() != 0:
        return []
    if namespaces_refused is not None:
        pytest.skip(f"ORDINARY USER NOT TESTED: root cannot become one here, {namespaces_refused}")
    # The interpreter may lie in root's home, so the right to read everything is kept, which alone is left of root. What
    # it would show and no ordinary user sees is hidden: sshd would find in /etc/shadow that system users are locked.
    hide = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /etc/shadow && exec "$@"', "sh"]
    drop = ["setpriv", f"--reuid={person.pw_uid}", f"--regid={person.pw_gid}", "--clear-groups"]
    keep = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return [*hide, *drop, *keep]


@pytest.fixture
def module(mirrored: Module, person: pwd.struct_passwd, as_person: list[str], short_folder: Path, tmp_path: Path) -> Terraform:
    """A module whose terraform runs as that user."""
    module = mirrored("module")
    if os.geteuid() == 0:
        for folder in (tmp_path, module.folder, short_folder):
            os.chown(folder, person.pw_uid, person.pw_gid)
    module.command = [*as_person, *module.command]
    return module


def test_the_mode_is_loopback_and_a_vm_answers_as_that_user(
    module: Terraform, person: pwd.struct_passwd, block: str, lab_root: Path, tmp_path: Path
) -> None:
    module.write(environment(block, vms=2)).init().apply()
    first, second = (module.state()[f"lab_vm.v[{number}]"] for number in range(2))
    assert (first["mode"], first["user"], first["port"]) == ("loopback", person.pw_name, 2222)
    assert first["address"] != second["address"]
    command = 'id -un; echo "$LAB_ROOT"; cd ~ && pwd'
    answer = ssh(first["key_file"], first, command, tmp_path / "known_hosts").split()
    root = f"{lab_root}/networks/net/vms/vm-0/root"
    assert answer == [person.pw_name, root, f"{root}/home"]
    module.plan(code=0)
    module.destroy()
    assert trace_of(lab_root) == []


def test_files_come_and_go_by_sftp(module: Terraform, block: str, tmp_path: Path) -> None:
    module.write(environment(block)).init().apply()
    vm = module.state()["lab_vm.v[0]"]
    known_hosts, batch = tmp_path / "known_hosts", tmp_path / "batch"
    known_hosts.write_text(f"[{vm['address']}]:{vm['port']} {vm['host_key']}\n")
    (tmp_path / "here").write_text("there and back")
    batch.write_text(f"put {tmp_path}/here there\nget there {tmp_path}/back\n")
    subprocess.run(
        ["sftp", "-F", "none", "-b", str(batch), "-i", vm["key_file"], "-P", str(vm["port"]),
         "-o", f"UserKnownHostsFile={known_hosts}", f"{vm['user']}@{vm['address']}"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "back").read_text() == "there and back"
    module.destroy()
