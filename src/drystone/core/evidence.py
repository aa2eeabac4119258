"""A chain of custody for evidence: the manifest's form, how it is written, and every way in which it can be found not to hold.

    manifest.jsonl    one JSON object a line: head, one entry for each artefact in the order of collection, end
    manifest.sig      Ed25519 signature of manifest.jsonl, 64 bytes
    artefacts/        what was collected, as raw bytes

Each line names the sha256 of the line before it, so that none can be changed, moved, added or taken out without the next one
telling; the end counts the artefacts, so that a cut tail shows; the signature keeps anybody without the key from writing it all
anew. Written by the kind `evidence`, read by `app.evidence`. Knows no files: digests come in as facts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = 1
MANIFEST = "manifest.jsonl"
SIGNATURE = "manifest.sig"
ARTEFACTS = "artefacts"
NOTHING_BEFORE = "0" * 64
"""What the head names as the line before it."""

Check = Callable[[bytes, bytes, bytes], bool]
"""Public key, signature, data -> whether it is that key's signature of the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """What is at an artefact's place now. `sha256` is empty for what is no regular file."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a look at evidence found.

    problems:   each thing that does not hold, with the line or file that it is about; none: it is as it was collected.
    head:       the manifest's first line, as far as it can be read.
    artefacts:  how many entries there are.
    public_key: which signed it, as the head says; empty when it does not.
    """

    problems: tuple[str, ...]
    head: Mapping[str, Any]
    artefacts: int
    public_key: bytes

    @property
    def is_intact(self) -> bool:
        return not self.problems


class Chain:
    """Makes the lines of a manifest, one after the other."""

    def __init__(self) -> None:
        self._number = 0
        self._artefacts = 0
        self.last = NOTHING_BEFORE
        """sha256 of the newest line: of the end's, it stands for all."""

    def add(self, type_: str, entry: Mapping[str, Any]) -> bytes:
        """The next line, line feed and all. `type_`: head, command, file or end; the end's count is added here."""
        told = dict(entry)
        if type_ == "end":
            told["artefacts"] = self._artefacts
        line = json.dumps({**told, "n": self._number, "previous": self.last, "type": type_}, sort_keys=True).encode() + b"\n"
        self._number += 1
        self._artefacts += type_ in ("command", "file")
        self.last = hashlib.sha256(line).hexdigest()
        return line


def fingerprint(public_key: bytes) -> str:
    """`SHA256:…` of a public key: short enough to be read out on the telephone."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")


def check(
    manifest: bytes, signature: bytes | None, found: Mapping[str, Artefact], *, trusted: bytes | None, is_signature: Check
) -> Verdict:
    """Whether evidence is as it was collected.

    found:   path, relative to the folder of the evidence -> what is there, without manifest and signature.
    trusted: the public key that must have signed; None takes the manifest's own, which shows damage but not who did it.
    """
    lines = manifest.split(b"\n")
    entries = [_parsed(line) for line in lines[:-1]]
    head = entries[0] if entries and entries[0].get("type") == "head" else {}
    key = _key(head)
    problems = [
        *_chain_problems(lines, entries),
        *_signature_problems(manifest, signature, key, trusted, is_signature),
        *_artefact_problems(entries, found),
    ]
    count = sum(entry.get("type") in ("command", "file") for entry in entries)
    return Verdict(problems=tuple(problems), head=head, artefacts=count, public_key=key)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _key(head: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(head.get("public_key", "")), validate=True)
    except ValueError:
        return b""


def _chain_problems(lines: list[bytes], entries: list[dict[str, Any]]) -> Iterator[str]:
    if lines[-1]:
        yield f"line {len(lines)} of the manifest was cut off in the middle"
    if not entries or entries[0].get("type") != "head":
        yield "the manifest does not begin with its head"
    elif entries[0].get("format") != FORMAT:
        yield f"the manifest is of format {json.dumps(entries[0].get('format'))}, this drystone reads {FORMAT}"
    previous, artefacts = NOTHING_BEFORE, 0
    for number, (line, entry) in enumerate(zip(lines, entries, strict=False)):
        where = f"line {number + 1} of the manifest"
        if not entry:
            yield f"{where} is not JSON"
        elif entry.get("n") != number:
            yield f"{where} is out of order: it says that it is number {json.dumps(entry.get('n'))}"
        elif entry.get("previous") != previous:
            yield f"{where} does not follow from the line before it: that line was changed, or lines are missing"
        if entry.get("type") == "end" and number != len(entries) - 1:
            yield f"{where} is the end, and more follows"
        artefacts += entry.get("type") in ("command", "file")
        previous = hashlib.sha256(line + b"\n").hexdigest()
    last = entries[-1] if entries else {}
    if last.get("type") != "end":
        yield "the manifest has no end: the collection did not finish, or its tail was cut"
    elif last.get("artefacts") != artefacts:
        yield f"the end counts {json.dumps(last.get('artefacts'))} artefacts, the manifest has {artefacts}"


def _signature_problems(
    manifest: bytes, signature: bytes | None, key: bytes, trusted: bytes | None, is_signature: Check
) -> Iterator[str]:
    if trusted is not None and key != trusted:
        said = fingerprint(key) if key else "no key"
        yield f"the manifest names another key than the one to trust: {said}, not {fingerprint(trusted)}"
    if signature is None:
        yield f"there is no signature: {SIGNATURE} is missing"
    elif not is_signature(key if trusted is None else trusted, signature, manifest):
        yield "the signature is not one of this manifest by the key to trust"


def _artefact_problems(entries: list[dict[str, Any]], found: Mapping[str, Artefact]) -> Iterator[str]:
    named = set()
    for entry in entries:
        path = entry.get("path")
        if entry.get("type") not in ("command", "file") or not isinstance(path, str):
            continue
        named.add(path)
        there = found.get(path)
        if there is None:
            yield f'"{path}" is missing'
        elif not there.sha256:
            yield f'"{path}" is not a regular file any more'
        elif there.sha256 != entry.get("sha256"):
            grown = "" if there.size == entry.get("size") else f": {there.size} bytes, collected were {json.dumps(entry.get('size'))}"
            yield f'"{path}" was changed{grown}'
    for path in sorted(found.keys() - named):
        yield f'"{path}" was added: the manifest does not name it'
