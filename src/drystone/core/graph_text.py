"""A graph for people and for other programs: text, Mermaid, DOT, JSON, SVG. Pure, sorted, and the same for equal graphs.

The way back is printed beside the way forward: which task is undone how, in which order, and what will stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drystone.core.durations import to_text as duration_text
from drystone.core.graph import Graph, Node
from drystone.core.graph_svg import to_svg
from drystone.core.plan import OnFailure, UndoMode
from drystone.core.values import Template
from drystone.core.way_back import undo_text, undo_waves

# ---- text -------------------------------------------------------------------------------------------------------------


def to_text(graph: Graph) -> str:
    """Waves with what each task needs, then the way back. Ends with a line end."""
    plan = graph.plan
    lines = [f"plan {plan.name}" + (f": {plan.description}" if plan.description else "")]
    lines += _aligned([row for index, wave in enumerate(graph.waves, 1) for row in _wave_rows(graph, index, wave)])
    lines += ["", _back_title(plan.on_failure)]
    lines += _aligned([row for index, wave in enumerate(undo_waves(graph), 1) for row in _undo_rows(graph, index, wave)])
    for mode, title in ((UndoMode.IRREVERSIBLE, "cannot be undone"), (UndoMode.NONE, "nothing to undo")):
        names = sorted(name for name, node in graph.nodes.items() if node.task.undo.mode is mode and not node.task.closing)
        if names:
            lines.append(f"  {title}: {', '.join(names)}")
    return "\n".join(lines) + "\n"


def _wave_rows(graph: Graph, index: int, wave: Sequence[str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for position, name in enumerate(wave):
        node = graph.nodes[name]
        needs = f"needs {', '.join(node.needs)}" if node.needs else ""
        about = "; ".join(filter(None, [needs, *_traits(node)]))
        rows.append((f"wave {index}" if position == 0 else "", name, node.task.body.kind, about))
    return rows


def _traits(node: Node) -> list[str]:
    """What else decides whether, how often and how long a task runs."""
    task = node.task
    traits = ["when all else is over"] if task.closing else []
    if task.for_each is not None:
        traits.append(f"for each of {_shown(task.for_each.items)}")
    if task.when is not None:
        traits.append(f"when {_shown(task.when)}")
    if task.run_if.value != "all_succeeded":
        traits.append(f"if {task.run_if.value}")
    if task.retry.attempts > 1:
        traits.append(f"up to {task.retry.attempts} attempts")
    if task.timeout is not None:
        traits.append(f"at most {duration_text(task.timeout)}")
    if task.poll is not None:
        traits.append(f"until {_shown(task.poll.until)}")
    if task.pivot:
        traits.append("no way back once it has succeeded")
    if task.allow_failure:
        traits.append("may fail")
    if task.pool is not None:
        traits.append(f"in pool {task.pool}")
    return traits


def _shown(value: Any) -> str:
    if isinstance(value, Template):
        return " ".join(value.source.replace("{{", "").replace("}}", "").split())
    if isinstance(value, Mapping):
        return ", ".join(value)
    return f"{len(value)} items" if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


def _back_title(on_failure: OnFailure) -> str:
    match on_failure:
        case OnFailure.COMPENSATE:
            return "the way back, when a task fails or the run is cancelled"
        case OnFailure.STOP:
            return "the way back, only when asked for: a failure stops the run"
        case OnFailure.CONTINUE:
            return "the way back, only when asked for: after a failure the rest goes on"
        case OnFailure.ASK:
            return "the way back, when a person chooses it after a failure"


def _undo_rows(graph: Graph, index: int, wave: Sequence[str]) -> list[tuple[str, ...]]:
    return [(f"undo {index}" if position == 0 else "", name, undo_text(graph.nodes[name])) for position, name in enumerate(wave)]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns two spaces apart, indented by two."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


# ---- for other programs -----------------------------------------------------------------------------------------------


def to_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart: solid arrows lead forward, dashed boxes cannot be undone."""
    ids = {name: f"t{index}" for index, name in enumerate(graph.nodes)}
    lines = ["flowchart TD"]
    for name, node in graph.nodes.items():
        label = f"{_many(node)}<br/>{node.task.body.kind}<br/>undo: {undo_text(node)}"
        lines.append(f'  {ids[name]}["{label}"]')
    lines += [f"  {ids[need]} --> {ids[name]}" for name, node in graph.nodes.items() for need in node.needs]
    if final := [ids[name] for name, node in graph.nodes.items() if node.task.undo.mode is UndoMode.IRREVERSIBLE]:
        lines += ["  classDef irreversible stroke-dasharray: 4 4", f"  class {','.join(final)} irreversible"]
    return "\n".join(lines) + "\n"


def to_dot(graph: Graph) -> str:
    """A Graphviz digraph, waves as ranks."""
    lines = [f"digraph {_quoted(graph.plan.name)} {{", "  node [shape=box];"]
    for name, node in graph.nodes.items():
        style = ", style=dashed" if node.task.undo.mode is UndoMode.IRREVERSIBLE else ""
        label = f"{_many(node)}\\n{node.task.body.kind}\\nundo: {undo_text(node)}"
        lines.append(f'  {_quoted(name)} [label="{label}"{style}];')
    lines += [f"  {{ rank=same; {' '.join(_quoted(name) + ';' for name in wave)} }}" for wave in graph.waves]
    lines += [f"  {_quoted(need)} -> {_quoted(name)};" for name, node in graph.nodes.items() for need in node.needs]
    return "\n".join([*lines, "}"]) + "\n"


def _many(node: Node) -> str:
    return f"{node.task.name} (for each)" if node.task.for_each is not None else node.task.name


def _quoted(name: str) -> str:
    return json.dumps(name)


def to_json(graph: Graph) -> str:
    """`{"format": 1, "plan", "on_failure", "tasks": [{"id", "kind", "needs", "wave", "undo": {"mode", "when", "wave"}}], …}`."""
    undo_wave = {name: index for index, wave in enumerate(undo_waves(graph)) for name in wave}
    tasks = [
        {
            "id": name,
            "kind": node.task.body.kind,
            "needs": list(node.needs),
            "wave": node.wave,
            "for_each": node.task.for_each is not None,
            "undo": {
                "mode": node.task.undo.mode.value,
                "kind": node.task.undo.body.kind if node.task.undo.body is not None else None,
                "when": node.task.undo_when.value if node.task.undo_when is not None else None,
                "wave": undo_wave.get(name),
            },
        }
        for name, node in graph.nodes.items()
    ]
    shape = {
        "format": 1,
        "plan": graph.plan.name,
        "on_failure": graph.plan.on_failure.value,
        "tasks": tasks,
        "waves": [list(wave) for wave in graph.waves],
        "undo_waves": [list(wave) for wave in undo_waves(graph)],
    }
    return json.dumps(shape, indent=2, ensure_ascii=False) + "\n"


PRINTERS: Mapping[str, Callable[[Graph], str]] = {
    "text": to_text, "mermaid": to_mermaid, "dot": to_dot, "json": to_json, "svg": to_svg,
}  # fmt: skip
"""By the names that `drystone graph --format` takes."""
