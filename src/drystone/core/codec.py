"""Events and values as JSON text, and back.

The journal keeps `dumps(event)` and `pack(value)`, in which a `Secret` is its sealed self; people and other programs get
`event_to_json(event)`, in which it is `***` (DESIGN §6). Text of older versions is upgraded here and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from drystone.core.events import Event, EventType
from drystone.core.opaque import MASK, Secret, find
from drystone.errors import StoreError

VERSION = 1
"""Of the text that `dumps` writes. A change of shape raises it and adds a row to `UPGRADES`."""

UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version -> what makes the next version's JSON of it."""

_TYPES = {kind.value: kind for kind in EventType}
_MARK = '$secret"'
_MARKED_KEY = re.compile(r"\$+secret")
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=lambda value: _to_json(value))


def dumps(event: Event) -> str:
    """An event -> one line of ASCII for the journal, complete."""
    return pack({"v": VERSION, **_shape(event, event.data)})


def loads(text: str) -> Event:
    """The reverse of `dumps`, also for what older versions wrote. Raises StoreError when a newer one wrote it."""
    shape = unpack(text)
    version = shape.get("v")
    while version != VERSION:
        if version not in UPGRADES:
            raise _newer(f"version {version} of an event")
        shape = UPGRADES[version](shape)
        version = shape["v"]
    kind = _TYPES.get(shape["type"])
    if kind is None:
        raise _newer(f'an event "{shape["type"]}"')
    return Event(
        type=kind,
        at=datetime.fromisoformat(shape["at"]),
        run=shape["run"],
        seq=shape["seq"],
        task=shape["task"],
        attempt=shape["attempt"],
        data=shape["data"],
    )


def event_to_json(event: Event) -> dict[str, Any]:
    """The shape of one line of `drystone events`: seq, at, run, type, task, attempt, data; secrets are `***`."""
    return _shape(event, masked(event.data))


def _shape(event: Event, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": to_text(event.at),
        "run": event.run,
        "type": event.type.value,
        "task": event.task,
        "attempt": event.attempt,
        "data": data,
    }


def masked(value: Any) -> Any:
    """JSON data with `***` in the place of each secret; the very same object when it holds none."""
    return _without_secrets(value) if find(value, Secret) else value


def _without_secrets(value: Any) -> Any:
    match value:
        case Secret():
            return MASK
        case Mapping():
            return {key: _without_secrets(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_secrets(item) for item in value]
        case _:
            return value


def pack(value: Any) -> str:
    """JSON data, which may hold secrets -> one line of ASCII.

    A map that only looks like a stored secret stays a map: an answer from outside must not name a secret of the project and get
    its value put in its place.
    """
    text = _ENCODER.encode(value)
    return _ENCODER.encode(_escaped(value)) if _MARK in text else text


def unpack(text: str) -> Any:
    """The reverse of `pack`."""
    return json.loads(text, object_hook=_from_object) if _MARK in text else json.loads(text)


def _escaped(value: Any) -> Any:
    match value:
        case Mapping():
            return {_escaped_key(key): _escaped(item) for key, item in value.items()}
        case list() | tuple():
            return [_escaped(item) for item in value]
        case _:
            return value


def _escaped_key(key: Any) -> Any:
    return f"${key}" if isinstance(key, str) and _MARKED_KEY.fullmatch(key) else key


def _from_object(data: dict[str, Any]) -> Any:
    secret = Secret.from_json(data)
    return {key.removeprefix("$") if _MARKED_KEY.fullmatch(key) else key: item for key, item in data.items()} if secret is None else secret


def _to_json(value: Any) -> Any:
    match value:
        case Secret():
            return value.to_json()
        case Mapping():
            return dict(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON data")


# All events of one turn of an engine, and their rows, have the same instant.
@lru_cache(maxsize=64)
def to_text(instant: datetime) -> str:
    """An aware datetime -> ISO 8601 in UTC with microseconds and Z, always as long: text sorts as time does."""
    return f"{instant.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"


def from_text(text: str) -> datetime:
    """The reverse of `to_text`."""
    return datetime.fromisoformat(text)


def _newer(what: str) -> StoreError:
    return StoreError(f"the store holds {what}, which this drystone does not know", hint="use the newer drystone that wrote it")
