"""What a playbook run did, from its events. Pure; `task` feeds in what `worker` printed.

Success or failure is Ansible's own exit code; which class of failure, and whose, is told by the events: Ansible gives
unreachable hosts, mistakes in a playbook and wrong options the same few codes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.ansible import recap

_FROM_STATS = {"failed": "failures", "unreachable": "dark"}
_DETAIL_LINES = 40
_ERROR = re.compile(r"^(?:\[ERROR\]:|ERROR!)\s*")
_HINTS = (
    # What an error of Ansible's own says -> what to do next; the first that fits.
    (re.compile(r"vault|decrypt", re.I), "give the password under `vault`"),
    (re.compile(r"no hosts to target", re.I), "`limit` names none of the hosts; correct it, or the inventory"),
    (
        re.compile(r"couldn't resolve module|the role '.*' was not found", re.I),
        "correct the name, or install what has it (ansible-galaxy) and name the folder under `collections` or in ansible.cfg",
    ),
)
_ANY_HINT = "correct the playbook; ansible-playbook --syntax-check tells the same"
_UNTRUSTED = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "host key is known")
_NO_ENTRY = ("Permission denied", "Too many authentication failures", "Authentication failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A task that failed on a host, or a host that could not be reached in it."""

    host: str
    step: str
    message: str
    unreachable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What those who watch are told. `host` and `status` are empty for the start of a step."""

    message: str
    step: str
    host: str = ""
    status: str = ""


class Tally:
    """Adds up the events of one run."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        self.exit_code: int | None = None
        self._outputs_size = 0
        self._problems: dict[str, Problem] = {}
        self._changed: dict[str, list[str]] = {}
        self._stats: Mapping[str, Mapping[str, int]] | None = None
        self._stopped_early = False
        self._batches: list[set[str]] = []
        self._tail: deque[str] = deque(maxlen=_DETAIL_LINES)
        self._errors: list[str] = []

    def take(self, event: Mapping[str, Any]) -> Progress | None:
        """Counts an event; what it tells of progress, if anything."""
        data: Mapping[str, Any] = event.get("data") or {}
        if self._batches and "host" in data:
            self._batches[-1].add(str(data["host"]))
        self._read(str(event.get("stdout") or ""))
        match event.get("event"):
            case "end":
                self.exit_code = event.get("rc")
                self._stopped_early = bool(event.get("stopped_early"))
            case "playbook_on_play_start":
                self._batches.append(set())
            case "playbook_on_stats":
                self._stats = data
                self.outputs = data.get("artifact_data") or {}
                self._outputs_size = int(data.get("artifact_size") or 0)
            case "playbook_on_task_start" | "playbook_on_handler_task_start":
                step = _step(data)
                return Progress(message=step, step=step)
            case "runner_on_ok":
                if _result(data).get("changed"):
                    self._changed.setdefault(str(data.get("host", "")), []).append(_step(data))
                    return self._ended(data, "changed")
                return self._ended(data, "ok")
            case "runner_on_failed":
                ignored = bool(data.get("ignore_errors"))
                if not ignored:
                    self._add(data, unreachable=False)
                return self._ended(data, "ignored" if ignored else "failed")
            case "runner_on_unreachable":
                self._add(data, unreachable=True)
                return self._ended(data, "unreachable")
        return None

    def would_change(self, host: str) -> list[str]:
        """The steps that changed something on a host, or in a check would."""
        return self._changed.get(host, [])

    def unreachable(self) -> dict[str, str]:
        """Host -> why it could not be reached, for those that are lost in the end."""
        return {problem.host: problem.message for problem in self._final_problems() if problem.unreachable}

    def _read(self, text: str) -> None:
        in_error = False
        for line in text.splitlines():
            self._tail.append(line)
            if _ERROR.match(line):
                self._errors.append(_ERROR.sub("", line))
                in_error = True
            elif in_error and line.strip() and not line.startswith("Origin:"):
                # Ansible folds a long message into lines as wide as a terminal.
                self._errors[-1] += " " + line.strip()
            else:
                in_error = False

    def _add(self, data: Mapping[str, Any], *, unreachable: bool) -> None:
        host = str(data.get("host", ""))
        message = _message(_result(data))
        self._problems[host] = Problem(host=host, step=_step(data), message=message, unreachable=unreachable)

    def _ended(self, data: Mapping[str, Any], status: str) -> Progress:
        host, step = str(data.get("host", "")), _step(data)
        return Progress(message=f"{host}: {step}: {status}", step=step, host=host, status=status)

    # ---- what came out -----------------------------------------------------------------------------------------------

    def result(self, *, check: bool) -> dict[str, Any]:
        """The recap by host under `hosts`, its sums, whether it was only a check, and whether it ended before it was through (`recap`)."""
        stats = self._stats or {}
        columns = {name: stats.get(_FROM_STATS.get(name, name)) or {} for name in recap.COLUMNS}
        lost = {problem.host: problem for problem in self._final_problems()}
        hosts = {}
        for host in sorted({host for column in columns.values() for host in column}):
            counts = {name: columns[name].get(host, 0) for name in recap.COLUMNS}
            problem = lost.get(host)
            hosts[host] = recap.of_host(counts, step=problem.step, message=problem.message) if problem else recap.of_host(counts)
        # Ansible begins nothing more after a batch in which all hosts were lost.
        early = self._stopped_early or any(batch and batch <= lost.keys() for batch in self._batches)
        return recap.result(hosts, check=check, stopped_early=early)

    def failure(self) -> AttemptError | None:
        """The error that this run ends with, or None when Ansible says that all went well."""
        if self.exit_code == 0 and self._outputs_size:
            return PermanentError(
                FailureClass.INVALID,
                f"the playbook gave outputs of {self._outputs_size:,} bytes, more than the store takes",
                hint="write them to a file, and give its path with set_stats",
            )
        if self.exit_code == 0:
            return None
        problems = self._final_problems()
        if problems:
            return _from_problems(problems, "\n".join(self._tail))
        if self._errors:
            return self._invalid()
        if self._stats is None:
            return TemporaryError(
                FailureClass.CRASHED, f"ansible-playbook ended with exit code {self.exit_code}", detail="\n".join(self._tail)
            )
        return TemporaryError(
            FailureClass.FAILED,
            f"the playbook was given up: exit code {self.exit_code}",
            detail="\n".join(self._tail),
            hint="too many hosts failed for max_fail_percentage or any_errors_fatal",
        )

    def _final_problems(self) -> list[Problem]:
        """Of the hosts that are lost in the end: what a block rescued is no problem any more."""
        if self._stats is None:
            return list(self._problems.values())
        lost = {**(self._stats.get("failures") or {}), **(self._stats.get("dark") or {})}
        return [problem for host, problem in self._problems.items() if lost.get(host)]

    def _invalid(self) -> PermanentError:
        # The first one is general ("could not load the playbook"), the reason follows behind a colon or as the next one.
        message = self._errors[0]
        hint = next((hint for pattern, hint in _HINTS if pattern.search(message)), _ANY_HINT)
        return PermanentError(
            FailureClass.INVALID, message, detail="\n".join(self._tail), hint=hint, changed=bool(self._problems or self._stats)
        )


