"""The provider's resources and data sources: Terraform's questions, answered by `lab.Lab`.

Each class has the shape that the framework `tf` asks for. Errors become diagnostics; where a change or a deletion
fails, the old state is given back, because an empty answer would make Terraform forget an object that still exists.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

from tf.schema import Attribute, Schema
from tf.types import Bool, Number, String, Unknown

from drystone.errors import DrystoneError
from drystone.lab import addresses
from drystone.lab.lab import Lab
from drystone.lab.registry import Network, Subnet, Vm, parse_subnet_id, parse_vm_id

State = dict[str, Any]
"""Attribute names to values; None is null, `Unknown` is known after apply."""

Answer = TypeVar("Answer")

SCHEMA_VERSION = 1


class Owner(Protocol):
    """What a resource needs of its provider."""

    def lab(self) -> Lab:
        """The lab, once the provider is configured."""


def diagnosed(fallback: Callable[[State], State | None]) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Turn errors into diagnostics. `fallback` gives the answer then, from the method's first state."""

    def decorate(method: Callable[..., Answer]) -> Callable[..., Answer]:
        @functools.wraps(method)
        def wrapper(self: Any, context: Any, *states: Any) -> Any:
            try:
                return method(self, context, *states)
            except DrystoneError as error:
                context.diagnostics.add_error(error.message, error.hint)
            except (OSError, subprocess.SubprocessError) as error:
                context.diagnostics.add_error(f"the lab failed: {error}", "drystone lab doctor says what is missing")
            return fallback(*states[:1])

        return wrapper

    return decorate


def nothing(_: Any) -> None:
    """There is no object."""


def unchanged(state: State) -> State:
    """The object is as it was."""
    return state


class Object:
    """What all three resources share."""

    name: ClassVar[str]
    attributes: ClassVar[list[Attribute]]
    health: ClassVar[str]
    """The attribute that says whether the object works; an apply mends it."""
    mended: ClassVar[tuple[str, ...]] = ()
    """What is known only after it was mended."""

    def __init__(self, provider: Owner) -> None:
        self.provider = provider

    @classmethod
    def get_name(cls) -> str:
        return cls.name

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(attributes=cls.attributes, version=SCHEMA_VERSION)

    def validate(self, diagnostics: Any, type_name: str, config: State) -> None:
        """Refuse what can be refused without a look at the lab. Unknown values wait for the apply."""
        for attribute in self.attributes:
            value = config.get(attribute.name)
            check = _CHECKS.get(attribute.name)
            # An unknown value is `Unknown`, or a msgpack extension that says a little about it: no text in any case.
            if check is None or not isinstance(value, str):
                continue
            try:
                check(value)
            except DrystoneError as error:
                diagnostics.add_error(error.message, error.hint, path=[attribute.name])

    def plan(self, context: Any, current: State, planned: State) -> State:
        """An object that stands but does not work is planned to work again."""
        if current[self.health] is False:
            planned[self.health] = True
            planned.update(dict.fromkeys(self.mended, Unknown))
        return planned

    def upgrade(self, context: Any, version: int, old: State) -> State:
        """State of an older schema: what it lacks is null until the next read, what is gone is dropped."""
        return {attribute.name: old.get(attribute.name) for attribute in self.attributes}


_CHECKS: dict[str, Callable[[str], object]] = {
    "name": lambda value: addresses.check_name("lab object", value),
    "cidr": addresses.parse_cidr,
    "subnet": parse_subnet_id,
}


