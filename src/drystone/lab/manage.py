"""What a person asks of the lab outside Terraform: can it work here, what is there, take away what is left.

Used by `drystone lab doctor|list|reap`. Answers are data; nothing is printed here.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

from drystone.errors import LabError
from drystone.lab import addresses, links, loopback, processes, programs, sockets
from drystone.lab.config import Mode, read_config
from drystone.lab.lab import open_lab
from drystone.lab.namespaces import probe
from drystone.lab.registry import Registry

REAP_PATIENCE = timedelta(seconds=5)
"""How long `reap` waits for somebody who works on a VM before it leaves that one alone."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that the lab needs."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    """What to do about it; empty when all is well."""


@dataclass(frozen=True, kw_only=True)
class LabObject:
    """A network, subnet or VM of the lab."""

    kind: str
    """network, subnet or vm."""
    id: str
    address: str
    """A VM's address, else the range."""
    state: str
    """up or down; of a VM running or stopped."""
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """Something that was taken away."""

    kind: str
    """vm, network, link, process or folder."""
    name: str


# -- doctor


def doctor(mode: str | None = None) -> list[Check]:
    """Whether VMs can be made here, tried for real.

    mode: the one that must work; None asks what the environment says, else for the best that works.
    Raises LabError for an unknown mode.
    """
    config = read_config(os.environ, mode=mode)
    checks = [
        Check(name="system", ok=sys.platform == "linux", detail=sys.platform, mend=_unless_linux()),
        _check_root(config.root),
        _check_program("sshd"),
        _check_program("ssh-keygen"),
    ]
    if config.mode is not Mode.LOOPBACK:
        checks.append(_check_namespaces(config.root, needed=config.mode is Mode.NAMESPACES))
        checks.append(_check_forwarding())
    if config.mode is not Mode.NAMESPACES:
        checks.append(_check_loopback())
    checks.append(_check_left_over(config.root))
    return checks


def _unless_linux() -> str:
    return "" if sys.platform == "linux" else "run drystone on Linux: the lab has no other home"


def _check_root(root: Path) -> Check:
    parent = next(folder for folder in (root, *root.parents) if folder.is_dir())
    if os.access(parent, os.W_OK | os.X_OK):
        return Check(name="folder", ok=True, detail=str(root))
    mend = "set DRYSTONE_LAB_ROOT to a folder that you may write"
    return Check(name="folder", ok=False, detail=f'"{parent}" may not be written', mend=mend)


def _check_program(program: str) -> Check:
    path = programs.find(program)
    package = programs.PACKAGES[program]
    return Check(name=program, ok=path is not None, detail=path or "missing", mend="" if path else f"install {package}")


def _check_namespaces(root: Path, *, needed: bool) -> Check:
    reason = probe(root)
    if reason is None:
        return Check(name="namespaces", ok=True, detail="VMs with their own network, processes and file system")
    mend = "as root, install iproute2 and tini; in a container, allow CAP_SYS_ADMIN and keep the root off an overlay"
    return Check(
        name="namespaces",
        ok=not needed,
        detail=f"not here, {reason}" + ("" if needed else "; VMs are made in loopback mode"),
        mend=mend,
    )


