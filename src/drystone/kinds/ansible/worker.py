"""The child in which ansible-runner runs: `python -m drystone.kinds.ansible.worker`, started by `task` under supervision.

In: one JSON object on standard input (`Spec`). Out: one event a line on standard output, JSON, the last one `end`; what
goes wrong with the child itself on standard error. Everything that carries values (variables, passwords, the events that
ansible-runner drops as files) is in the attempt's scratch folder and is removed as soon as it was read.

A SIGINT is handed on to ansible-playbook once; whatever does not end by itself is ended by the supervisor. Then what
still runs on the hosts is ended too, through the connections that are still open: Ansible itself would leave it.
Imports nothing that it can do without: this start is paid by every playbook.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess  # noqa: TID251 (this is a child process itself: there is no Context here to ask for another)
import sys
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any, TextIO, TypedDict

_KEPT = frozenset({"changed", "censored", "msg", "stderr", "stdout", "module_stderr", "rc", "reason", "unreachable"})
_FIELDS = frozenset({"host", "task", "play", "name", "ignore_errors", "artifact_data", "task_action"})
_COLUMNS = frozenset({"ok", "changed", "failures", "dark", "skipped", "rescued", "ignored"})
_TEXT_CHARACTERS = 4000
_SHOWN_CHARACTERS = 200_000
"""Of what one event shows: a line of output must not grow past what drystone takes as one."""
_OUTPUTS_CHARACTERS = 1 << 20
_CLOSE_SECONDS = 8
# All sessions of one connection are children of one sshd, and leaders of their process groups.
_END_SESSIONS = """exec /bin/sh -c '
others() { ps -A -o pid= -o ppid= | awk -v sshd=$PPID -v me=$$ "\\$2 == sshd && \\$1 != me {print \\$1}"; }
found=$(others)
for pid in $found; do kill -TERM -$pid; done
[ -z "$found" ] || sleep 1
for pid in $(others); do kill -KILL -$pid; done
'"""


class Spec(TypedDict):
    """argv: of ansible-playbook. once: files that nobody needs after Ansible has read them. Paths are absolute.

    unset: variables of the environment that ansible-runner sets by itself and must not.
    """

    argv: list[str]
    cwd: str
    scratch: str
    once: list[str]
    unset: list[str]


def main() -> int:
    """Runs one playbook. 0 when ansible-playbook was run to an end, whatever that was."""
    spec: Spec = json.load(sys.stdin)
    # Events alone go to standard output; what any library prints goes where it can be read.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    interrupted: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: _interrupt(number, interrupted))
    leash = _Leash()
    try:
        _run(spec, out, leash)
    finally:
        sockets = [path for path in (Path(spec["scratch"]) / "c").iterdir() if path.is_socket()]
        if interrupted:
            _through(sockets, "-T", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "none", _END_SESSIONS)
        _through(sockets, "-O", "exit", "none")
        leash.let_go()
        # `task` does the same; but when drystone was killed, this is the last one to know of the folder.
        shutil.rmtree(spec["scratch"], ignore_errors=True)
    return 0


class _Leash:
    """Holds what a forked ansible-playbook leaves running until it is let go: the connections to the hosts are used after its end."""

    def __init__(self) -> None:
        self.address = f"drystone-{secrets.token_hex(16)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(f"\0{self.address}")
        self._listener.listen(1)
        self._listener.setblocking(False)

    def let_go(self) -> None:
        """Returns when all is ended. One that was started cold does not hang on it."""
        with contextlib.suppress(OSError):
            held, _ = self._listener.accept()
            held.settimeout(_CLOSE_SECONDS)
            held.shutdown(socket.SHUT_WR)
            held.recv(1)


def preload() -> None:
    """Imports what a fork of a warm process then has (decision 0019)."""
    import ansible_runner.config.runner
    import ansible_runner.runner  # noqa: F401


def run(argv: list[str]) -> int:
    """The same as `main`, in such a fork."""
    return main()


def _interrupt(number: int, interrupted: list[int]) -> None:
    """Hands the first SIGINT on: ansible-playbook is in a session of its own and does not see ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupted.append(number)
    me = os.getpid()
    with contextlib.suppress(OSError):
        for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGINT)


def _run(spec: Spec, out: TextIO, leash: _Leash) -> None:
    from ansible_runner.config.runner import RunnerConfig
    from ansible_runner.runner import Runner

    private = Path(spec["scratch"]) / "runner"
    config = RunnerConfig(
        private_data_dir=str(private),
        project_dir=spec["cwd"],
        playbook=spec["argv"][-1],
        ident="run",
        # Any other cache would overrule the user's own.
        fact_cache_type="",
        suppress_env_files=True,
        suppress_output_file=True,
        quiet=True,
    )
    config.prepare()
    config.suppress_output_file = True
    # Without an input that is a terminal nothing can stop and wait for an answer that nobody gives.
    config.command = ["/bin/sh", "-c", 'exec "$@" </dev/null', "sh", *spec["argv"]]
    config.cwd = spec["cwd"]
    config.env["DRYSTONE_LEASH"] = leash.address
    for name in spec["unset"]:
        config.env.pop(name, None)

    def on_event(event: dict[str, Any]) -> bool:
        if event.get("event") == "playbook_on_start":
            _remove(spec["once"])
        _tell(out, slim(event))
        return False

    def on_status(status: dict[str, Any], runner_config: Any) -> None:
        if status["status"] == "running":
            # ansible-runner notes its whole environment there.
            _remove([f"{runner_config.artifact_dir}/command"])

    runner = Runner(config, event_handler=on_event, status_handler=on_status)
    status, exit_code = runner.run()
    early = Path(config.env["DRYSTONE_STOPPED_EARLY"]).exists()
    _tell(out, {"event": "end", "status": status, "rc": exit_code, "stopped_early": early})


def _tell(out: TextIO, event: dict[str, Any]) -> None:
    out.write(json.dumps(event) + "\n")
    out.flush()


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)


def slim(event: dict[str, Any]) -> dict[str, Any]:
    """What `parse` needs of an event: module arguments and whole results stay here."""
    data = event.get("event_data") or {}
    kept = {name: data[name] for name in _FIELDS if data.get(name) is not None}
    if event.get("event") == "playbook_on_stats":
        kept |= {name: data.get(name) or {} for name in _COLUMNS}
        size = len(json.dumps(kept.get("artifact_data") or {}))
        if size > _OUTPUTS_CHARACTERS:
            kept |= {"artifact_data": {}, "artifact_size": size}
    result = data.get("res")
    if isinstance(result, dict):
        kept["res"] = _slim_result(result)
        failed = [item for item in result.get("results") or [] if isinstance(item, dict) and item.get("failed")]
        if failed:
            kept["res"]["failed_item"] = {**_slim_result(failed[0]), "item": _short(failed[0].get("item"))}
    return {"event": event.get("event"), "stdout": (event.get("stdout") or "")[-_SHOWN_CHARACTERS:], "data": kept}


def _slim_result(result: dict[str, Any]) -> dict[str, Any]:
    return {name: _short(result[name]) for name in _KEPT if name in result}


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    # The end of a tool's output is where it says what went wrong.
    return (value if isinstance(value, str) else json.dumps(value, default=str))[-_TEXT_CHARACTERS:]


def _through(sockets: Iterable[Path], *words: str) -> None:
    """Runs ssh with these words through each of Ansible's kept connections, all at once."""
    null = subprocess.DEVNULL
    running = [subprocess.Popen(["ssh", "-o", f"ControlPath={socket}", *words], stdin=null, stdout=null, stderr=null) for socket in sockets]
    deadline = monotonic() + _CLOSE_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