class LabNetwork(Object):
    """lab_network: a bridge, and the range that subnets are cut from."""

    name = "network"
    health = "up"
    attributes: ClassVar = [
        Attribute("id", String(), "The network's id, which is its name.", computed=True),
        Attribute("name", String(), "The network's name, once in a lab.", required=True, requires_replace=True),
        Attribute("cidr", String(), "The range of its subnets.", required=True, requires_replace=True),
        Attribute("bridge", String(), "The host's interface; empty in loopback mode.", computed=True),
        Attribute("mode", String(), "How the lab makes VMs: namespaces or loopback.", computed=True),
        Attribute("up", Bool(), "Whether the bridge is there; an apply brings it back.", computed=True, default=True),
    ]

    @diagnosed(nothing)
    def create(self, context: Any, planned: State) -> State | None:
        return self._state(self.provider.lab().create_network(planned["name"], planned["cidr"]))

    @diagnosed(unchanged)
    def read(self, context: Any, current: State) -> State | None:
        lab = self.provider.lab()
        network = lab.registry.network(current["id"])
        return None if network is None else self._state(lab.registry.claim(network))

    @diagnosed(unchanged)
    def update(self, context: Any, current: State, planned: State) -> State | None:
        lab = self.provider.lab()
        network = lab.need_network(current["id"])
        lab.mend_network(network)
        return self._state(network)

    @diagnosed(unchanged)
    def delete(self, context: Any, current: State) -> State | None:
        self.provider.lab().delete_network(current["id"])
        return None

    @diagnosed(nothing)
    def import_(self, context: Any, id: str) -> State | None:
        return self._state(self.provider.lab().need_network(id))

    def _state(self, network: Network) -> State:
        driver = self.provider.lab().driver
        return {
            "id": network.id,
            "name": network.name,
            "cidr": network.cidr,
            "bridge": driver.bridge(network),
            "mode": driver.mode.value,
            "up": driver.network_is_up(network),
        }


class LabSubnet(Object):
    """lab_subnet: a part of a network's range; the host has its first address."""

    name = "subnet"
    health = "up"
    attributes: ClassVar = [
        Attribute("id", String(), "The subnet's id: network/cidr.", computed=True),
        Attribute("network", String(), "The network's id.", required=True, requires_replace=True),
        Attribute("cidr", String(), "Its range, a part of the network's.", required=True, requires_replace=True),
        Attribute("gateway", String(), "The host's address: the first one of the range.", computed=True),
        Attribute("up", Bool(), "Whether the host has that address.", computed=True, default=True),
    ]

    @diagnosed(nothing)
    def create(self, context: Any, planned: State) -> State | None:
        return self._state(self.provider.lab().create_subnet(planned["network"], planned["cidr"]))

    @diagnosed(unchanged)
    def read(self, context: Any, current: State) -> State | None:
        lab = self.provider.lab()
        subnet = lab.registry.subnet(*parse_subnet_id(current["id"]))
        return None if subnet is None else self._state(lab.registry.claim(subnet))

    @diagnosed(unchanged)
    def update(self, context: Any, current: State, planned: State) -> State | None:
        lab = self.provider.lab()
        subnet = lab.need_subnet(current["id"])
        lab.mend_network(lab.need_network(subnet.network))
        return self._state(subnet)

    @diagnosed(unchanged)
    def delete(self, context: Any, current: State) -> State | None:
        network, cidr = parse_subnet_id(current["id"])
        self.provider.lab().delete_subnet(network, cidr)
        return None

    @diagnosed(nothing)
    def import_(self, context: Any, id: str) -> State | None:
        return self._state(self.provider.lab().need_subnet(id))

    def _state(self, subnet: Subnet) -> State:
        return {
            "id": subnet.id,
            "network": subnet.network,
            "cidr": subnet.cidr,
            "gateway": str(addresses.gateway(addresses.parse_cidr(subnet.cidr))),
            "up": self.provider.lab().driver.subnet_is_up(subnet),
        }


