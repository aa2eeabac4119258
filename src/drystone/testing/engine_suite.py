"""What every engine must keep, whoever wrote it: the semantics of runs as tests over plans, one claim each.

An engine's tests subclass `EngineSuite` and give the fixture `engine`, a `Driver` for the folder `project`:

    class TestMine(EngineSuite):
        @pytest.fixture
        def engine(self, project):
            return MyDriver(project)

A driver must know the kinds `fake` and `fragile` of `drystone.testing.embedded`, and end attempts as faults and given outputs say.
`RehearsalDriver` and `EmbeddedDriver` are two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent, indent
from typing import Any, Protocol

import pytest

from drystone.core.events import EventType
from drystone.errors import RefusedError
from drystone.testing.embedded import FragileKind
from drystone.testing.fake_kind import FakeKind, registry_with
from drystone.testing.faults import Faults, crash_after
from drystone.testing.rehearsal import Rehearsal, rehearse
from drystone.testing.story import Story


class Driver(Protocol):
    """Drives one plan after the other to its end. The arguments are those of `rehearse`."""

    def run(
        self,
        plan: Path | str,
        *,
        faults: Faults = (),
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
        max_parallel: int = 16,
    ) -> Story:
        """Starts a run and drives it."""
        ...

    def undo(self, story: Story, *, faults: Faults = ()) -> Story:
        """As `drystone undo` does. Raises RefusedError."""
        ...

    def resume(self, story: Story, *, faults: Faults = (), only_failed: bool = False) -> Story:
        """As `drystone resume` does. Raises RefusedError."""
        ...


class RehearsalDriver:
    """The core alone, under the simulated clock of a rehearsal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = registry_with(FakeKind(), FragileKind())

    def run(self, plan: Path | str, **given: Any) -> Rehearsal:
        """Rehearses a plan."""
        return rehearse(plan, folder=self._folder, registry=self._registry, **given)

    def undo(self, story: Story, *, faults: Faults = ()) -> Rehearsal:
        """Takes it back."""
        assert isinstance(story, Rehearsal)
        return story.undo(faults=faults)

    def resume(self, story: Story, *, faults: Faults = (), only_failed: bool = False) -> Rehearsal:
        """Goes on with it."""
        assert isinstance(story, Rehearsal)
        return story.resume(faults=faults, only_failed=only_failed)


def plan(tasks: str, *keys: str) -> str:
    """The text of a plan: its tasks, and other keys of it, a line each."""
    return "\n".join(["drystone: 1", "name: suite", *keys, "tasks:", indent(dedent(tasks).strip("\n"), "  "), ""])


CHAIN = plan("""
    network: {fake: {}}
    subnet: {needs: [network], fake: {}}
    vm: {needs: [subnet], fake: {}}
    software: {needs: [vm], fake: {}}
    migration: {needs: [software], fake: {}}
""")
FAN = plan("""
    net: {fake: {}}
    vm: {needs: [net], for_each: 3, fake: {n: "{{ each.value }}"}}
    end: {needs: [vm], fake: {}}
""")
TOLERANT = dedent("""
    vm: {for_each: 3, max_failures: 1, fake: {}}
    sum: {needs: [vm], fake: {}}
    mail: {needs: [sum], fake: {}}
""").strip()


def at(story: Story, type_: EventType, id_: str) -> int:
    """The number of the first event of a type of an instance. Raises StopIteration when there is none."""
    return next(event.seq for event in story.events if event.type is type_ and event.task == id_)


def most_at_once(story: Story, task: str = "") -> int:
    """The largest number of attempts that were in flight together, of all instances whose id begins so."""
    begins = (EventType.TASK_STARTED, EventType.UNDO_STARTED)
    ends = (EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELLED, EventType.UNDO_SUCCEEDED, EventType.UNDO_FAILED)
    now = most = 0
    for event in story.events:
        if event.task is not None and event.attempt is not None and event.task.startswith(task):
            now += (event.type in begins) - (event.type in ends)
            most = max(most, now)
    return most


