"""What `drystone env drift` found, as people read it and as JSON."""

from __future__ import annotations

import json as codec
from collections.abc import Iterator

import typer

from drystone.app.drift import Finding, Report, Verdict
from drystone.app.reconcile import Proposal
from drystone.cli import preview_view, tables
from drystone.settings import IgnoreRule

WORDS = {
    Verdict.AS_IT_WAS: ("as it was", "green"),
    Verdict.DRIFTED: ("drifted", "red"),
    Verdict.IGNORED: ("ignored", "bright_black"),
    Verdict.UNREACHABLE: ("cannot be reached", "red"),
    Verdict.FAILED: ("could not be looked at", "yellow"),
    Verdict.UNCHECKED: ("cannot be checked", "bright_black"),
}


def show(report: Report, *, json: bool, in_one_line: bool = False) -> None:
    """`drystone env drift`. `in_one_line`: the events of a run follow, a line each."""
    for rule in report.expired:
        typer.echo(f"warning: a rule has expired and ignores nothing any more: {named(rule)}", err=True)
    if json:
        typer.echo(codec.dumps(report.to_json(), indent=None if in_one_line else 2))
        return
    for line in lines(report):
        typer.echo(line)


def lines(report: Report) -> Iterator[str]:
    """Each task with what is different of it, and the sum."""
    yield tables.paint(f"environment {report.environment}, against the last good version of each task", "bright_white")
    for finding in report.findings:
        yield from _finding(finding)
    yield ""
    yield tables.paint(f"Drift: {report.summary}", "bright_white")


def _finding(finding: Finding) -> Iterator[str]:
    word, colour = WORDS[finding.verdict]
    summary = f": {finding.summary}" if finding.summary else ""
    if finding.verdict is not Verdict.AS_IT_WAS:
        yield ""
    yield f"{finding.id} ({finding.standing.instance.kind}), {tables.paint(word, colour)}{summary}"
    if finding.reason:
        yield f"  … {finding.reason}"
    for host, reason in finding.unseen.items():
        yield "  " + tables.paint(f"✗ {host} cannot be reached: {reason}", "red")
    for item in finding.differences:
        yield from preview_view.change(item.change)
        if item.rule is not None:
            yield tables.paint(f"      ignored: {named(item.rule)}", "bright_black")
    for change in finding.outside:
        detail = f" ({'; '.join(change.detail.splitlines())})" if change.detail else ""
        yield tables.paint(f"  changed outside, and no run would put it back: {change.what}{detail}", "bright_black")


def named(rule: IgnoreRule) -> str:
    """`task "vm[*]", address "lab_vm.*", until 2027-01-31: being replaced`."""
    said = [f'{name} "{value}"' for name in ("environment", "task", "address", "attribute") if (value := getattr(rule, name)) != "*"]
    return ", ".join([*said, f"until {rule.until}"]) + (f": {rule.reason}" if rule.reason else "")


def to_reconcile(proposal: Proposal) -> None:
    """What `--reconcile` is about to do, and what it is not."""
    for item in proposal.reconciliations:
        record = item.look.record
        typer.echo(f"a run of {record.plan} as in run {record.id} puts back: {', '.join(item.drifted)}", err=True)
        if item.resting:
            typer.echo(f"  and does again what rests on that: {', '.join(item.resting)}", err=True)
    for id_, reason in proposal.left:
        typer.echo(f"not put back: {id_}: {reason}", err=True)
