"""What Terraform says, understood: its JSON stream line by line, and its errors whether they come as JSON or as text.

Pure: `session` feeds the lines and passes on what comes back to the log and to those who watch. `failures` makes errors of the diagnostics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE, FAILED, UNKNOWN, NOT_REACHED = "done", "failed", "unknown", "not_reached"
"""How far a change got. UNKNOWN: it was begun, and Terraform ended without saying how that went."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic:
    """One problem as Terraform reports it. `where` is `file:line`, relative to the root module, or empty."""

    severity: str
    summary: str
    detail: str = ""
    address: str = ""
    where: str = ""

    @property
    def reason(self) -> str:
        """One line: what and why."""
        why = first_line(self.detail)
        return (f"{self.summary.rstrip('.:')}: {why}" if why else self.summary).rstrip(".")

    @property
    def title(self) -> str:
        """One line: what, why, where."""
        place = ", ".join(part for part in (self.address, self.where) if part)
        return f"{self.reason} ({place})" if place else self.reason

    @property
    def text(self) -> str:
        """All of it, for the log."""
        places = [f"  {part}" for part in (self.where, self.address) if part]
        details = [f"  {line}" for line in self.detail.strip().splitlines()]
        return "\n".join([f"{self.severity.capitalize()}: {self.summary}", *places, *details])


def first_line(text: str) -> str:
    """The first sentence-like line: lines that Terraform wrapped are joined up to the first empty one."""
    paragraph = text.strip().split("\n\n")[0]
    return " ".join(line.strip() for line in paragraph.splitlines())


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Something to tell those who watch; `data` is what a program may want of it."""

    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Change:
    """A planned change of one resource: `action` as planned, the steps that make it up, and how far it got."""

    address: str
    action: str
    steps: set[str] = field(default_factory=set)
    status: str = NOT_REACHED

    def begin(self) -> None:
        """A step has begun."""
        if self.status != FAILED:
            self.status = UNKNOWN

    def step(self, name: str) -> None:
        """One step is over; a replacement is done when it was both deleted and created."""
        self.steps.discard(name)
        if self.status != FAILED:
            self.status = NOT_REACHED if self.steps else DONE

    @property
    def half(self) -> str:
        """What a replacement that stopped between its two steps has left; empty for all else."""
        if self.action != "replace" or len(self.steps) != 1:
            return ""
        return "the old one is gone, and the new one is not whole" if "create" in self.steps else "the old one still stands"


_STEPS = {"replace": {"create", "delete"}}
_QUIET = frozenset({"version", "outputs", "init_output", "refresh_start"})
"""Kept out of the log: said better elsewhere, or of no use to a reader."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_VERBS = {
    "create": ("creating", "created"),
    "update": ("changing", "changed"),
    "delete": ("destroying", "destroyed"),
    "read": ("reading", "read"),
}


