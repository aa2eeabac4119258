"""The exact command lines. Pure: nothing is run, no file is read.

python-terraform turns options into flags; the rest of it is not used, because it starts processes without supervision and puts
variables into files that stay when it is killed. No value of a variable or of a backend is ever an argument: `session` feeds both
through standard input, which `STDIN` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from python_terraform import IsFlagged, Terraform

STDIN = "/dev/stdin"


class CommandLine(Terraform):  # type: ignore[misc]
    """Terraform command lines for one folder.

    program: the program and its first arguments, such as `("terraform",)`.
    folder:  the root module as it is run.
    """

    def __init__(self, program: Sequence[str], folder: Path) -> None:
        # The base class would read a state file here; only its translation of options is wanted.
        self.program = tuple(program)
        self.folder = folder
        self.terraform_bin_path = self.program[0]

    def __getattr__(self, name: str) -> Any:
        # The base class turns every unknown name into a Terraform command, typing mistakes included.
        raise AttributeError(name)

    def line(self, command: str, *arguments: str, **options: Any) -> list[str]:
        """One command line. None drops an option, `IsFlagged` gives it no value, a list repeats it."""
        _, *rest = self.generate_cmd_string(command, *arguments, **options)
        return [*self.program, f"-chdir={self.folder}", *rest]

    def init(self, *, backend: bool) -> list[str]:
        """`backend`: settings come on standard input. Always reconfigures: state is never copied from one backend to another."""
        return self.line(
            "init",
            input=False,
            no_color=IsFlagged,
            reconfigure=IsFlagged,
            backend_config=STDIN if backend else None,
        )

    def plan(
        self,
        out: Path,
        *,
        destroy: bool = False,
        variables: bool = True,
        var_files: Sequence[Path] = (),
        targets: Sequence[str] = (),
        parallelism: int | None = None,
    ) -> list[str]:
        """With -detailed-exitcode it exits 2 when there are changes."""
        return self.line(
            "plan",
            input=False,
            json=IsFlagged,
            detailed_exitcode=IsFlagged,
            destroy=IsFlagged if destroy else None,
            out=str(out),
            var_file=_files(var_files, variables=variables),
            target=list(targets),
            parallelism=parallelism,
        )

    def apply(self, plan_file: Path, *, variables: bool = False, parallelism: int | None = None) -> list[str]:
        """Applies a saved plan. `variables`: it has ephemeral ones, which are not kept in the plan file."""
        return self.line(
            "apply",
            str(plan_file),
            input=False,
            json=IsFlagged,
            var_file=[STDIN] if variables else [],
            parallelism=parallelism,
        )

    def refresh(
        self, *, variables: bool = True, var_files: Sequence[Path] = (), targets: Sequence[str] = (), parallelism: int | None = None
    ) -> list[str]:
        """Writes into the state what really exists, and changes nothing else."""
        return self.line(
            "apply",
            refresh_only=IsFlagged,
            auto_approve=IsFlagged,
            input=False,
            json=IsFlagged,
            var_file=_files(var_files, variables=variables),
            target=list(targets),
            parallelism=parallelism,
        )

    def output(self) -> list[str]:
        """All outputs as one JSON object, sensitive ones in clear."""
        return self.line("output", json=IsFlagged, no_color=IsFlagged)

    def show(self, plan_file: Path) -> list[str]:
        """A saved plan as JSON, sensitive values in clear."""
        return self.line("show", str(plan_file), json=IsFlagged, no_color=IsFlagged)

    def state_pull(self) -> list[str]:
        """The state as JSON; nothing at all when there is none."""
        return self.line("state pull")

    def state_push(self, file: Path) -> list[str]:
        """Puts a state file in the place of the state. The caller has compared the two."""
        return self.line("state push", str(file), force=IsFlagged)

    def force_unlock(self, lock_id: str) -> list[str]:
        """Breaks the lock with this id, no other."""
        return self.line("force-unlock", lock_id, force=IsFlagged)


def _files(var_files: Sequence[Path], *, variables: bool) -> list[str]:
    # The last file wins, so the plan's own variables come after its files.
    return [str(file) for file in var_files] + ([STDIN] if variables else [])
