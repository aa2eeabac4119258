"""What the lab knows: one JSON file for each network, subnet and VM, below the lab's root.

    lab.json                              the mode that the lab was begun with
    lock, locks/                          see `locks`
    client_key                            the key that opens every VM of the lab
    networks/NET/network.json
    networks/NET/subnets/10.0.1.0-24.json
    networks/NET/vms/VM/vm.json           and all that the VM has: file system, keys, log, process.json
    .trash-*/                             folders on their way out

Files are written whole and renamed, so a reader never sees half of one. Who changes them holds `Registry.lock`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from drystone.errors import LabError
from drystone.lab import addresses, locks
from drystone.lab.config import Mode
from drystone.lab.processes import ProcessMark, is_alive


@dataclass(frozen=True, kw_only=True)
class Network:
    """A bridge and the range that its subnets are cut from."""

    name: str
    cidr: str
    claimed: bool = False
    """A Terraform state has read it back. Until then a create may adopt it: its first creator died with the answer."""

    @property
    def id(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """A part of a network's range."""

    network: str
    cidr: str
    claimed: bool = False

    @property
    def id(self) -> str:
        return f"{self.network}/{self.cidr}"


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A host of the lab."""

    network: str
    name: str
    subnet_cidr: str
    address: str
    claimed: bool = False
    generation: int = 0
    """How often it was started."""

    @property
    def id(self) -> str:
        return f"{self.network}/{self.name}"

    @property
    def subnet(self) -> str:
        return f"{self.network}/{self.subnet_cidr}"


Record = TypeVar("Record", Network, Subnet, Vm)


class Registry:
    """The records of one lab. Knows files only: nothing is started or stopped here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lock(self) -> AbstractContextManager[None]:
        """Held while records change or an address is chosen: never while a VM starts."""
        return locks.hold(self.root / "lock")

    def vm_lock(self, network: str, name: str, timeout: timedelta = locks.LOCK_TIMEOUT) -> AbstractContextManager[None]:
        """Held while one VM is created, started or deleted. Taken before `lock`, never after."""
        return locks.hold(self._vm_lock_path(network, name), timeout)

    def forget_vm_lock(self, network: str, name: str) -> None:
        """Remove the lock's file. Its holder may."""
        self._vm_lock_path(network, name).unlink(missing_ok=True)

    def _vm_lock_path(self, network: str, name: str) -> Path:
        return self.root / "locks" / f"{network}_{name}"

    # -- the lab itself

    def mode(self) -> Mode | None:
        """The mode that the lab was begun with; None before its first object."""
        data = _read_json(self.root / "lab.json")
        return None if data is None else Mode(data["mode"])

    def begin(self, mode: Mode) -> None:
        """Set the mode. Raises LabError when objects of another mode exist."""
        begun = self.mode()
        if begun is not None and begun is not mode:
            raise LabError(
                f'the lab in "{self.root}" holds objects of mode {begun}, not {mode}',
                hint="destroy them first, or choose another root",
            )
        if begun is None:
            write_json(self.root / "lab.json", {"mode": mode.value})

    def sweep(self) -> None:
        """Remove what an empty lab leaves: keys, base layers, locks, the root itself. Under `lock`."""
        if any(True for _ in self.networks()):
            return
        (self.root / "lab.json").unlink(missing_ok=True)
        for entry in self.root.iterdir():
            if entry.name != "lock":
                _remove(entry)
        # Last: from here on another process may hold a new lock, and begin a new lab.
        (self.root / "lock").unlink(missing_ok=True)
        with suppress(OSError):
            self.root.rmdir()

    # -- records

    def networks(self) -> Iterator[Network]:
        for path in sorted(self.root.glob("networks/*/network.json")):
            if record := _load(path, Network):
                yield record

    def network(self, name: str) -> Network | None:
        return _load(self.network_path(name) / "network.json", Network)

    def subnets(self, network: str | None = None) -> Iterator[Subnet]:
        for path in sorted(self.root.glob(f"networks/{network or '*'}/subnets/*.json")):
            if record := _load(path, Subnet):
                yield record

    def subnet(self, network: str, cidr: str) -> Subnet | None:
        return _load(self._subnet_path(network, cidr), Subnet)

    def vms(self, network: str | None = None) -> Iterator[Vm]:
        for path in sorted(self.root.glob(f"networks/{network or '*'}/vms/*/vm.json")):
            if record := _load(path, Vm):
                yield record

    def vm(self, network: str, name: str) -> Vm | None:
        return _load(self.vm_path(network, name) / "vm.json", Vm)

    def save(self, record: Record) -> Record:
        """Write a record, new or changed."""
        write_json(self._record_path(record), asdict(record))
        return record

    def claim(self, record: Record) -> Record:
        """Note that a Terraform state holds the object: from now on no create adopts it."""
        if record.claimed:
            return record
        with self.lock():
            current = _load(self._record_path(record), type(record))
            return record if current is None else self.save(replace(current, claimed=True))

    def remove(self, record: Network | Subnet) -> None:
        match record:
            case Network():
                self.discard(self.network_path(record.name))
            case Subnet():
                self._record_path(record).unlink(missing_ok=True)

    def _record_path(self, record: Network | Subnet | Vm) -> Path:
        match record:
            case Network():
                return self.network_path(record.name) / "network.json"
            case Subnet():
                return self._subnet_path(record.network, record.cidr)
            case Vm():
                return self.vm_path(record.network, record.name) / "vm.json"

    def network_path(self, name: str) -> Path:
        return self.root / "networks" / name

    def _subnet_path(self, network: str, cidr: str) -> Path:
        return self.network_path(network) / "subnets" / (cidr.replace("/", "-") + ".json")

    def vm_path(self, network: str, name: str) -> Path:
        return self.network_path(network) / "vms" / name

    # -- processes and folders

    def process(self, vm: Vm) -> ProcessMark | None:
        """The VM's first process while it runs, else None."""
        return self.read_process(self.vm_path(vm.network, vm.name))

    def read_process(self, folder: Path) -> ProcessMark | None:
        """The same, by the VM's folder."""
        data = _read_json(folder / "process.json")
        process = None if data is None else ProcessMark(**data)
        return process if process is not None and is_alive(process) else None

    def save_process(self, vm: Vm, process: ProcessMark) -> None:
        write_json(self.vm_path(vm.network, vm.name) / "process.json", asdict(process))

    def discard(self, folder: Path) -> None:
        """Remove a folder with all in it; half of one is never seen at its old place."""
        target = Path(tempfile.mkdtemp(dir=self.root, prefix=".trash-"))
        with suppress(FileNotFoundError):
            folder.rename(target / folder.name)
        _remove(target)

    def trash(self) -> list[Path]:
        """Folders that a discard left when it was killed."""
        return sorted(self.root.glob(".trash-*"))


