"""Inventory and variables as text for Ansible. Pure; `task` puts the text into files of the attempt's scratch folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from drystone.plugin.hosts import Host, ansible_vars, known_hosts_lines

PYTHONS = ["/usr/bin/python3", "/usr/libexec/platform-python", "python3", "/usr/local/bin/python3"]
"""Where Python is looked for, the system's own first: a newer one on somebody's PATH lacks the system's modules."""
_MARKS = ("{{", "{%", "{#")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def to_yaml(value: Any) -> str:
    """JSON-like data as YAML that Ansible takes literally.

    Values come from outputs and inputs. Text with Jinja2's marks in it is tagged `!unsafe`: what a server answered must
    not be run as a template on the controller. The flow style is JSON's, so that no value can change the structure.
    """
    match value:
        case str():
            return ("!unsafe " if any(mark in value for mark in _MARKS) else "") + _quoted(value)
        case Mapping():
            return "{" + ", ".join(f"{_quoted(str(key))}: {to_yaml(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(to_yaml(item) for item in value) + "]"
        case float():
            # To Ansible's reader 1e+16 is text, and only 1.0e+16 a number.
            mantissa, exponent, power = json.dumps(value).partition("e")
            return f"{mantissa}.0{exponent}{power}" if exponent and "." not in mantissa else mantissa + exponent + power
        case _:
            return json.dumps(value)


def _quoted(text: str) -> str:
    # YAML knows no surrogate pairs, so characters stay as they are; what YAML may not hold gets the longest of its escapes.
    return _UNPRINTABLE.sub(lambda found: f"\\U{ord(found[0]):08x}", json.dumps(text, ensure_ascii=False))


def inventory(hosts: Sequence[Host], known_hosts: str, key_files: Mapping[str, str]) -> dict[str, Any]:
    """Hosts and their groups in the form of Ansible's YAML inventories.

    known_hosts: path of the file that pins the hosts which bring their keys.
    key_files:   absolute path of each host's private key, by host.
    """
    groups: dict[str, Any] = {}
    for host in hosts:
        for group in host.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    return {
        "all": {
            "hosts": {host.name: ansible_vars(host, known_hosts, key_files.get(host.name)) for host in hosts},
            "children": groups,
            "vars": {"ansible_interpreter_python_fallback": PYTHONS},
        }
    }


def known_hosts(hosts: Sequence[Host]) -> str:
    """The file that pins the hosts which bring their keys."""
    return "".join(f"{line}\n" for host in hosts for line in known_hosts_lines(host))
