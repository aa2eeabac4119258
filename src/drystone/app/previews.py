"""What a run would do, before it does it; nothing is recorded, and nothing in the world changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drystone.app import history, saved_previews
from drystone.app.environments import check_free, known
from drystone.app.runs import Prepared, environment_of
from drystone.app.world import World
from drystone.core import codec, way_back
from drystone.core.expected import Expected
from drystone.core.foresight import Foreseen, Foresight, Question
from drystone.core.graph import Graph
from drystone.core.inputs import check_inputs
from drystone.core.plan import UndoMode
from drystone.core.preview import Action, Certainty
from drystone.core.run import Forecast, expected_total
from drystone.core.saved_preview import SavedPart

if TYPE_CHECKING:
    from drystone.app.world import Vault

MAX_PARALLEL = 16
"""Attempts at once, for how long it may take."""
AT_ONCE = 4
"""Questions that are asked together: each may be a Terraform or an Ansible of its own."""


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """The whole preview. `inputs` are as they may be shown; `questions` hold real values."""

    graph: Graph
    environment: str | None
    inputs: Mapping[str, Any]
    bundle: str
    tasks: Sequence[Foreseen]
    duration: Forecast | None
    expected: Mapping[str, Expected]
    questions: Mapping[str, Question] = field(repr=False)
    vault: Vault = field(repr=False)

    @property
    def errors(self) -> Sequence[Foreseen]:
        """Where a run would fail."""
        return [item for item in self.tasks if item.error]

    @property
    def changes_anything(self) -> bool:
        """True unless it is certain that all stays as it is."""
        return any(item.preview.changes_anything for item in self._counted)

    @property
    def _counted(self) -> Sequence[Foreseen]:
        """What is under `finally` reports; it changes nothing that is there."""
        return [item for item in self.tasks if not item.skipped and not self.graph.nodes[item.task].task.closing]

    def count(self, action: Action) -> int:
        """Terraform's resources and files with this action."""
        counted = [item.preview for item in self._counted if item.preview.hosts == 0]
        # What would be run at all is told of the rest by its certainty.
        told = [found for found in counted if action is not Action.RUN or found.certainty is Certainty.EXACT]
        return sum(change.action is action for found in told for change in found.changes)

    @property
    def summary(self) -> str:
        """The last line."""
        if not self.changes_anything:
            return "nothing to do"
        replaced = self.count(Action.REPLACE)
        adds, destroys = self.count(Action.ADD) + replaced, self.count(Action.DESTROY) + replaced
        parts = [f"{adds} to add, {self.count(Action.CHANGE)} to change, {destroys} to destroy"]
        on_hosts = [item for item in self._counted if item.preview.hosts]
        if on_hosts:
            hosts = sum(item.preview.hosts for item in on_hosts)
            parts.append(f"{_many(len(on_hosts), 'playbook')} would change {_many(hosts, 'host')}")
        if runs := self.count(Action.RUN):
            parts.append(f"{runs} to run")
        for certainty in (Certainty.PARTIAL, Certainty.DEFERRED):
            if number := sum(item.preview.certainty is certainty for item in self._counted):
                parts.append(f"{number} {certainty.value}")
        return " · ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The document that `drystone preview --json` prints."""
        return {
            "format": 1,
            "plan": self.graph.plan.name,
            "environment": self.environment,
            "inputs": codec.masked(dict(self.inputs)),
            "bundle": self.bundle,
            "tasks": [_to_json(item) for item in self.tasks],
            "way_back": [{"task": name, "undo": text} for name, text in self.way_back()],
            "irreversible": self.irreversible(),
            "expected_seconds": None if self.duration is None else [self.duration.low.total_seconds(), self.duration.high.total_seconds()],
            "summary": {
                "text": self.summary,
                "changes": self.changes_anything,
                **{action.value: self.count(action) for action in Action},
                **{kind.value: sum(item.preview.certainty is kind for item in self._counted) for kind in Certainty},
            },
        }

    def way_back(self) -> list[tuple[str, str]]:
        """Each task that has an undo, in the order of the way back, and how it is undone."""
        nodes = self.graph.nodes
        return [(name, way_back.undo_text(nodes[name])) for wave in way_back.undo_waves(self.graph) for name in wave]

    def irreversible(self) -> list[str]:
        """Tasks that nothing takes back."""
        return [name for name, node in self.graph.nodes.items() if node.task.undo.mode is UndoMode.IRREVERSIBLE]


def _to_json(item: Foreseen) -> dict[str, Any]:
    preview = item.preview
    return {
        "id": item.id,
        "task": item.task,
        "kind": item.kind,
        "certainty": preview.certainty.value,
        "summary": preview.summary,
        "reason": item.skipped or preview.reason,
        "skipped": bool(item.skipped),
        "error": item.error or None,
        "changes": [{"action": change.action.value, "what": change.what, "detail": change.detail} for change in preview.changes],
    }


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def preview(world: World, prepared: Prepared) -> Foretold:
    """Walks the plan with all that is known. Raises InputError, LockedError while a run has the environment."""
    graph = prepared.graph
    checked = check_inputs(graph.plan, prepared.values)
    environment = environment_of(graph, checked)
    for item in known(world) if environment is not None else ():
        if item.name == environment:
            check_free(world, item)
    vault = world.vault()
    inputs = vault.seal_outputs(checked, frozenset(name for name in checked if graph.plan.inputs[name].secret))
    bundle, _ = saved_previews.manifest_of(world, prepared, checked, vault)
    id_ = world.ids.run_id()
    foresight = Foresight(graph, inputs=checked, environment=environment, secrets=vault.names(), run_id=id_)
    foreseer = world.foreseer(id_, graph.plan.name, environment, prepared.plan.root, bundle, vault)
    questions: dict[str, Question] = {}
    try:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="preview") as pool:
            for wave in foresight.waves():
                asked = list(foresight.questions(wave))
                answers = pool.map(lambda question: foreseer.ask(question, foresight.moved_before(question.task.name)), asked)
                for question, (found, error) in zip(asked, answers, strict=True):
                    questions[question.id] = question
                    foresight.take(question, found, error=error)
    finally:
        foreseer.close()
    expected = history.expected(world, graph)
    return Foretold(
        graph=graph,
        environment=environment,
        inputs=inputs,
        bundle=bundle,
        tasks=list(foresight.found.values()),
        duration=expected_total(graph, expected, max_parallel=MAX_PARALLEL),
        expected=expected,
        questions=questions,
        vault=vault,
    )


def parts(foretold: Foretold) -> Mapping[str, SavedPart]:
    """What is saved of it, by instance."""
    found: dict[str, SavedPart] = {}
    for item in foretold.tasks:
        question = foretold.questions.get(item.id)
        config = question.config if question is not None and not question.waits else None
        if not item.skipped:
            found[item.id] = saved_previews.part_of(item.kind, item.preview, config)
    return found

