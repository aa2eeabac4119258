"""What `lab.Lab` asks of a way to make VMs; `namespaces` and `loopback` answer.

A driver acts on the world. Which objects there are, and who may have what, is decided in `lab` and kept by `registry`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from drystone.lab.config import Mode
from drystone.lab.registry import Network, Subnet, Vm


class Driver(Protocol):
    """One way to make VMs. Everything may be asked twice: what is there already is kept, what is gone is no error."""

    mode: Mode
    port: int
    """Where a VM's sshd listens."""

    def user(self) -> str:
        """Who logs in."""

    def bridge(self, network: Network) -> str:
        """The host's interface of a network; empty when there is none."""

    def interface(self, vm: Vm) -> str:
        """The host's end of a VM's cable; empty when there is none."""

    def refuse_overlap(self, subnet: Subnet) -> None:
        """Raises LabError when the host already uses a part of the range elsewhere."""

    def network_up(self, network: Network) -> None: ...
    def network_is_up(self, network: Network) -> bool: ...
    def network_down(self, network: Network) -> None: ...
    def subnet_up(self, subnet: Subnet) -> None: ...
    def subnet_is_up(self, subnet: Subnet) -> bool: ...
    def subnet_down(self, subnet: Subnet) -> None: ...

    def choose_address(self, subnet: Subnet, taken: Collection[str], wanted: str | None) -> str:
        """The address of a new VM: the wanted one, else the next that is free. Raises LabError when it cannot be."""

    def start(self, vm: Vm) -> None:
        """Start a VM that does not run, and wait until its sshd answers. Raises LabError with the end of its log."""

    def stop(self, vm: Vm) -> None:
        """End all its processes at once, as if the power failed."""
