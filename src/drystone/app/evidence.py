"""Evidence that runs collected: where it is, whose key signed it, and whether it is still as it was collected.

Looks at files only, never at the store: evidence is checked where it was copied to, by people who have nothing else.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drystone.app import reading
from drystone.app.world import World
from drystone.core import evidence
from drystone.core.evidence import Artefact, Verdict
from drystone.errors import NotFoundError, ProjectError, RefusedError
from drystone.plugin.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One folder of evidence, and what was found. `is_vouched`: the key was known from elsewhere than the evidence itself."""

    folder: Path
    verdict: Verdict
    is_vouched: bool


def folders(world: World, word: str | None = None) -> Sequence[Path]:
    """Where evidence is, the oldest first: below a folder, of a run, or of all runs of the project. Raises NotFoundError."""
    if word is None:
        return _below(world.home / "runs")
    given = world.cwd / word
    found = _below(given if given.is_dir() else world.home / "runs" / reading.look(world, word).record.id)
    if not found:
        hint = f"name a run, or a folder with a {evidence.MANIFEST} in it or below it"
        raise NotFoundError(f'there is no evidence in "{word}"', hint=hint)
    return found


def _below(folder: Path) -> Sequence[Path]:
    # A manifest that was taken away must not hide the rest.
    names = (evidence.MANIFEST, evidence.SIGNATURE, evidence.ARTEFACTS)
    return sorted({path.parent for name in names for path in folder.rglob(name)})


def verify(world: World, word: str | None, *, key_file: Path | None) -> Sequence[Looked]:
    """Looks at evidence.

    key_file: a public key to trust, in PEM; unless given it is this project's, when it has one, else what each manifest says.
    Raises NotFoundError, RefusedError for a file that is no such key, ProjectError for evidence that cannot be read.
    """
    trusted = _read_key(key_file) if key_file is not None else _own_key(world)
    return [Looked(folder=folder, verdict=_look(folder, trusted), is_vouched=trusted is not None) for folder in folders(world, word)]


def public_key(world: World) -> bytes:
    """Of this project; made when there is none yet. Raises ProjectError."""
    return world.vault().public_key()


def pem(public_key: bytes) -> str:
    """A public key as openssl reads it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _own_key(world: World) -> bytes | None:
    # To look must not make a key that then vouches for nothing.
    return public_key(world) if (world.home / "keys" / "evidence").exists() else None


def _read_key(path: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(f'"{path}" is no public key in PEM: {error}', hint="drystone evidence key prints one") from error
    if not isinstance(key, Ed25519PublicKey):
        raise RefusedError(f'"{path}" is no Ed25519 key', hint="drystone evidence key prints one")
    return key.public_bytes_raw()


def _look(folder: Path, trusted: bytes | None) -> Verdict:
    try:
        manifest = _bytes(folder / evidence.MANIFEST) or b""
        signature = _bytes(folder / evidence.SIGNATURE)
        return evidence.check(manifest, signature, _artefacts(folder), trusted=trusted, is_signature=_is_signature)
    except OSError as error:
        raise ProjectError(f'evidence in "{folder}" cannot be read: {error}', hint="it belongs to the user who collected it") from error


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _artefacts(folder: Path) -> Mapping[str, Artefact]:
    """All that is below the folder, but manifest and signature."""
    found = {}
    for path in folder.rglob("*"):
        mode, relative = path.lstat(), str(path.relative_to(folder))
        if relative in (evidence.ARTEFACTS, evidence.MANIFEST, evidence.SIGNATURE):
            continue
        digest = sha256_of(path) if stat.S_ISREG(mode.st_mode) else ""
        found[relative] = Artefact(size=mode.st_size, sha256=digest)
    return found


def _is_signature(public_key: bytes, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
