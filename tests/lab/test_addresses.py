"""Names and numbers, without touching anything."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.errors import LabError
from drystone.lab import addresses

SUBNETS = st.builds(
    lambda base, prefix: IPv4Network((base, prefix), strict=False),
    st.integers(0x0A000000, 0x0AFFFFFF),
    st.integers(24, 30),
)


@pytest.mark.parametrize("text", ["web", "a", "db-2", "0", "x" * 63])
def test_a_host_name_can_name_a_vm(text: str) -> None:
    addresses.check_name("VM", text)


@pytest.mark.parametrize("text", ["", "Web", "-a", "a-", "a.b", "a/b", "..", "a b", "x" * 64, "a\n"])
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="cannot name a VM"):
        addresses.check_name("VM", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.77.1.0", "did you mean"),
        ("10.77.1.5/24", 'did you mean "10.77.1.0/24"'),
        ("10.77.1.0/31", "/8 to /30"),
        ("0.0.0.0/0", "/8 to /30"),
        ("fd00::/64", "10.77.1.0/24"),
        ("wide", "10.77.1.0/24"),
    ],
)
def test_a_range_that_cannot_be_used_is_refused_with_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(LabError) as caught:
        addresses.parse_cidr(text)
    assert said in caught.value.hint


@given(SUBNETS, st.data())
def test_the_next_address_is_the_lowest_that_is_free(subnet: IPv4Network, data: st.DataObject) -> None:
    usable = [str(host) for host in subnet.hosts()][1:]
    taken = data.draw(st.sets(st.sampled_from(usable))) if usable else set()
    free = [address for address in usable if address not in taken]
    if free:
        assert addresses.next_address(subnet, taken) == free[0]
    else:
        with pytest.raises(LabError, match="is full"):
            addresses.next_address(subnet, taken)


@pytest.mark.parametrize("text", ["10.77.1.0", "10.77.1.1", "10.77.1.255", "10.77.2.5", "web"])
def test_the_hosts_own_and_foreign_addresses_are_refused(text: str) -> None:
    with pytest.raises(LabError):
        addresses.check_address(IPv4Network("10.77.1.0/24"), text)


def test_every_loopback_address_comes_once_and_none_is_a_network_or_broadcast() -> None:
    all_of_them = list(addresses.loopback_candidates("a lab"))
    assert len(set(all_of_them)) == len(all_of_them) == 256 * 254
    assert all(IPv4Address(address) in addresses.LOOPBACK_RANGE for address in islice(all_of_them, 1000))


def test_two_labs_begin_at_different_loopback_addresses() -> None:
    assert next(addresses.loopback_candidates("a")) != next(addresses.loopback_candidates("b"))


def test_interface_names_fit_the_kernel_and_differ_by_lab() -> None:
    names = {addresses.veth_name(Path(root), "net", vm) for root in ("/a", "/b") for vm in ("x", "y")}
    assert len(names) == 4
    assert all(len(name) <= 15 for name in names)


def test_the_same_names_give_the_same_mac() -> None:
    first, second = (addresses.mac_address(Path("/a"), "net", "x") for _ in range(2))
    assert first == second
    assert first.startswith("02:")
