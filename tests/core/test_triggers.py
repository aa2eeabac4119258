"""`triggers` of a plan: read, named, and held against their plugins and the plan's inputs."""

import pytest

from drystone.adapters.yaml_text import parse
from drystone.core.compile import compile_plan
from drystone.core.diagnostics import Diagnostics
from drystone.core.planfile import to_plan
from drystone.plugin.registry import Registry

HEAD = "drystone: 1\nname: nightly\ntasks: {a: {noop: {}}}\n"


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.fixture
def read(registry):
    """The graph, and the mistakes as `line:column summary | hint`; lines count from the first after the head."""

    def read(text):
        found = Diagnostics()
        plan = to_plan(parse(HEAD + text, "p", found), registry, found, triggers=registry.triggers)
        graph = compile_plan(plan, registry.info, found, triggers=registry.triggers.info)
        told = [f"{item.where.line - 3}:{item.where.column} {item.summary}" + (f" | {item.hint}" if item.hint else "") for item in found]
        return graph, told

    return read


def test_triggers_without_a_name_are_called_by_their_type(read):
    graph, told = read(
        """inputs: {day: {type: string}, n: {type: integer, default: 1}}
triggers:
  - schedule: {cron: "@daily", timezone: Europe/Berlin}
    inputs: {day: "{{ event.schedule.local_date }}"}
  - {name: weekly, schedule: {cron: "@weekly"}, inputs: {day: x, n: 2}}
  - {schedule: {cron: "@hourly"}, inputs: {day: "{{ event.schedule.tick[:10] }}"}}
"""
    )
    assert told == []
    assert [(trigger.name, trigger.type) for trigger in graph.plan.triggers] == [
        ("schedule", "schedule"), ("weekly", "schedule"), ("schedule-2", "schedule"),
    ]  # fmt: skip
    assert graph.plan.triggers[1].inputs == {"day": "x", "n": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("triggers: {}\n", ['1:11 "triggers" must be a list, not a map | write each behind a dash: - schedule: {...}']),
        ("triggers: [{}]\n", ["1:12 trigger 1 has no type | a trigger has one of: schedule"]),
        (
            "triggers: [{shedule: {}}]\n",
            ['1:13 unknown key "shedule" in trigger 1 | did you mean "schedule"? Known keys: inputs, name, schedule'],
        ),
        (
            'triggers: [{schedule: {cron: "0 2 31 2 *", timezone: Europe/Berln, jiter: 5m}}]\n',
            [
                '1:30 schedule: "cron": "0 2 31 2 *" names no day that ever comes',
                '1:54 schedule: "timezone": there is no time zone "Europe/Berln"; did you mean "Europe/Berlin"?',
                '1:68 schedule: unknown key "jiter" | did you mean "jitter"?',
            ],
        ),
        (
            "inputs: {day: {type: string}, n: {type: integer, default: 1}}\n"
            'triggers: [{schedule: {cron: "@daily"}, inputs: {n: x, dya: 1}}]\n',
            [
                '2:13 plan "nightly" needs the input "day"',
                '2:53 input "n" of plan "nightly" must be an integer, not "x"',
                '2:56 plan "nightly" has no input "dya" | did you mean "day"?',
            ],
        ),
        (
            'inputs: {day: {}}\ntriggers: [{schedule: {cron: "@daily"}, inputs: {day: "{{ event.schedule.local_day }}"}}]\n',
            ['2:59 "event.schedule" has no "local_day" | did you mean "local_date"?'],
        ),
        (
            'inputs: {day: {}}\ntriggers: [{schedule: {cron: "{{ event.x }}"}, inputs: {day: "{{ inputs.day }}"}}]\n',
            [
                '2:34 "event.x" cannot be used here | "event" is there only in the inputs of a trigger, and in what it asks of each event',
                '2:66 "inputs.day" cannot be used here | only event can',
            ],
        ),
        (
            'triggers: [{name: a, schedule: {cron: "@daily"}}, {name: a, schedule: {cron: "@daily"}}]\n',
            ['1:58 there are two triggers "a" | the other is at p:4:22'],
        ),
        (
            'triggers: [{name: "a b", schedule: {cron: "@daily"}}]\n',
            [
                '1:19 "a b" cannot be the name of a trigger | '
                "it has at most 63 letters, digits, dashes and underscores, and begins with a letter"
            ],
        ),
    ],
)  # fmt: skip
def test_mistakes_are_placed_and_explained_all_at_once(read, text, expected):
    assert read(text)[1] == expected


def test_a_task_does_not_see_the_event(read):
    _, told = read("outputs: {x: '{{ event.schedule }}'}\n")
    assert told == [
        '1:18 "event.schedule" cannot be used here | "event" is there only in the inputs of a trigger, and in what it asks of each event'
    ]


def test_a_run_does_not_ask_what_started_it(registry):
    found = Diagnostics()
    plan = to_plan(parse(HEAD + "triggers: [{gone: {}}]\n", "p", found), registry, found)
    assert compile_plan(plan, registry.info, found) is not None
