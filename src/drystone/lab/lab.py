"""The laboratory's rules: who may have which name, range and address, and what create, read, restart and delete do.

Called by the provider's resources, several at once, from one process or many. Objects have names that the user chose,
so a create that finds its own object from an attempt that died finishes it (adopts it) instead of failing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network

from drystone.errors import LabError
from drystone.lab import addresses, keys
from drystone.lab.config import LabConfig, Mode
from drystone.lab.driver import Driver
from drystone.lab.loopback import Loopback
from drystone.lab.namespaces import Namespaces, probe
from drystone.lab.registry import Network, Record, Registry, Subnet, Vm, parse_subnet_id, parse_vm_id


def open_lab(config: LabConfig) -> Lab:
    """The lab of that root, with the mode it was begun with, else the one configured, else the best that works here.

    Raises LabError when the lab holds objects of another mode than the configured one.
    """
    registry = Registry(config.root)
    begun = registry.mode()
    if begun is not None and config.mode not in (None, begun):
        raise LabError(
            f'the lab in "{config.root}" holds objects of mode {begun}, not {config.mode}',
            hint="destroy them first, or choose another root",
        )
    mode = begun or config.mode or (Mode.LOOPBACK if probe(config.root) else Mode.NAMESPACES)
    return Lab(registry, Namespaces(registry) if mode is Mode.NAMESPACES else Loopback(registry))


class Lab:
    """Networks, subnets and VMs of one root."""

    def __init__(self, registry: Registry, driver: Driver) -> None:
        self.registry = registry
        self.driver = driver

    # -- finding

    def need_network(self, id: str) -> Network:
        """Raises LabError when there is none; so do the next two."""
        addresses.check_name("network", id)
        return _found("network", id, self.registry.network(id))

    def need_subnet(self, id: str) -> Subnet:
        return _found("subnet", id, self.registry.subnet(*parse_subnet_id(id)))

    def need_vm(self, id: str) -> Vm:
        return _found("VM", id, self.registry.vm(*parse_vm_id(id)))

    # -- networks

    def create_network(self, name: str, cidr: str) -> Network:
        addresses.check_name("network", name)
        wanted = Network(name=name, cidr=str(addresses.parse_cidr(cidr)))
        with self.registry.lock():
            self.registry.begin(self.driver.mode)
            found = self.registry.network(name)
            if found is not None:
                self._refuse_taken(f'network "{name}"', found, same=found.cidr == wanted.cidr, was=found.cidr)
            else:
                self._refuse_network_overlap(wanted)
                self.registry.save(wanted)
            try:
                self.driver.network_up(wanted)
            except BaseException:
                if found is None:
                    self.driver.network_down(wanted)
                    self.registry.remove(wanted)
                    self.registry.sweep()
                raise
        return wanted

    def mend_network(self, network: Network) -> None:
        """Bring the bridge back, with the host's addresses on it: a reboot takes them."""
        with self.registry.lock():
            self._mend(network)

    def _mend(self, network: Network) -> None:
        self.driver.network_up(network)
        for subnet in self.registry.subnets(network.name):
            self.driver.subnet_up(subnet)

    def delete_network(self, name: str) -> None:
        """Raises LabError while it has subnets or VMs. One that is gone already is no error."""
        with self.registry.lock():
            network = self.registry.network(name)
            if network is None:
                return
            users: list[Vm | Subnet] = [*self.registry.vms(name), *self.registry.subnets(name)]
            if users:
                raise LabError(f'network "{name}" is in use by {_names(users)}', hint="destroy these first")
            self.driver.network_down(network)
            self.registry.remove(network)
            self.registry.sweep()

    def _refuse_network_overlap(self, wanted: Network) -> None:
        others = {network.cidr: network.name for network in self.registry.networks()}
        taken = addresses.overlapping(IPv4Network(wanted.cidr), others.keys())
        if taken is not None:
            raise LabError(
                f'the range {wanted.cidr} overlaps with {taken} of network "{others[taken]}"',
                hint="choose a range that no other lab network has (drystone lab list shows them)",
            )

    # -- subnets

    def create_subnet(self, network_name: str, cidr: str) -> Subnet:
        wanted = Subnet(network=network_name, cidr=str(addresses.parse_cidr(cidr)))
        with self.registry.lock():
            network = self.need_network(network_name)
            if not IPv4Network(wanted.cidr).subnet_of(IPv4Network(network.cidr)):
                raise LabError(
                    f'the range {wanted.cidr} is not a part of network "{network.name}"',
                    hint=f"choose a part of {network.cidr}",
                )
            found = self.registry.subnet(network.name, wanted.cidr)
            if found is not None:
                self._refuse_taken(f'subnet "{wanted.id}"', found, same=True, was=found.cidr)
            else:
                self._refuse_subnet_overlap(wanted)
                self.registry.save(wanted)
            try:
                self._mend(network)
            except BaseException:
                if found is None:
                    self.registry.remove(wanted)
                raise
        return wanted

    def delete_subnet(self, network: str, cidr: str) -> None:
        """Raises LabError while it has VMs. One that is gone already is no error."""
        with self.registry.lock():
            subnet = self.registry.subnet(network, cidr)
            if subnet is None:
                return
            users = [vm for vm in self.registry.vms(subnet.network) if vm.subnet == subnet.id]
            if users:
                raise LabError(f'subnet "{subnet.id}" is in use by {_names(users)}', hint="destroy these first")
            self.driver.subnet_down(subnet)
            self.registry.remove(subnet)

    def _refuse_subnet_overlap(self, wanted: Subnet) -> None:
        others = {subnet.cidr: subnet.id for subnet in self.registry.subnets()}
        taken = addresses.overlapping(IPv4Network(wanted.cidr), others.keys())
        if taken is not None:
            raise LabError(
                f'the range {wanted.cidr} overlaps with subnet "{others[taken]}"',
                hint="choose a range that no other subnet has (drystone lab list shows them)",
            )
        self.driver.refuse_overlap(wanted)

    # -- VMs

    def create_vm(self, subnet_id: str, name: str, address: str | None) -> Vm:
        """A VM that runs and answers. The address is the wanted one, else the next that is free."""
        addresses.check_name("VM", name)
        network, cidr = parse_subnet_id(subnet_id)
        with self.registry.vm_lock(network, name):
            found = self.registry.vm(network, name)
            vm = self._reserve(Subnet(network=network, cidr=cidr), name, address)
            try:
                return self._ensure_running(vm)
            except BaseException:
                if found is None:
                    self._erase(vm)
                raise

    def _reserve(self, subnet: Subnet, name: str, address: str | None) -> Vm:
        """The record of a new VM, with an address that nobody else gets; or that of an attempt that died."""
        with self.registry.lock():
            self.need_subnet(subnet.id)
            found = self.registry.vm(subnet.network, name)
            if found is not None:
                same = found.subnet == subnet.id and address in (None, found.address)
                self._refuse_taken(f'VM "{found.id}"', found, same=same, was=f"{found.address} in {found.subnet_cidr}")
                return found
            taken = {vm.address: vm.id for vm in self.registry.vms()}
            if address in taken:
                raise LabError(f'the address {address} belongs to VM "{taken[address]}"', hint="choose another")
            chosen = self.driver.choose_address(subnet, taken.keys(), address)
            return self.registry.save(Vm(network=subnet.network, name=name, subnet_cidr=subnet.cidr, address=chosen))

    def restart_vm(self, vm: Vm) -> Vm:
        """Start a VM that does not run, with its disk as it was. One that runs is left alone."""
        with self.registry.vm_lock(vm.network, vm.name):
            current = self.registry.vm(vm.network, vm.name)
            if current is None:
                raise LabError(f'there is no VM "{vm.id}" any more', hint="apply again to create it")
            return self._ensure_running(current)

    def _ensure_running(self, vm: Vm) -> Vm:
        """Under the VM's lock."""
        if self.registry.process(vm) is not None:
            return vm
        self.mend_network(self.need_network(vm.network))
        started = self.registry.save(replace(vm, generation=vm.generation + 1))
        try:
            self.driver.start(started)
        except BaseException:
            self.driver.stop(started)
            raise
        return started

    def delete_vm(self, network: str, name: str) -> None:
        """End it and remove its disk. One that is gone already is no error."""
        with self.registry.vm_lock(network, name):
            vm = self.registry.vm(network, name)
            if vm is not None:
                self._erase(vm)

    def _erase(self, vm: Vm) -> None:
        """Under the VM's lock."""
        self.driver.stop(vm)
        self.registry.discard(self.registry.vm_path(vm.network, vm.name))
        self.registry.forget_vm_lock(vm.network, vm.name)

    def host_key(self, vm: Vm) -> str:
        """The VM's host key, "type base64": what a client pins."""
        return keys.public_key(self.registry.vm_path(vm.network, vm.name) / "host_key")

    def key_file(self) -> str:
        """The path of the private key that opens every VM of the lab."""
        return str(self.registry.root / "client_key")

    def _refuse_taken(self, what: str, found: Network | Subnet | Vm, *, same: bool, was: str) -> None:
        """Raises LabError unless the object is what a create that died has left."""
        if not same:
            raise LabError(f"{what} exists already, with {was}", hint="choose another name, or destroy that one first")
        if found.claimed:
            raise LabError(
                f"{what} exists already, and a Terraform state holds it",
                hint=f'choose another name; if that state is lost, import the id "{found.id}", or remove what is left: '
                f"drystone lab reap --force",
            )


def _found(kind: str, id: str, record: Record | None) -> Record:
    if record is None:
        raise LabError(f'there is no lab {kind} "{id}"', hint="create it first (drystone lab list shows what there is)")
    return record


def _names(objects: Sequence[Vm | Subnet]) -> str:
    named = [f'{"VM" if isinstance(item, Vm) else "subnet"} "{item.id}"' for item in objects]
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
