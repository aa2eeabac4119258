"""VMs as plain namespaces: a network, processes, a file system and a host name of their own, without any engine.

Needs root. A VM is its process 1 (see `stage`); the host keeps nothing but a bridge for each network and the VM's
folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from ipaddress import IPv4Network
from pathlib import Path

from drystone.errors import LabError
from drystone.lab import addresses, keys, links, processes, programs, readiness, skeleton
from drystone.lab.config import Mode
from drystone.lab.processes import ProcessMark
from drystone.lab.registry import Network, Registry, Subnet, Vm

STAGE = Path(__file__).with_name("stage.py")

_CLEAN_ENVIRONMENT = {"PATH": programs.SYSTEM_PATH, "LANG": "C.UTF-8", "DRYSTONE_KEEP": "1"}
"""All that a VM's first process inherits: nothing of the host's environment is a VM's business.

DRYSTONE_KEEP asks drystone's supervisor to leave the VM alone when it ends the terraform that made it.
"""


class Namespaces:
    """The driver for root."""

    mode = Mode.NAMESPACES
    port = 22

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def user(self) -> str:
        return "root"

    # -- networks and subnets

    def bridge(self, network: Network) -> str:
        return addresses.bridge_name(self.registry.root, network.name)

    def network_up(self, network: Network) -> None:
        mac = addresses.mac_address(self.registry.root, network.name)
        links.add_bridge(self.bridge(network), mac=mac, owner=self.registry.root)

    def network_is_up(self, network: Network) -> bool:
        return links.exists(self.bridge(network))

    def network_down(self, network: Network) -> None:
        links.remove(self.bridge(network))

    def refuse_overlap(self, subnet: Subnet) -> None:
        routes = links.routes(without=self._bridge_of(subnet))
        taken = addresses.overlapping(IPv4Network(subnet.cidr), routes.keys())
        if taken is not None:
            raise LabError(
                f'the range {subnet.cidr} overlaps with "{taken}", which this host reaches through {routes[taken]}',
                hint="choose a range that no other interface of the host uses (ip route shows them)",
            )

    def subnet_up(self, subnet: Subnet) -> None:
        cidr = IPv4Network(subnet.cidr)
        links.set_address(self._bridge_of(subnet), str(addresses.gateway(cidr)), cidr.prefixlen)

    def subnet_is_up(self, subnet: Subnet) -> bool:
        return links.has_address(self._bridge_of(subnet), str(addresses.gateway(IPv4Network(subnet.cidr))))

    def subnet_down(self, subnet: Subnet) -> None:
        cidr = IPv4Network(subnet.cidr)
        links.remove_address(self._bridge_of(subnet), str(addresses.gateway(cidr)), cidr.prefixlen)

    def _bridge_of(self, subnet: Subnet) -> str:
        return addresses.bridge_name(self.registry.root, subnet.network)

    # -- VMs

    def interface(self, vm: Vm) -> str:
        return addresses.veth_name(self.registry.root, vm.network, vm.name)

    def choose_address(self, subnet: Subnet, taken: Collection[str], wanted: str | None) -> str:
        cidr = IPv4Network(subnet.cidr)
        return addresses.next_address(cidr, taken) if wanted is None else addresses.check_address(cidr, wanted)

    def start(self, vm: Vm) -> None:
        folder = self.registry.vm_path(vm.network, vm.name)
        self._prepare(vm, folder)
        links.remove(self.interface(vm))
        gate, opener = os.pipe()
        try:
            process = self._stage(vm, folder, gate)
            self.registry.save_process(vm, process)
            links.add_cable(
                self.interface(vm),
                peer=self._peer(vm),
                peer_mac=addresses.mac_address(self.registry.root, vm.network, vm.address),
                pid=process.pid,
                bridge=addresses.bridge_name(self.registry.root, vm.network),
                owner=self.registry.root,
            )
            os.write(opener, b"g")
        finally:
            os.close(gate)
            os.close(opener)
        readiness.wait_for_sshd(
            vm.address,
            self.port,
            listens=lambda: _listens(process.pid),
            lives=lambda: processes.is_alive(process),
            log=folder / "console.log",
        )

    def stop(self, vm: Vm) -> None:
        process = self.registry.process(vm)
        if process is not None and not processes.kill(process):
            raise LabError(f'VM "{vm.id}" cannot be ended: its process {process.pid} does not go away')
        # The cable goes with the network namespace; this is for one that was never plugged into it.
        links.remove(self.interface(vm))

    def _peer(self, vm: Vm) -> str:
        return "lt" + self.interface(vm)[2:]

    def _prepare(self, vm: Vm, folder: Path) -> None:
        for name in ("root", "upper/etc/ssh", "work", "usr-upper", "usr-work"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("upper", "upper/etc", "upper/etc/ssh", "usr-upper"):
            (folder / name).chmod(0o755)
        etc = folder / "upper/etc"
        (etc / "hostname").write_text(f"{vm.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{vm.address} {vm.name}\n")
        keys.make_key(folder / "host_key")
        secret = etc / "ssh/ssh_host_ed25519_key"
        secret.touch(mode=0o600)
        secret.write_bytes((folder / "host_key").read_bytes())
        (etc / "ssh/authorized_keys").write_text(keys.make_key(self.registry.root / "client_key") + "\n")
        (etc / "ssh/sshd_config").write_text(
            keys.sshd_config(
                address=vm.address,
                port=self.port,
                host_key="/etc/ssh/ssh_host_ed25519_key",
                authorized_keys="/etc/ssh/authorized_keys",
                strict=True,
                environment={"LANG": "C.UTF-8"},
            )
        )

    def _stage(self, vm: Vm, folder: Path, gate: int) -> ProcessMark:
        """Start the VM's process 1, which waits at the gate."""
        with self.registry.lock():
            base = skeleton.build(self.registry.root)
        network = self.registry.network(vm.network)
        assert network is not None, "the VM's network is checked before"
        subnet = IPv4Network(vm.subnet_cidr)
        spec = {
            "name": vm.name,
            "folder": str(folder),
            "base": str(base),
            "system_folders": skeleton.SYSTEM_FOLDERS,
            "runtime_folders": skeleton.runtime_folders(),
            "address": vm.address,
            "prefix": subnet.prefixlen,
            "gateway": str(addresses.gateway(subnet)),
            "network": network.cidr,
            "link": self._peer(vm),
            "gate": gate,
            **{program: programs.need(program) for program in ("ip", "sshd", "tini")},
        }
        # A session of its own, and no pipe of ours but the gate: signals for Terraform must not reach the VM, and a
        # Terraform that ends must not wait for it.
        with (folder / "console.log").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(STAGE), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                pass_fds=[gate],
                cwd="/",
                env=_CLEAN_ENVIRONMENT,
                timeout=readiness.START_TIMEOUT.total_seconds(),
                check=False,
            )
        process = processes.mark(int(done.stdout)) if done.stdout.strip() else None
        if process is None:
            raise LabError(
                f'VM "{vm.id}" cannot be started: this kernel or container refuses it',
                hint="drystone lab doctor says what is missing; mode loopback works without",
            )
        return process


def _listens(pid: int) -> bool:
    """True when something in the process's network namespace listens on TCP port 22 (0x0016; state 0A)."""
    return b":0016 00000000:0000 0A" in processes.read_proc(pid, "net/tcp")


def probe(root: Path) -> str | None:
    """Why VMs cannot be made of namespaces here, or None when they can. Tries it for real, in a folder below `root`.

    The folder's file system counts: overlayfs cannot keep its upper layer on another overlay, as in most containers.
    """
    if os.geteuid() != 0:
        return "it needs root"
    for program in ("ip", "tini", "sshd", "ssh-keygen"):
        if programs.find(program) is None:
            return f'the program "{program}" is missing (package {programs.PACKAGES[program]})'
    parent = next(folder for folder in (root, *root.parents) if folder.is_dir())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(STAGE), "--probe", str(parent), programs.need("ip")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=_CLEAN_ENVIRONMENT,
    )
    return None if done.returncode == 0 else f"the kernel refuses it: {done.stderr.strip() or 'no reason given'}"
