"""Plan -> graph: edges, order, undo; and every mistake that needs more than one place of the plan to see."""

import time

import pytest

from drystone.adapters.yaml_text import parse
from drystone.core import compile as compiler
from drystone.core.compile import STEPS, compile_plan
from drystone.core.diagnostics import Diagnostics, to_text
from drystone.core.graph import Graph
from drystone.core.plan import UndoMode, UndoWhen
from drystone.core.planfile import to_plan
from drystone.errors import PluginError

ENVIRONMENT = """
inputs: {name: {type: string}, vms: {type: integer, default: 2}}
environment: "{{ inputs.name }}"
tasks:
  verify: {http: {url: "http://{{ tasks.vm.outputs[0].address }}/"}, needs: [software], undo: none}
  software:
    ansible: {hosts: "{{ tasks.vm.outputs | hosts }}"}
    undo: {ansible: {hosts: "{{ tasks.vm.outputs | hosts }}", made: "{{ tasks.software.result.changed }}"}}
  vm: {terraform: {subnet: "{{ tasks.subnet.outputs.id }}"}, for_each: "{{ range(inputs.vms) }}"}
  subnet: {terraform: {network: "{{ tasks.network.outputs.id }}"}}
  network: {terraform: {name: "{{ inputs.name }}"}}
outputs: {url: "http://{{ tasks.vm.outputs[0].address }}"}
"""


