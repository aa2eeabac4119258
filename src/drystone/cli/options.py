"""Arguments and options that several commands share, and what each command knows from the common ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drystone.cli.completion import plan_words, run_words

if TYPE_CHECKING:
    from drystone.app.places import PlanFile
    from drystone.app.world import World


@dataclass(frozen=True, kw_only=True)
class Session:
    """The common options. `folder` None means that the current folder tells the project."""

    folder: Path | None

    def project(self) -> Path:
        """The project that this command works in."""
        from drystone.app import places

        return places.find_project(self.folder or Path.cwd())

    def world(self) -> World:
        """The surroundings of a command that works on the project."""
        from drystone import wiring

        return wiring.world(self.project())

    def plan(self, word: str) -> PlanFile:
        """The plan that a word of the command line means."""
        from drystone import wiring
        from drystone.app import places

        project = places.find_project(self.folder) if self.folder is not None else None
        return places.find_plan(word, cwd=Path.cwd(), project=project, library=wiring.library())


def session(ctx: typer.Context) -> Session:
    """What `main.common` put there."""
    assert isinstance(ctx.obj, Session)
    return ctx.obj


Json = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
PlanWord = Annotated[str, typer.Argument(metavar="PLAN", help="A plan's file or name.", show_default=False, autocompletion=plan_words)]
PlanWordOrNone = Annotated[
    str | None, typer.Argument(metavar="[PLAN]", help="A plan's file or name.", show_default=False, autocompletion=plan_words)
]
RunWord = Annotated[str, typer.Argument(metavar="RUN", help='An id, a unique beginning of one, or "last".', autocompletion=run_words)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; go on.")]


def examples(*lines: str) -> str:
    """The end of a command's help. The backspace keeps the lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


Examples = Mapping[str, str]
