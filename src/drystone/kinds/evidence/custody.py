"""The folder of one host's evidence while it is being written: artefacts with their digests, the manifest, the signature.

Every line of the manifest is on disk before the next thing is collected: a collection that is killed leaves all it had, and has
no end and no signature, so that nobody takes it for whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drystone.core import evidence
from drystone.plugin.files import sync_folder, write_atomic

_MODE = 0o600


@dataclass(kw_only=True)
class Totals:
    """What was collected so far."""

    artefacts: int = 0
    size: int = 0
    cut: int = 0
    failed: int = 0


class Custody:
    """Takes in what is collected, in order. `folder` must not exist: evidence is never written over."""

    def __init__(self, folder: Path) -> None:
        (folder / evidence.ARTEFACTS).mkdir(parents=True, mode=0o700)
        folder.chmod(0o700)
        self.folder = folder
        self.totals = Totals()
        self._chain = evidence.Chain()
        self._manifest = os.open(folder / evidence.MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, _MODE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._manifest)

    @property
    def chain(self) -> str:
        """sha256 of the newest line of the manifest."""
        return self._chain.last

    def begin(self, head: Mapping[str, Any]) -> None:
        """Writes the head."""
        self._note("head", {"format": evidence.FORMAT, **head})

    def artefact(self, type_: str, name: str, chunks: Iterable[bytes], limit: int, facts: dict[str, Any]) -> None:
        """Takes in one artefact, at most `limit` bytes of it; its digest is made of the bytes as they come.

        facts: go into its entry; looked at when `chunks` has ended, which may add to them.
        """
        path = f"{evidence.ARTEFACTS}/{self.totals.artefacts + 1:04d}-{name}"
        digest, size, is_cut = hashlib.sha256(), 0, False
        with open(os.open(self.folder / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
            for chunk in chunks:
                if size + len(chunk) > limit:
                    chunk, is_cut = chunk[: limit - size], True
                digest.update(chunk)
                file.write(chunk)
                size += len(chunk)
                if is_cut:
                    break
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder / evidence.ARTEFACTS)
        self._note(type_, {**facts, "path": path, "size": size, "sha256": digest.hexdigest(), "cut": is_cut})
        self.totals.artefacts += 1
        self.totals.size += size
        self.totals.cut += is_cut
        self.totals.failed += "error" in facts

    def missing(self, facts: Mapping[str, Any]) -> None:
        """Notes what could not be collected at all: it is no artefact."""
        self._note("missing", facts)
        self.totals.failed += 1

    def end(self, facts: Mapping[str, Any]) -> bytes:
        """Writes the end; gives the whole manifest, to be signed."""
        self._note("end", facts)
        sync_folder(self.folder)
        return (self.folder / evidence.MANIFEST).read_bytes()

    def sign(self, signature: bytes) -> None:
        """Puts the signature beside the manifest."""
        write_atomic(self.folder / evidence.SIGNATURE, signature, _MODE)

    def _note(self, type_: str, entry: Mapping[str, Any]) -> None:
        os.write(self._manifest, self._chain.add(type_, entry))
        os.fsync(self._manifest)
