"""Warm starts: what the worker and ansible-playbook have to find in the process that they are forked from (decision 0019).

Ansible reads its settings while it is imported, so each configuration has a process of its own: the environment, the settings' files, the
program and the folder that it works in make the difference. What changes from attempt to attempt, and is not read on import, does not.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from drystone.kinds.ansible import forked_playbook, worker
from drystone.plugin import api

VARIABLE = "DRYSTONE_ANSIBLE_WARM"
"""Environment variable: `0` starts Ansible anew for every playbook. The settings' `ansible.warm` sets it."""
OF_AN_ATTEMPT = forked_playbook.OF_AN_ATTEMPT | {
    "DRYSTONE_RUN",
    "DRYSTONE_TASK",
    "DRYSTONE_ATTEMPT",
    "DRYSTONE_TOKEN",
    "DRYSTONE_STOPPED_EARLY",
}
_PLAYBOOK_SCRIPT = re.compile(rb"^from ansible\.cli\.playbook import main$", re.MULTILINE)
_SCRIPT_BYTES = 1 << 12


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether starts may be warm."""
    return environ.get(VARIABLE, "1") != "0"


def prefixes(ctx: api.Context, program: str, env: Mapping[str, str], cwd: str) -> tuple[Sequence[str], Sequence[str]]:
    """What to put before the worker's argv, and before ansible-playbook's; nothing for what has to start cold.

    env: what the attempt adds to `ctx.environ`.
    """
    if not is_wanted(ctx.environ):
        return (), ()
    worker = ctx.warm(of_worker(ctx.environ))
    preload = of_playbook(program, {**ctx.environ, **env}, cwd)
    return worker, () if preload is None else ctx.warm(preload)


def of_worker(environ: Mapping[str, str]) -> api.Preload:
    """For `worker`, which has ansible-runner to import. It reads its environment when it runs."""
    kept = {name: value for name, value in environ.items() if name not in OF_AN_ATTEMPT}
    return api.Preload(python=sys.executable, script=worker.__file__, cwd="/", environ=kept)


def of_playbook(program: str, environ: Mapping[str, str], cwd: str) -> api.Preload | None:
    """For ansible-playbook, as ansible-runner will start it with this environment; None when the program is not Ansible's own script."""
    known = _script(program, environ)
    if known is None:
        return None
    python, folder = known
    kept = {name: value for name, value in with_callback(environ).items() if name not in OF_AN_ATTEMPT}
    return api.Preload(
        python=python,
        script=forked_playbook.__file__,
        cwd=cwd,
        environ=kept,
        path=folder,
        stamp=_stamp([program, *_settings_files(environ, cwd)]),
    )


def with_callback(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with what ansible-runner adds of settings of Ansible: `forked_playbook` compares, and a test with ansible-runner."""
    added = dict(environ)
    folder = environ.get("AWX_LIB_DIRECTORY", "")
    if not folder and (spec := find_spec("ansible_runner")) is not None and spec.origin is not None:
        folder = str(Path(spec.origin).parent / "display_callback" / "callback")
    added["ANSIBLE_CALLBACK_PLUGINS"] = ":".join(filter(None, (environ.get("ANSIBLE_CALLBACK_PLUGINS"), folder)))
    added["ANSIBLE_STDOUT_CALLBACK"] = "awx_display"
    added["ANSIBLE_RETRY_FILES_ENABLED"] = "False"
    return added


def _script(program: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The interpreter of ansible-playbook, and the folder that is first on its path; None for a wrapper or another program."""
    try:
        path = Path(program).resolve()
        with path.open("rb") as file:
            head = file.read(_SCRIPT_BYTES)
    except OSError:
        return None
    words = os.fsdecode(head.partition(b"\n")[0]).removeprefix("#!").split()
    if not head.startswith(b"#!") or not _PLAYBOOK_SCRIPT.search(head):
        return None
    if len(words) == 2 and Path(words[0]).name == "env":
        words = [shutil.which(words[1], path=environ.get("PATH", os.defpath)) or ""]
    if len(words) != 1 or not os.access(words[0], os.X_OK):
        return None
    return words[0], str(path.parent)


def _settings_files(environ: Mapping[str, str], cwd: str) -> Iterable[str]:
    """Where Ansible looks for its settings."""
    yield environ.get("ANSIBLE_CONFIG", "")
    yield str(Path(cwd) / "ansible.cfg")
    yield str(Path(environ.get("HOME", "/")) / ".ansible.cfg")
    yield "/etc/ansible/ansible.cfg"


def _stamp(paths: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(Path(path).read_bytes())
            digest.update(str(Path(path).stat().st_mtime_ns).encode())
        except OSError:
            digest.update(b"-")
        digest.update(b"\0")
    return digest.hexdigest()
