"""Brings the generated parts of docs/ up to date; `make docs` runs it, tests/test_docs.py compares.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of `PARTS`. What stands
between is made from the source, so that it cannot say anything else than the source does.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from drystone.core import states

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PART = re.compile(r"(?<=<!-- generated: )(?P<name>[\w.-]+)(?P<open> -->\n)(?P<text>.*?)(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrites every page whose generated parts have changed."""
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text()
        after = with_parts(before)
        if after != before:
            page.write_text(after)
            print(f"updated {page.relative_to(ROOT)}")


def with_parts(text: str) -> str:
    """The page's text with every generated part made anew. Raises KeyError for a part that nobody makes."""
    return PART.sub(lambda found: f"{found['name']}{found['open']}{PARTS[found['name']]()}\n", text)


def run_states() -> str:
    """Diagram and reasons of what may follow what for a run."""
    return transitions(states.RUN_TRANSITIONS, start=states.RunStatus.QUEUED)


def task_states() -> str:
    """The same for one instance of a task."""
    return transitions(states.TASK_TRANSITIONS, start=states.TaskStatus.PENDING)


def transitions(table: Mapping[tuple[str, str], str], start: str) -> str:
    """A Mermaid diagram of the table, and the table itself with its reasons."""
    arrows = [f"    {before} --> {after}" for before, after in table]
    rows = [f"| {before} | {after} | {reason} |" for (before, after), reason in table.items()]
    diagram = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}", *arrows, "```"]
    return "\n".join([*diagram, "", "| from | to | because |", "|---|---|---|", *rows])


def event_types() -> str:
    """Every type of event, with what its data holds."""
    rows = [f"| `{value}` | {doc} |" for value, doc in members(ROOT / "src/drystone/core/events.py", "EventType")]
    return "\n".join(["| type | data |", "|---|---|", *rows])


def members(module: Path, name: str) -> Iterator[tuple[str, str]]:
    """Value and docstring of each member of an enumeration, read from the source because docstrings are not kept."""
    body = next(node.body for node in ast.parse(module.read_text()).body if getattr(node, "name", None) == name)
    for here, after in zip(body, [*body[1:], None], strict=True):
        match here, after:
            case ast.Assign(value=ast.Constant(value=str(value))), ast.Expr(value=ast.Constant(value=str(doc))):
                yield value, " ".join(doc.split())
            case ast.Assign(value=ast.Constant(value=str(value))), _:
                yield value, ""


PARTS: Mapping[str, Callable[[], str]] = {
    "run-states": run_states,
    "task-states": task_states,
    "event-types": event_types,
}

if __name__ == "__main__":
    main()
