"""What a namespaces VM has of its own, and what it does not see or may not do.

Only looked at, never tried: a VM that were not isolated would do it to this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from lab_support import ssh, wait_until

from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import Lab, open_lab
from drystone.lab.registry import Vm
from drystone.lab.stage import KEEP_CAPABILITIES

Run = Callable[[Vm, str], str]


@pytest.fixture
def lab(namespaces: Mode, lab_root: Path) -> Lab:
    return open_lab(LabConfig(root=lab_root, mode=namespaces))


@pytest.fixture
def vms(lab: Lab, block: str) -> tuple[Vm, Vm]:
    """Two VMs in different subnets of one network."""
    lab.create_network("net", f"{block}.0/24")
    subnets = [lab.create_subnet("net", f"{block}.{start}/25").id for start in (0, 128)]
    return lab.create_vm(subnets[0], "web", None), lab.create_vm(subnets[1], "db", None)


@pytest.fixture
def run(lab: Lab, tmp_path: Path) -> Run:
    def run(vm: Vm, command: str) -> str:
        facts = {"address": vm.address, "port": 22, "user": "root", "host_key": lab.host_key(vm)}
        return ssh(lab.key_file(), facts, command, tmp_path / "known_hosts").strip()

    return run


def test_a_vm_has_its_own_name_processes_and_network(run: Run, vms: tuple[Vm, Vm], block: str) -> None:
    assert run(vms[0], "hostname") == "web"
    assert run(vms[0], "cat /proc/1/comm") == "tini"
    assert run(vms[0], "ip -4 -o address show dev eth0").split()[3] == f"{block}.2/25"
    assert run(vms[0], "readlink /proc/self/ns/net") != os.readlink("/proc/self/ns/net")


def test_vms_of_a_network_reach_one_another_and_the_host_also_across_subnets(run: Run, vms: tuple[Vm, Vm], block: str) -> None:
    web, db = vms
    probe = "timeout 5 bash -c 'head -c 4 < /dev/tcp/{}/22'"
    assert run(web, probe.format(db.address)) == "SSH-"
    assert run(db, probe.format(web.address)) == "SSH-"
    assert f"{block}.1 " in run(web, f"ip -4 neighbour show; ip -4 route get {block}.1") + " "


def test_an_application_in_a_vm_answers_the_host(run: Run, vms: tuple[Vm, Vm]) -> None:
    web = vms[0]
    server = f"/usr/bin/python3 -m http.server 8080 --bind {web.address} --directory /srv"
    run(web, f"echo hello > /srv/index.html; setsid {server} < /dev/null > /dev/null 2>&1 &")
    opener = build_opener(ProxyHandler({}))

    def page() -> bytes:
        try:
            with opener.open(f"http://{web.address}:8080/", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    assert wait_until(page, "the page") == b"hello\n"


def test_files_written_in_a_vm_are_in_no_other_place(run: Run, vms: tuple[Vm, Vm], lab_root: Path) -> None:
    name = f"drystone-lab-marker-{lab_root.parent.name}"
    for folder in ("/usr/local", "/etc", "/var/tmp", "/opt"):
        run(vms[0], f"echo mine > {folder}/{name}")
        assert not Path(folder, name).exists()
        assert run(vms[1], f"ls {folder}").split().count(name) == 0


def test_the_hosts_people_and_secrets_are_not_in_a_vm(run: Run, vms: tuple[Vm, Vm], lab_root: Path) -> None:
    assert run(vms[0], "ls -A /home /root /srv /opt /tmp /mnt | grep -v : ; ls -A /etc/ssl").split() in (
        ["certs", "openssl.cnf"], ["certs"], [],
    )  # fmt: skip
    assert not [line for line in run(vms[0], "cat /etc/shadow").splitlines() if line.split(":")[1] != "*"]
    people = [line for line in run(vms[0], "cat /etc/passwd").splitlines() if 1000 <= int(line.split(":")[2]) < 65534]
    assert people == []
    assert "no such" in run(vms[0], f"ls {lab_root} 2>&1 || true").lower()


def test_a_vm_may_only_do_what_its_capabilities_say(run: Run, vms: tuple[Vm, Vm]) -> None:
    status = dict(line.split(":\t") for line in run(vms[0], "cat /proc/self/status").splitlines() if ":\t" in line)
    allowed = sum(1 << capability for capability in KEEP_CAPABILITIES)
    for name in ("CapBnd", "CapEff", "CapPrm"):
        assert int(status[name], 16) & ~allowed == 0


def test_the_kernels_switches_are_read_only_in_a_vm(run: Run, vms: tuple[Vm, Vm]) -> None:
    options = {line.split()[1]: line.split()[3].split(",") for line in run(vms[0], "cat /proc/mounts").splitlines()}
    for folder in ("/proc/sys", "/proc/sysrq-trigger", "/sys"):
        assert folder not in options or "ro" in options[folder]
    assert "ro" in options["/proc/sys"]


def test_a_vm_has_a_terminal_and_python(run: Run, vms: tuple[Vm, Vm]) -> None:
    assert run(vms[0], "/usr/bin/python3 -c 'import os; a, b = os.openpty(); print(os.ttyname(b))'").startswith("/dev/pts/")


def test_postgresql_of_the_host_runs_in_a_vm(run: Run, vms: tuple[Vm, Vm]) -> None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("POSTGRESQL NOT TESTED: its binaries are not in /usr/lib/postgresql")
    pg, data = found[-1].parent, "/var/lib/postgresql/d"
    begin = f"{pg}/initdb -D {data} -A trust > /dev/null; {pg}/pg_ctl -D {data} -w start > /dev/null < /dev/null 2>&1"
    assert run(vms[0], f"cd /; su postgres -c \"{begin}; psql -Atc 'select 40 + 2'\"") == "42"
