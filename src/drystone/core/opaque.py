"""Values that cannot be read: secrets, which stay handles until the moment of use, and what is not known yet.

Both stand in JSON data in the place of the value. `values` lets them pass through expressions without ever faking a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

MASK = "***"
_MARK = "$secret"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that must not be read: the name of a secret of the project, or sealed text that only the project's key opens.

    With neither it is what an expression made of a secret. Printed, formatted or dumped it is `***`.
    """

    reference: str = ""
    sealed: str = ""

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """For the journal: `{"$secret": {"reference": NAME}}` or `{"$secret": {"sealed": TEXT}}`."""
        parts = {"reference": self.reference, "sealed": self.sealed}
        return {_MARK: {name: value for name, value in parts.items() if value}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Secret | None:
        """The reverse of `to_json`, or None when `data` is no secret."""
        if len(data) != 1 or not isinstance(parts := data.get(_MARK), Mapping) or not parts.keys() <= {"reference", "sealed"}:
            return None
        return Secret(**parts)


class Unknown:
    """What nobody knows before the run: there is one, `UNKNOWN`. It is neither true nor false, and equals only itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(not known yet)"

    def __bool__(self) -> NoReturn:
        raise TypeError("it is not known yet")

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: object) -> Unknown:
        return self

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class SecretNames(Mapping[str, Secret]):
    """`secrets` in expressions before the moment of use: any name gives its handle. Nobody can list them."""

    def __getitem__(self, name: str) -> Secret:
        return Secret(reference=name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def is_opaque(value: Any) -> bool:
    """True for a secret and for what is not known."""
    return isinstance(value, Secret | Unknown)


def find(value: Any, kind: type[Secret] | type[Unknown]) -> bool:
    """True when there is one in this JSON value."""
    if isinstance(value, Mapping):
        children: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        children = value
    else:
        return isinstance(value, kind)
    # Most children are scalars, and every output of every task is looked through: a call for each would take most of the time.
    return any(type(child) not in _SCALARS and find(child, kind) for child in children)


_SCALARS = frozenset({str, int, float, bool, type(None)})