def needs(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {name: node.needs for name, node in graph.nodes.items()}


# ---- edges and order --------------------------------------------------------------------------------------------------


def test_what_a_task_reads_comes_before_it(graph_of):
    assert needs(graph_of(ENVIRONMENT)) == {
        "network": (),
        "subnet": ("network",),
        "vm": ("subnet",),
        "software": ("vm",),
        "verify": ("software", "vm"),
    }


def test_conditions_and_fan_outs_make_edges_as_well(graph_of):
    graph = graph_of(
        """
tasks:
  a: {noop: {}}
  b: {noop: {}, when: "{{ tasks.a.result.changed }}"}
  c: {noop: {}, for_each: "{{ tasks.a.outputs.items }}"}
"""
    )
    assert needs(graph) == {"a": (), "b": ("a",), "c": ("a",)}


def test_an_undo_makes_no_edge(graph_of):
    graph = graph_of("tasks:\n  a: {noop: {}}\n  b: {noop: {}, needs: [a], undo: {noop: {outputs: '{{ tasks.b.outputs }}'}}}\n")
    assert needs(graph) == {"a": (), "b": ("a",)}


def test_nodes_come_in_topological_order_and_by_name_within_a_wave(graph_of):
    graph = graph_of(ENVIRONMENT)
    assert list(graph.nodes) == ["network", "subnet", "vm", "software", "verify"]
    assert graph.waves == (("network",), ("subnet",), ("vm",), ("software",), ("verify",))
    wide = graph_of("tasks: {c: {noop: {}}, a: {noop: {}}, b: {noop: {}}, d: {noop: {}, needs: [a]}}\n")
    assert wide.waves == (("a", "b", "c"), ("d",))


def test_the_height_of_a_task_is_what_still_hangs_on_it(graph_of):
    graph = graph_of("tasks: {a: {noop: {}}, b: {noop: {}, needs: [a]}, c: {noop: {}, needs: [b]}, d: {noop: {}, needs: [a]}}\n")
    assert {name: node.height for name, node in graph.nodes.items()} == {"a": 3, "b": 2, "c": 1, "d": 1}
    assert graph.nodes["a"].dependants == ("b", "d")


def test_two_compilations_of_one_plan_are_equal(graph_of):
    assert graph_of(ENVIRONMENT) == graph_of(ENVIRONMENT)


def test_the_compiled_plan_lets_go_of_the_file(graph_of):
    graph = graph_of(ENVIRONMENT)
    bodies = [node.task.body for node in graph.nodes.values()]
    bodies += [node.task.undo.body for node in graph.nodes.values() if node.task.undo.body is not None]
    assert all(body.node is None for body in bodies)
    assert graph.plan.tasks["vm"] is graph.nodes["vm"].task


# ---- undo -------------------------------------------------------------------------------------------------------------


def test_unsaid_undo_is_the_kinds_own_when_it_has_one_and_none_when_not(graph_of):
    graph = graph_of("tasks: {t: {terraform: {}}, n: {noop: {}}}\n")
    assert graph.nodes["t"].task.undo.mode is UndoMode.AUTO
    assert graph.nodes["n"].task.undo.mode is UndoMode.NONE


def test_undo_when_is_the_kinds_unless_the_task_says(graph_of):
    graph = graph_of("tasks: {t: {terraform: {}}, n: {noop: {}}, o: {terraform: {}, undo_when: succeeded}}\n")
    when = {name: node.task.undo_when for name, node in graph.nodes.items()}
    assert when == {"t": UndoWhen.ATTEMPTED, "n": UndoWhen.SUCCEEDED, "o": UndoWhen.SUCCEEDED}


def test_a_change_without_an_undo_is_a_warning(mistakes, graph_of):
    text = "tasks:\n  a: {command: {}}\n  b: {command: {}, undo: none}\n  c: {noop: {}}\n"
    assert mistakes(text) == [
        '2:3 task "a" changes things and does not say how to undo them | give it an undo, or say undo: none or undo: irreversible'
    ]
    assert graph_of(text) is not None


def test_what_changes_nothing_has_nothing_to_restore(mistakes, graph_of):
    text = "tasks:\n  a: {command: {}, undo: restore}\n  b: {noop: {}, undo: restore}\n  c: {terraform: {}, undo: restore}\n"
    assert mistakes(text) == ['3:23 task "b" changes nothing, so there is nothing to restore | say undo: none']
    modes = {name: node.task.undo.mode for name, node in graph_of(text).nodes.items()}
    assert modes == {"a": UndoMode.RESTORE, "b": UndoMode.NONE, "c": UndoMode.RESTORE}


# ---- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{{ tasks.netwrk.outputs.id }}", 'the plan has no task "netwrk" | did you mean "network"?'),
        ("{{ tasks.network.id }}", 'a task has no "id" | did you mean "tasks.network.outputs.id"?'),
        ("{{ tasks.a-b.outputs }}", 'the plan has no task "a" | write tasks["a-b"]: a name with a dash needs brackets'),
        ("{{ tasks }}", '"tasks" must be followed by the name of a task | write tasks.NAME.outputs'),
        ("{{ tasks[inputs.n] }}", '"tasks" must be followed by the name of a task | write tasks.NAME.outputs'),
        ("{{ inputs.m }}", 'the plan has no input "m" | there is n, s'),
        ("{{ inputs.s.x }}", 'input "s" is of type string: it has no "x"'),
        ("{{ network }}", '"network" is not defined | did you mean "tasks.network.outputs"?'),
        ("{{ n }}", '"n" is not defined | did you mean "inputs.n"?'),
        ("{{ input.n }}", '"input" is not defined | did you mean "inputs"?'),
        ("{{ each.key }}", '"each.key" cannot be used here | "each" is there only in a task with "for_each"'),
        ("{{ result.changed }}", '"result.changed" cannot be used here | "result" is there only in an undo'),
        ("{{ run.nme }}", '"run" has no "nme" | there is error, id, plan, started_at, status'),
        ("{{ environment.nam }}", '"environment" has no "nam" | did you mean "name"?'),
        ("{{ task.tokn }}", '"task" has no "tokn" | did you mean "token"?'),
        ("{{ tasks.web.outputs.stauts }}", 'a task of kind "http" has no output "stauts" | did you mean "status"?'),
        ("{{ tasks.three.outputs.id }}", 'the outputs of "three" are a list, one for each instance | take one of them, such as'),
        ("{{ tasks.ranged.outputs.id }}", 'the outputs of "ranged" are a list, one for each instance | take one'),
        ("{{ tasks.three.outputs[3] }}", '"three" has 3 instances: there is no [3] | they count from 0'),
        ("{{ tasks.listed.outputs[2] }}", '"listed" has 2 instances: there is no [2] | they count from 0'),
        ("{{ tasks.mapped.outputs.re }}", '"mapped" has no instance "re" | did you mean "red"?'),
        ("{{ tasks.listed.outputs[0].stauts }}", 'a task of kind "http" has no output "stauts" | did you mean "status"?'),
    ],
)
def test_every_name_in_an_expression_is_checked(mistakes, config, expected):
    text = f"""inputs: {{n: {{type: integer}}, s: {{type: string}}}}
tasks:
  t: {{noop: {{outputs: "{config}"}}}}
  network: {{noop: {{}}}}
  a-b: {{noop: {{}}}}
  web: {{http: {{}}, undo: none}}
  three: {{noop: {{}}, for_each: 3}}
  ranged: {{noop: {{}}, for_each: "{{{{ range(inputs.n) }}}}"}}
  listed: {{http: {{}}, for_each: [x, y], undo: none}}
  mapped: {{noop: {{}}, for_each: {{red: 1, blue: 2}}}}
"""
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"3:27 {expected}")


