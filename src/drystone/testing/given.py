"""What a rehearsal is told that tasks give out, and which expression needs what nobody told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drystone.core import values
from drystone.core.diagnostics import did_you_mean
from drystone.core.events import Event, EventType
from drystone.core.graph import Graph
from drystone.core.opaque import UNKNOWN, Unknown, find
from drystone.core.plan import Value
from drystone.core.run import Instance, Run
from drystone.errors import FailureClass, InputError, NotFoundError
from drystone.testing.fault_plan import task_of


class Given:
    """Outputs and results by task, or by instance. Raises NotFoundError for a task that the plan does not have."""

    def __init__(self, graph: Graph, outputs: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        self._graph = graph
        self._outputs = dict(outputs)
        self._results = dict(results)
        for what, given in (("outputs", outputs), ("results", results)):
            for name in given:
                if task_of(name) not in graph.nodes:
                    hint = did_you_mean(task_of(name), graph.nodes) or f"tasks: {', '.join(graph.nodes)}"
                    raise NotFoundError(f'{what} are given for task "{name}", which plan "{graph.plan.name}" does not have', hint=hint)

    def outputs(self, run: Run, instance: Instance) -> Any:
        """What an instance gives out; UNKNOWN when nobody said. Raises InputError for a list of the wrong length."""
        return self._of(self._outputs, "outputs", run, instance)

    def result(self, run: Run, instance: Instance) -> Mapping[str, Any]:
        """Its `result`; empty when nobody said."""
        found = self._of(self._results, "results", run, instance)
        return {} if found is UNKNOWN else dict(found)

    def _of(self, given: Mapping[str, Any], what: str, run: Run, instance: Instance) -> Any:
        found = given.get(instance.id, given.get(instance.task, UNKNOWN))
        if instance.key is None or not isinstance(found, list) or instance.id in given:
            return found
        ids = run.expansions[instance.task]
        if len(found) != len(ids):
            raise InputError(f'{what} of task "{instance.task}": {len(found)} are given, and it has {len(ids)} instances')
        return found[ids.index(instance.id)]

    def check(self, run: Run, event: Event) -> None:
        """Raises InputError when the event came about because an expression looked at what nobody said."""
        for value in self._evaluated(run, event):
            for task, part in self._missing(run, value):
                words = {"outputs": "what it gives out", "result": "its result"}
                shown = next(str(template.source) for template in values.templates(value))
                where = next(template.where for template in values.templates(value))
                raise InputError(
                    f'{where}: "{shown}" needs the {part} of task "{task}", and the rehearsal was not told {words[part]}',
                    hint=f'say it: rehearse(..., {"outputs" if part == "outputs" else "results"}={{"{task}": {{...}}}})',
                )

    def _evaluated(self, run: Run, event: Event) -> Iterator[Value]:
        """The expressions behind an event that may tell of something unknown."""
        match event.type:
            case EventType.TASK_FAILED if event.attempt is None and event.data["class"] == FailureClass.INVALID:
                task = self._graph.nodes[task_of(str(event.task))].task
                yield from filter(values.references, (task.when, task.for_each.items if task.for_each is not None else None))
            case EventType.RUN_CLOSING | EventType.RUN_FINISHED:
                is_unknown = find(event.data.get("outputs"), Unknown)
                yield from run.graph.plan.outputs.values() if is_unknown or "message" in event.data else ()
            case _:
                return

    def _missing(self, run: Run, value: Value) -> Iterator[tuple[str, str]]:
        for reference in sorted(values.references(value), key=str):
            match reference.path:
                case (str(name), "outputs", *_) if reference.root == "tasks" and find(run.views[name]["outputs"], Unknown):
                    yield name, "outputs"
                case (str(name), "result", str(key), *_) if reference.root == "tasks" and key not in run.views[name]["result"]:
                    yield name, "result"