@dataclass(kw_only=True)
class Stream:
    """The lines of one command, gathered.

    outputs:   as the `outputs` message has them: name -> {value, type, sensitive}; a sensitive one has no value.
    on_create: told the address of each resource as Terraform begins to make it.
    """

    changes: dict[str, Change] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    outputs: Mapping[str, Any] | None = None
    summary: Mapping[str, int] = field(default_factory=dict)
    on_create: Callable[[str], None] = lambda address: None
    _text: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[Diagnostic]:
        """Diagnostics that made the command fail, also those that came as text."""
        return [item for item in [*self.diagnostics, *text_diagnostics(self._text)] if item.severity == "error"]

    @property
    def tail(self) -> str:
        """The last lines that were not JSON."""
        return "\n".join(self._text[-20:]).strip()

    def feed(self, line: str) -> tuple[str | None, Progress | None]:
        """Takes one line; gives what goes into the log and what is told as progress."""
        message = _message(line)
        if message is None:
            plain = _ANSI.sub("", line).rstrip()
            if plain or self._text:
                self._text.append(plain)
            return plain or None, None
        # An apply begins with telling again what the plan has told.
        is_known = message.get("type") == "planned_change" and _address(message) in self.changes
        progress = self._take(message)
        return None if is_known else self._log_line(message), progress

    def _log_line(self, message: Mapping[str, Any]) -> str | None:
        if message.get("type") == "diagnostic":
            return self.diagnostics[-1].text
        if message.get("type") in _QUIET:
            return None
        return _ANSI.sub("", str(message.get("@message", ""))).strip() or None

    def _take(self, message: Mapping[str, Any]) -> Progress | None:
        match message.get("type"):
            case "planned_change":
                self._planned(message)
            case "apply_start":
                self._begin(message)
                return _hook_progress(message, 0, "…")
            case "apply_progress":
                elapsed = message["hook"].get("elapsed_seconds", 0)
                return _hook_progress(message, 0, f"… ({elapsed:g} s)")
            case "apply_complete":
                self._step(message, failed=False)
                return _hook_progress(message, 1, "")
            case "apply_errored":
                self._step(message, failed=True)
                return Progress(message=f"{_address(message)}: failed", data={"resource": _address(message), "action": _action(message)})
            case "change_summary":
                return self._summary(message)
            case "outputs":
                self.outputs = message.get("outputs")
            case "diagnostic":
                self.diagnostics.append(_diagnostic(message["diagnostic"]))
        return None

    def _planned(self, message: Mapping[str, Any]) -> None:
        address, action = _address(message), _action(message)
        if action not in ("noop", "read"):
            self.changes[address] = Change(address=address, action=action, steps=set(_STEPS.get(action, {action})))

    def plan(self, resource_changes: Sequence[Mapping[str, Any]]) -> None:
        """Takes the changes of a saved plan, as `terraform show -json` has them."""
        for item in resource_changes:
            actions = item["change"]["actions"]
            if item.get("mode") != "data" and actions not in (["no-op"], ["read"]):
                action = actions[0] if len(actions) == 1 else "replace"
                steps = set(_STEPS.get(action, {action}))
                self.changes[item["address"]] = Change(address=item["address"], action=action, steps=steps)

    def _begin(self, message: Mapping[str, Any]) -> None:
        if (change := self.changes.get(_address(message))) is not None:
            change.begin()
        if _action(message) == "create":
            self.on_create(_address(message))

    def _step(self, message: Mapping[str, Any], *, failed: bool) -> None:
        change = self.changes.get(_address(message))
        if change is None:
            return
        if failed:
            change.status = FAILED
        else:
            change.step(_action(message))

    def _summary(self, message: Mapping[str, Any]) -> Progress:
        counts = message.get("changes", {})
        self.summary = {name: int(counts.get(name) or 0) for name in ("add", "change", "remove", "import")}
        words = ("to add", "to change", "to destroy") if counts.get("operation") == "plan" else ("added", "changed", "destroyed")
        return Progress(message=summary_line(self.summary, words), data=dict(self.summary))

    def succeed(self) -> None:
        """The command ended well: changes that no message told of (a resource forgotten, moved, imported) are done too."""
        for change in self.changes.values():
            change.status = DONE

    def resources(self) -> list[dict[str, str]]:
        """Each change, how far it got, and why not further, for `result`."""
        reasons = {item.address: item.reason for item in reversed(self.errors) if item.address}
        return [_fate(item, reasons.get(item.address, "")) for item in self.changes.values()]

    def reached(self) -> str:
        """How far it got: `2 done, 1 failed, 3 not reached`."""
        found = [item.status for item in self.changes.values()]
        words = ((DONE, "done"), (FAILED, "failed"), (UNKNOWN, "unknown"), (NOT_REACHED, "not reached"))
        return ", ".join(f"{found.count(status)} {word}" for status, word in words if status != UNKNOWN or UNKNOWN in found)


def _fate(change: Change, reason: str) -> dict[str, str]:
    message = ": ".join(part for part in (change.half, reason) if part)
    return {"address": change.address, "action": change.action, "status": change.status, **({"message": message} if message else {})}


