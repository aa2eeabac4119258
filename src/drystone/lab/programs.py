"""The programs that the lab starts: ip, ssh-keygen, sshd, tini. Looked up where distributions put them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from drystone.errors import LabError

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

PACKAGES = {"sshd": "openssh-server", "ssh-keygen": "openssh-client", "ip": "iproute2", "tini": "tini"}
"""Debian's package of each program; other distributions name them alike."""


def find(program: str) -> str | None:
    """The path of a program in the system's own folders, which VMs see too; or None."""
    return shutil.which(program, path=SYSTEM_PATH)


def need(program: str) -> str:
    """The path of a program. Raises LabError with the package to install when it is missing."""
    path = find(program)
    if path is None:
        raise LabError(f'the program "{program}" is missing', hint=f"install the package {PACKAGES[program]}")
    return path


def run(argv: Sequence[str], *, stdin: str = "") -> str:
    """Run a program to its end and give back what it printed. Raises LabError with its error output when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise LabError(f'"{" ".join(argv)}" failed: {said}')
    return done.stdout
