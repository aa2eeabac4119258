"""VMs for any user: one sshd each, on an address of its own in 127.77.0.0/16, with a folder of its own.

No isolation: same user, same file system, same processes. A session learns its VM's folder from LAB_ROOT and has its
home below it. What a session left running is known by that variable, or by working below that folder, and ends with
the VM.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Collection
from datetime import timedelta
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path

from drystone.errors import LabError
from drystone.lab import addresses, keys, processes, programs, readiness
from drystone.lab.config import Mode
from drystone.lab.registry import Network, Registry, Subnet, Vm

STOP_GRACE = timedelta(seconds=2)
"""How long a VM's programs may take to end after SIGTERM: a database closes its shared memory in less."""


class Loopback:
    """The driver for anybody."""

    mode = Mode.LOOPBACK
    port = 2222

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def user(self) -> str:
        return pwd.getpwuid(os.geteuid()).pw_name

    # Networks and subnets are names only: all VMs are on the host's loopback interface.

    def bridge(self, network: Network) -> str:
        return ""

    def interface(self, vm: Vm) -> str:
        return ""

    def refuse_overlap(self, subnet: Subnet) -> None:
        return None

    def network_up(self, network: Network) -> None:
        return None

    def network_is_up(self, network: Network) -> bool:
        return True

    def network_down(self, network: Network) -> None:
        return None

    def subnet_up(self, subnet: Subnet) -> None:
        return None

    def subnet_is_up(self, subnet: Subnet) -> bool:
        return True

    def subnet_down(self, subnet: Subnet) -> None:
        return None

    def choose_address(self, subnet: Subnet, taken: Collection[str], wanted: str | None) -> str:
        if wanted is not None:
            return _check_address(wanted)
        for candidate in addresses.loopback_candidates(f"{self.registry.root}/{subnet.id}"):
            if candidate not in taken and _is_free(candidate, self.port):
                return candidate
        raise LabError(f"no address is free in {addresses.LOOPBACK_RANGE}", hint="destroy VMs: drystone lab list")

    def start(self, vm: Vm) -> None:
        folder = self.registry.vm_path(vm.network, vm.name)
        stop_all(folder)
        process = processes.mark(self._launch(vm, folder))
        if process is None:
            raise LabError(f'the sshd of VM "{vm.id}" ended at once', hint=f'see "{folder / "console.log"}"')
        self.registry.save_process(vm, process)
        readiness.wait_for_sshd(
            vm.address,
            self.port,
            listens=lambda: True,
            lives=lambda: processes.is_alive(process),
            log=folder / "console.log",
        )

    def stop(self, vm: Vm) -> None:
        stop_all(self.registry.vm_path(vm.network, vm.name))

    def _environment(self, root: Path) -> dict[str, str]:
        """DRYSTONE_KEEP asks drystone's supervisor to leave a VM alone when it ends the terraform that made it."""
        return {"LANG": "C.UTF-8", "LAB_ROOT": str(root), "DRYSTONE_KEEP": "1"}

    def _launch(self, vm: Vm, folder: Path) -> int:
        """Start its sshd; returns the pid."""
        root = folder / "root"
        (root / "home").mkdir(parents=True, exist_ok=True)
        keys.make_key(folder / "host_key")
        authorized = folder / "authorized_keys"
        authorized.write_text(keys.make_key(self.registry.root / "client_key") + "\n")
        config = folder / "sshd_config"
        config.write_text(
            keys.sshd_config(
                address=vm.address,
                port=self.port,
                host_key=str(folder / "host_key"),
                authorized_keys=str(authorized),
                strict=False,
                environment={**self._environment(root), "HOME": str(root / "home")},
            )
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # sshd starts itself again from /, for each connection: its paths must be absolute. The shell is the VM's first
        # process: sshd overwrites its own environment with its title, and could not be known by LAB_ROOT. Both outlive
        # the process that starts them, so they get a session of their own and nobody who would wait for them.
        log = str(folder / "console.log")
        return os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", '"$@"; exit', "drystone-lab-vm", programs.need("sshd"), "-D", "-e", "-f", str(config)],
            {"PATH": programs.SYSTEM_PATH, **self._environment(root)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )


def stop_all(folder: Path) -> None:
    """End all processes of the VM in that folder: its sshd and what sessions left running."""
    processes.end_all(lambda: find_processes(folder), STOP_GRACE)


def find_processes(folder: Path) -> set[int]:
    """The processes of the VM in that folder: by LAB_ROOT, by sshd's configuration, by where they work, by descent."""
    root, config = folder / "root", os.fsencode(folder / "sshd_config")
    marker = f"LAB_ROOT={root}".encode()
    marked = {
        pid
        for pid in processes.all_pids()
        if marker in processes.read_proc(pid, "environ").split(b"\0")
        or _is_sshd(processes.read_proc(pid, "cmdline"), config)
        or _works_below(pid, root)
    }
    return processes.with_descendants(marked)


def _is_sshd(command: bytes, config: bytes) -> bool:
    """True for an sshd that was started with that configuration, also when it has written its title over its arguments."""
    return b"sshd" in command and config in command.replace(b"\0", b" ").split(b" ")


def _works_below(pid: int, root: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(root)
    except OSError:
        return False


def _check_address(text: str) -> str:
    try:
        address: IPv4Address | None = IPv4Address(text)
    except AddressValueError:
        address = None
    if address is None or address not in IPv4Network(addresses.LOOPBACK_RANGE):
        raise LabError(
            f'a VM cannot have the address "{text}" in loopback mode',
            hint=f"choose one of {addresses.LOOPBACK_RANGE}, or leave it out",
        )
    return str(address)


def _is_free(address: str, port: int) -> bool:
    """True when nothing listens there: other labs of this machine share the range."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
