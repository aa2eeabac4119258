"""SSH keys of the lab and the configuration of its sshd.

One client key opens all VMs of a lab; every VM has a host key of its own, which stays over a restart.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from drystone.lab import locks, programs


def make_key(path: Path) -> str:
    """The public key, "type base64", of a key pair at that path; made when it is not there yet."""
    public = path.with_name(path.name + ".pub")
    if not (path.exists() and public.exists()):
        # The first VMs of a lab are made at once: all must get the same key.
        lock = path.with_name(f".{path.name}.lock")
        with locks.hold(lock):
            if not (path.exists() and public.exists()):
                _generate(path, public)
            lock.unlink(missing_ok=True)
    return public_key(path)


def _generate(path: Path, public: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        fresh = Path(folder, "key")
        programs.run([programs.need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(fresh)])
        # The public half last: who sees it knows that both are there.
        os.replace(fresh, path)
        os.replace(fresh.with_name("key.pub"), public)


def public_key(path: Path) -> str:
    """The public half, "type base64"; empty when there is none."""
    try:
        return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])
    except FileNotFoundError:
        return ""


def sshd_config(*, address: str, port: int, host_key: str, authorized_keys: str, strict: bool, environment: Mapping[str, str]) -> str:
    """The text of sshd_config: keys only, no PAM, nothing looked up in the DNS.

    strict: refuse key files in folders that others may write; off where the lab's root lies below such a folder.
    """
    variables = " ".join(f'"{name}={value}"' for name, value in environment.items())
    return f"""\
Port {port}
ListenAddress {address}
HostKey {host_key}
AuthorizedKeysFile {authorized_keys}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
StrictModes {"yes" if strict else "no"}
MaxStartups 100
MaxSessions 100
PidFile none
Subsystem sftp internal-sftp
AcceptEnv LANG LC_*
SetEnv {variables}
"""
