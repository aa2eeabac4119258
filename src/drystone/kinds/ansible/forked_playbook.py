"""ansible-playbook in a fork of a process that has Ansible imported. Runs under Ansible's own interpreter, where drystone need not be.

`preload` imports; `run` is ansible-playbook. Ansible has read its settings by then: when those of the fork are not the same, it becomes
the ordinary program.
"""

# ruff: noqa: TID251  (this is a child process: its environment is its input)

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

OF_AN_ATTEMPT = frozenset({"ANSIBLE_LOCAL_TEMP", "ANSIBLE_SSH_CONTROL_PATH_DIR"})
"""Settings that `run` brings up to date, or that are read when they are used."""
_MODULES = (
    "ansible.cli.playbook",
    "ansible.executor.task_queue_manager",
    "ansible.executor.process.worker",
    "ansible.plugins.strategy.linear",
    "ansible.plugins.connection.ssh",
    "ansible.plugins.connection.local",
    "ansible.plugins.action.normal",
    "ansible.plugins.shell.sh",
    "ansible.plugins.inventory.yaml",
    "ansible.executor.module_common",
)
"""What nearly every playbook imports when it runs."""
_settings: dict[str, str] = {}


def preload() -> None:
    """Imports Ansible. Raises what its imports raise: SystemExit when settings cannot be read."""
    private = tempfile.mkdtemp(prefix="drystone-")
    os.environ["ANSIBLE_LOCAL_TEMP"] = private
    try:
        for name in _MODULES:
            import_module(name)
        from ansible.utils.path import cleanup_tmp_file

        # The folder that it made for itself while its settings were read: each fork has one of its own.
        atexit.unregister(cleanup_tmp_file)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    _settings.update(_read(os.environ))


def run(argv: list[str]) -> int:
    """Does what `ansible-playbook` does with these arguments."""
    if _read(os.environ) != _settings:
        os.write(2, b"drystone: not a warm start: Ansible's settings are others\n")
        os.execv(argv[0], argv)
    from ansible import constants
    from ansible.cli.playbook import main

    constants.DEFAULT_LOCAL_TMP = constants.config.get_config_value("DEFAULT_LOCAL_TMP")
    sys.exit(main())


def _read(environ: Mapping[str, str]) -> dict[str, str]:
    """What Ansible reads on import, with the folder that relative paths in ansible.cfg may mean."""
    names = (name for name in environ if name.startswith("ANSIBLE_") and name not in OF_AN_ATTEMPT)
    return {**{name: environ[name] for name in names}, "cwd": str(Path.cwd())}
