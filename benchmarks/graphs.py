"""The graphs that are measured: name -> needs, and the same as the text of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Graph = Mapping[str, Sequence[str]]

NEEDS = 3
"""How many tasks of the layer before it each task needs."""


def layered(layers: int, width: int) -> Graph:
    """Every task needs three of the layer before."""
    graph: dict[str, list[str]] = {}
    for layer in range(layers):
        for place in range(width):
            before = [f"t{layer - 1}_{(place + shift) % width}" for shift in range(min(NEEDS, width))] if layer else []
            graph[f"t{layer}_{place}"] = before
    return graph


def chain(length: int) -> Graph:
    """One after the other."""
    return {f"t{place}": [f"t{place - 1}"] if place else [] for place in range(length)}


def to_plan(graph: Graph) -> str:
    """A plan in which each task is a real attempt that does nothing."""
    tasks = [f"  {name}: {{noop: {{}}, needs: [{', '.join(needs)}]}}" for name, needs in graph.items()]
    return "\n".join(["drystone: 1", "name: benchmark", "tasks:", *tasks, ""])


def to_rich_plan(tasks: int) -> str:
    """A plan as people write them, in layers of 100: expressions that look at other tasks, retries, labels, an undo."""
    lines = ["drystone: 1", "name: benchmark", "inputs: {name: {type: string, default: demo}}", "tasks:"]
    for name, needs in layered(tasks // 100, 100).items():
        words = "".join(f" {{{{ tasks.{need}.outputs.value }}}}" for need in needs)
        lines += [
            f"  {name}:",
            f"    needs: [{', '.join(needs)}]",
            f"    noop: {{outputs: {{value: '{{{{ inputs.name }}}}-{name}{words}'}}}}",
            "    retry: {attempts: 3, delay: 2s, on: [unreachable, timeout]}",
            "    labels: {team: shop}",
        ]
    return "\n".join([*lines, ""])


def to_talking_plan(shell: str) -> str:
    """A plan whose only task runs a script, and which hides a secret in what it says."""
    secret = "inputs: {password: {type: string, secret: true, default: correct-horse-battery}}"
    task = f'  a: {{command: {{shell: "{shell}", env: {{PASSWORD: "{{{{ inputs.password }}}}"}}}}, undo: none}}'
    return "\n".join(["drystone: 1", "name: benchmark", secret, "tasks:", task, ""])
