"""What a compiled graph says of the way back, before any run: which tasks are undone, how, and in which order.

The printers of graphs use it, and so do previews. What really happens is decided by `run`, which knows what was done.
"""

from __future__ import annotations

from drystone.core.graph import Graph, Node
from drystone.core.plan import OnUpdate, UndoMode, UndoWhen

STAYS = (UndoMode.NONE, UndoMode.IRREVERSIBLE)


def undo_waves(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """Tasks that have an undo, in the order of the way back: the first wave is undone first, a wave's tasks at once."""
    depth: dict[str, int] = {}
    for name in reversed(tuple(graph.nodes)):
        behind = (depth[other] + is_undone(graph.nodes[other]) for other in graph.nodes[name].dependants)
        depth[name] = max(behind, default=0)
    waves: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for name, node in graph.nodes.items():
        if is_undone(node):
            waves[depth[name]].append(name)
    return tuple(tuple(sorted(wave)) for wave in waves if wave)


def is_undone(node: Node) -> bool:
    """True when the way back has something to do for this task."""
    return node.task.undo.mode not in STAYS


def undo_text(node: Node) -> str:
    """How a task is undone, in a few words."""
    undo = node.task.undo
    match undo.mode:
        case UndoMode.BODY:
            assert undo.body is not None
            how = f"by {undo.body.kind}" if undo.on_update is OnUpdate.UNDO else f"by its last good version, else by {undo.body.kind}"
        case UndoMode.RESTORE:
            how = "by its last good version"
        case UndoMode.NONE:
            return "nothing to undo"
        case UndoMode.IRREVERSIBLE:
            return "cannot be undone"
        case _:
            how = f"by {node.task.body.kind} itself"
    return f"{how}, also when it failed" if node.task.undo_when is UndoWhen.ATTEMPTED else how