@pytest.mark.parametrize(
    "config",
    [
        "{{ tasks.three.outputs[2].id }}", "{{ tasks.three.outputs[-1].id }}", "{{ tasks.three.outputs | map(attribute='id') }}",
        "{{ tasks.mapped.outputs.red.x }}", "{{ tasks.three.result[0].changed }}", "{{ tasks.three.status }}", "{{ inputs.o.any.thing }}",
        "{{ inputs.s[0] }}", "{{ inputs.s.upper() }}", "{{ secrets.any }}", "{{ task.token }}{{ run.id }}{{ environment.name }}",
        "{{ tasks.open.outputs.a }}{{ tasks.open.outputs[0] }}", "{{ inputs }}",
    ],
)  # fmt: skip
def test_what_may_be_right_is_let_through(mistakes, config):
    text = f"""inputs: {{s: {{type: string}}, o: {{type: object}}}}
tasks:
  t: {{noop: {{outputs: "{config}"}}}}
  three: {{noop: {{}}, for_each: 3}}
  mapped: {{noop: {{}}, for_each: {{red: 1, blue: 2}}}}
  open: {{noop: {{}}, for_each: "{{{{ inputs.o.items }}}}"}}
"""
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks: {a: {noop: {}, when: '{{ secrets.x }}'}}\n", '"secrets.x" cannot be used here | secrets can be used only in'),
        ("tasks: {a: {noop: {}, for_each: '{{ secrets.x }}'}}\n", '"secrets.x" cannot be used here'),
        ("tasks: {a: {noop: {}, for_each: '{{ each.x }}'}}\n", '"each.x" cannot be used here'),
        ("tasks: {a: {noop: {}, when: '{{ task.attempt }}'}}\n", '"task.attempt" cannot be used here | only environment, inputs'),
        ("tasks: {a: {noop: {}}}\noutputs: {x: '{{ secrets.x }}'}\n", '"secrets.x" cannot be used here'),
        ("tasks: {a: {noop: {}}}\noutputs: {x: '{{ tasks.b.outputs }}'}\n", 'the plan has no task "b"'),
        ("tasks: {a: {noop: {}}}\nenvironment: '{{ tasks.a.outputs }}'\n", '"tasks.a" cannot be used here | only inputs can'),
        ("tasks: {a: {noop: {}, needs: [b]}}\n", 'task "a" needs "b", which the plan does not define'),
        ("tasks: {a: {noop: {}, undo: auto}}\n", 'kind "noop" has no undo of its own | write the undo as a task body'),
        ("tasks: {a: {noop: {}, undo: {noop: {slep: 1}}}}\n", 'noop: unknown key "slep"'),
    ],
)
def test_each_place_sees_its_own_names_only(mistakes, text, expected):
    (found,) = mistakes(text)
    assert found.partition(" ")[2].startswith(expected)


@pytest.mark.parametrize(
    ("text", "cycle"),
    [
        ("a: {noop: {}, needs: [b]}, b: {noop: {}, needs: [c]}, c: {noop: {}, needs: [a]}", "a -> b -> c -> a"),
        ("a: {noop: {}, needs: [a]}", "a -> a"),
        ("a: {noop: {outputs: '{{ tasks.a.outputs }}'}}", "a -> a"),
        ("a: {noop: {}, needs: [b, c]}, b: {noop: {}, needs: [c]}, c: {noop: {}, needs: [a]}, d: {noop: {}, needs: [a]}", "a -> c -> a"),
    ],
)
def test_a_cycle_is_reported_once_as_a_path(mistakes, text, cycle):
    (found,) = mistakes(f"tasks: {{{text}}}\n")
    assert f"tasks wait for each other: {cycle} | " in found


def test_each_edge_of_a_cycle_is_placed(mistakes):
    (found,) = mistakes("tasks:\n  a: {noop: {}, needs: [b]}\n  b: {noop: {outputs: '{{ tasks.a.outputs }}'}}\n")
    assert found.startswith("2:25 ")
    assert found.endswith('"a" needs "b" at plan.yaml:4:25; "b" reads "a" at plan.yaml:5:27')


def test_two_cycles_are_two_mistakes(mistakes):
    text = "tasks: {a: {noop: {}, needs: [b]}, b: {noop: {}, needs: [a]}, c: {noop: {}, needs: [d]}, d: {noop: {}, needs: [c, a]}}\n"
    assert [line.partition(" ")[2].partition(" |")[0] for line in mistakes(text)] == [
        "tasks wait for each other: a -> b -> a",
        "tasks wait for each other: c -> d -> c",
    ]


