"""Runs drystone commands in children that are killed on purpose; for test_crash.

Reads lines of JSON, {"cwd", "argv", "kill_after"}, and answers each with the exit code of the child. It imports drystone once and forks
for each command, so that hundreds of them take seconds. With `kill_after` N the child sends itself SIGKILL right after the N-th write.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

from drystone.cli.main import main
from drystone.engines.versions import Versions
from drystone.plugin.registry import Registry
from drystone.stores.sql import SqlJournal


def command(cwd: str, argv: list[str], kill_after: int | None) -> None:
    os.chdir(cwd)
    silent = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    if kill_after is not None:
        die_after(kill_after)
    code = 0
    try:
        sys.argv = ["drystone", *argv]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    os._exit(code)


def die_after(writes: int) -> None:
    done = 0
    for owner, name in ((SqlJournal, "create"), (SqlJournal, "append"), (Versions, "keep"), (Versions, "take_back")):
        write = getattr(owner, name)

        def counted(self: Any, *args: Any, write: Any = write, **more: Any) -> None:
            nonlocal done
            write(self, *args, **more)
            done += 1
            if done == writes:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, counted)


def warm_up() -> None:
    """Everything that a command imports only when it needs it."""
    for kind in ("command", "noop"):
        Registry().get(kind)
    for module in ("app.runs", "app.reading", "cli.live", "cli.lines", "cli.run_view", "engines.embedded.engine", "adapters.yaml_text"):
        importlib.import_module(f"drystone.{module}")


def serve() -> None:
    warm_up()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            command(asked["cwd"], asked["argv"], asked["kill_after"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
