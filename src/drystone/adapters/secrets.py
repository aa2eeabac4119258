"""Secrets of a project: asked of its sources at the moment of use, and sealed where they must survive a crash. `ports.Secrets`.

Sources are asked in the order of drystone.toml. Nothing of what they answer is kept on disk, and in memory only what a file held
when it was last read. Sealed values are Fernet tokens under the key in .drystone/key, which is made on first use; so is
the key in .drystone/keys/evidence that signs.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drystone.adapters import files
from drystone.errors import NotFoundError, ProjectError
from drystone.settings import VAULT_PASSWORD, SecretSettings, SecretSource

KEY_FILE = "key"
SIGNING_KEY_FILE = "keys/evidence"
"""The Ed25519 key of the project, sealed with the other one."""
VAULT_HEADER = "$ANSIBLE_VAULT;"

_log = logging.getLogger(__name__)


class ProjectSecrets:
    """The sources and the key of one project.

    home: the .drystone folder.     root: what relative paths of the settings are relative to.
    """

    def __init__(self, settings: SecretSettings, *, home: Path, root: Path, environ: Mapping[str, str]) -> None:
        self._sources = settings.sources
        self._home = home
        self._root = root
        self._environ = environ
        self._guard = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, int, int], Mapping[str, str]]] = {}
        self._fernet: Any = None

    # ---- sources ------------------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> str:
        """The value of `secrets.NAME`. Raises NotFoundError, which names the sources, and ProjectError when one cannot be read."""
        for source in self._sources:
            value = self._ask(source, name)
            if value is not None:
                return value
        asked = ", ".join(self._described(source, name) for source in self._sources)
        raise NotFoundError(
            f'there is no secret "{name}"',
            hint=f"looked for: {asked}" if asked else "set secrets.sources in drystone.toml",
        )

    def _ask(self, source: SecretSource, name: str) -> str | None:
        if source.type == "environment":
            return self._environ.get(_variable(source, name))
        return self._file(source).get(name)

    def _described(self, source: SecretSource, name: str) -> str:
        if source.type == "environment":
            return f"environment variable {_variable(source, name)}"
        return f'key "{name}" in {source.path}'

    def _file(self, source: SecretSource) -> Mapping[str, str]:
        path = self._root / source.path
        with self._guard:
            try:
                stat = path.stat()
                stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                known = self._read.get(path)
                if known is None or known[0] != stamp:
                    if source.type == "file" and stat.st_mode & 0o077:
                        _log.warning('secrets in "%s" can be read by others: chmod 600 "%s"', path, path)
                    known = self._read[path] = (stamp, self._parsed(source, path, path.read_text("utf-8")))
            except FileNotFoundError:
                return {}
            except (OSError, UnicodeDecodeError) as error:
                raise ProjectError(
                    f'secrets cannot be read from "{path}"', hint="make it a text file that this user may read"
                ) from error
        return known[1]

    def _parsed(self, source: SecretSource, path: Path, text: str) -> Mapping[str, str]:
        """Name -> value. What cannot be parsed is never quoted in the error: it holds secrets."""
        unlock: Callable[[str], str] = _refused
        if source.type == "vault":
            unlock = _vault(path, self._vault_password(source))
            if text.startswith(VAULT_HEADER):
                text = unlock(text)
        try:
            data = _dotenv(text) if source.type == "file" and path.suffix not in _DATA else _data(text, unlock)
        except ProjectError:
            raise
        except Exception as error:
            place = getattr(getattr(error, "problem_mark", None), "line", None)
            where = "" if place is None else f", line {place + 1}"
            raise ProjectError(
                f'secrets in "{path}" cannot be understood{where}', hint="it must be YAML, JSON or NAME=VALUE lines"
            ) from None
        if not isinstance(data, Mapping):
            raise ProjectError(f'secrets in "{path}" are not a map of names to values', hint="write one NAME: VALUE on each line")
        return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in data.items()}

    def _vault_password(self, source: SecretSource) -> bytes:
        if not source.password_file:
            password = self._environ.get(VAULT_PASSWORD, "")
            if not password:
                raise ProjectError(
                    f'no password for the vault "{source.path}"',
                    hint=f"set password_file for it in drystone.toml, or {VAULT_PASSWORD} in the environment",
                )
            return password.encode()
        path = self._root / source.password_file
        try:
            password = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProjectError(
                f'the vault\'s password cannot be read from "{path}"', hint="correct password_file in drystone.toml"
            ) from error
        if password.startswith("#!"):
            raise ProjectError(
                f'"{path}" is a program; drystone reads the vault\'s password from a plain file',
                hint=f"run it, and give its output in {VAULT_PASSWORD}",
            )
        return password.encode()

    # ---- sealing ------------------------------------------------------------------------------------------------------

    def seal(self, value: Any) -> str:
        """JSON value -> text that only this project's key opens; twice the same value is two texts."""
        return str(self._key(create=True).encrypt(json.dumps(value).encode()).decode("ascii"))

    def unseal(self, sealed: str) -> Any:
        """The reverse of `seal`. Raises ProjectError when the key is another one, or gone."""
        from cryptography.fernet import InvalidToken

        try:
            return json.loads(self._key(create=False).decrypt(sealed.encode()))
        except InvalidToken:
            raise ProjectError(
                f'a stored secret cannot be opened: it was sealed with another key than "{self._home / KEY_FILE}"',
                hint="put the key back that this project's store was written with",
            ) from None

    # ---- signing ------------------------------------------------------------------------------------------------------

    def sign(self, data: bytes) -> bytes:
        """This project's Ed25519 signature of the data, 64 bytes. Raises ProjectError when its key cannot be used."""
        return bytes(self._signing_key().sign(data))

    def public_key(self) -> bytes:
        """What checks `sign`, 32 bytes; the pair is made on first use. Raises ProjectError."""
        return bytes(self._signing_key().public_key().public_bytes_raw())

    def _signing_key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self._home / SIGNING_KEY_FILE
        try:
            if path.exists():
                sealed = _key_text(path)
            else:
                files.private_folder(path.parent)
                fresh = Ed25519PrivateKey.generate().private_bytes_raw()
                sealed = files.create_once(path, self.seal(fresh.hex()).encode())
        except OSError as error:
            raise ProjectError(
                f'the signing key "{path}" cannot be used: {(error.strerror or "").lower()}',
                hint="put it back: signatures of another key are not this project's",
            ) from error
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.unseal(sealed.decode())))

    def _key(self, *, create: bool) -> Any:
        from cryptography.fernet import Fernet

        with self._guard:
            if self._fernet is None:
                path = self._home / KEY_FILE
                try:
                    if create and not path.exists():
                        files.private_folder(self._home)
                        files.create_once(path, Fernet.generate_key())
                    self._fernet = Fernet(_key_text(path))
                except ValueError:
                    raise ProjectError(f'"{path}" is not a key', hint="put the key back that this project was used with") from None
                except OSError as error:
                    raise ProjectError(
                        f'the key "{path}" cannot be read: {(error.strerror or "").lower()}',
                        hint="secrets of earlier runs cannot be opened without it: put it back",
                    ) from error
            return self._fernet