def parse_vm_id(text: str) -> tuple[str, str]:
    """Network and name of a VM's id. Raises LabError when it is none."""
    network, name = _split_id(text, "VM", "network/name")
    addresses.check_name("VM", name)
    return network, name


def parse_subnet_id(text: str) -> tuple[str, str]:
    """Network and CIDR of a subnet's id. Raises LabError when it is none."""
    network, cidr = _split_id(text, "subnet", "network/10.0.1.0/24")
    addresses.parse_cidr(cidr)
    return network, cidr


def _split_id(text: str, kind: str, example: str) -> tuple[str, str]:
    network, slash, rest = text.partition("/")
    if not slash or not addresses.NAME.fullmatch(network) or not rest:
        raise LabError(f'"{text}" is not the id of a {kind}', hint=f'ids look like "{example}"')
    return network, rest


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write the file whole: it holds the old text or the new one, also after a crash."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(fd, "w") as file:
            json.dump(data, file)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise LabError(f'the lab\'s record "{path}" is damaged', hint="remove what it names: drystone lab reap --force")
    return data


def _load(path: Path, kind: type[Record]) -> Record | None:
    data = _read_json(path)
    if data is None:
        return None
    try:
        return kind(**data)
    except TypeError:
        raise LabError(
            f'the lab\'s record "{path}" has unknown or missing fields',
            hint="it was written by another version of drystone: remove it with drystone lab reap --force",
        ) from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
