"""What `drystone evidence` says."""

from __future__ import annotations

import json as codec
from collections.abc import Sequence
from typing import Any

import typer

from drystone.app import describe
from drystone.app import evidence as custody
from drystone.app.evidence import Looked
from drystone.cli import tables, words
from drystone.core.evidence import fingerprint

_NAMES = ("case", "run", "task", "attempt", "host", "address", "host_key", "at", "clock_offset_seconds")
"""Of the head, in the order shown."""


def listing(found: Sequence[Looked], *, json: bool) -> None:
    """One line for each host's collection."""
    if json:
        typer.echo(codec.dumps({"format": describe.FORMAT, "evidence": [_facts(item) for item in found]}, indent=2))
        return
    if not found:
        typer.echo("no evidence was collected in this project", err=True)
        return
    tables.show(("CASE", "RUN", "HOST", "AT", "ARTEFACTS", "FOLDER"), [_row(item) for item in found])


def verdicts(found: Sequence[Looked], *, json: bool) -> None:
    """Each folder with what does not hold; what was looked at, to standard output in any case."""
    if json:
        shown = [{**_facts(item), "intact": item.verdict.is_intact, "problems": list(item.verdict.problems)} for item in found]
        typer.echo(codec.dumps({"format": describe.FORMAT, "evidence": shown}, indent=2))
        return
    for item in found:
        verdict = item.verdict
        host = verdict.head.get("host", "?")
        state = tables.paint("intact", "green") if verdict.is_intact else tables.paint("NOT INTACT", "red")
        typer.echo(f"{host}  {state}  {verdict.artefacts} artefacts  {item.folder}")
        for problem in verdict.problems:
            typer.echo(f"  {problem}")
        if not item.is_vouched and verdict.public_key:
            typer.echo(
                f"note: signed by {fingerprint(verdict.public_key)}, as the evidence itself says; "
                "give the key that you know with --key FILE",
                err=True,
            )


def key(public_key: bytes, *, json: bool) -> None:
    """PEM, as openssl reads it."""
    if json:
        shown = {"format": describe.FORMAT, "pem": custody.pem(public_key), "fingerprint": fingerprint(public_key)}
        typer.echo(codec.dumps(shown, indent=2))
        return
    typer.echo(custody.pem(public_key), nl=False)
    typer.echo(f"fingerprint {fingerprint(public_key)}", err=True)


def _facts(item: Looked) -> dict[str, Any]:
    head = item.verdict.head
    return {
        **{name: head.get(name) for name in _NAMES},
        "artefacts": item.verdict.artefacts,
        "folder": str(item.folder),
        "key": fingerprint(item.verdict.public_key) if item.verdict.public_key else None,
        "vouched": item.is_vouched,
    }


def _row(item: Looked) -> tuple[str, ...]:
    case, run, host, at = (str(item.verdict.head.get(name, "?")) for name in ("case", "run", "host", "at"))
    return case, words.short(run), host, at[:19], str(item.verdict.artefacts), str(item.folder)
