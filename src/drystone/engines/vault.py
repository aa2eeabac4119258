"""Secrets of a run while it is driven: handles become values at the moment of use, values become handles before they are stored.

Every value that passes is made known to the run's redactor (DESIGN §4.10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drystone.core import values
from drystone.core.values import Secret
from drystone.ports import Redactor, Secrets


class Vault:
    """Opens and seals; one for each run and engine."""

    def __init__(self, secrets: Secrets, redactor: Redactor) -> None:
        self._secrets = secrets
        self.redactor = redactor
        self._opened: dict[str, Any] = {}
        self._views: dict[int, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    def names(self) -> Mapping[str, str]:
        """`secrets` as an expression sees it that is about to be used: resolved on access."""
        return _Named(self)

    def resolve(self, name: str) -> str:
        """A named secret's value, from the project's sources, now."""
        value = self._secrets.resolve(name)
        self.redactor.add(value)
        return value

    def reveal(self, data: Any) -> Any:
        """JSON data with each handle replaced by its value; the same object when it holds none."""
        return values.reveal(data, self._open)

    def reveal_view(self, view: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `reveal`, remembered: what a large fan-out gave is looked through once, not once for each task that reads it."""
        known = self._views.get(id(view))
        if known is None or known[0] is not view:
            known = self._views[id(view)] = (view, self.reveal(view))
        return known[1]

    def _open(self, secret: Secret) -> Any:
        if secret.reference:
            return self.resolve(secret.reference)
        assert secret.sealed, "an expression made of a secret is never stored"
        if secret.sealed not in self._opened:
            value = self._secrets.unseal(secret.sealed)
            self.redactor.add(value)
            self._opened[secret.sealed] = value
        return self._opened[secret.sealed]

    def mask(self, text: str) -> str:
        """The text without the values that this vault has opened or sealed."""
        return self.redactor.text(text)

    def seal(self, value: Any) -> Secret:
        """A value -> a handle that may be stored."""
        if isinstance(value, Secret):
            return value
        self.redactor.add(value)
        return Secret(sealed=self._secrets.seal(value))

    def seal_outputs(self, outputs: Any, sensitive: frozenset[str]) -> Any:
        """Outputs as they may be stored: those named sensitive are sealed, and any text in which a known secret shows."""
        if isinstance(outputs, Mapping) and not self._shows_in_keys(outputs):
            for name in sensitive & outputs.keys():
                self.redactor.add(outputs[name])
            return {
                name: self.seal(item) if name in sensitive else self._seal_known(item) for name, item in outputs.items()
            }
        return self._seal_known(outputs)

    def _shows_in_keys(self, data: Mapping[Any, Any]) -> bool:
        return any(isinstance(key, str) and self.redactor.text(key) != key for key in data)

    def seal_config(self, config: Any) -> str:
        """A rendered config as it may be stored, with a note of which secrets are in it."""
        return self._secrets.seal({"config": config, "secrets": self.redactor.known_in(config)})

    def open_config(self, sealed: str) -> Any:
        """The reverse of `seal_config`; its secrets, which may have changed at their sources since, are made known."""
        opened = self._secrets.unseal(sealed)
        self.redactor.add(opened["secrets"])
        return opened["config"]

    def sign(self, data: bytes) -> bytes:
        """The project's Ed25519 signature."""
        return self._secrets.sign(data)

    def public_key(self) -> bytes:
        """What checks `sign`."""
        return self._secrets.public_key()

    def _seal_known(self, data: Any) -> Any:
        match data:
            case str():
                return data if self.redactor.text(data) == data else self.seal(data)
            case Mapping():
                if self._shows_in_keys(data):
                    return self.seal(data)
                return {key: self._seal_known(item) for key, item in data.items()}
            case list() | tuple():
                return [self._seal_known(item) for item in data]
            case _:
                return data


class _Named(Mapping[str, str]):
    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def __getitem__(self, name: str) -> str:
        return self._vault.resolve(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