def test_an_undo_may_read_its_own_task_and_those_before_it(mistakes):
    text = """
tasks:
  a: {noop: {}}
  b: {noop: {}, needs: [a]}
  c: {noop: {}, needs: [b], undo: {noop: {outputs: "{{ tasks.a.outputs }} {{ tasks.c.outputs }} {{ result.changed }}"}}}
  d: {noop: {}, undo: {noop: {outputs: "{{ tasks.c.outputs }}"}}}
"""
    assert mistakes(text) == ['6:44 the undo of "d" reads an output of a task that is not upstream: "c" | add "c" to the needs of "d"']


def test_a_config_that_its_kind_refuses_is_placed_at_the_key_or_the_value(mistakes):
    text = "tasks:\n  a: {noop: {slep: 1}}\n  b:\n    noop:\n      sleep: long\n"
    assert mistakes(text) == ['2:14 noop: unknown key "slep"', '5:14 noop: "sleep" must be a number']


def test_open_expressions_are_not_the_kinds_concern(mistakes):
    assert mistakes("inputs: {n: {type: integer}}\ntasks: {a: {noop: {sleep: '{{ inputs.n }}'}}}\n") == []


def test_a_kind_that_cannot_be_loaded_is_one_mistake_and_hides_no_other(kinds):
    def lookup(name):
        if name == "http":
            raise PluginError('plugin "http" cannot be loaded: ImportError: x', plugin="http", hint="reinstall it")
        return kinds.get(name)

    found = Diagnostics()
    text = "drystone: 1\nname: x\ntasks:\n  a: {http: {}}\n  b: {http: {}, needs: [c]}\n"
    plan = to_plan(parse(text, "p", found), kinds, found)
    assert compile_plan(plan, lookup, found) is None
    assert [item.summary for item in found] == [
        'plugin "http" cannot be loaded: ImportError: x',
        'task "b" needs "c", which the plan does not define',
    ]


def test_four_mistakes_of_four_sorts_give_four_diagnostics_with_their_places(mistakes):
    text = """
tasks:
  network: {terraform: {name: "{{ tasks.netwrk.outputs.id }}"}}
  a: {noop: {}, needs: [b]}
  b: {noop: {}, needs: [a], timeout: [soon]}
  c: {noop: {}, retires: 3}
"""
    assert [line.partition(" |")[0] for line in mistakes(text)] == [
        '3:35 the plan has no task "netwrk"',
        "4:25 tasks wait for each other: a -> b -> a",
        '5:38 "timeout" of task "b" must be a duration, not a list',
        '6:17 unknown key "retires" in task "c"',
    ]


@pytest.mark.parametrize(
    "text",
    [
        # The kind is misspelt, so its config and its edges are not known.
        "tasks: {a: {noop: {}}, b: {nop: {x: '{{ tasks.a.outputs }}'}, undo: {noop: {outputs: '{{ tasks.a.outputs }}'}}}}\n",
        # The need is misspelt, so it may have been the one that the undo relies on.
        "tasks: {a1: {noop: {}}, b: {noop: {}, needs: [a], undo: {noop: {outputs: '{{ tasks.a1.outputs }}'}}}}\n",
        # What reads a task whose own definition is broken has made no mistake.
        "tasks: {a: {nop: {}}, b: {noop: {outputs: '{{ tasks.a.outputs.x }}'}}}\n",
        "tasks: {a: 5, b: {noop: {outputs: '{{ tasks.a.outputs.x }}'}, needs: [a]}}\n",
        "inputs: {n: {type: strng}}\ntasks: {a: {noop: {outputs: '{{ inputs.n.x }}'}}}\n",
        "tasks: {a: {noop: {}, for_each: what}, b: {noop: {outputs: '{{ tasks.a.outputs.x }}'}}}\n",
    ],
)
def test_what_follows_from_a_mistake_is_not_another_one(mistakes, text):
    assert len(mistakes(text)) == 1, mistakes(text)


# ---- size -------------------------------------------------------------------------------------------------------------


def large(count: int) -> str:
    tasks = [f"  t{n}: {{noop: {{outputs: '{{{{ tasks.t{n - 1}.outputs.x }}}}'}}, needs: [t{n // 2}]}}\n" for n in range(1, count)]
    return f"drystone: 1\nname: large\ntasks:\n  t0: {{noop: {{}}}}\n{''.join(tasks)}"


def test_a_chain_of_thousands_compiles_without_recursion(kinds):
    found = Diagnostics()
    graph = compile_plan(to_plan(parse(large(5000), "p", found), kinds, found), kinds.get, found)
    assert graph is not None and len(graph.waves) == 5000


