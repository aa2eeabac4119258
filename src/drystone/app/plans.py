"""Plans before they run: load, check, draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drystone.app import nesting, places
from drystone.app.places import PlanFile
from drystone.app.world import World
from drystone.core.diagnostics import Diagnostic, Diagnostics, Severity
from drystone.errors import NotFoundError, PlanError, ProjectError

if TYPE_CHECKING:
    from drystone.core.graph import Graph


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the compiler said of one plan. `graph` is None exactly when there are errors."""

    plan: PlanFile
    source: str
    graph: Graph | None
    diagnostics: Sequence[Diagnostic]

    @property
    def errors(self) -> int:
        """How many mistakes keep it from running."""
        return sum(item.severity is Severity.ERROR for item in self.diagnostics)

    def is_fine(self, *, strict: bool) -> bool:
        """True when it may run; warnings count with `strict`."""
        return not self.diagnostics if strict else self.errors == 0


def check(world: World, plan: PlanFile, source: str | None = None) -> Checked:
    """Compiles a plan, from its file unless its text is given. Raises ProjectError for an unreadable file; mistakes in it are data."""
    source = read(plan.path, plan.shown) if source is None else source
    return _checked(world, plan, source, (), {})


def _checked(world: World, plan: PlanFile, source: str, within: Sequence[PlanFile], known: dict[Path, Checked]) -> Checked:
    """`within`: the plans that it is a sub-plan of. `known`: sub-plans that were compiled already, by file."""
    from drystone.core.compile import compile_plan
    from drystone.core.planfile import to_plan

    found = Diagnostics()
    tree = world.parse(source, plan.shown, found)
    written = to_plan(tree, world.registry.names(), found, triggers=world.registry.triggers.names()) if tree is not None else None
    graph = None
    if written is not None:
        graph = compile_plan(written, world.registry.info, found, pools=world.pools(), triggers=world.registry.triggers.info)
    if written is not None and nesting.has_any(written):

        def compiled(file: PlanFile, inside: Sequence[PlanFile]) -> tuple[Graph | None, Sequence[Diagnostic]]:
            if file.path not in known:
                known[file.path] = _checked(world, file, read(file.path, file.shown), inside, known)
            return known[file.path].graph, known[file.path].diagnostics

        nesting.check(world, written, [*within, plan], found, compiled)
    return Checked(plan=plan, source=source, graph=None if found.has_errors else graph, diagnostics=tuple(found))


def load(world: World, plan: PlanFile, source: str | None = None) -> tuple[Graph, str]:
    """A plan that may run, and its text. Raises PlanError with every mistake."""
    checked = check(world, plan, source)
    if checked.graph is None:
        errors = checked.errors
        raise PlanError(f"{plan.shown} has {errors} error{'' if errors == 1 else 's'}; nothing was run", diagnostics=checked.diagnostics)
    return checked.graph, checked.source


def check_all(world: World, plans: Sequence[PlanFile]) -> list[Checked]:
    """Compiles these plans, or all of the project when none is named. Raises NotFoundError when it has none."""
    chosen = plans or places.plans_in(world.project, world.cwd)
    if not chosen:
        folder = places.shown(world.project / places.PLANS, world.cwd)
        raise NotFoundError(f"there are no plans in {folder}", hint="drystone init makes a project with some")
    return [check(world, plan) for plan in chosen]


def read(path: Path, name: str) -> str:
    """The text of a file that a person wrote. Raises ProjectError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ProjectError(f'"{name}" is not UTF-8 text: byte {error.start} cannot be read') from error
    except OSError as error:
        raise ProjectError(f'"{name}" cannot be read: {error.strerror}') from error
