"""What a run waits for, at length: questions with who may answer them, moments, other runs, its place in a line. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from drystone.app.reading import Look
from drystone.cli import words
from drystone.cli.scene import waits_for
from drystone.core.run import Instance, Run
from drystone.core.states import RunStatus


def waiting(look: Look, now: datetime) -> Iterator[str]:
    """A line or more for each; nothing when it waits for nobody."""
    run = look.run
    if run.status is RunStatus.QUEUED and not look.is_abandoned:
        yield words.queued(look.behind)
    if not run.status.is_final:
        for item in run.in_order():
            if item.waiting is not None and item.id in run.forward.waiting:
                yield from _waits(run, item, now)


def _waits(run: Run, item: Instance, now: datetime) -> Iterator[str]:
    assert item.waiting is not None
    approval, until = item.waiting.approval, item.waiting.until
    if approval is None:
        text = waits_for(item.waiting, now)
        yield f"{item.id} {text if text.startswith('waits') else f'waits {text}'}"
        return
    message = str(approval["message"]).strip()
    yield f"{item.id} waits for an approval{f': {message}' if message else ''}"
    who = ", ".join(approval["approvers"]) or "anybody"
    but = "" if approval["self_approval"] else f", but not {run.by.partition('@')[0]}, who started the run"
    then = "approved" if approval["on_timeout"] == "approve" else "rejected"
    end = f"; without an answer until {words.moment(until, now)} it is {then}" if until is not None else ""
    yield f"  {who} may answer{but}{end}"
    if digest := str(approval.get("digest", "")).removeprefix("sha256:")[:12]:
        yield f"  a yes is for {digest}"
