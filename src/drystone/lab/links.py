"""Bridges, cables and addresses of the host, changed by iproute2.

Each link carries an alias with the lab's root, so that `manage.reap` finds what belongs to a lab whose records are
gone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.errors import LabError
from drystone.lab import programs

_ALIAS = "drystone-lab "


@dataclass(frozen=True, kw_only=True)
class Link:
    """A network interface of the host that a lab made."""

    name: str
    owner: str
    """The root of the lab."""


def exists(name: str) -> bool:
    """True when the host has an interface of that name."""
    return Path("/sys/class/net", name).exists()


def add_bridge(name: str, *, mac: str, owner: Path) -> None:
    """Add a bridge and switch it on; one that is there is kept."""
    if not exists(name):
        _batch(
            f"link add {name} address {mac} type bridge forward_delay 0 stp_state 0",
            f'link set {name} alias "{_ALIAS}{owner}"',
        )
    _batch(f"link set {name} up")


def add_cable(name: str, *, peer: str, peer_mac: str, pid: int, bridge: str, owner: Path) -> None:
    """Join the bridge with the network namespace of a process."""
    _batch(
        f"link add {name} type veth peer name {peer} address {peer_mac} netns {pid}",
        f'link set {name} alias "{_ALIAS}{owner}"',
        f"link set {name} master {bridge} up",
    )


def remove(name: str) -> None:
    """Remove an interface; one that is not there is no error."""
    if not exists(name):
        return
    try:
        programs.run([programs.need("ip"), "link", "delete", name])
    except LabError:
        if exists(name):
            raise


def set_address(name: str, address: str, prefix: int) -> None:
    """Give the host an address on the bridge; the same again changes nothing."""
    _batch(f"address replace {address}/{prefix} dev {name}")


def remove_address(name: str, address: str, prefix: int) -> None:
    """Take the address away; one that is not there is no error."""
    if has_address(name, address):
        _batch(f"address delete {address}/{prefix} dev {name}")


def has_address(name: str, address: str) -> bool:
    """True when the host has the address on that interface."""
    if not exists(name):
        return False
    return any(info["local"] == address for link in _query("-4", "address", "show", "dev", name) for info in link.get("addr_info", []))


def routes(*, without: str) -> dict[str, str]:
    """The host's IPv4 ranges and their interfaces, without the default route and those of one interface."""
    return {
        route["dst"]: route.get("dev", "?")
        for route in _query("-4", "route", "show")
        if route["dst"] != "default" and route.get("dev") != without
    }


def labelled() -> list[Link]:
    """All links that any lab made on this host."""
    found = []
    for link in _query("link", "show"):
        alias = link.get("ifalias", "")
        if alias.startswith(_ALIAS):
            found.append(Link(name=link["ifname"], owner=alias.removeprefix(_ALIAS)))
    return found


def _batch(*commands: str) -> None:
    programs.run([programs.need("ip"), "-batch", "-"], stdin="\n".join(commands) + "\n")


def _query(*words: str) -> list[dict[str, Any]]:
    text = programs.run([programs.need("ip"), "-json", *words])
    rows: list[dict[str, Any]] = json.loads(text or "[]")
    return [row for row in rows if row]
