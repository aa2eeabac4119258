"""A run in preview: the graph is walked as a run would walk it, with what is known, and nothing is ever made up (DESIGN §4.12).

    foresight = Foresight(graph, inputs=..., environment=..., secrets=..., run_id=...)
    for wave in foresight.waves():
        for question in foresight.questions(wave):    what each instance would do, for somebody to ask its kind
            foresight.take(question, preview)

What is not known flows down as UNKNOWN: whatever depends on it is partial or deferred, and says for which value it waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drystone.core import values
from drystone.core.graph import Graph
from drystone.core.opaque import UNKNOWN, Unknown, find
from drystone.core.plan import Body, RunIf, Task, Value
from drystone.core.preview import Certainty, Preview
from drystone.core.run.decide import expansion
from drystone.core.run.forward import instance_id
from drystone.core.sandbox import MISSING, lookup

_LONGEST_REASON = 3
"""References that a reason names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What an instance would do with this config.

    waits: the references that are not known yet; empty when the config is complete.
    """

    id: str
    task: Task
    config: Any
    waits: Sequence[str] = ()
    scope: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> Body:
        """The task's own."""
        return self.task.body


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreseen:
    """What would become of one instance.

    skipped: why it would not run; then there is no preview to speak of.
    error:   why a run would fail here, which needs to be mended first.
    """

    id: str
    task: str
    kind: str
    preview: Preview
    skipped: str = ""
    error: str = ""


