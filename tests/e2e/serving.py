"""`drystone serve` as a process of its own, for tests that use it as its users do."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from e2e_support import Project, wait_until


class Serving:
    """A server at a port that was free. What it wrote is kept in a file of the project's folder."""

    def __init__(self, project: Project, name: str = "serve", *arguments: str, **environ: str) -> None:
        self.project = project
        self.log = project.folder / f"{name}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*project.before, *project.command, "serve", "--listen", "127.0.0.1:0", *arguments],
                cwd=project.folder,
                env={**project.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        project.started.append(self.process)
        self.pid = self.process.pid
        self.address = wait_until(self._address, "the server's address")

    def _address(self) -> str | None:
        assert self.process.poll() is None, self.log.read_text()
        started = [line for line in self.lines("server.started") if f":{self.pid}:" in line["owner"]]
        return str(started[-1]["address"]) if started else None

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """What it wrote: each line must be JSON."""
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in found if event is None or line["event"] == event]

    def get(self, path: str) -> tuple[int, str]:
        return self.ask(urllib.request.Request(self.address + path))

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        return self.ask(urllib.request.Request(self.address + path, body, dict(headers)))

    def ask(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> int:
        """Graceful; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)


def ended(project: Project, run: str) -> dict[str, Any]:
    """The run, once it has ended."""

    def look() -> dict[str, Any] | None:
        shown = project.show(run)
        return shown if shown["finished_at"] is not None else None

    found: dict[str, Any] = wait_until(look, f"the end of run {run}")
    return found
