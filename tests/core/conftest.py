"""Kinds and shortcuts for the tests of the plan's front end."""

from collections.abc import Callable, Mapping

import pytest

from drystone.adapters.yaml_text import parse
from drystone.core.compile import compile_plan
from drystone.core.diagnostics import Diagnostics
from drystone.core.graph import Graph, KindInfo, Problem
from drystone.core.plan import Plan, UndoWhen
from drystone.core.planfile import to_plan


def kind(name: str, *, has_undo=False, changes=True, undo_when=UndoWhen.SUCCEEDED, outputs=None, check=lambda config: ()) -> KindInfo:
    return KindInfo(name=name, has_undo=has_undo, changes=changes, undo_when=undo_when, outputs=outputs, check=check)


def noop_problems(config: object) -> list[Problem]:
    """Like a kind which has `outputs` and `sleep`, and wants a number there."""
    if not isinstance(config, dict):
        return [Problem((), "its config must be a map")]
    unknown = [Problem((key,), f'unknown key "{key}"', at_key=True) for key in config if key not in ("outputs", "sleep")]
    wrong = isinstance(config.get("sleep"), str)
    return unknown + ([Problem(("sleep",), '"sleep" must be a number')] if wrong else [])


KINDS = {
    info.name: info
    for info in (
        kind("noop", changes=False, check=noop_problems),
        kind("terraform", has_undo=True, undo_when=UndoWhen.ATTEMPTED),
        kind("ansible", undo_when=UndoWhen.ATTEMPTED),
        kind("http", outputs=("status", "headers", "body")),
        kind("command"),
    )
}


def read(text: str) -> tuple[Plan | None, Diagnostics]:
    found = Diagnostics()
    node = parse(text, "plan.yaml", found)
    return (to_plan(node, KINDS, found) if node is not None else None), found


def compiled(text: str) -> tuple[Graph | None, Diagnostics]:
    plan, found = read(text)
    return (compile_plan(plan, KINDS.get, found) if plan is not None else None), found


HEAD = "drystone: 1\nname: test\n"


@pytest.fixture(scope="session")
def kinds() -> Mapping[str, KindInfo]:
    """Kinds by name."""
    return KINDS


@pytest.fixture
def plan_of() -> Callable[[str], Plan]:
    """The plan in a text without its first two lines; no mistake is allowed in it."""

    def plan_of(text: str) -> Plan:
        plan, found = read(HEAD + text)
        assert plan is not None and not list(found), list(found)
        return plan

    return plan_of


@pytest.fixture
def graph_of() -> Callable[[str], Graph]:
    """The graph of a text without its first two lines; warnings are allowed, errors are not."""

    def graph_of(text: str) -> Graph:
        graph, found = compiled(HEAD + text)
        assert graph is not None, list(found)
        return graph

    return graph_of


@pytest.fixture
def mistakes() -> Callable[[str], list[str]]:
    """The mistakes of a text without its first two lines, as `line:column summary | hint`; lines count as in the text."""

    def mistakes(text: str) -> list[str]:
        _, found = compiled(HEAD + text)
        told = []
        for item in found:
            assert item.where is not None
            place = f"{item.where.line - 2}:{item.where.column}"
            told.append(f"{place} {item.summary}" + (f" | {item.hint}" if item.hint else ""))
        return told

    return mistakes
