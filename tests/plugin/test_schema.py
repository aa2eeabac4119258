"""The JSON Schema of the language accepts what the compiler accepts, and knows every key."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from drystone.adapters.yaml_text import parse
from drystone.core.diagnostics import Diagnostics
from drystone.core.nodes import to_data
from drystone.core.planfile import TASK_KEYS, to_plan
from drystone.plugin.registry import Registry
from drystone.plugin.schema import plan_schema

PLANS = Path(__file__).parents[2] / "plans"

HEAD = "drystone: 1\nname: test\n"
GOOD = [
    "tasks: {a: {noop: {}}}\n",
    "tasks: {a: {noop: }}\n",
    "tasks: {a: {noop: {sleep: 1s, outputs: [1, {a: b}]}}}\n",
    "tasks: {a: {noop: {sleep: '{{ inputs.x }}'}}}\ninputs: {x: {type: string, default: 1s}}\n",
    "tasks: {a: {noop: '{{ inputs.x }}'}}\ninputs: {x: {type: object}}\n",
    "tasks: {a: {command: {argv: [ls, '{{ inputs.n }}'], ok: '{{ inputs.n }}'}, undo: none}}\ninputs: {n: {type: integer, secret: true}}\n",
    "tasks: {a: {noop: {}, for_each: 3, max_parallel: 1, when: '{{ true }}', retry: {attempts: 2, delay: 5, on: [timeout]}}}\n",
    "tasks: {a: {noop: {}, undo: {noop: {}, retry: 2, timeout: 5m}, undo_when: attempted, labels: {a: b}, needs: []}}\n",
    "tasks: {a: {command: {argv: [ls]}, undo: restore}}\n",
    "timeout: 1h30m\ndefaults: {retry: 2, timeout: 5}\non_failure: stop\nenvironment: x\noutputs: {a: 1}\ntasks: {a: {noop: {}}}\n",
]
BAD = [
    "tasks: {a: {noop: {}, command: {}}}\n",
    "tasks: {a: {}}\n",
    "tasks: {a: {noop: {slep: 1}}}\n",
    "tasks: {a: {noop: {}, need: []}}\n",
    "tasks: {a: {noop: {}, retry: 0}}\n",
    "tasks: {a: {noop: {}, timeout: soon}}\n",
    "tasks: {a: {noop: {}, undo: later}}\n",
    "tasks: {a: {noop: {}, when: maybe}}\n",
    "tasks: {}\n",
    "on_failure: pray\ntasks: {a: {noop: {}}}\n",
]


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.fixture(scope="module")
def schema(registry):
    return plan_schema(registry)


def both(schema, registry, text):
    """Whether the schema accepts a plan, and whether planfile does."""
    found = Diagnostics()
    node = parse(text, "plan.yaml", found)
    to_plan(node, registry, found)
    return Draft202012Validator(schema).is_valid(to_data(node)), not found.has_errors


def test_it_is_a_json_schema(schema):
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("text", GOOD)
def test_what_the_language_accepts_an_editor_accepts(schema, registry, text):
    assert both(schema, registry, HEAD + text) == (True, True)


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_by_itself_is_underlined_in_an_editor(schema, registry, text):
    assert both(schema, registry, HEAD + text)[0] is False


@pytest.mark.parametrize("plan", sorted(PLANS.glob("*.yaml")), ids=lambda plan: plan.stem)
def test_shipped_plans_fit_the_schema(schema, registry, plan):
    node = parse(plan.read_text(encoding="utf-8"), plan.name, Diagnostics())
    errors = [f"{list(error.absolute_path)}: {error.message}" for error in Draft202012Validator(schema).iter_errors(to_data(node))]
    assert errors == []


def test_every_task_key_and_kind_can_be_completed(schema, registry):
    assert set(schema["$defs"]["task"]["properties"]) == {*TASK_KEYS, *registry.names()}


def test_references_lead_somewhere(schema):
    def references(part):
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for child in part.values():
                yield from references(child)
        elif isinstance(part, list):
            for child in part:
                yield from references(child)

    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} <= set(schema["$defs"])
