"""Faults: what goes wrong on purpose, and what people answer, as values that read like sentences and as the sentences themselves.

    fails("migration")                                  migration fails
    fails("migration", attempt=1, as_="unreachable")    migration fails on attempt 1 with unreachable
    undo_fails("vm[0]", times=2)                        undo of vm[0] fails twice
    takes("vm", "90s")                                  vm takes 1m30s
    changes_nothing("network")                          network changes nothing
    crash_after(event=7)                                crash after event 7
    crash_at("migration")                               crash during migration
    cancel_at("software")                               cancel during software
    approved("gate", by="bob")                          gate is approved by bob
    rejected("gate", comment="not today")               gate is rejected: not today

A task stands for all its instances, `vm[0]` for one. `str(fault)` is the sentence and `parse` reads it. What a list of faults means for
a run is `FaultPlan`'s to say; a `rehearsal` and the fake kind ask it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from drystone.core import durations
from drystone.core.diagnostics import did_you_mean
from drystone.errors import FailureClass, InputError

MESSAGE = "as the fault plan says"
"""Of a failure that is given none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fails:
    """Attempts do not succeed: the one numbered `attempt`, the first `times`, or all when both are None.

    for_good: it says that it will not work when tried again, so that retries are not used.
    changed:  False when it is certain that the attempt changed nothing.
    """

    task: str
    undo: bool = False
    attempt: int | None = None
    times: int | None = None
    as_: FailureClass = FailureClass.FAILED
    for_good: bool = False
    changed: bool = True
    message: str = MESSAGE

    def covers(self, number: int) -> bool:
        """Whether the attempt of this number is meant."""
        return number == self.attempt if self.attempt is not None else self.times is None or number <= self.times

    def __str__(self) -> str:
        return "".join([
            f"{_subject(self.task, self.undo)} fails",
            " for good" if self.for_good else "",
            f" on attempt {self.attempt}" if self.attempt is not None else "",
            f" {_times_text(self.times)}" if self.times is not None else "",
            f" with {self.as_}" if self.as_ is not FailureClass.FAILED else "",
            "" if self.changed else ", having changed nothing",
            f": {self.message}" if self.message != MESSAGE else "",
        ])  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Takes:
    """An attempt takes so long; one that takes longer than its timeout ends with that."""

    task: str
    duration: timedelta
    undo: bool = False

    def __str__(self) -> str:
        return f"{_subject(self.task, self.undo)} takes {durations.to_text(self.duration)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangesNothing:
    """Its attempts succeed and find that all is as it should be: there is nothing to undo."""

    task: str

    def __str__(self) -> str:
        return f"{self.task} changes nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interruption:
    """drystone dies and another process resumes (`crash`), or a person cancels (`cancel`).

    Once: when event number `event` is on disk, or while the first attempt of `task`, or of its undo, is in flight.
    """

    what: str
    event: int | None = None
    task: str | None = None
    undo: bool = False

    def __str__(self) -> str:
        return f"{self.what} after event {self.event}" if self.task is None else f"{self.what} during {_subject(self.task, self.undo)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A person answers as soon as the task asks. `by` None: the first of its approvers, or somebody when anybody may answer."""

    task: str
    approves: bool
    by: str | None = None
    comment: str = ""

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by is not None else ""
        return f"{self.task} is {'approved' if self.approves else 'rejected'}{by}{f': {self.comment}' if self.comment else ''}"


Fault = Fails | Takes | ChangesNothing | Interruption | Answer
Faults = Fault | str | Iterable[Fault | str]
"""What a test may give: one or several, as values or sentences."""


def _subject(task: str, undo: bool) -> str:
    return f"undo of {task}" if undo else task


def _times_text(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times} times")


# ---- as values --------------------------------------------------------------------------------------------------------


def fails(
    task: str,
    *,
    attempt: int | None = None,
    times: int | None = None,
    as_: str = "failed",
    for_good: bool = False,
    changed: bool = True,
    message: str = MESSAGE,
    undo: bool = False,
) -> Fails:
    """A task fails: always, on one attempt, or the first `times`. `as_` is the class of the failure. Raises InputError."""
    return Fails(
        task=task,
        undo=undo,
        attempt=_counted(attempt),
        times=_counted(times),
        as_=_class(as_),
        for_good=for_good,
        changed=changed,
        message=message,
    )


def undo_fails(task: str, *, attempt: int | None = None, times: int | None = None, as_: str = "failed", message: str = MESSAGE) -> Fails:
    """The undo of a task fails. Raises InputError."""
    return fails(task, attempt=attempt, times=times, as_=as_, message=message, undo=True)


def takes(task: str, duration: str | timedelta, *, undo: bool = False) -> Takes:
    """A task's attempts take so long; `duration` as plans write it. Raises InputError."""
    return Takes(task=task, duration=_duration(duration), undo=undo)


def changes_nothing(task: str) -> ChangesNothing:
    """A task finds that all is as it should be."""
    return ChangesNothing(task=task)


def crash_after(event: int) -> Interruption:
    """drystone dies when this event is on disk, and another process resumes. Raises InputError."""
    return Interruption(what="crash", event=_counted(event))


def crash_at(task: str, *, undo: bool = False) -> Interruption:
    """drystone dies while an attempt of the task is in flight, and another process resumes."""
    return Interruption(what="crash", task=task, undo=undo)


