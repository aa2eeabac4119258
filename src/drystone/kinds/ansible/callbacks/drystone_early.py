"""Notes that hosts which did not fail were given up because of others: then a retry has to run on them too (`recap.to_retry`).

No event tells it: Ansible's recap counts nothing for a host that `any_errors_fatal` or a failed `run_once` has ended.
"""

# ruff: noqa: TID251  (this is a child process: its environment is its input)

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: drystone_early
type: aggregate
short_description: tells drystone when a play ends before its hosts are through
description: Touches the file that the environment names.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Ansible calls these; a condition that is still a template counts as true."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "drystone_early"

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A host failed."""
        if not ignore_errors:
            self._lost(result._task)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host could not be reached."""
        self._lost(result._task)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Too many hosts failed."""
        self._note()

    def _lost(self, task: Any) -> None:
        if task.any_errors_fatal or task.run_once:
            self._note()

    def _note(self) -> None:
        if path := os.environ.get("DRYSTONE_STOPPED_EARLY"):
            Path(path).touch(mode=0o600)
