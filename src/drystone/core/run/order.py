"""Which of the instances that may start does so first: the one that most time still hangs on.

Without a history that is the one with the most tasks on the longest path behind it, as the graph alone tells (`evolve.new_run`).
A run that was created with one is put in order here, before anything has started; a replay does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rpds import HashTrieMap

from drystone.core.expected import Expected, Outlook
from drystone.core.run import forward

if TYPE_CHECKING:
    from drystone.core.run.draft import Draft


def by_time(draft: Draft, expected: Mapping[str, Expected]) -> None:
    """Ranks become the milliseconds of the longest path from here to an end, then priority, then place; the queues follow."""
    graph = draft.run.graph
    urgency = Outlook(graph, expected).urgency()
    draft.instances = HashTrieMap(
        {
            name: replace(draft.instances[name], rank=(-urgency[name], -node.task.priority, index))
            for index, (name, node) in enumerate(graph.nodes.items())
        }
    )
    forward.build(draft)