def summary_line(counts: Mapping[str, int], words: Sequence[str] = ("added", "changed", "destroyed")) -> str:
    """`2 added, 0 changed, 0 destroyed`."""
    numbers = (counts.get("add", 0), counts.get("change", 0), counts.get("remove", 0))
    return ", ".join(f"{number} {word}" for number, word in zip(numbers, words, strict=True))


def _message(line: str) -> Mapping[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, Mapping) and "@message" in data else None


def _part(message: Mapping[str, Any]) -> Mapping[str, Any]:
    part = message.get("hook") or message.get("change") or {}
    return part if isinstance(part, Mapping) else {}


def _address(message: Mapping[str, Any]) -> str:
    return str(_part(message).get("resource", {}).get("addr", ""))


def _action(message: Mapping[str, Any]) -> str:
    return str(_part(message).get("action", ""))


def _hook_progress(message: Mapping[str, Any], tense: int, end: str) -> Progress:
    address, action = _address(message), _action(message)
    verb = _VERBS.get(action, (action, f"{action}: done"))[tense]
    return Progress(message=f"{address}: {verb}{end}", data={"resource": address, "action": action})


def _diagnostic(data: Mapping[str, Any]) -> Diagnostic:
    place = data.get("range") or {}
    file = str(place.get("filename") or "")
    return Diagnostic(
        severity=str(data.get("severity", "error")),
        summary=str(data.get("summary", "")),
        detail=str(data.get("detail") or ""),
        address=str(data.get("address") or ""),
        where=f"{file}:{place['start']['line']}" if file and file != "<value for var" and "start" in place else "",
    )


_FRAME = re.compile(r"^[│╷╵|]\s?")
_HEAD = re.compile(r"^(Error|Warning): (.*)$")
_PLACE = re.compile(r"^on (\S.*?) line (\d+)")


def text_diagnostics(lines: Sequence[str]) -> list[Diagnostic]:
    """Diagnostics out of the text form, with or without its frame: commands that have no -json print these."""
    found: list[tuple[str, str, list[str]]] = []
    for line in lines:
        plain = _FRAME.sub("", line)
        if head := _HEAD.match(plain):
            found.append((head.group(1).lower(), head.group(2), []))
        elif found:
            found[-1][2].append(plain)
    return [_from_text(severity, summary, rest) for severity, summary, rest in found]


def _from_text(severity: str, summary: str, rest: Sequence[str]) -> Diagnostic:
    # A long summary is wrapped: it goes on up to the first empty line.
    lines = [line.strip() for line in rest]
    wrapped = lines.index("") if "" in lines else len(lines)
    paragraphs = [part for part in "\n".join(lines[wrapped:]).strip().split("\n\n") if part]
    where = ""
    if paragraphs and (place := _PLACE.match(paragraphs[0])):
        where = f"{place.group(1)}:{place.group(2)}"
        paragraphs = paragraphs[1:]
    return Diagnostic(severity=severity, summary=" ".join([summary, *lines[:wrapped]]).strip(), detail="\n\n".join(paragraphs), where=where)


@dataclass(frozen=True, kw_only=True, slots=True)
class LockInfo:
    """Who holds a state, as Terraform prints it. `created` is its text: `2026-01-31 12:00:00.5 +0000 UTC`. Only the id is always known."""

    id: str
    who: str = ""
    operation: str = ""
    created: str = ""


_LOCK_FIELD = re.compile(r"^\s*(ID|Who|Operation|Created):\s*(.*?)\s*$", re.MULTILINE)
_HELD_ID = re.compile(r"already locked: ID=([\w-]+)")


def lock_info(detail: str) -> LockInfo | None:
    """The lock's holder out of the error about it; None when it names none."""
    fields = dict(_LOCK_FIELD.findall(detail))
    if not fields.get("ID"):
        return None
    held = _HELD_ID.search(detail)
    if held is not None and held.group(1) != fields["ID"]:
        # The http backend tells the id of the lock that is there, but prints the lock that it wanted: that one is ourselves.
        return LockInfo(id=held.group(1))
    return LockInfo(id=fields["ID"], who=fields.get("Who", ""), operation=fields.get("Operation", ""), created=fields.get("Created", ""))
