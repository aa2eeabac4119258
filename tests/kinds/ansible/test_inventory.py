"""Inventories and variables as text."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from drystone.kinds.ansible.inventory import inventory, known_hosts, to_yaml
from drystone.plugin.hosts import parse_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=8,
)


class Loader(yaml.SafeLoader):
    """As Ansible's: what is unsafe is text."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@given(DATA)
def test_any_data_comes_back_as_it_was(data):
    assert yaml.load(to_yaml(data), Loader) == data


@pytest.mark.parametrize("number", [1e16, 1.5e300, 1e-7, -2e-9, 0.1, 3.0])
def test_a_number_with_an_exponent_stays_a_number(number):
    assert yaml.load(to_yaml(number), Loader) == number


@pytest.mark.parametrize("mark", ["{{", "{%", "{#"])
def test_text_with_template_marks_is_tagged(mark):
    assert to_yaml({"a": [f"x {mark} y"]}) == '{"a": [!unsafe "x ' + mark + ' y"]}'


def test_hosts_stand_in_their_groups_with_what_is_needed_to_reach_them():
    hosts = parse_hosts({"app": [{"name": "web1", "address": "10.0.0.7", "port": 2222, "user": "ops", "key_file": "k"}]})
    made = inventory(hosts, "/s/known_hosts", {"web1": "/p/k"})["all"]
    assert made["children"] == {"app": {"hosts": {"web1": {}}}}
    assert made["hosts"]["web1"] == {
        "ansible_host": "10.0.0.7",
        "ansible_port": 2222,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": "/p/k",
    }


def test_a_host_key_pins_every_way_to_the_host():
    hosts = parse_hosts([{"name": "web1", "address": "10.0.0.7", "host_key": KEY}])
    made = inventory(hosts, "/s/known_hosts", {})["all"]["hosts"]["web1"]
    for program in ("ssh", "sftp", "scp"):
        assert "StrictHostKeyChecking=yes -o UserKnownHostsFile=/s/known_hosts" in made[f"ansible_{program}_extra_args"]
    assert known_hosts(hosts) == f"10.0.0.7 {KEY}\n"


def test_variables_of_a_host_win_over_ours():
    hosts = parse_hosts([{"name": "web1", "port": 22, "vars": {"ansible_port": 23, "colour": "blue"}}])
    made = inventory(hosts, "/s/known_hosts", {})["all"]["hosts"]["web1"]
    assert (made["ansible_port"], made["colour"]) == (23, "blue")
