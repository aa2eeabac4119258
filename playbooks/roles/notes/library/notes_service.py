"""Runs the notes application under its supervisor, or stops both.

Second step of the software playbook, after `notes_files`, and first of its rollback.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.notes_host import find_base, read_supervisor

DOCUMENTATION = """
module: notes_service
short_description: Run the notes application under its supervisor, or stop both
description:
  - With O(state=started), the release on disk runs and its health page answers when the module returns. What runs
    already is left alone; another release is stopped first.
options:
  state: {choices: [started, stopped], default: started, description: Whether it is to run.}
  base: {type: str, default: "", description: The application's folder; empty for the host's usual place.}
  timeout: {type: int, default: 15, description: How long the health page is waited for, in seconds.}
author: drystone
"""

# The supervisor gives the application 5 s to end.
STOP_SECONDS = 10
LOOK_SECONDS = 0.05
LONGEST_ANSWER_SECONDS = 5
LAST_WORDS = 2000

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class ServiceError(Exception):
    """The application cannot be started or stopped."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["started", "stopped"], "default": "started"},
            "base": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    base = find_base(module.params["base"])
    try:
        if module.params["state"] == "stopped":
            running = read_supervisor(base) is not None
            if not module.check_mode:
                stop(base)
            module.exit_json(changed=running)
        module.exit_json(**start(module, base))
    except (ServiceError, OSError) as error:
        module.fail_json(msg=str(error), log=last_words(base))


def start(module: AnsibleModule, base: Path) -> dict[str, Any]:
    """See to it that the release on disk runs and is well."""
    if module.check_mode and not (base / "etc" / "app.json").exists():
        return {"changed": True}
    settings = json.loads((base / "etc" / "app.json").read_text())
    running = read_supervisor(base)
    changed = running is None or running["release"] != settings["release"]
    if module.check_mode:
        return {"changed": changed}
    if changed:
        stop(base)
        start_supervisor(base)
    return {"changed": changed, "health": wait_for_health(settings, module.params["timeout"])}


def start_supervisor(base: Path) -> None:
    """Start the supervisor away from this session, which must not wait for it."""
    with (base / "log" / "app.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-B", str(base / "app" / "supervise.py"), str(base)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def wait_for_health(settings: dict[str, Any], timeout: int) -> dict[str, Any]:
    """The health of the wanted release, as soon as it tells it. Raises ServiceError after `timeout` seconds.

    A health of 503 will do: then the database is down, which the migration playbook mends, and it comes after us.
    """
    address = WILDCARDS.get(settings["address"], settings["address"])
    url = f"http://{f'[{address}]' if ':' in address else address}:{settings['port']}/health"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    seen = "nothing answers"
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            with open_any(opener, url, min(left, LONGEST_ANSWER_SECONDS)) as answer:
                health = json.load(answer)
            if isinstance(health, dict) and health.get("release") == settings["release"]:
                return health
            seen = "something else answers there"
        except (OSError, ValueError) as error:
            seen = str(error)
        time.sleep(LOOK_SECONDS)
    raise ServiceError(
        f'"{url}" does not tell the health of this release after {timeout} s ({seen}): see the log, or set app_port, '
        "app_address or app_start_timeout"
    )


def open_any(opener: urllib.request.OpenerDirector, url: str, timeout: float) -> Any:
    """The answer of a URL, whatever its status."""
    try:
        return opener.open(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        return error


def stop(base: Path) -> None:
    """End the supervisor, and the application with it. Raises ServiceError when it outlives a SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        asked = None
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            running = read_supervisor(base)
            if running is None:
                return
            # A supervisor that has just started has its lock, and writes its pid a moment later.
            if running["pid"] not in (None, asked):
                asked = running["pid"]
                with suppress(ProcessLookupError):
                    os.kill(asked, number)
            time.sleep(LOOK_SECONDS)
    raise ServiceError(f'the supervisor of "{base}" cannot be stopped: end the process in run/supervisor.lock by hand')


def last_words(base: Path) -> str:
    """The end of the application's log."""
    path = base / "log" / "app.log"
    return path.read_text(errors="replace")[-LAST_WORDS:] if path.exists() else ""


if __name__ == "__main__":
    main()
