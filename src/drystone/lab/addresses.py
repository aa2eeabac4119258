"""Names and numbers of the lab: CIDRs, addresses, interface names, MACs. Pure: looks at nothing.

Everything is derived from names, so that a repeat after a crash finds what was there before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from drystone.errors import LabError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

LOOPBACK_RANGE = IPv4Network("127.77.0.0/16")
"""Addresses of loopback VMs. Linux answers on all of 127.0.0.0/8 without configuration."""


def check_name(kind: str, name: str) -> None:
    """Raises LabError unless the name can be a host name, a folder and a part of an id."""
    if not NAME.fullmatch(name):
        raise LabError(
            f'"{name}" cannot name a {kind}',
            hint="use 1 to 63 lower-case letters, digits and dashes, and no dash at either end",
        )


def parse_cidr(text: str) -> IPv4Network:
    """The IPv4 range that the text names. Raises LabError for anything else, and for one too small to hold a VM."""
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise LabError(f'"{text}" is not an IPv4 range', hint="write it like 10.77.1.0/24") from None
    if "/" not in text or str(network) != text:
        raise LabError(f'"{text}" is not the start of its range', hint=f'did you mean "{network}"?')
    if not 8 <= network.prefixlen <= 30:
        raise LabError(f'"{text}" cannot be a lab range', hint="use a prefix length from /8 to /30")
    return network


def gateway(subnet: IPv4Network) -> IPv4Address:
    """The host's own address in a subnet: the first one."""
    return subnet.network_address + 1


def check_address(subnet: IPv4Network, text: str) -> str:
    """An address that a VM of the subnet may have. Raises LabError when it may not."""
    try:
        address = IPv4Address(text)
    except ValueError:
        raise LabError(f'"{text}" is not an IPv4 address', hint=f"choose one of {subnet}, or leave it out") from None
    reserved = {subnet.network_address, subnet.broadcast_address, gateway(subnet)}
    if address not in subnet or address in reserved:
        hint = f"choose one from {gateway(subnet) + 1} to {subnet.broadcast_address - 1}, or leave it out"
        raise LabError(f'a VM cannot have the address "{text}" in {subnet}', hint=hint)
    return str(address)


def next_address(subnet: IPv4Network, taken: Collection[str]) -> str:
    """The lowest address that is free. Raises LabError when the subnet is full."""
    candidate = gateway(subnet) + 1
    while candidate < subnet.broadcast_address:
        if str(candidate) not in taken:
            return str(candidate)
        candidate += 1
    raise LabError(f"subnet {subnet} is full", hint="destroy a VM in it or create a larger subnet")


def loopback_candidates(seed: str) -> Iterator[str]:
    """All usable addresses of 127.77.0.0/16 once, beginning at a place that the seed decides.

    Labs with different roots begin at different places, so that they rarely meet.
    """
    size = LOOPBACK_RANGE.num_addresses
    begin = int.from_bytes(hashlib.blake2s(seed.encode(), digest_size=4).digest(), "big") % size
    for step in range(size):
        address = LOOPBACK_RANGE.network_address + (begin + step) % size
        if int(address) % 256 not in (0, 255):
            yield str(address)


def overlapping(cidr: IPv4Network, others: Collection[str]) -> str | None:
    """The first of the others that shares an address with the range."""
    return next((other for other in others if cidr.overlaps(IPv4Network(other, strict=False))), None)


def bridge_name(root: Path, network: str) -> str:
    """The bridge of a network. Interface names have 15 bytes at most, so it is a digest, different for each lab."""
    return "lb" + _digest(root, network)


def veth_name(root: Path, network: str, vm: str) -> str:
    """The host's end of a VM's cable."""
    return "lv" + _digest(root, network, vm)


def mac_address(root: Path, *names: str) -> str:
    """A locally administered MAC, of a network's bridge or of an address in it.

    An address has the same MAC whoever has the address: neighbours remember the pair for a minute, and would send to
    the last owner.
    """
    digest = _digest(root, *names)
    return ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])


def _digest(root: Path, *names: str) -> str:
    return hashlib.blake2s("/".join([str(root), *names]).encode(), digest_size=5).hexdigest()
