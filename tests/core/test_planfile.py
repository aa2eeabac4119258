"""The plan language: what a text means, and what is wrong with one."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drystone.adapters.yaml_text import parse
from drystone.core.compile import compile_plan
from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.nodes import Node
from drystone.core.plan import OnFailure, RunIf, UndoMode, UndoWhen
from drystone.core.planfile import NOT_BUILT, PLAN_KEYS, TASK_KEYS, to_plan
from drystone.core.retry import UNDO_RETRY, Backoff, RetryPolicy
from drystone.core.values import UNKNOWN, Template, compile_value
from drystone.errors import FailureClass

ONE = "tasks: {a: {noop: {}}}\n"


def test_a_plan_says_what_its_text_says(plan_of):
    plan = plan_of(
        """
description: Provision an environment
inputs:
  name: {type: string, pattern: "^[a-z]+$", description: what it is called}
  vms: {type: integer, default: 2, minimum: 1}
  password: {type: string, secret: true}
environment: "{{ inputs.name }}"
timeout: 1h
on_failure: stop
tasks:
  network: {terraform: {module: modules/network}}
outputs: {id: "{{ tasks.network.outputs.id }}"}
"""
    )
    assert (plan.name, plan.description, plan.timeout) == ("test", "Provision an environment", timedelta(hours=1))
    assert plan.on_failure is OnFailure.STOP
    assert plan.inputs["name"].schema == {"type": "string", "pattern": "^[a-z]+$"}
    assert plan.inputs["name"].required and plan.inputs["name"].description == "what it is called"
    assert (plan.inputs["vms"].required, plan.inputs["vms"].default) == (False, 2)
    assert plan.inputs["password"].secret
    assert isinstance(plan.environment, Template)
    assert plan.tasks["network"].body.config == {"module": "modules/network"}
    assert isinstance(plan.outputs["id"], Template)


def test_a_task_says_what_its_text_says(plan_of):
    task = plan_of(
        """
tasks:
  first: {noop: {}}
  second:
    description: the second
    noop: {outputs: {a: 1}}
    needs: [first]
    when: "{{ true }}"
    run_if: none_failed
    for_each: [x, y]
    max_parallel: 1
    max_failures: 2
    max_items: 3
    retry: {attempts: 4, delay: 1s, backoff: linear, max_delay: 1m, jitter: false, on: [unreachable, timeout]}
    timeout: 30s
    undo: {command: {argv: [ls]}, retry: 5, timeout: 10s}
    undo_when: attempted
    allow_failure: true
    priority: -3
    labels: {team: a}
"""
    ).tasks["second"]
    assert (task.description, task.needs, task.run_if) == ("the second", ("first",), RunIf.NONE_FAILED)
    assert task.for_each is not None
    assert (task.for_each.items, task.for_each.max_parallel) == (["x", "y"], 1)
    assert (task.for_each.max_failures, task.for_each.max_items) == (2, 3)
    assert task.retry == RetryPolicy(
        attempts=4,
        delay=timedelta(seconds=1),
        backoff=Backoff.LINEAR,
        max_delay=timedelta(minutes=1),
        jitter=False,
        on=frozenset({FailureClass.UNREACHABLE, FailureClass.TIMEOUT}),
    )
    assert task.timeout == timedelta(seconds=30)
    assert task.undo.mode is UndoMode.BODY and task.undo.body is not None and task.undo.body.kind == "command"
    assert (task.undo.retry.attempts, task.undo.timeout) == (5, timedelta(seconds=10))
    assert (task.undo_when, task.allow_failure, task.priority, task.labels) == (UndoWhen.ATTEMPTED, True, -3, {"team": "a"})


def test_what_a_task_does_not_say_has_the_defaults_of_the_language(plan_of):
    task = plan_of(ONE).tasks["a"]
    assert (task.needs, task.when, task.for_each, task.timeout) == ((), None, None, None)
    assert task.retry.attempts == 1
    assert task.undo.mode is UndoMode.UNSAID and task.undo.retry == UNDO_RETRY


def test_the_plans_defaults_are_laid_under_what_tasks_say(plan_of):
    tasks = plan_of(
        """
defaults: {timeout: 15m, retry: {attempts: 2, delay: 9s}}
tasks:
  plain: {noop: {}}
  own: {noop: {}, timeout: 1m, retry: {attempts: 3}}
  number: {noop: {}, retry: 7}