class Foresight:
    """One walk. `found` grows in the order of the graph."""

    def __init__(
        self, graph: Graph, *, inputs: Mapping[str, Any], environment: str | None, secrets: Mapping[str, Any], run_id: str
    ) -> None:
        self.graph = graph
        self.found: dict[str, Foreseen] = {}
        self._inputs, self._environment, self._secrets, self._run_id = inputs, environment, secrets, run_id
        self._views: dict[str, Mapping[str, Any]] = {}
        self._ids: dict[str, tuple[str, ...]] = {}
        self._keys: dict[str, Sequence[int | str] | None] = {}
        self._moving: set[str] = set()

    def waves(self) -> Iterator[Sequence[str]]:
        """Tasks that can be looked at together, those under `finally` last. What was asked before is taken into account."""
        nodes = self.graph.nodes
        for closing in (False, True):
            own = [name for name, node in nodes.items() if node.task.closing is closing]
            for number in sorted({nodes[name].wave for name in own}):
                yield [name for name in own if nodes[name].wave == number]
                for name in own:
                    if nodes[name].wave == number:
                        self._settle(name)

    def questions(self, wave: Sequence[str]) -> Iterator[Question]:
        """What there is to ask of these tasks; what needs no asking is settled at once."""
        for name in wave:
            yield from self._of_task(self.graph.nodes[name].task)

    def take(self, question: Question, preview: Preview, *, error: str = "") -> None:
        """The answer to a question."""
        task = question.task
        if question.waits:
            named = ", ".join(question.waits[:_LONGEST_REASON])
            more = len(question.waits) - _LONGEST_REASON
            reason = f"it waits for {named}{f' and {more} more' if more > 0 else ''}"
            certainty = Certainty.PARTIAL if preview.certainty is Certainty.EXACT else preview.certainty
            preview = replace(preview, certainty=certainty, reason=reason)
        self.found[question.id] = Foreseen(id=question.id, task=task.name, kind=task.body.kind, preview=preview, error=error)

    def moved_before(self, name: str) -> list[str]:
        """Tasks before this one that would change something: what looks at the world sees it before they have run."""
        reached, before = [name], set[str]()
        while reached:
            for need in self.graph.nodes[reached.pop()].needs:
                if need not in before:
                    before.add(need)
                    reached.append(need)
        return [other for other in self.graph.nodes if other in before and other in self._moving]

    # ---- one task ---------------------------------------------------------------------------------------------------

    def _of_task(self, task: Task) -> Iterator[Question]:
        scope = self._scope()
        if (reason := self._skipped(task, scope)) is not None:
            self._settled_unasked(task, Preview(summary="would be skipped"), skipped=reason)
            return
        if task.when is not None and not self._looks_at_each(task) and values.render(task.when, scope) is UNKNOWN:
            self._deferred(task, self._waits(task.when, scope), "whether it runs")
            return
        if task.for_each is None:
            self._ids[task.name], self._keys[task.name] = (task.name,), None
            yield self._question(task, task.name, scope)
            return
        items = values.render(task.for_each.items, scope)
        if find(items, Unknown):
            self._deferred(task, self._waits(task.for_each.items, scope), "how many there are")
            return
        expanded = expansion(task.for_each, items)
        self._keys[task.name] = expanded["keys"]
        self._ids[task.name] = tuple(instance_id(task.name, key) for key in expanded["keys"])
        for id_, key, value in zip(self._ids[task.name], expanded["keys"], expanded["values"], strict=True):
            yield from self._of_instance(task, id_, {**scope, "each": {"key": key, "value": value}})

    def _of_instance(self, task: Task, id_: str, scope: Mapping[str, Any]) -> Iterator[Question]:
        if task.when is not None and self._looks_at_each(task):
            wanted = values.render(task.when, scope)
            if wanted is False:
                nothing = Preview(summary="would be skipped")
                self.found[id_] = Foreseen(id=id_, task=task.name, kind=task.body.kind, preview=nothing, skipped="its condition is false")
                return
        yield self._question(task, id_, scope)

    def _question(self, task: Task, id_: str, scope: Mapping[str, Any]) -> Question:
        own = {**scope, "task": {"id": id_, "token": f"{self._run_id}:{id_}", "attempt": 1}}
        config = values.render(task.body.config, own)
        waits = self._waits(task.body.config, own) if find(config, Unknown) else ()
        return Question(id=id_, task=task, config=config, waits=waits, scope=own)

    def _skipped(self, task: Task, scope: Mapping[str, Any]) -> str | None:
        needs = [self._views[need] for need in self.graph.nodes[task.name].needs if need in self._views]
        if task.run_if is RunIf.ANY_FAILED:
            return "it runs when something before it fails"
        if task.run_if is RunIf.ALL_SUCCEEDED and any(view["skipped"] for view in needs):
            return "what it needs would be skipped"
        if task.when is not None and not self._looks_at_each(task) and values.render(task.when, scope) is False:
            return "its condition is false"
        return None

    @staticmethod
    def _looks_at_each(task: Task) -> bool:
        return task.for_each is not None and any(ref.root == "each" for ref in values.references(task.when))

    def _deferred(self, task: Task, waits: Sequence[str], what: str) -> None:
        named = ", ".join(waits[:_LONGEST_REASON]) or "what is not known yet"
        reason = f"{what} waits for {named}"
        unknown = Preview(certainty=Certainty.DEFERRED, summary="deferred", reason=reason, outputs=UNKNOWN, result=UNKNOWN)
        self._settled_unasked(task, unknown)

    def _settled_unasked(self, task: Task, preview: Preview, *, skipped: str = "") -> None:
        self._ids[task.name], self._keys[task.name] = (task.name,), None
        found = Foreseen(id=task.name, task=task.name, kind=task.body.kind, preview=preview, skipped=skipped)
        self.found[task.name] = found

    def _settle(self, name: str) -> None:
        """All instances of a task were asked: what is known of them becomes visible to the tasks behind it."""
        found = [self.found[id_] for id_ in self._ids.get(name, ()) if id_ in self.found]
        if any(item.preview.changes_anything and not item.skipped for item in found):
            self._moving.add(name)
        views = [_view(item) for item in found]
        keys = self._keys.get(name)
        skipped = bool(found) and all(item.skipped for item in found)
        task = self.graph.nodes[name].task
        if task.for_each is not None and keys is None:
            self._views[name] = {"outputs": UNKNOWN, "result": UNKNOWN, "status": UNKNOWN, "skipped": skipped}
        elif keys is None:
            self._views[name] = {**views[0], "skipped": skipped}
        elif keys and isinstance(keys[0], str):
            pairs = list(zip(keys, views, strict=True))
            joined = {part: {str(key): view[part] for key, view in pairs} for part in ("outputs", "result", "status")}
            self._views[name] = {**joined, "skipped": skipped}
        else:
            self._views[name] = {**{part: [view[part] for view in views] for part in ("outputs", "result", "status")}, "skipped": skipped}

    def _scope(self) -> dict[str, Any]:
        run = {"id": self._run_id, "plan": self.graph.plan.name, "started_at": UNKNOWN, "status": UNKNOWN, "error": UNKNOWN}
        return {
            "inputs": self._inputs,
            "tasks": self._views,
            "secrets": self._secrets,
            "run": run,
            "environment": {"name": self._environment},
            "result": UNKNOWN,
        }

    def _waits(self, value: Value, scope: Mapping[str, Any]) -> Sequence[str]:
        """The references of a value that are not known, as the plan has them."""
        found: dict[str, None] = {}
        for template in values.templates(value):
            for reference in sorted(template.references):
                if find(_reached(reference, scope), Unknown):
                    found[str(reference)] = None
        return tuple(found)


def _reached(reference: values.Reference, scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for part in (reference.root, *reference.path):
        if value is UNKNOWN:
            return UNKNOWN
        if (value := lookup(value, part)) is MISSING:
            return None
    return value


def _view(item: Foreseen) -> dict[str, Any]:
    preview = item.preview
    if item.skipped:
        return {"outputs": None, "result": {"changed": False, "failed": False}, "status": "skipped"}
    if preview.certainty is Certainty.EXACT and not preview.changes and isinstance(preview.result, Mapping):
        return {"outputs": preview.outputs, "result": {"changed": False, "failed": False, **preview.result}, "status": "succeeded"}
    return {"outputs": preview.outputs, "result": UNKNOWN, "status": UNKNOWN}
