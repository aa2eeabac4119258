"""A project in which the real command runs, once or several at a time, for tests of what people do to runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60
"""A condition that does not come within this is a failure, not a slow machine."""


@dataclass(frozen=True)
class Project:
    """A folder with plans/, and the command in it."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        """A file of the project; a plan by its name alone."""
        path = self.folder / (name if "." in name else f"plans/{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *argv: str, user: str = "alice") -> subprocess.CompletedProcess[str]:
        """A command to its end, as that user."""
        done = subprocess.run(_argv(argv), cwd=self.folder, env=_env(user), capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @contextmanager
    def start(self, *argv: str, user: str = "alice") -> Iterator[subprocess.Popen[str]]:
        """A command that goes on beside the test; ended with it at the latest."""
        with (self.folder / "err").open("w") as err:
            child = subprocess.Popen(_argv(argv), cwd=self.folder, env=_env(user), stdout=err, stderr=err, text=True)
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            child.wait()

    def shown(self, run: str = "last") -> dict[str, Any]:
        """`drystone show --json`."""
        found: dict[str, Any] = json.loads(self.run("show", run, "--json").stdout)
        return found

    def status(self, task: str, run: str = "last") -> str:
        """Of one instance."""
        return next(str(item["status"]) for item in self.shown(run)["tasks"] if item["id"] == task)

    def lines(self, name: str) -> list[str]:
        """Of a file that tasks wrote; none when it is not there."""
        path = self.folder / name
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def until(self, condition: Callable[[], Any]) -> Any:
        """Waits for a condition, and gives what it gave."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < end, "it never came"
            time.sleep(0.05)
        return found


def _argv(argv: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "drystone", *argv]


def _env(user: str) -> dict[str, str]:
    return {**os.environ, "LOGNAME": user, "USER": user, "NO_COLOR": "1"}
