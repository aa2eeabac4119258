"""The filters that expressions have besides Jinja2's own: hosts for the kinds that reach them, and what Ansible's users expect.

All are pure: the same arguments give the same answer on every machine and in every replay. A secret, or what is not known yet,
comes out of each of them as it went in. `values` gives them to its sandbox.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from drystone.core.opaque import Secret, Unknown, is_opaque

HOST_KEYS = ("name", "address", "port", "user", "key_file", "host_key", "groups", "vars")
"""What a host may say of itself: DESIGN §3, the ansible kind. Other keys of an output map are left out."""


class FilterError(Exception):
    """A filter was given something that it cannot use."""


def hosts(value: Any, group: str | None = None) -> Any:
    """A host's map, a name, or any nesting of lists and maps of those -> a list of host maps, each with `name` and `address`.

    group: added to each host's `groups`.
    Raises FilterError for a map that has no address.
    """
    return [_in_group(host, group) for host in _hosts(value, None)]


def _hosts(value: Any, key: str | None) -> Iterable[Any]:
    if is_opaque(value):
        yield value
    elif isinstance(value, str):
        yield {"name": value, "address": value}
    elif isinstance(value, Mapping):
        yield from _mapped_hosts(value, key)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _hosts(item, None)
    else:
        raise FilterError(f"hosts takes names, maps with an address, or lists and maps of those, not {json.dumps(value)}")


def _mapped_hosts(value: Mapping[str, Any], key: str | None) -> Iterable[Any]:
    # A map whose "name" is itself a map is one of hosts, of which one is called so.
    if any(isinstance(value.get(part, value), str) or is_opaque(value.get(part)) for part in ("address", "name")):
        host = {name: value[name] for name in HOST_KEYS if value.get(name) is not None}
        if "address" not in host and "name" not in host:
            raise FilterError("a host has neither an address nor a name")
        host.setdefault("address", host.get("name"))
        host["name"] = host.get("name") or key or host["address"]
        yield host
        return
    for name, item in value.items():
        if not (is_opaque(item) or isinstance(item, Mapping | list | tuple)):
            raise FilterError(f'a host needs an "address"; there is {", ".join(sorted(value)) or "nothing"}')
        yield from _hosts(item, name)


def _in_group(host: Any, group: str | None) -> Any:
    if group is None or is_opaque(host):
        return host
    return {**host, "groups": [*(g for g in host.get("groups", ()) if g != group), group]}


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text, keys sorted."""
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, default=for_json)


def for_json(value: Any) -> Any:
    """What `json.dumps` should write for what it does not know: the mask of a secret. Raises TypeError for what is not known yet."""
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, range):
        return list(value)
    if isinstance(value, Unknown):
        raise TypeError("it is not known yet")
    raise FilterError(f"{type(value).__name__} is not JSON")


def from_json(text: Any) -> Any:
    """JSON text -> data. Raises FilterError when it is not JSON."""
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise FilterError("from_json was given something that is not JSON text") from error


def b64encode(value: Any) -> str:
    """Base64 of the text's UTF-8 bytes."""
    return base64.b64encode(str(value).encode()).decode()


def b64decode(value: Any) -> str:
    """The reverse of `b64encode`. Raises FilterError when it is not Base64, or not text in it."""
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except ValueError as error:
        raise FilterError("b64decode was given something that is not Base64 of text") from error


def regex_replace(value: Any, pattern: str, replacement: str = "") -> str:
    """All matches of a regular expression replaced; `\\1` is the first group."""
    try:
        return re.sub(pattern, replacement, str(value))
    except (re.error, IndexError) as error:
        raise FilterError(f"regex_replace: {error}") from error


def basename(path: Any) -> str:
    """The part behind the last slash."""
    return str(path).rpartition("/")[2]


def dirname(path: Any) -> str:
    """The part before the last slash."""
    head, slash, _ = str(path).rpartition("/")
    return head or slash


def combine(value: Any, *others: Any, recursive: bool = False) -> dict[str, Any]:
    """Maps merged into one; later ones win, and with `recursive` maps inside them are merged as well."""
    merged: dict[str, Any] = {}
    for other in (value, *others):
        if not isinstance(other, Mapping):
            raise FilterError("combine takes maps")
        for key, item in other.items():
            both = recursive and isinstance(item, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = combine(merged[key], item, recursive=True) if both else item
    return merged


def ternary(value: Any, if_true: Any, if_false: Any, if_none: Any = None) -> Any:
    """`if_true` or `if_false`; `if_none`, when given, for null."""
    if value is None and if_none is not None:
        return if_none
    return if_true if value else if_false


def quote(value: Any) -> str:
    """The text as one word of a POSIX shell."""
    return shlex.quote(str(value))


def _opaque_through(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def filtered(value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if is_opaque(value) else function(value, *args, **kwargs)

    return filtered


FILTERS: Mapping[str, Callable[..., Any]] = {
    function.__name__: _opaque_through(function)
    for function in (
        hosts, to_json, from_json, b64encode, b64decode, regex_replace, basename, dirname, combine, ternary, quote,
    )
}  # fmt: skip