def _step(data: Mapping[str, Any]) -> str:
    return str(data.get("task") or data.get("name") or data.get("task_action") or "task")


def _result(data: Mapping[str, Any]) -> Mapping[str, Any]:
    result = data.get("res")
    return result if isinstance(result, Mapping) else {}


def _message(result: Mapping[str, Any]) -> str:
    """One line that says why; nothing of a result under `no_log`."""
    if "censored" in result:
        return "no_log hides why"
    item = result.get("failed_item")
    if isinstance(item, Mapping):
        return f"item {item.get('item')}: {_message({key: value for key, value in item.items() if key != 'item'})}"
    said = str(result.get("msg") or result.get("reason") or "no reason given").strip()
    first = said.splitlines()[0] if said else ""
    output = str(result.get("stderr") or result.get("module_stderr") or result.get("stdout") or "").strip()
    if first.startswith(("non-zero return code", "MODULE FAILURE")) and "rc" in result:
        return f"{first} ({result['rc']})" + (f": {output.splitlines()[-1].strip()}" if output else "")
    return " ".join(said.split())


def _from_problems(problems: list[Problem], detail: str) -> AttemptError:
    failed = [problem for problem in problems if not problem.unreachable]
    if failed:
        first = failed[0]
        return TemporaryError(FailureClass.FAILED, _told(first, len(problems)), detail=detail)
    untrusted = [problem for problem in problems if any(text in problem.message for text in _UNTRUSTED)]
    if untrusted:
        return PermanentError(
            FailureClass.REFUSED,
            _told(untrusted[0], len(problems)),
            detail=detail,
            hint="give the host's own key as `host_key`, or add it to your known_hosts",
        )
    locked = [problem for problem in problems if any(text in problem.message for text in _NO_ENTRY)]
    if len(locked) == len(problems):
        return TemporaryError(
            FailureClass.REFUSED, _told(locked[0], len(problems)), detail=detail, hint="check `user` and `key_file` of the host"
        )
    return TemporaryError(FailureClass.UNREACHABLE, _told(problems[0], len(problems)), detail=detail)


def _told(problem: Problem, hosts: int) -> str:
    more = f" (and {hosts - 1} more {'host' if hosts == 2 else 'hosts'})" if hosts > 1 else ""
    return f'{problem.host}: task "{problem.step}": {problem.message}{more}'