def cancel_after(event: int) -> Interruption:
    """A person cancels when this event is on disk. Raises InputError."""
    return Interruption(what="cancel", event=_counted(event))


def cancel_at(task: str, *, undo: bool = False) -> Interruption:
    """A person cancels while an attempt of the task is in flight."""
    return Interruption(what="cancel", task=task, undo=undo)


def approved(task: str, *, by: str | None = None, comment: str = "") -> Answer:
    """A person says yes."""
    return Answer(task=task, approves=True, by=by, comment=comment)


def rejected(task: str, *, by: str | None = None, comment: str = "") -> Answer:
    """A person says no."""
    return Answer(task=task, approves=False, by=by, comment=comment)


def _counted(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise InputError(f"attempts, times and events count from 1: {number} is none")
    return number


def _class(word: str) -> FailureClass:
    try:
        return FailureClass(word)
    except ValueError:
        hint = did_you_mean(word, list(FailureClass)) or f"there is {', '.join(FailureClass)}"
        raise InputError(f'there is no class of failures "{word}"', hint=hint) from None


def _duration(value: str | timedelta) -> timedelta:
    try:
        return value if isinstance(value, timedelta) else durations.parse(value)
    except ValueError as error:
        raise InputError(str(error)) from None


# ---- as sentences -----------------------------------------------------------------------------------------------------

_TASK = r'(?P<task>[^\s\[\]]+(?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?)'
_SUBJECT = f"(?P<undo>undo of )?{_TASK}"
_FAILS = re.compile(
    rf"{_SUBJECT} fails(?P<good> for good)?(?: on attempt (?P<attempt>\d+)| (?P<times>once|twice|\d+ times))?"
    r"(?: with (?P<as_>[\w-]+))?(?P<unchanged>, having changed nothing)?(?:: (?P<message>.+))?",
    re.DOTALL,
)
_TAKES = re.compile(rf"{_SUBJECT} takes (?P<duration>.+)")
_CHANGES_NOTHING = re.compile(rf"{_TASK} changes nothing")
_AFTER = re.compile(r"(?P<what>crash|cancel) after event (?P<event>\d+)")
_DURING = re.compile(rf"(?P<what>crash|cancel) during {_SUBJECT}")
_ANSWER = re.compile(rf"{_TASK} is (?P<answer>approved|rejected)(?: by (?P<by>[^\s:]+))?(?:: (?P<comment>.+))?", re.DOTALL)
_WORDS = (
    "fails", "takes", "changes", "nothing", "for", "good", "on", "attempt", "once", "twice", "times", "with", "having", "changed",
    "crash", "cancel", "after", "event", "during", "undo", "of",
    "is", "approved", "rejected", "by",
)  # fmt: skip
FORMS = (
    "TASK fails [for good] [on attempt N | once | twice | N times] [with CLASS] [, having changed nothing] [: MESSAGE]",
    "undo of TASK fails ...",
    "[undo of] TASK takes DURATION",
    "TASK changes nothing",
    "crash | cancel after event N",
    "crash | cancel during [undo of] TASK",
    "TASK is approved | rejected [by USER] [: COMMENT]",
)
"""What a sentence may look like."""


def parse(sentence: str) -> Fault:
    """The fault that a sentence tells. Raises InputError, with the nearest word that is known."""
    text = sentence.strip()
    for form, make in _MAKERS.items():
        if (found := form.fullmatch(text)) is not None:
            return make(found)
    strange = [word for word in text.split()[1:] if word not in _WORDS]
    near = next((hint for word in (*strange, text.split(" ")[0]) if (hint := did_you_mean(word, _WORDS))), "")
    raise InputError(f'"{sentence}" is not a fault', hint="\n".join(filter(None, [near, "a fault is one of:", *FORMS])))


def _fails_of(found: re.Match[str]) -> Fails:
    times = found["times"]
    return fails(
        found["task"],
        undo=bool(found["undo"]),
        attempt=int(found["attempt"]) if found["attempt"] else None,
        times=None if times is None else {"once": 1, "twice": 2}.get(times) or int(times.split()[0]),
        as_=found["as_"] or "failed",
        for_good=bool(found["good"]),
        changed=not found["unchanged"],
        message=found["message"] or MESSAGE,
    )


_MAKERS: Mapping[re.Pattern[str], Callable[[re.Match[str]], Fault]] = {
    _AFTER: lambda found: Interruption(what=found["what"], event=_counted(int(found["event"]))),
    _DURING: lambda found: Interruption(what=found["what"], task=found["task"], undo=bool(found["undo"])),
    _FAILS: _fails_of,
    _TAKES: lambda found: takes(found["task"], found["duration"], undo=bool(found["undo"])),
    _CHANGES_NOTHING: lambda found: changes_nothing(found["task"]),
    _ANSWER: lambda found: Answer(
        task=found["task"], approves=found["answer"] == "approved", by=found["by"], comment=found["comment"] or ""
    ),
}


def faults_of(given: Faults) -> tuple[Fault, ...]:
    """One fault, or several, as values or sentences -> values. Raises InputError."""
    several = [given] if isinstance(given, str | Fault) else given
    return tuple(parse(each) if isinstance(each, str) else each for each in several)