"""
    ).tasks
    assert (tasks["plain"].timeout, tasks["plain"].retry.attempts) == (timedelta(minutes=15), 2)
    assert (tasks["own"].timeout, tasks["own"].retry.attempts) == (timedelta(minutes=1), 3)
    assert tasks["own"].retry.delay == tasks["number"].retry.delay == timedelta(seconds=9)
    assert tasks["number"].retry.attempts == 7


def test_a_kind_with_nothing_behind_it_has_an_empty_config(plan_of):
    assert plan_of("tasks: {a: {noop: }}\n").tasks["a"].body.config == {}


def test_one_need_may_stand_without_a_list(plan_of):
    assert plan_of("tasks: {a: {noop: {}}, b: {noop: {}, needs: a}}\n").tasks["b"].needs == ("a",)


def test_a_condition_in_a_block_is_one_expression_and_no_text(plan_of):
    task = plan_of("inputs: {n: {type: integer}}\ntasks:\n  a:\n    noop: {}\n    when: |\n      {{ inputs.n > 1 }}\n").tasks["a"]
    assert task.when.source == "{{ inputs.n > 1 }}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timeout: soon\n" + ONE, '1:10 "timeout" of the plan must be a duration, not "soon" | a duration is written like'),
        ("timeout: 0s\n" + ONE, '1:10 "timeout" of the plan must be more than zero, not "0s"'),
        ("on_failure: compensat\n" + ONE, '1:13 "on_failure" of the plan cannot be "compensat" | did you mean "compensate"?'),
        ("task: {}\n" + ONE, '1:1 unknown key "task" in the plan | did you mean "tasks"? Known keys: '),
        ("environment: [a]\n" + ONE, '1:14 "environment" of the plan must be a name, or an expression that gives one, not a list'),
        ("environment: ../x\n" + ONE, '1:14 "environment" of the plan must be a name of letters'),
        ("tasks: {}\n", "1:8 the plan has no tasks"),
        ("tasks: [a]\n", '1:8 "tasks" must be a map, not a list'),
        ("tasks: {a: 5}\n", '1:12 task "a" must be a map, not the number 5'),
        ("tasks: {a: {}}\n", '1:9 task "a" does nothing: it has no kind | a task has one of: ansible, command, http, noop, terraform'),
        ("tasks: {a: {timeout: 1s}}\n", '1:12 task "a" has no kind | a task has one of'),
        ("tasks: {a: {nop: {}}}\n", '1:13 unknown key "nop" in task "a" | did you mean "noop"?'),
        ("tasks: {a: {noop: {}, neds: []}}\n", '1:23 unknown key "neds" in task "a" | did you mean "needs"? Known keys: '),
        ("tasks: {a: {noop: {}, http: {}}}\n", '1:23 task "a" has two kinds: "noop" and "http" | make two tasks of it'),
        ("tasks: {1a: {noop: {}}}\n", '1:9 "1a" cannot be the name of a task | it has at most 63 letters'),
        ("tasks: {a: {noop: {}, needs: [[b]]}}\n", '1:31 "needs" of task "a" must be a list of task names, not a list'),
        ("tasks: {a: {noop: {}, when: inputs.x}}\n", '1:29 "when" of task "a" must be true, false or an expression'),
        ("tasks: {a: {noop: {}, for_each: inputs.x}}\n", '1:33 "for_each" of task "a" must be a list, a map, a number'),
        ("tasks: {a: {noop: {}, for_each: -1}}\n", '1:33 "for_each" of task "a" must be a list, a map, a number'),
        ("tasks: {a: {noop: {}, max_parallel: 1}}\n", '1:23 "max_parallel" of task "a" needs "for_each" beside it'),
        ("tasks: {a: {noop: {}, for_each: 2, max_parallel: 0}}\n", '1:50 "max_parallel" of task "a" must be a whole number of 1 or more'),
        ("tasks: {a: {noop: {}, retry: 0}}\n", '1:30 "retry" of task "a" must be a whole number of 1 or more, not the number 0'),
        ("tasks: {a: {noop: {}, retry: {delay: 1s}}}\n", '1:30 the retry of task "a" needs "attempts"'),
        ("tasks: {a: {noop: {}, retry: {attempts: 2, on: [flaky]}}}\n", '1:49 "flaky" is not a failure class | there are unreachable'),
        ("tasks: {a: {noop: {}, retry: {attempts: 2, on: timeout}}}\n", '1:48 "on" of the retry of task "a" must be a list'),
        ("tasks: {a: {noop: {}, retry: {attempts: true}}}\n", '1:41 "attempts" of the retry of task "a" must be a whole number'),
        ("tasks: {a: {noop: {}, undo: x}}\n", '1:29 "undo" of task "a" cannot be "x" | it is one of auto, restore, none, irreversible'),
        ("tasks: {a: {noop: {}, undo: {nop: {}}}}\n", '1:30 unknown key "nop" in the undo of task "a" | did you mean "noop"?'),
        ("tasks: {a: {noop: {}, undo: {retry: 2}}}\n", '1:29 the undo of task "a" has no kind'),
        ("tasks: {a: {noop: {}, labels: {x: 1}}}\n", '1:35 "x" of the labels of task "a" must be text: quote it, not the number 1'),
        ("tasks: {a: {noop: {}, allow_failure: yes}}\n", '1:38 "allow_failure" of task "a" must be true or false, not "yes"'),
        ("tasks: {a: {noop: {}, priority: 1.5}}\n", '1:33 "priority" of task "a" must be a whole number, not the number 1.5'),
        ("tasks: {a: {noop: {outputs: '{{ x y }}'}}}\n", "1:29 not a valid expression: expected token"),
        ("tasks: {a: {noop: {outputs: '{{ 1 | hots }}'}}}\n", '1:37 there is no filter "hots" | did you mean "hosts"?'),
        ("tasks: {a: {noop: {outputs: '{{ 1 is ood }}'}}}\n", '1:38 there is no test "ood" | did you mean "odd"?'),
        ("inputs: {a-b: {}}\n" + ONE, '1:10 "a-b" cannot be the name of an input'),
        ("inputs: {a: string}\n" + ONE, '1:13 input "a" must be a JSON Schema, not "string" | write for example a: {type: string}'),
        ("inputs: {a: {type: strng}}\n" + ONE, '1:20 input "a": there is no type "strng" | a type is one of string, '),
        ("inputs: {a: {minimun: 1}}\n" + ONE, '1:14 input "a": unknown key "minimun" in a schema | did you mean "minimum"?'),
        ("inputs: {a: {pattern: '('}}\n" + ONE, '1:23 input "a": "(" is not a regular expression'),
        ("inputs: {a: {required: false}}\n" + ONE, '1:24 input "a": "required" must be a list, not false | an input without a default'),
        ("inputs: {a: {type: integer, default: x}}\n" + ONE, '1:38 the default of input "a" must be an integer, not "x"'),
        ("inputs: {a: {type: array, items: {type: integer}, default: [1, x]}}\n" + ONE, '1:64 the default of input "a" must be an integer'),
        ("inputs: {a: {$ref: 'http://other/schema'}}\n" + ONE, '1:20 input "a": "$ref" may only point into this schema'),
        ("defaults: {retries: 1}\n" + ONE, '1:12 unknown key "retries" in the defaults'),
    ],
)  # fmt: skip
def test_a_mistake_is_placed_and_explained(mistakes, text, expected):
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\ntasks: {}\n", '"drystone" is missing: the version of the plan language'),
        ("drystone: 2\nname: a\n", '"drystone" must be 1, not the number 2'),
        ("drystone: true\nname: a\n", '"drystone" must be 1, not true'),
        ("drystone: 1\ntasks: {}\n", '"name" is missing: what the plan is called'),
        ("drystone: 1\nname: a\n", '"tasks" is missing: what the plan does'),
        ("drystone: 1\nname: a/b\n", '"a/b" cannot be the name of a plan'),
        ("- a\n", "a plan is a map, not a list"),
    ],
)
def test_what_every_plan_must_have_is_asked_for(text, expected):
    found = Diagnostics()
    node = parse(text, "plan.yaml", found)
    assert node is not None
    to_plan(node, ("noop",), found)
    assert expected in [item.summary for item in found]


@pytest.mark.parametrize(("level", "word"), sorted(NOT_BUILT))
def test_what_is_not_built_yet_says_so(mistakes, level, word):
    text = {
        "plan": f"{word}: {{}}\n{ONE}",
        "task": f"tasks: {{a: {{noop: {{}}, {word}: 1}}}}\n",
        "on_failure": f"on_failure: {word}\n{ONE}",
    }[level]
    (found,) = mistakes(text)
    assert found.endswith(f'"{word}" is part of the plan language but this version does not build it yet')


def test_what_is_not_built_is_no_key_of_the_language():
    assert not {word for level, word in NOT_BUILT if level in ("plan", "task")} & {*PLAN_KEYS, *TASK_KEYS}


def test_a_broken_expression_leaves_the_rest_of_the_task_readable(mistakes):
    found = mistakes("tasks:\n  a: {noop: {outputs: '{{ ( }}'}, timeout: x}\n")
    assert len(found) == 2


def nodes() -> st.SearchStrategy[Node]:
    where = Where("f", 1, 1)
    others = ("noop", "a", "b", "attempts", "on", "type", "default", "secret", "pattern", "1h")
    expressions = ("{{ inputs.a }}", "{{ tasks.a.outputs }}", "{{ (", "x{{ each.key }}", "none", "compensate")
    words = st.sampled_from([*PLAN_KEYS, *TASK_KEYS, *others])
    texts = words | st.sampled_from(expressions) | st.text()
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
    leaf = scalars.map(lambda value: Node(where, value, where if isinstance(value, str) else None))

    def deeper(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        listed = st.lists(inner, max_size=4).map(lambda items: Node(where, tuple(items)))
        entries = st.dictionaries(words, inner.map(lambda node: (where, node)), max_size=6)
        return listed | entries.map(lambda items: Node(where, items))

    return st.recursive(leaf, deeper, max_leaves=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(any_node=nodes(), tasks=nodes(), inputs=nodes())
def test_no_tree_makes_the_front_end_raise(kinds, any_node, tasks, inputs):
    where = Where("f", 1, 1)
    plan_node = Node(where, {"tasks": (where, tasks), "inputs": (where, inputs), "outputs": (where, any_node)})
    for node in (any_node, plan_node):
        found = Diagnostics()
        plan = to_plan(node, kinds, found)
        assert plan is not None or found.has_errors
        if plan is not None:
            compile_plan(plan, kinds.get, found)


def test_an_expression_that_cannot_be_read_counts_as_unknown():
    found = Diagnostics()
    assert compile_value(Node(Where("f", 1, 1), "{{ ( }}"), found) is UNKNOWN
    assert found.has_errors
