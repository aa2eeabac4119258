"""What the end-to-end tests share: the real command in a project of its own, and looking for what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.lab import links, programs

LIMIT_SECONDS = 150.0
COMMAND = [sys.executable, "-m", "drystone"]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = LIMIT_SECONDS) -> Any:
    """What the condition gives once it is true. Fails the test when that takes too long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        time.sleep(0.02)
    return value


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Project:
    """A folder, the environment of its user, and the `drystone` command in it."""

    def __init__(self, folder: Path, environ: Mapping[str, str], before: Sequence[str] = ()) -> None:
        self.folder = folder
        self.environ = dict(environ)
        self.before = list(before)
        self.started: list[subprocess.Popen[str]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def command(self) -> Sequence[str]:
        return COMMAND

    @property
    def home(self) -> Path:
        return self.folder / ".drystone"

    @property
    def lab(self) -> Path:
        return Path(self.environ["DRYSTONE_LAB_ROOT"])

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        process = subprocess.Popen(
            [*self.before, *self.command, *arguments],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, code: int | None = 0, **environ: str) -> Done:
        """Run a command to its end. The exit code must be that one, unless it is None; a traceback is never an answer."""
        return finish(self.start(*arguments, **environ), code)

    def show(self, run: str = "last") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("show", run, "--json").out)
        return found

    def events(self, run: str = "last", **wanted: str) -> list[dict[str, Any]]:
        """What happened in a run, in order; only events with these `type` and `task`, when given."""
        events = [json.loads(line) for line in self.run("events", run).out.splitlines()]
        return [event for event in events if all(event.get(key) == value for key, value in wanted.items())]

    def end(self) -> None:
        """End what still runs."""
        for process in self.started:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def finish(process: subprocess.Popen[str], code: int | None = 0) -> Done:
    """Wait for the end of a command. The exit code must be that one, unless it is None; a traceback is never an answer."""
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert code is None or process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in out + err, out + err
    return Done(code=process.returncode, out=out, err=err)


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 of the command alone, as the kernel does when memory is short."""
    process.kill()
    process.communicate(timeout=LIMIT_SECONDS)


class Following:
    """The NDJSON events of a run that goes on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.seen: list[dict[str, Any]] = []
        self._lines = iter(process.stdout)

    def until(self, type: str, task: str, text: str = "") -> dict[str, Any]:
        """Read on to that event of that task, with that text in it."""
        for line in self._lines:
            event = json.loads(line)
            self.seen.append(event)
            if event["type"] == type and event["task"] == task and text in line:
                return event
        raise AssertionError(f"no {type} of {task} before the end: {[event['type'] for event in self.seen]}")


def statuses(shown: Mapping[str, Any]) -> dict[str, str]:
    """Instances to their states."""
    return {task["id"]: task["status"] for task in shown["tasks"]}


def health(url: str) -> dict[str, Any]:
    """What the application says of itself, asked as a person would."""
    done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", "10", f"{url}/health"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def generations(lab: Path) -> dict[str, int]:
    """How often each VM of a lab was started, by its registry."""
    records = [json.loads(path.read_text()) for path in lab.glob("networks/*/vms/*/vm.json")]
    return {record["name"]: record["generation"] for record in records}


def left_of(project: Project) -> list[str]:
    """What is left of a project in this machine: links, mounts, processes, the lab's folder, Terraform states, temporary files."""
    lab, mark = str(project.lab), f"DRYSTONE_LAB_ROOT={project.lab}".encode()
    left = [lab] if project.lab.exists() else []
    left += [f"link {link.name}" for link in (links.labelled() if programs.find("ip") else []) if link.owner == lab]
    left += [f"state {path}" for path in project.home.glob("*/**/*tfstate*")]
    left += [f"temporary {path}" for path in Path(project.environ["TMPDIR"]).iterdir()]
    for pid, folder in _processes():
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if lab in (folder / "mountinfo").read_text():
                left.append(f"mount or process of a VM: {pid} {words!r}")
            elif lab.encode() in words or mark in (folder / "environ").read_bytes().split(b"\0"):
                left.append(f"process {pid} {words!r}")
    return left


def _processes() -> Iterator[tuple[int, Path]]:
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) != os.getpid():
            yield int(folder.name), folder