class LabVm(Object):
    """lab_vm: a host with sshd."""

    name = "vm"
    health = "running"
    mended = ("pid", "generation")
    attributes: ClassVar = [
        Attribute("id", String(), "The VM's id: network/name.", computed=True),
        Attribute("subnet", String(), "The subnet's id.", required=True, requires_replace=True),
        Attribute("name", String(), "Its host name, once in a network.", required=True, requires_replace=True),
        Attribute(
            "address", String(), "Its address; the next free one when left out.",
            optional=True, computed=True, requires_replace=True,
        ),
        Attribute("port", Number(), "Where its sshd listens.", computed=True),
        Attribute("user", String(), "Who logs in.", computed=True),
        Attribute("host_key", String(), 'Its host key, "type base64", to pin.', computed=True),
        Attribute("key_file", String(), "The path of the private key that opens it.", computed=True),
        Attribute("interface", String(), "The host's end of its cable; empty in loopback mode.", computed=True),
        Attribute("mode", String(), "How it is made: namespaces or loopback.", computed=True),
        Attribute("pid", Number(), "The host's pid of its first process; 0 while it does not run.", computed=True),
        Attribute("generation", Number(), "How often it was started.", computed=True),
        Attribute("running", Bool(), "Whether it runs; an apply starts it.", computed=True, default=True),
    ]  # fmt: skip

    @diagnosed(nothing)
    def create(self, context: Any, planned: State) -> State | None:
        address = planned["address"]
        wanted = None if address is Unknown else address
        return self._state(self.provider.lab().create_vm(planned["subnet"], planned["name"], wanted))

    @diagnosed(unchanged)
    def read(self, context: Any, current: State) -> State | None:
        lab = self.provider.lab()
        vm = lab.registry.vm(*parse_vm_id(current["id"]))
        return None if vm is None else self._state(lab.registry.claim(vm))

    @diagnosed(unchanged)
    def update(self, context: Any, current: State, planned: State) -> State | None:
        lab = self.provider.lab()
        return self._state(lab.restart_vm(lab.need_vm(current["id"])))

    @diagnosed(unchanged)
    def delete(self, context: Any, current: State) -> State | None:
        self.provider.lab().delete_vm(*parse_vm_id(current["id"]))
        return None

    @diagnosed(nothing)
    def import_(self, context: Any, id: str) -> State | None:
        return self._state(self.provider.lab().need_vm(id))

    def _state(self, vm: Vm) -> State:
        lab = self.provider.lab()
        process = lab.registry.process(vm)
        return {
            "id": vm.id,
            "subnet": vm.subnet,
            "name": vm.name,
            "address": vm.address,
            "port": lab.driver.port,
            "user": lab.driver.user(),
            "host_key": lab.host_key(vm),
            "key_file": lab.key_file(),
            "interface": lab.driver.interface(vm),
            "mode": lab.driver.mode.value,
            "pid": 0 if process is None else process.pid,
            "generation": vm.generation,
            "running": process is not None,
        }


RESOURCES: tuple[type[LabNetwork] | type[LabSubnet] | type[LabVm], ...] = (LabNetwork, LabSubnet, LabVm)


def data_source(resource: type[LabNetwork] | type[LabSubnet] | type[LabVm]) -> type[Any]:
    """The data source of the same name: found by id, with the resource's attributes. It claims nothing."""

    class Data:
        def __init__(self, provider: Owner) -> None:
            self.resource = resource(provider)

        @classmethod
        def get_name(cls) -> str:
            return resource.name

        @classmethod
        def get_schema(cls) -> Schema:
            given = Attribute("id", String(), f"The {resource.name}'s id.", required=True)
            rest = [_computed(attribute) for attribute in resource.attributes if attribute.name != "id"]
            return Schema(attributes=[given, *rest], version=SCHEMA_VERSION)

        def validate(self, diagnostics: Any, type_name: str, config: State) -> None:
            """Nothing to refuse without a look at the lab."""

        @diagnosed(nothing)
        def read(self, context: Any, config: State) -> State | None:
            return self.resource.import_(context, config["id"])

    return Data


def _computed(attribute: Attribute) -> Attribute:
    return Attribute(attribute.name, attribute.type, attribute.description, computed=True)
