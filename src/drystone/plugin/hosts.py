"""Hosts as plans write them: the one model that the ansible and ssh kinds share.

    web1                                          a name, which is also its address
    [web1, {name: db1, address: 10.0.0.7}]        names and maps, mixed
    {app: [web1, web2], db: {name: db1}}          groups: each value is any of the above

Whatever the form, the kinds get a tuple of `Host`: every host once, with all its groups, in the order of first mention.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from drystone.plugin.api import Config
from drystone.plugin.fields import Text, Texts

SSH_PORT = 22
_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+$-]*", re.ASCII)
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Host(Config):
    """One host. Without `host_key` the user's own known_hosts decides whom to trust; without `key_file` the user's keys do."""

    name: Text = Field(description="what it is called in results, logs and inventories")
    address: Text = Field(default="", description="name or IP address to connect to; the name unless given")
    port: int | None = Field(default=None, ge=1, le=65535, description="of the SSH server; 22 unless given")
    user: Text | None = Field(default=None, description="to log in as")
    key_file: Text | None = Field(default=None, description="private key to log in with")
    host_key: Texts = Field(default=(), description='the only keys that are accepted, such as "ssh-ed25519 AAAA…"')
    groups: Texts = Field(default=(), description="groups of the inventory that it belongs to")
    vars: dict[str, Any] = Field(default_factory=dict, description="variables of this host")

    @field_validator("name", "address")
    @classmethod
    def _is_name(cls, value: str) -> str:
        # A name that starts with a hyphen would be an option to ssh; brackets would be a range to Ansible.
        if value and not _NAME.fullmatch(value):
            raise ValueError(f'"{value}" is neither a host name nor an IP address')
        return value

    @field_validator("user")
    @classmethod
    def _is_user(cls, value: str | None) -> str | None:
        if value is not None and not _USER.fullmatch(value):
            raise ValueError(f'"{value}" is no user name')
        return value

    @field_validator("groups")
    @classmethod
    def _are_groups(cls, value: Sequence[str]) -> Sequence[str]:
        for group in value:
            _check_group(group)
        return value

    @field_validator("host_key", mode="after")
    @classmethod
    def _are_keys(cls, value: Sequence[str]) -> Sequence[str]:
        return tuple(" ".join(parse_host_key(key)) for key in value if key.strip())

    @property
    def target(self) -> str:
        """What to connect to."""
        return self.address or self.name


def parse_host_key(text: str) -> tuple[str, str]:
    """`ssh-ed25519 AAAA… comment` -> (type, base64). Raises ValueError when it is no public key."""
    words = text.split()
    if len(words) >= 2:
        try:
            blob = base64.b64decode(words[1], validate=True)
        except binascii.Error:
            blob = b""
        # The key repeats its own type, after four bytes of length.
        if blob[4 : 4 + len(words[0])] == words[0].encode():
            return words[0], words[1]
    raise ValueError(f'"{text.strip()[:40]}" is no host key; write type and key as in a .pub file: "ssh-ed25519 AAAA…"')


def fingerprint(key: str) -> str:
    """`SHA256:…` of a key's base64 part, as OpenSSH shows it."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def known_hosts_lines(host: Host) -> list[str]:
    """What known_hosts has to hold so that only this host's own keys are accepted."""
    port = host.port or SSH_PORT
    name = host.target if port == SSH_PORT else f"[{host.target}]:{port}"
    return [f"{name} {key}" for key in host.host_key]


def ansible_vars(host: Host, known_hosts: str, key_file: str | None) -> dict[str, Any]:
    """What Ansible must know of a host.

    known_hosts: path of the file that pins the hosts which bring their keys.    key_file: path of its private key.
    """
    known: dict[str, Any] = {"ansible_host": host.target}
    if host.port is not None:
        known["ansible_port"] = host.port
    if host.user is not None:
        known["ansible_user"] = host.user
    if key_file is not None:
        known["ansible_ssh_private_key_file"] = key_file
    if host.host_key:
        # The three programs that Ansible may reach a host with. `ssh_common_args` is left to the user's own jump hosts.
        options = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts}"
        for program in ("ssh", "sftp", "scp"):
            known[f"ansible_{program}_extra_args"] = f"{options} -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no"
    return {**known, **host.vars}


def parse_hosts(value: Any) -> tuple[Host, ...]:
    """Any of the forms above -> hosts. Raises ValueError with the host or group in it."""
    hosts: dict[str, Host] = {}
    for host in _flat(value, ()):
        known = hosts.get(host.name)
        if known is None:
            hosts[host.name] = host
        elif known.model_copy(update={"groups": ()}) == host.model_copy(update={"groups": ()}):
            hosts[host.name] = known.model_copy(update={"groups": tuple(dict.fromkeys((*known.groups, *host.groups)))})
        else:
            raise ValueError(f'two different hosts are named "{host.name}"')
    return tuple(hosts.values())


def _flat(value: Any, groups: tuple[str, ...]) -> Iterator[Host]:
    match value:
        case Host() | str():
            yield _host(value, groups)
        case Mapping() if isinstance(value.get("name", value.get("address")), str):
            yield _host(value, groups)
        case Mapping() if groups:
            raise ValueError(f'a host of group "{groups[0]}" needs a "name"')
        case Mapping():
            for group, members in value.items():
                _check_group(group)
                yield from _flat([] if members is None else members, (group,))
        case Iterable():
            for item in value:
                if not isinstance(item, Host | str | Mapping):
                    raise ValueError(f"a host is a name or a map with a name, not {type(item).__name__}")
                yield _host(item, groups)
        case _:
            raise ValueError(f"hosts are a name, a list of hosts or a map of groups, not {type(value).__name__}")


def _host(item: Host | str | Mapping[str, Any], groups: tuple[str, ...]) -> Host:
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, Host):
        fields = {"name": item.get("address"), **item}
        if not isinstance(fields["name"], str):
            raise ValueError('a host needs a "name"')
        try:
            item = Host.model_validate({key: field for key, field in fields.items() if field is not None})
        except ValidationError as error:
            raise ValueError(f'host "{fields["name"]}": {_said(error)}') from error
    return item.model_copy(update={"groups": tuple(dict.fromkeys((*item.groups, *groups)))}) if groups else item


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        return f'unknown key "{first["loc"][0]}"; a host has {", ".join(Host.model_fields)}'
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


def _check_group(group: Any) -> None:
    if not isinstance(group, str) or not _GROUP.fullmatch(group) or group in ("all", "ungrouped"):
        raise ValueError(f'"{group}" is no name for a group; use letters, digits and "_", but not all or ungrouped')


_Some = str | Host | list[str | Host]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(parse_hosts, json_schema_input_type=_Some | dict[str, _Some])]