def _check_forwarding() -> Check:
    """Hosts with a container engine often send bridged packets through a firewall that drops them."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    filtered = switch.exists() and switch.read_text().strip() == "1"
    iptables = programs.find("iptables")
    if filtered and iptables and os.geteuid() == 0:
        with suppress(LabError):
            if "-P FORWARD DROP" in programs.run([iptables, "-S", "FORWARD"]):
                return Check(
                    name="forwarding",
                    ok=False,
                    detail="the firewall drops packets between VMs",
                    mend="iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT",
                )
    return Check(name="forwarding", ok=True, detail="nothing seen that stops packets between VMs")


def _check_loopback() -> Check:
    address = str(addresses.LOOPBACK_RANGE.network_address + 1)
    try:
        with socket.socket() as listener:
            listener.bind((address, 0))
    except OSError as error:
        mend = "give the loopback interface the range 127.0.0.0/8, as Linux does by itself"
        return Check(name="loopback", ok=False, detail=f"{address} cannot be used: {error.strerror}", mend=mend)
    return Check(name="loopback", ok=True, detail=f"addresses of {addresses.LOOPBACK_RANGE} can be used")


def _check_left_over(root: Path) -> Check:
    left = reap(root, dry_run=True)
    if not left:
        return Check(name="left over", ok=True, detail="nothing")
    names = ", ".join(f"{item.kind} {item.name}" for item in left[:5])
    return Check(name="left over", ok=False, detail=f"{len(left)}: {names}", mend="drystone lab reap")


# -- list


def list_objects(lab: Path | None = None) -> list[LabObject]:
    """All objects of a lab, networks first.

    lab: its root; None for the one that the environment says.
    Raises LabError when its records are damaged.
    """
    config = read_config(os.environ, root=None if lab is None else str(lab), mode="auto")
    if Registry(config.root).mode() is None:
        return []
    opened = open_lab(config)
    registry, driver = opened.registry, opened.driver
    networks = [
        LabObject(
            kind="network", id=network.id, address=network.cidr, state=_up(driver.network_is_up(network)),
            detail={"bridge": driver.bridge(network), "mode": driver.mode.value},
        )
        for network in registry.networks()
    ]  # fmt: skip
    subnets = [
        LabObject(
            kind="subnet", id=subnet.id, address=subnet.cidr, state=_up(driver.subnet_is_up(subnet)),
            detail={"gateway": str(addresses.gateway(IPv4Network(subnet.cidr)))},
        )
        for subnet in registry.subnets()
    ]  # fmt: skip
    vms = []
    for vm in registry.vms():
        process = registry.process(vm)
        login = f"ssh -i {opened.key_file()} -p {driver.port} {driver.user()}@{vm.address}"
        detail = {"subnet": vm.subnet, "pid": "" if process is None else str(process.pid), "login": login}
        state = "stopped" if process is None else "running"
        vms.append(LabObject(kind="vm", id=vm.id, address=vm.address, state=state, detail=detail))
    return [*networks, *subnets, *vms]


def _up(works: bool) -> str:
    return "up" if works else "down"


# -- reap


def reap(lab: Path | None = None, force: bool = False, *, network: str | None = None, dry_run: bool = False) -> list[Reaped]:
    """Take away what nothing uses any more: VMs that do not run, links and processes that no record names.

    lab:     the lab's root; None for the one that the environment says.
    force:   everything that is in the lab, also what runs, and also where records are damaged.
    network: with force, only this network and all in it.
    dry_run: take nothing away; only say what would be.
    What somebody works on at the moment is left alone. Terraform states do not hear of it: the next plan does.
    """
    root = lab or Path(read_config(os.environ).root)
    reaper = _Reaper(Registry(root), dry_run=dry_run)
    if force:
        reaper.take_networks(network)
    if not force or network is None:
        reaper.take_dead_vms()
        reaper.take_stray_processes()
        reaper.take_stray_links()
        reaper.take_trash()
        reaper.take_sockets()
    return reaper.taken


class _Reaper:
    """One walk through a lab. Goes by folders, not by records, so that a damaged record does not stop it."""

    def __init__(self, registry: Registry, *, dry_run: bool) -> None:
        self.registry = registry
        self.root = registry.root
        self.dry_run = dry_run
        self.taken: list[Reaped] = []

    def take_networks(self, only: str | None) -> None:
        for folder in sorted(self.root.glob(f"networks/{only or '*'}")):
            for vm in sorted(folder.glob("vms/*")):
                self._take_vm(folder.name, vm)
            if self._note("network", folder.name):
                with self.registry.lock():
                    links.remove(addresses.bridge_name(self.root, folder.name))
                    self.registry.discard(folder)
                    self.registry.sweep()

    def take_dead_vms(self) -> None:
        for folder in sorted(self.root.glob("networks/*/vms/*")):
            if not self._runs(folder):
                self._take_vm(folder.parent.parent.name, folder, only_dead=True)

    def take_stray_processes(self) -> None:
        """Of loopback VMs whose folders are gone: namespaces VMs leave none."""
        prefix = f"LAB_ROOT={self.root}/networks/".encode()
        strays: dict[Path, set[int]] = {}
        for pid in processes.all_pids():
            for variable in processes.read_proc(pid, "environ").split(b"\0"):
                if variable.startswith(prefix):
                    vm = Path(os.fsdecode(variable.partition(b"=")[2])).parent
                    strays.setdefault(vm, set()).add(pid)
        for vm, pids in sorted(strays.items()):
            if not vm.exists() and self._note("process", ", ".join(map(str, sorted(pids)))):
                loopback.stop_all(vm)

    def take_stray_links(self) -> None:
        """Links of this lab that no record names, and links of labs whose folder is gone."""
        if programs.find("ip") is None:
            return
        # The links first: a VM that is made meanwhile has its folder before its link.
        found = links.labelled()
        known = {addresses.bridge_name(self.root, folder.name) for folder in self.root.glob("networks/*")}
        for folder in self.root.glob("networks/*/vms/*"):
            known.add(addresses.veth_name(self.root, folder.parent.parent.name, folder.name))
        for link in found:
            mine = link.owner == str(self.root) and link.name not in known
            if (mine or not Path(link.owner).exists()) and self._note("link", link.name):
                links.remove(link.name)

    def take_trash(self) -> None:
        for folder in self.registry.trash():
            if self._note("folder", str(folder)):
                shutil.rmtree(folder, ignore_errors=True)

    def take_sockets(self) -> None:
        """Of providers that were killed."""
        for folder in sorted(sockets.abandoned()):
            if self._note("folder", str(folder)):
                shutil.rmtree(folder, ignore_errors=True)

    def _take_vm(self, network: str, folder: Path, *, only_dead: bool = False) -> None:
        with ExitStack() as stack:
            try:
                stack.enter_context(self.registry.vm_lock(network, folder.name, REAP_PATIENCE))
            except LabError:
                return
            if (only_dead and self._runs(folder)) or not self._note("vm", f"{network}/{folder.name}"):
                return
            with suppress(LabError):
                process = self.registry.read_process(folder)
                if process is not None:
                    processes.kill(process)
            loopback.stop_all(folder)
            links.remove(addresses.veth_name(self.root, network, folder.name))
            self.registry.discard(folder)
            self.registry.forget_vm_lock(network, folder.name)

    def _runs(self, folder: Path) -> bool:
        try:
            return self.registry.read_process(folder) is not None
        except LabError:
            return False

    def _note(self, kind: str, name: str) -> bool:
        """Note what is taken; False when it is not to be taken really."""
        self.taken.append(Reaped(kind=kind, name=name))
        return not self.dry_run
