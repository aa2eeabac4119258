import pytest
from pydantic import ValidationError

from drystone.plugin.api import Config
from drystone.plugin.hosts import Host, Hosts, fingerprint, known_hosts_lines, parse_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


class Sample(Config):
    hosts: Hosts = ()


def names(value):
    return [(host.name, host.groups) for host in parse_hosts(value)]


def test_each_form_gives_the_same_hosts():
    assert names("web1") == names(["web1"]) == names({"name": "web1"}) == [("web1", ())]


def test_groups_gather_on_the_host():
    value = {"app": ["web1", {"name": "web2"}], "db": {"name": "db1"}, "all_web": ["web1"], "empty": []}
    assert names(value) == [("web1", ("app", "all_web")), ("web2", ("app",)), ("db1", ("db",))]


def test_a_host_may_name_its_groups_itself():
    assert names([{"name": "web1", "groups": ["app"]}, {"name": "db1", "groups": "db"}]) == [("web1", ("app",)), ("db1", ("db",))]


def test_an_address_alone_is_a_name_too():
    (host,) = parse_hosts({"address": "10.0.0.7"})
    assert (host.name, host.target) == ("10.0.0.7", "10.0.0.7")


def test_empty_fields_of_outputs_are_no_fields():
    (host,) = parse_hosts({"name": "web1", "port": None, "host_key": None, "user": None})
    assert host == Host(name="web1")


def test_a_host_key_loses_its_comment_and_line_end():
    (host,) = parse_hosts({"name": "web1", "port": 2222, "host_key": f"{KEY} root@web1\n"})
    assert host.host_key == (KEY,)
    assert known_hosts_lines(host) == [f"[web1]:2222 {KEY}"]


def test_known_hosts_has_no_brackets_at_the_usual_port():
    assert known_hosts_lines(Host(name="web1", address="::1", host_key=KEY)) == [f"::1 {KEY}"]


def test_a_fingerprint_is_the_one_that_openssh_shows():
    assert fingerprint(KEY.split()[1]) == "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "not int"),
        ([7], "not int"),
        ([["web1"]], "not list"),
        ({"app": 7}, "not int"),
        ({"app": {"port": 22}}, 'group "app" needs a "name"'),
        ([{"port": 22}], 'needs a "name"'),
        ({"all": ["web1"]}, '"all" is no name for a group'),
        ({"my group": ["web1"]}, '"my group" is no name for a group'),
        ("-oProxyCommand=x", "neither a host name"),
        ("web[1:9]", "neither a host name"),
        ("a b", "neither a host name"),
        ({"name": "web1", "user": "-x"}, 'host "web1": user: "-x" is no user name'),
        ({"name": "web1", "prot": 22}, 'unknown key "prot"'),
        ({"name": "web1", "port": 99999}, 'host "web1": port'),
        ({"name": "web1", "host_key": "AAAA"}, "is no host key"),
        ({"name": "web1", "host_key": "ssh-rsa " + KEY.split()[1]}, "is no host key"),
        ([{"name": "web1"}, {"name": "web1", "port": 2}], 'two different hosts are named "web1"'),
    ],
)
def test_what_is_no_host_is_refused_with_its_name(value, said):
    with pytest.raises(ValueError) as caught:
        parse_hosts(value)
    assert said in str(caught.value)


def test_a_config_takes_hosts_and_tells_its_schema():
    assert Sample(hosts=["web1"]).hosts == (Host(name="web1"),)
    assert "host_key" in str(Sample.model_json_schema())
    with pytest.raises(ValidationError, match="not int"):
        Sample(hosts=7)
