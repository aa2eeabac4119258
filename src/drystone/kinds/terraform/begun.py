"""What an apply has begun to make. Of one that was killed, it may exist without being in the state.

Terraform writes a resource into its state when it is made, and into a remote state a while later: killed before that, it leaves what no
refresh finds. So the addresses are noted while an apply runs; the note goes when Terraform has come to its own end, with its state
written, and stays when Terraform or drystone is killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drystone.plugin.files import write_atomic


class Begun:
    """The note of one instance, for one apply after another. No fsync: it is for killed processes, which lose nothing that was written."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "begun.jsonl"
        self._own: set[str] = set()

    def add(self, address: str) -> None:
        """Terraform begins to make this resource."""
        self._own.add(address)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(address) + "\n")

    @property
    def is_open(self) -> bool:
        """Whether some apply was killed, and nobody has looked since."""
        return self._file.exists()

    def settle(self) -> None:
        """This apply came to its own end: all that it made is in the state. What an earlier one left open stays so."""
        if self._own:
            self._keep([address for address in self._noted() if address not in self._own])
            self._own.clear()

    def clear(self) -> None:
        """Everything is as the state has it."""
        self._file.unlink(missing_ok=True)

    def missing_in(self, state: Mapping[str, Any] | None) -> list[str]:
        """Addresses that were begun and that a state does not have; the others are certain from now on."""
        if not (noted := self._noted()):
            return []
        known = set(addresses(state))
        missing = [address for address in noted if address not in known]
        self._keep(missing)
        return missing

    def _keep(self, noted: Sequence[str]) -> None:
        if noted:
            write_atomic(self._file, "".join(json.dumps(address) + "\n" for address in noted).encode(), 0o600)
        else:
            self.clear()

    def _noted(self) -> list[str]:
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        # The last line may be torn.
        return list(dict.fromkeys(map(json.loads, text.rpartition("\n")[0].splitlines())))


def addresses(state: Mapping[str, Any] | None) -> Iterator[str]:
    """Of all resources in a state that Terraform manages, as its messages write them: `module.a["x"].lab_vm.b[0]`."""
    for item in (state or {}).get("resources", ()):
        if item.get("mode") != "managed":
            continue
        base = ".".join(part for part in (item.get("module"), item["type"], item["name"]) if part)
        for instance in item.get("instances", ()):
            key = instance.get("index_key")
            yield base if key is None else f"{base}[{json.dumps(key, ensure_ascii=False)}]"
