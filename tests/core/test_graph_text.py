"""How graphs are printed: text compared with files, the other forms read back."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from drystone.core.graph_text import PRINTERS, to_json, to_mermaid, to_text
from drystone.core.way_back import undo_text, undo_waves

SNAPSHOTS = Path(__file__).parent / "snapshots"

ENVIRONMENT = """
description: Provision an application environment
inputs: {name: {type: string}, vms: {type: integer, default: 2}, check: {type: boolean, default: true}}
defaults: {timeout: 15m}
tasks:
  network: {terraform: {name: "{{ inputs.name }}"}, retry: 2}
  subnet: {terraform: {network: "{{ tasks.network.outputs.id }}"}}
  vm: {terraform: {subnet: "{{ tasks.subnet.outputs.id }}"}, for_each: "{{ range(inputs.vms) }}"}
  software: {ansible: {hosts: "{{ tasks.vm.outputs | hosts }}"}, undo: {command: {}}}
  migration: {ansible: {}, needs: [software], undo: irreversible}
  verify: {http: {}, needs: [migration], undo: none, when: "{{ inputs.check }}", allow_failure: true}
  notes: {noop: {}, for_each: {a: 1, b: 2}, run_if: all_done, timeout: 1m30s, undo: {command: {}}}
"""


@pytest.fixture
def graph(graph_of):
    return graph_of(ENVIRONMENT)


@pytest.mark.parametrize("form", sorted(PRINTERS))
def test_a_graph_prints_as_its_snapshot(graph, form):
    snapshot = SNAPSHOTS / f"environment.{'txt' if form == 'text' else form}"
    assert PRINTERS[form](graph) == snapshot.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", sorted(PRINTERS))
def test_the_order_in_the_file_does_not_matter(graph_of, form):
    head, tasks = ENVIRONMENT.split("tasks:\n")
    turned = "".join(reversed(tasks.splitlines(keepends=True)))
    assert PRINTERS[form](graph_of(f"{head}tasks:\n{turned}")) == PRINTERS[form](graph_of(ENVIRONMENT))


def test_the_way_back_starts_where_the_way_forward_ended(graph):
    assert undo_waves(graph) == (("notes", "software"), ("vm",), ("subnet",), ("network",))


def test_tasks_without_an_undo_do_not_hold_up_the_way_back(graph_of):
    graph = graph_of(
        """
tasks:
  a: {terraform: {}}
  b: {noop: {}, needs: [a]}
  c: {terraform: {}, needs: [b]}
  d: {terraform: {}}
"""
    )
    assert undo_waves(graph) == (("c", "d"), ("a",))


def test_the_text_tells_a_task_that_goes_back_to_its_last_good_version(graph_of):
    graph = graph_of("tasks: {a: {command: {}, undo: restore}, b: {command: {}, undo: restore, undo_when: attempted}}\n")
    assert undo_waves(graph) == (("a", "b"),)
    assert [undo_text(graph.nodes[name]) for name in "ab"] == ["by its last good version", "by its last good version, also when it failed"]


@pytest.mark.parametrize(
    ("mode", "words"), [("compensate", "when a task fails"), ("stop", "a failure stops"), ("continue", "the rest goes on")]
)
def test_the_text_says_when_the_way_back_is_taken(graph_of, mode, words):
    assert words in to_text(graph_of(f"on_failure: {mode}\ntasks: {{a: {{terraform: {{}}}}}}\n"))


def test_names_that_other_languages_reserve_are_safe(graph_of):
    mermaid = to_mermaid(graph_of("tasks: {end: {noop: {}}, graph: {noop: {}, needs: [end]}, a-b: {noop: {}}}\n"))
    assert re.findall(r"^  (\S+) --> (\S+)$", mermaid, re.MULTILINE) == [("t1", "t2")]


def test_json_has_every_task_with_its_edges_and_its_undo(graph):
    shape = json.loads(to_json(graph))
    tasks = {task["id"]: task for task in shape["tasks"]}
    assert tasks["software"]["needs"] == ["vm"]
    assert tasks["software"]["undo"] == {"mode": "body", "kind": "command", "when": "attempted", "wave": 0}
    assert tasks["migration"]["undo"]["wave"] is None
    assert shape["undo_waves"][0] == ["notes", "software"]


def test_svg_is_well_formed_and_no_two_boxes_overlap(graph):
    root = ElementTree.fromstring(PRINTERS["svg"](graph))
    space = "{http://www.w3.org/2000/svg}"
    boxes = [tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height")) for box in root.iter(f"{space}rect")]
    assert len(boxes) == len(graph.nodes)
    for index, (x, y, width, height) in enumerate(boxes):
        assert x >= 0 and x + width <= float(root.attrib["width"]) and y + height <= float(root.attrib["height"])
        for other_x, other_y, other_width, _ in boxes[:index]:
            assert y != other_y or x >= other_x + other_width or other_x >= x + width
    edges = sum(len(node.needs) for node in graph.nodes.values())
    assert len(list(root.iter(f"{space}path"))) == edges