def _key_text(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise ProjectError(f'the key "{path}" can be read by others', hint=f'chmod 600 "{path}"')
    return path.read_bytes().strip()


def _variable(source: SecretSource, name: str) -> str:
    return f"{source.prefix}{name.upper()}"


# ---- forms of files -------------------------------------------------------------------------------------------------------

_DATA = (".yaml", ".yml", ".json")


def _dotenv(text: str) -> Mapping[str, str]:
    """NAME=VALUE on each line, `export` before it and quotes around the value allowed. Raises ValueError."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not name.strip() or name.startswith("#"):
            continue
        if not equals:
            raise ValueError
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        found[name.strip()] = value[1:-1] if quoted else value
    return found


def _data(text: str, unlock: Callable[[str], str]) -> Any:
    """YAML (and so JSON) with every scalar as it is written: a password may look like a number, or like yes.

    `!vault` values are opened with `unlock`.
    """
    import yaml

    loader: Any = type("Loader", (yaml.BaseLoader,), {})
    loader.add_constructor("!vault", lambda _, node: unlock(node.value))
    return yaml.load(text, loader)


def _refused(_: str) -> str:
    raise ProjectError("a secrets file has a !vault value, but is not of type vault", hint='set type = "vault" for it in drystone.toml')


def _vault(path: Path, password: bytes) -> Callable[[str], str]:
    """What opens vault text, by Ansible's own code; loaded only now, as it takes half a second."""
    from ansible.errors import AnsibleError
    from ansible.parsing.vault import VaultLib, VaultSecret

    library = VaultLib([("default", VaultSecret(password))])

    def unlock(text: str) -> str:
        try:
            return bytes(library.decrypt(text.strip().encode())).decode()
        except AnsibleError:
            raise ProjectError(
                f'the vault "{path}" cannot be opened with the password given', hint="is it the password of this vault?"
            ) from None

    return unlock
