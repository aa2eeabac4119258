"""Environments as tables and as JSON."""

from __future__ import annotations

import json as codec
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from drystone.app import describe
from drystone.app.destruction import Destruction
from drystone.app.environments import Content, Environment, Standing
from drystone.cli import tables, terminal, words
from drystone.cli.preview_view import MARKS
from drystone.core import codec as core_codec
from drystone.errors import NotFoundError
from drystone.ports import LockInfo, owner_text

if TYPE_CHECKING:
    from drystone.plugin.api import KeptState


def listing(found: Sequence[Environment], *, json: bool) -> None:
    """`drystone env list`."""
    if json:
        typer.echo(codec.dumps({"format": describe.FORMAT, "environments": [_glance(item) for item in found]}, indent=2))
        return
    if not found:
        typer.echo("there is no environment: a plan that names one makes it with its first run", err=True)
        return
    tables.show(("ENVIRONMENT", "PLANS", "LAST RUN", "STATUS", "WHEN", "HELD BY"), [_row(item) for item in found])


def _row(item: Environment) -> tuple[str, ...]:
    look = words.RUNS[item.last.status]
    when = item.last.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    held = f"run {words.short(item.lock.run)}" if item.lock else ""
    return item.name, ", ".join(item.plans), words.short(item.last.id), look.word, when, held


def _glance(item: Environment) -> dict[str, Any]:
    last = item.last
    run = {"id": last.id, "plan": last.plan, "status": last.status.value, "created_at": describe.instant(last.created_at)}
    return {"name": item.name, "plans": list(item.plans), "last_run": run, "lock": _lock(item.lock)}


def _lock(lock: LockInfo | None) -> dict[str, Any] | None:
    if lock is None:
        return None
    return {"run": lock.run, "owner": lock.owner, "reason": lock.reason, "since": describe.instant(lock.since)}


def show(content: Content, states: Sequence[Sequence[KeptState]], *, json: bool) -> None:
    """`drystone env show`. `states`: of each that stands."""
    if json:
        typer.echo(codec.dumps(_document(content, states), indent=2))
        return
    item = content.environment
    typer.echo(tables.paint(f"environment {item.name}", "bright_white"))
    if (lock := item.lock) is not None:
        since = lock.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"held by run {lock.run} ({lock.reason}) of {owner_text(lock.owner)} since {since}")
    if not content.standing:
        typer.echo("nothing stands in it")
        return
    typer.echo()
    tables.show(("TASK", "KIND", "PLAN", "RUN", "BUNDLE", "STATE", "SINCE"), list(map(_standing, content.standing, states)))
    for plan, outputs in content.outputs.items():
        if outputs:
            typer.echo(f"\noutputs of {plan}:")
            for name, value in core_codec.masked(outputs).items():
                typer.echo(f"  {name} = {value if isinstance(value, str) else codec.dumps(value)}")


def _standing(found: Standing, states: Sequence[KeptState]) -> tuple[str, ...]:
    record = found.look.record
    since = found.since.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found.since else ""
    bundle = record.bundle.removeprefix("sha256:")[:12]
    return found.instance.id, found.instance.kind, record.plan, words.short(record.id), bundle, _serials(states), since


def _serials(states: Sequence[KeptState]) -> str:
    """Of the states of now."""
    return ", ".join(f"{state.name} {state.serial}".strip() for state in states if state.is_current)


def _state(state: KeptState) -> dict[str, Any]:
    return {"workspace": state.name, "serial": state.serial, "lineage": state.lineage, "current": state.is_current}


def state(found: KeptState) -> None:
    """`drystone env state`: bytes, as Terraform wrote them."""
    if terminal.is_terminal(sys.stdout):
        typer.echo("note: this is the state in clear, with the secrets that are in it", err=True)
    sys.stdout.flush()
    sys.stdout.buffer.write(found.text())
    sys.stdout.buffer.flush()


def _document(content: Content, states: Sequence[Sequence[KeptState]]) -> dict[str, Any]:
    return {
        "format": describe.FORMAT,
        **_glance(content.environment),
        "outputs": core_codec.masked({plan: dict(outputs) for plan, outputs in content.outputs.items()}),
        "tasks": [
            {
                "id": found.instance.id,
                "kind": found.instance.kind,
                "plan": found.look.record.plan,
                "run": found.look.record.id,
                "bundle": found.look.record.bundle,
                "status": found.instance.status.value,
                "since": describe.instant(found.since),
                "outputs": core_codec.masked(found.instance.outputs),
                "states": [_state(state) for state in kept],
            }
            for found, kept in zip(content.standing, states, strict=True)
        ],
    }


def to_destroy(found: Destruction, *, json: bool) -> None:
    """What `drystone env destroy` is about to do, in the order in which it does it; to people on standard error, where they are asked."""
    if json:
        typer.echo(codec.dumps(found.to_json()))
        return
    typer.echo(f"environment {found.environment}: this is taken down, in this order:", err=True)
    for item in found.removals:
        typer.echo(f"  - {item.instance.id}: {item.preview.summary if item.preview is not None else item.how}", err=True)
        for change in item.preview.changes if item.preview is not None else ():
            mark, _ = MARKS[change.action]
            typer.echo(f"      {mark} {change.what}", err=True)
        if note := item.refused or item.reason:
            typer.echo(f"      {'✗ it would be refused' if item.refused else '… it cannot be looked at now'}: {note}", err=True)
    typer.echo(f"Destroy: {found.summary}", err=True)


def inventory(found: Mapping[str, Any], *, host: str | None) -> None:
    """`drystone env inventory`, in the form that Ansible asks of an inventory script."""
    known = found["_meta"]["hostvars"]
    if host is None:
        typer.echo(codec.dumps(found, indent=2))
        return
    if host not in known:
        raise NotFoundError(f'there is no host "{host}"', hint=f"there are: {', '.join(known)}" if known else "there is none")
    typer.echo(codec.dumps(known[host], indent=2))