def waits(story: Story, type_: str, id_: str) -> list[timedelta]:
    """How long each next attempt was to wait."""
    told = [event for event in story.events if event.type == type_ and event.task == id_]
    return [datetime.fromisoformat(event.data["retry_at"]) - event.at for event in told]


def end_of(story: Story) -> tuple[Any, ...]:
    """What must be the same however a run was disturbed."""
    tasks = [(i.id, i.status.value, i.undo.status) for i in story.run.in_order()]
    return story.status, story.cause, story.left, story.outputs, tasks


class EngineSuite:
    """Subclassed by the tests of each engine."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """A folder of its own for each test."""
        (tmp_path / "drystone.toml").write_text("[pools]\npair = 2\n")
        return tmp_path

    # ---- order --------------------------------------------------------------------------------------------------------

    def test_a_task_starts_when_everything_that_it_needs_has_ended(self, engine: Driver) -> None:
        story = engine.run(plan("a: {fake: {}}\nb: {fake: {}}\nc: {needs: [a, b], fake: {}}\n"))
        assert story.status == "succeeded"
        assert at(story, EventType.TASK_STARTED, "c") > max(at(story, EventType.TASK_SUCCEEDED, name) for name in ("a", "b"))

    def test_what_has_the_longest_way_before_it_starts_first_then_priority_then_the_name(self, engine: Driver) -> None:
        tasks = """
            zone: {fake: {}}
            app: {needs: [zone], fake: {}}
            b: {fake: {}}
            a: {fake: {}}
            c: {priority: 1, fake: {}}
        """
        assert engine.run(plan(tasks), max_parallel=1).started == ["zone", "c", "a", "b", "app"]

    def test_equal_inputs_give_an_equal_order(self, engine: Driver) -> None:
        first, second = (engine.run(FAN, faults="end fails", max_parallel=1) for _ in range(2))
        assert (first.started, first.undone, first.types()) == (second.started, second.undone, second.types())

    def test_no_more_attempts_are_in_flight_than_the_run_may_have(self, engine: Driver) -> None:
        assert most_at_once(engine.run(FAN, max_parallel=2)) == 2

    def test_a_fan_out_keeps_to_its_own_limit(self, engine: Driver) -> None:
        story = engine.run(plan("vm: {for_each: 4, max_parallel: 1, fake: {}}"))
        assert most_at_once(story) == 1
        assert story.succeeded == ["vm[0]", "vm[1]", "vm[2]", "vm[3]"]

    def test_a_pool_bounds_the_tasks_that_name_it_and_no_others(self, engine: Driver) -> None:
        story = engine.run(plan("in: {for_each: 4, pool: pair, fake: {}}\nout: {for_each: 4, fake: {}}"))
        assert story.status == "succeeded"
        assert most_at_once(story, "in") == 2

    def test_a_fan_out_may_be_known_only_when_another_task_has_given_it(self, engine: Driver) -> None:
        tasks = 'find: {fake: {}}\neach: {for_each: "{{ tasks.find.outputs.names }}", fake: {}}'
        story = engine.run(plan(tasks), outputs={"find": {"names": {"a": 1, "b": 2}}})
        assert sorted(story.succeeded) == ['each["a"]', 'each["b"]', "find"]

    def test_what_a_task_gives_out_is_there_for_those_behind_it(self, engine: Driver) -> None:
        outputs = 'outputs: {one: "{{ tasks.one.outputs.x }}", two: "{{ tasks.two.outputs }}"}'
        text = plan("one: {fake: {}}\ntwo: {for_each: 2, fake: {}}", outputs)
        story = engine.run(text, outputs={"one": {"x": 1}, "two": [{"y": 2}, {"y": 3}]})
        assert story.outputs == {"one": 1, "two": [{"y": 2}, {"y": 3}]}

    # ---- conditions ---------------------------------------------------------------------------------------------------

    def test_a_skip_goes_on_to_what_needs_it(self, engine: Driver) -> None:
        story = engine.run(plan("a: {when: false, fake: {}}\nb: {needs: [a], fake: {}}\nc: {fake: {}}"))
        assert (story.skipped, story.succeeded, story.status) == (["a", "b"], ["c"], "succeeded")

    @pytest.mark.parametrize(
        ("run_if", "runs"),
        [("all_succeeded", False), ("none_failed", True), ("all_done", True), ("any_succeeded", True), ("any_failed", False)],
    )
    def test_a_task_says_itself_which_ends_before_it_let_it_start(self, engine: Driver, run_if: str, runs: bool) -> None:
        story = engine.run(plan(f"a: {{when: false, fake: {{}}}}\nb: {{fake: {{}}}}\nc: {{needs: [a, b], run_if: {run_if}, fake: {{}}}}"))
        assert ("c" in story.succeeded) is runs

    def test_a_condition_looks_at_what_came_of_the_tasks_before(self, engine: Driver) -> None:
        tasks = """
            a: {fake: {}}
            b: {when: "{{ tasks.a.result.changed }}", fake: {}}
            c: {when: "{{ not tasks.a.result.changed }}", fake: {}}
        """
        story = engine.run(plan(tasks), faults="a changes nothing")
        assert (story.skipped, story.succeeded) == (["b"], ["a", "c"])

    def test_a_failure_that_is_allowed_does_not_end_the_run(self, engine: Driver) -> None:
        story = engine.run(plan("a: {allow_failure: true, fake: {}}\nb: {needs: [a], fake: {}}"), faults="a fails")
        assert (story.status, story.failed, story.succeeded) == ("succeeded", ["a"], ["b"])

    def test_a_fan_out_tolerates_as_many_failures_as_it_says(self, engine: Driver) -> None:
        text = plan("vm: {for_each: 4, max_parallel: 1, max_failures: 1, fake: {}}")
        assert engine.run(text, faults="vm[1] fails").status == "succeeded"
        story = engine.run(text, faults=["vm[0] fails", "vm[1] fails"])
        assert (story.status, story.started) == ("compensated", ["vm[0]", "vm[1]"])

    def test_what_was_made_without_a_part_is_made_again_with_it(self, engine: Driver) -> None:
        text = plan(TOLERANT + "\nother: {fake: {}}")
        story = engine.run(text, faults="vm[1] fails")
        assert (story.status, story.failed, len(story.started)) == ("succeeded", ["vm[1]"], 6)
        whole = engine.resume(story, only_failed=True)
        assert (whole.status, whole.started[6:], whole.succeeded[-3:]) == ("succeeded", ["vm[1]", "sum", "mail"], ["vm[1]", "sum", "mail"])
        with pytest.raises(RefusedError, match="no instance of it failed"):
            engine.resume(whole, only_failed=True)

    def test_a_failure_that_is_tolerated_again_ends_the_resumed_run_well(self, engine: Driver) -> None:
        text = plan(TOLERANT)
        again = engine.resume(engine.run(text, faults="vm[1] fails"), faults="vm[1] fails", only_failed=True)
        assert (again.status, again.failed, again.started[-3:]) == ("succeeded", ["vm[1]", "vm[1]"], ["vm[1]", "sum", "mail"])

    def test_what_failed_is_not_made_again_where_a_fan_out_behind_it_might_get_other_items(self, engine: Driver) -> None:
        text = plan("vm: {for_each: 2, max_failures: 1, fake: {}}\neach: {for_each: '{{ tasks.vm.status }}', fake: {}}")
        story = engine.run(text, faults="vm[1] fails")
        with pytest.raises(RefusedError, match='the items of "each" come from "vm", which would be done again and may give others'):
            engine.resume(story, only_failed=True)

    def test_a_resume_without_more_words_leaves_what_was_tolerated_and_built_upon(self, engine: Driver) -> None:
        story = engine.run(plan(TOLERANT, "on_failure: stop"), faults=["vm[1] fails", "mail fails"])
        assert (story.status, story.failed) == ("failed", ["vm[1]", "mail"])
        resumed = engine.resume(story)
        assert (resumed.status, resumed.started[-2:]) == ("succeeded", ["mail", "mail"])
        whole = engine.resume(resumed, only_failed=True)
        assert (whole.started[-3:], whole.succeeded[-3:]) == (["vm[1]", "sum", "mail"], ["vm[1]", "sum", "mail"])

    def test_what_stands_under_finally_comes_last_however_the_run_ended(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\nb: {needs: [a], fake: {}}") + "finally:\n  report: {fake: {}}\n"
        for faults, status in (((), "succeeded"), ("b fails", "compensated"), ("cancel during b", "compensated")):
            story = engine.run(text, faults=faults)
            assert (story.status, story.started[-1]) == (status, "report")
            assert story.types()[-3:] == ["task.started", "task.succeeded", "run.finished"]

    # ---- retries and classes of failure -------------------------------------------------------------------------------

    def test_an_attempt_that_failed_is_made_again_after_the_wait_that_its_policy_says(self, engine: Driver) -> None:
        text = plan("a: {retry: {attempts: 4, delay: 2s, backoff: exponential, max_delay: 5s, jitter: false}, fake: {}}")
        story = engine.run(text, faults="a fails 3 times with unreachable")
        assert story.status == "succeeded"
        assert waits(story, "task.retrying", "a") == [timedelta(seconds=seconds) for seconds in (2, 4, 5)]

    def test_retries_end_with_the_last_attempt(self, engine: Driver) -> None:
        story = engine.run(plan("a: {retry: {attempts: 3, delay: 1s}, fake: {}}"), faults="a fails with unreachable")
        assert (story.attempts("a"), story.failed) == (3, ["a"])

    def test_a_retry_may_name_the_classes_that_it_is_for(self, engine: Driver) -> None:
        text = plan("a: {retry: {attempts: 3, delay: 1s, on: [unreachable]}, fake: {}}")
        assert engine.run(text, faults="a fails once with unreachable").attempts("a") == 2
        assert engine.run(text, faults="a fails once with timeout").attempts("a") == 1

    @pytest.mark.parametrize("failure", ["a fails with refused", "a fails with invalid", "a fails for good"])
    def test_what_will_not_work_is_not_tried_again(self, engine: Driver, failure: str) -> None:
        assert engine.run(plan("a: {retry: {attempts: 3, delay: 1s}, fake: {}}"), faults=failure).attempts("a") == 1

    def test_a_task_that_another_s_failure_holds_adds_no_failure_of_its_own(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults="subnet fails with conflict: taken")
        assert (story.failed, story.blocked) == (["subnet"], ["vm", "software", "migration"])
        assert story.run.error == {"task": "subnet", "class": "conflict", "message": "taken"}

    # ---- the way back -------------------------------------------------------------------------------------------------

    def test_undos_run_in_reverse_order_of_the_graph(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults="migration fails")
        assert (story.status, story.cause, story.exit_code) == ("compensated", "failed", 3)
        assert story.undone == ["software", "vm", "subnet", "network"]

    def test_every_instance_is_undone_before_what_it_rests_on_and_all_of_them_at_once(self, engine: Driver) -> None:
        story = engine.run(FAN, faults="end fails")
        assert (sorted(story.undone[:3]), story.undone[3:]) == (["vm[0]", "vm[1]", "vm[2]"], ["net"])
        begun = [at(story, EventType.UNDO_STARTED, f"vm[{n}]") for n in range(3)]
        assert max(begun) < min(at(story, EventType.UNDO_SUCCEEDED, f"vm[{n}]") for n in range(3))

    @pytest.mark.parametrize(("undo_when", "undone"), [("attempted", ["b", "a"]), ("succeeded", ["a"])])
    def test_a_task_says_from_when_on_it_has_something_to_undo(self, engine: Driver, undo_when: str, undone: list[str]) -> None:
        text = plan(f"a: {{fake: {{}}}}\nb: {{needs: [a], undo_when: {undo_when}, fake: {{}}}}")
        assert engine.run(text, faults="b fails").undone == undone

    def test_a_failure_that_certainly_changed_nothing_leaves_nothing_to_undo(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\nb: {needs: [a], undo_when: attempted, fake: {}}")
        assert engine.run(text, faults="b fails, having changed nothing").undone == ["a"]

    def test_what_changed_nothing_is_not_undone_so_that_a_failed_update_takes_down_nothing(self, engine: Driver) -> None:
        faults = [f"{name} changes nothing" for name in ("network", "subnet", "vm", "software")]
        story = engine.run(CHAIN, faults=[*faults, "migration fails"])
        assert (story.status, story.undone) == ("compensated", [])

    def test_an_undo_that_is_a_body_of_its_own_is_made_in_its_place(self, engine: Driver) -> None:
        story = engine.run(plan("a: {fake: {}, undo: {fake: {how: gently}}}\nb: {needs: [a], fake: {}}"), faults="b fails")
        assert story.undone == ["a"]
        assert story.told("undo.started", "a")[0]["mode"] == "body"

    def test_an_undo_is_tried_again_on_its_own_account(self, engine: Driver) -> None:
        text = plan("a: {undo: {retry: {attempts: 4, delay: 3s, jitter: false}, fake: {}}, fake: {}}\nb: {needs: [a], fake: {}}")
        story = engine.run(text, faults=["b fails", "undo of a fails twice"])
        assert (story.status, story.undo_attempts("a")) == ("compensated", 3)
        assert waits(story, "undo.retrying", "a") == [timedelta(seconds=3), timedelta(seconds=6)]

    def test_an_undo_that_fails_for_good_leaves_what_it_rests_on_and_the_rest_goes_on(self, engine: Driver) -> None:
        text = plan("net: {fake: {}}\nvm: {needs: [net], fake: {}}\ndns: {fake: {}}\nend: {needs: [vm, dns], fake: {}}")
        story = engine.run(text, faults=["end fails", "undo of vm fails"])
        assert (story.status, story.exit_code) == ("compensation_failed", 4)
        assert (story.left, story.undone) == (["net", "vm"], ["dns"])

    def test_a_way_back_that_got_stuck_goes_on_when_it_is_resumed_and_undoes_nothing_twice(self, engine: Driver) -> None:
        stuck = engine.run(FAN, faults=["end fails", "undo of vm[1] fails"])
        story = engine.resume(stuck)
        assert (story.status, story.left) == ("compensated", [])
        assert Counter(story.undone) == {"vm[0]": 1, "vm[1]": 1, "vm[2]": 1, "net": 1}

    def test_what_cannot_be_undone_is_left_and_told(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\nmail: {needs: [a], undo: irreversible, fake: {}}\nend: {needs: [mail], fake: {}}")
        story = engine.run(text, faults="end fails")
        assert (story.status, story.left, story.undone) == ("compensation_failed", ["mail"], ["a"])

    def test_past_a_pivot_nothing_is_undone(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\nswitch: {needs: [a], pivot: true, fake: {}}\nend: {needs: [switch], fake: {}}")
        story = engine.run(text, faults="end fails")
        assert (story.status, story.undone, story.left) == ("failed", [], ["a", "switch"])
        assert engine.resume(story).status == "succeeded"

    def test_before_its_pivot_a_run_is_taken_back(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\nswitch: {needs: [a], pivot: true, fake: {}}\nend: {needs: [switch], fake: {}}")
        assert engine.run(text, faults="switch fails").undone == ["a"]

    def test_running_tasks_are_let_finish_before_the_way_back_begins(self, engine: Driver) -> None:
        story = engine.run(plan("bad: {fake: {}}\nslow: {fake: {}}"), faults=["bad fails", "slow takes 1m"])
        assert (story.succeeded, story.undone) == (["slow"], ["slow"])
        assert at(story, EventType.TASK_SUCCEEDED, "slow") < at(story, EventType.UNDO_STARTED, "slow")

    def test_a_plan_may_say_that_a_failed_run_stays_as_it_is_and_goes_on_from_there(self, engine: Driver) -> None:
        story = engine.run(plan("a: {fake: {}}\nb: {needs: [a], fake: {}}", "on_failure: stop"), faults="b fails")
        assert (story.status, story.exit_code, story.undone) == ("failed", 7, [])
        resumed = engine.resume(story)
        assert (resumed.status, resumed.started) == ("succeeded", ["a", "b", "b"])

    def test_a_plan_may_say_that_all_else_goes_on(self, engine: Driver) -> None:
        tasks = "bad: {fake: {}}\nafter: {needs: [bad], fake: {}}\nother: {fake: {}}\nlast: {needs: [other], fake: {}}"
        story = engine.run(plan(tasks, "on_failure: continue"), faults="bad fails")
        assert (story.status, sorted(story.succeeded), story.blocked) == ("failed", ["last", "other"], ["after"])

    def test_a_run_that_succeeded_can_be_taken_back_once(self, engine: Driver) -> None:
        story = engine.undo(engine.run(FAN))
        assert (story.status, story.cause, story.exit_code) == ("compensated", "requested", 0)
        assert (story.undone[0], story.undone[-1], len(story.undone)) == ("end", "net", 5)
        with pytest.raises(RefusedError, match="undone already"):
            engine.undo(story)

    # ---- cancel and limits --------------------------------------------------------------------------------------------

    def test_a_cancel_ends_what_runs_and_takes_back_what_was_done(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults="cancel during vm")
        assert (story.status, story.cause, story.exit_code) == ("compensated", "cancelled", 130)
        assert (story.undone, story.attempts("software")) == (["subnet", "network"], 0)
        assert story.types("vm") == ["task.started", "task.cancelled"]

    def test_a_cancel_with_nothing_to_take_back_just_ends_the_run(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults="cancel during network")
        assert (story.status, story.undone, story.exit_code) == ("cancelled", [], 130)

    def test_a_cancel_does_not_touch_the_way_back(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults=["migration fails", "cancel during undo of vm"])
        assert (story.status, story.cause, story.left) == ("compensated", "failed", [])

    def test_an_attempt_past_its_timeout_fails_with_it(self, engine: Driver) -> None:
        story = engine.run(plan("a: {timeout: 5m, retry: {attempts: 2, delay: 1s}, fake: {}}"), faults="a takes 20m")
        assert [failure["class"] for failure in story.told("task.failed", "a")] == ["timeout", "timeout"]

    def test_an_undo_has_a_timeout_of_its_own(self, engine: Driver) -> None:
        text = plan("a: {undo: {timeout: 1m, retry: 1, fake: {}}, fake: {}}\nb: {needs: [a], fake: {}}")
        story = engine.run(text, faults=["b fails", "undo of a takes 5m"])
        assert story.told("undo.failed", "a")[0]["class"] == "timeout"
        assert story.left == ["a"]

    def test_a_run_past_its_deadline_is_taken_back(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\nb: {needs: [a], fake: {}}\nc: {needs: [b], fake: {}}", "timeout: 10m")
        story = engine.run(text, faults="b takes 11m")
        assert (story.status, story.cause) == ("compensated", "timeout")
        assert story.attempts("c") == 0

    # ---- crashes ------------------------------------------------------------------------------------------------------

    def test_an_attempt_and_its_undo_are_written_down_before_it_begins(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults="crash during vm")
        assert story.told("task.started", "vm")[0]["undo"] == "auto"
        assert story.types("vm") == ["task.started", "task.lost", "task.started", "task.succeeded"]

    def test_a_run_whose_process_dies_after_any_event_ends_as_an_undisturbed_one(self, engine: Driver) -> None:
        text = plan("""
            a: {retry: {attempts: 2, delay: 1s}, fake: {}}
            b: {needs: [a], for_each: 2, fake: {}}
            skipped: {needs: [a], when: false, fake: {}}
            end: {needs: [b], fake: {}}
        """)
        for faults in (["a fails once"], ["a fails once", "end fails", "undo of a fails once"]):
            undisturbed = engine.run(text, faults=faults)
            for event in range(1, len(undisturbed.events)):
                story = engine.run(text, faults=[*faults, crash_after(event=event)])
                assert end_of(story) == end_of(undisturbed), story.timeline
                begun, lost = Counter(story.started), Counter(e.task for e in story.events if e.type is EventType.TASK_LOST)
                assert all(begun[id_] <= undisturbed.attempts(id_) + lost[id_] for id_ in begun), "what was finished is not run again"
                assert Counter(story.undone) == Counter(undisturbed.undone), "nothing is undone twice"

    def test_a_lost_attempt_uses_up_no_retry(self, engine: Driver) -> None:
        text = plan("a: {retry: {attempts: 2, delay: 1s}, fake: {}}")
        story = engine.run(text, faults=["crash during a", "a fails on attempt 2"])
        assert (story.status, story.attempts("a")) == ("succeeded", 3)

    def test_a_lost_undo_is_made_again(self, engine: Driver) -> None:
        story = engine.run(CHAIN, faults=["migration fails", "crash during undo of vm"])
        assert (story.status, story.undone) == ("compensated", ["software", "vm", "subnet", "network"])
        assert story.undo_attempts("vm") == 2

    def test_a_lost_attempt_that_may_not_be_made_again_is_for_a_person(self, engine: Driver) -> None:
        story = engine.run(plan("a: {fake: {}}\nb: {needs: [a], fragile: {}}"), faults="crash during b")
        assert (story.status, story.failed, story.undone, story.attempts("b")) == ("failed", ["b"], [], 1)
        assert story.told("task.failed", "b")[0]["class"] == "crashed"

    def test_every_attempt_has_the_same_token_across_retries_and_crashes(self, engine: Driver) -> None:
        text = plan("a: {retry: {attempts: 2, delay: 1s}, fake: {}}\nb: {fake: {}}")
        story = engine.run(text, faults=["a fails on attempt 2", "crash during a"])
        tokens = {started["token"] for started in story.told("task.started", "a")}
        assert story.attempts("a") == 3
        assert len(tokens) == 1 and tokens.isdisjoint(started["token"] for started in story.told("task.started", "b"))

    # ---- people -------------------------------------------------------------------------------------------------------

    def test_a_run_waits_for_an_answer_and_goes_on_with_it(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\ngate: {needs: [a], approval: {approvers: [ada]}}\nb: {needs: [gate], fake: {}}")
        story = engine.run(text, faults="gate is approved by ada: go")
        assert story.succeeded == ["a", "gate", "b"]
        (given,) = story.told("approval.given")
        assert {name: given[name] for name in ("answer", "by", "comment")} == {"answer": "approve", "by": "ada", "comment": "go"}
        assert engine.run(text, faults="gate is rejected").undone == ["a"]

    def test_an_answer_that_nobody_gives_in_time_is_what_the_plan_says(self, engine: Driver) -> None:
        for on_timeout, status in (("approve", "succeeded"), ("reject", "compensated")):
            text = plan(f"a: {{fake: {{}}}}\ngate: {{needs: [a], approval: {{timeout: 2h, on_timeout: {on_timeout}}}}}")
            story = engine.run(text)
            assert (story.status, story.took > timedelta(hours=2)) == (status, True)

    def test_a_question_is_still_open_after_a_crash(self, engine: Driver) -> None:
        text = plan("a: {fake: {}}\ngate: {needs: [a], approval: {}}")
        assert engine.run(text, faults=["crash during gate", "gate is approved"]).status == "succeeded"

    def test_a_cancel_ends_a_wait(self, engine: Driver) -> None:
        story = engine.run(plan("a: {fake: {}}\nnap: {needs: [a], wait: {for: 3d}}"), faults="cancel during nap")
        assert (story.status, story.cause, story.undone) == ("compensated", "cancelled", ["a"])
        assert story.took < timedelta(days=1)