def test_the_cost_of_a_plan_grows_with_its_size_and_not_with_its_square(kinds):
    """Counts calls instead of seconds: the same on a busy machine."""

    def calls(count: int) -> int:
        import cProfile

        text, found, profile = large(count), Diagnostics(), cProfile.Profile(time.perf_counter)
        profile.enable()
        compile_plan(to_plan(parse(text, "p", found), kinds, found), kinds.get, found)
        profile.disable()
        return sum(entry.callcount for entry in profile.getstats())

    calls(10)
    assert calls(2000) < 2.2 * calls(1000)


def test_thousands_of_mistakes_are_told_and_the_first_have_suggestions(kinds):
    tasks = [f"  task{n}: {{noop: {{outputs: '{{{{ tasks.netwrk.outputs.x }}}}'}}, needs: [tsk{n}]}}\n" for n in range(2000)]
    text, found = f"drystone: 1\nname: x\ntasks:\n  network: {{noop: {{}}}}\n{''.join(tasks)}", Diagnostics()
    compile_plan(to_plan(parse(text, "p", found), kinds, found), kinds.get, found)
    hints = [item.hint for item in found if "netwrk" in item.summary]
    assert len(found) == 4000
    assert hints[0] == 'did you mean "network"?' and hints[-1] == ""


def test_a_cycle_of_thousands_is_found_without_recursion(kinds):
    found = Diagnostics()
    text = large(3000).replace("t0: {noop: {}}", "t0: {noop: {}, needs: [t2999]}")
    compile_plan(to_plan(parse(text, "p", found), kinds, found), kinds.get, found)
    assert len(found) == 1


def test_the_steps_run_in_the_order_of_the_table():
    assert [step.__name__ for step in STEPS] == [
        "load_kinds", "check_references", "check_pools", "check_triggers", "check_needs", "infer_edges", "sort_tasks", "find_cycles",
        "check_undo_references", "check_configs", "check_waits", "resolve_undo",
    ]  # fmt: skip
    assert all(step.__doc__ for step in STEPS)
    assert compiler.__doc__ is not None


def test_a_diagnostic_prints_with_its_line(mistakes, kinds):
    found = Diagnostics()
    text = "drystone: 1\nname: x\ntasks:\n  network: {noop: {}}\n  a: {noop: {outputs: '{{ tasks.netwrk.outputs }}'}}\n"
    compile_plan(to_plan(parse(text, "plans/x.yaml", found), kinds, found), kinds.get, found)
    assert [to_text(item, text).splitlines() for item in found] == [[
        'error: the plan has no task "netwrk"',
        "  --> plans/x.yaml:5:27",
        "  5 |   a: {noop: {outputs: '{{ tasks.netwrk.outputs }}'}}",
        "    |                           ^^^^^^^^^^^^",
        '  did you mean "network"?',
    ]]  # fmt: skip


LATE = """
tasks:
  a: {noop: {}}
finally:
  report: {noop: {outputs: {seen: "{{ tasks.a.outputs }}", how: "{{ run.status }}"}}}
  mail: {needs: [report], noop: {}}
"""


def test_what_stands_under_finally_comes_last_and_reads_every_task_without_an_edge(graph_of):
    graph = graph_of(LATE)
    assert graph.waves == (("a",), ("report",), ("mail",))
    assert graph.nodes["report"].needs == ()
    assert [name for name, node in graph.nodes.items() if node.task.closing] == ["report", "mail"]


@pytest.mark.parametrize(
    ("change", "summary"),
    [
        (("needs: [report]", "needs: [a]"), 'task "mail" need not name "a"'),
        (("a: {noop: {}}", "a: {needs: [mail], noop: {}}"), 'task "a" waits for "mail", which comes only when all else is over'),
        (("a: {noop: {}}", "mail: {noop: {}}"), 'there are two tasks "mail"'),
        (("mail: {", "mail: {pivot: true, "), '"pivot" means nothing under "finally"'),
        (("a: {noop: {}}", "a: {noop: {}, poll: {every: 1s}}"), 'the poll of task "a" needs "until"'),
        (("a: {noop: {}}", "a: {noop: {}, poll: {until: true}}"), '"until" of the poll of task "a" must be an expression'),
        (("a: {noop: {}}", "a: {noop: {}, remedy: {nope: {}}}"), 'unknown key "nope" in the remedy of task "a"'),
    ],
)
def test_mistakes_around_finally_poll_and_remedy_are_told(change, summary, mistakes):
    assert any(summary in line for line in mistakes(LATE.replace(*change)))
