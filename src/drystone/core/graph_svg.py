"""A graph drawn as SVG: a row of boxes for each wave, arrows from what comes before, the undo written into the box.

Small on purpose: no layout engine, but boxes stand near the middle of what they need, so that few arrows cross.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from drystone.core.graph import Graph, Node
from drystone.core.plan import UndoMode
from drystone.core.way_back import undo_text

HEIGHT = 58
GAP_X = 28
GAP_Y = 56
MARGIN = 20
CHARACTER = 7.2
"""Width of a character of the font, in pixels: 12 px monospace."""

_STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#1a1a1a}.name{font-weight:bold}.small{font-size:11px;fill:#555}"
    "rect{fill:#f6f4ef;stroke:#6b6457;stroke-width:1.2}.final{stroke-dasharray:5 4}path{fill:none;stroke:#6b6457;stroke-width:1.2}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def to_svg(graph: Graph) -> str:
    """An SVG document. Equal graphs give equal text."""
    boxes = _place(graph)
    width = max((box.x + box.width for box in boxes.values()), default=200.0) + MARGIN
    height = MARGIN * 2 + len(graph.waves) * (HEIGHT + GAP_Y) - GAP_Y
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{escape(graph.plan.name)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<polygon points="0,0 8,4 0,8" fill="#6b6457"/></marker></defs>',
    ]
    lines += [_arrow(boxes[need], boxes[name]) for name, node in graph.nodes.items() for need in node.needs]
    lines += [_drawn(node, boxes[name]) for name, node in graph.nodes.items()]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _place(graph: Graph) -> dict[str, _Box]:
    """Each wave is a row, ordered by the mean place of what its tasks need, and centred under the widest row."""
    boxes: dict[str, _Box] = {}
    rows = []
    for index, wave in enumerate(graph.waves):
        row = sorted(wave, key=lambda name: (_mean(graph.nodes[name], boxes), name))
        x = 0.0
        for name in row:
            width = _width(graph.nodes[name])
            boxes[name] = _Box(x, MARGIN + index * (HEIGHT + GAP_Y), width)
            x += width + GAP_X
        rows.append((row, x - GAP_X))
    widest = max((width for _, width in rows), default=0.0)
    for row, width in rows:
        for name in row:
            box = boxes[name]
            boxes[name] = _Box(MARGIN + box.x + (widest - width) / 2, box.y, box.width)
    return boxes


def _mean(node: Node, boxes: dict[str, _Box]) -> float:
    places = [boxes[need].middle for need in node.needs]
    return sum(places) / len(places) if places else 0.0


def _texts(node: Node) -> tuple[str, str, str]:
    many = " (for each)" if node.task.for_each is not None else ""
    return f"{node.task.name}{many}", node.task.body.kind, f"undo: {undo_text(node)}"


def _width(node: Node) -> float:
    return max(len(text) for text in _texts(node)) * CHARACTER + 24


def _drawn(node: Node, box: _Box) -> str:
    final = ' class="final"' if node.task.undo.mode is UndoMode.IRREVERSIBLE else ""
    name, kind, undo = (escape(text) for text in _texts(node))
    return (
        f'<rect{final} x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{HEIGHT}" rx="4"/>'
        f'<text class="name" x="{box.x + 12:.1f}" y="{box.y + 19:.1f}">{name}</text>'
        f'<text class="small" x="{box.x + 12:.1f}" y="{box.y + 34:.1f}">{kind}</text>'
        f'<text class="small" x="{box.x + 12:.1f}" y="{box.y + 49:.1f}">{undo}</text>'
    )


def _arrow(start: _Box, end: _Box) -> str:
    top, bottom = start.y + HEIGHT, end.y
    bend = (bottom - top) / 2
    return (
        f'<path d="M{start.middle:.1f},{top:.1f} C{start.middle:.1f},{top + bend:.1f} {end.middle:.1f},{bottom - bend:.1f} '
        f'{end.middle:.1f},{bottom:.1f}" marker-end="url(#tip)"/>'
    )
