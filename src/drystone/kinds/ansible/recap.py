"""What a playbook came to on each host, over all attempts of a task. Pure.

A retry runs only on hosts that were lost (failed or unreachable): `to_retry` says which, `merged` what the attempts come to together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS = ("ok", "changed", "failed", "unreachable", "skipped", "rescued", "ignored")
"""Of the recap, by host and summed up."""
LOST = ("unreachable", "failed")
"""What a host is run again for."""
_STATUSES = (*LOST, "changed", "ok")
_MESSAGE_CHARACTERS = 300
"""Of why a host was lost: with 1,000 hosts a result stays below half a megabyte."""


def of_host(counts: Mapping[str, int], *, step: str = "", message: str = "") -> dict[str, Any]:
    """The counts of one host, what they mean (`status`), and for a lost one the step and the reason."""
    status = next((name for name in _STATUSES if counts[name]), "skipped")
    host: dict[str, Any] = {"status": status, **{name: counts[name] for name in COLUMNS}}
    if status in LOST and message:
        cut = message if len(message) <= _MESSAGE_CHARACTERS else f"{message[: _MESSAGE_CHARACTERS - 1]}…"
        host |= {"step": step[:_MESSAGE_CHARACTERS], "message": cut}
    return host


def result(hosts: Mapping[str, Mapping[str, Any]], *, check: bool, stopped_early: bool = False) -> dict[str, Any]:
    """Sums of the hosts' counts, the hosts, `check`, and `stopped_early` when some play or batch was not begun because of others."""
    sums = {name: sum(host[name] for host in hosts.values()) for name in COLUMNS}
    return {**sums, "hosts": dict(hosts), "check": check, **({"stopped_early": True} if stopped_early else {})}


def to_retry(previous: Mapping[str, Any], known: Iterable[str] | None) -> tuple[str, ...]:
    """The hosts that a retry keeps to; none when it has to run on all.

    previous: result of the failed attempt.
    known:    the hosts that the plan names now; None when an inventory does.

    After a run that stopped early (`serial`, `any_errors_fatal`, `max_fail_percentage`, a play in which all hosts were lost) nobody can
    say which of the others were through: all are run again.
    """
    hosts = previous.get("hosts")
    if previous.get("stopped_early") or not isinstance(hosts, Mapping):
        return ()
    lost = [name for name, host in hosts.items() if host.get("status") in LOST]
    return tuple(lost if known is None else [name for name in known if name in lost])


def merged(previous: Mapping[str, Any], newest: Mapping[str, Any]) -> dict[str, Any]:
    """Of each host the counts of the newest attempt that it was in; but what was changed stays changed, so that adds up."""
    before = previous.get("hosts")
    if not isinstance(before, Mapping):
        return dict(newest)
    hosts = dict(before)
    for name, host in newest["hosts"].items():
        earlier = before.get(name, {}).get("changed", 0)
        counts = {column: host[column] + (earlier if column == "changed" else 0) for column in COLUMNS}
        hosts[name] = of_host(counts, step=host.get("step", ""), message=host.get("message", ""))
    return result(dict(sorted(hosts.items())), check=newest["check"], stopped_early=bool(newest.get("stopped_early")))


def merged_outputs(previous: Mapping[str, Any], newest: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of two attempts: maps are merged, of all else the newest counts."""
    both = dict(previous)
    for name, value in newest.items():
        old = both.get(name)
        both[name] = merged_outputs(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
