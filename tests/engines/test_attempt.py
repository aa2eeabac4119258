"""How an attempt is made: polls, remedies, what stands under finally, and what becomes of secrets."""

from __future__ import annotations

from collections.abc import Callable

from tests.engines.conftest import Ran

Run = Callable[..., Ran]


def test_a_poll_repeats_the_work_until_its_condition_is_true(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        tasks:
          count:
            command: {shell: "echo x >> count; wc -l < count"}
            poll: {until: "{{ result.stdout | int >= 3 }}", every: 10ms}
            undo: none
    """)
    assert ran.code == 0
    assert (ran.project / "count").read_text() == "x\n" * 3


def test_a_poll_that_never_gets_there_fails_with_timeout_and_the_last_reason(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        tasks:
          wait:
            command: {shell: "echo not-yet >&2; exit 1"}
            poll: {until: "{{ result.exit == 0 }}", every: 10ms, timeout: 100ms}
            undo: none
    """)
    assert ran.code == 3
    failed = next(event for event in ran.events if event["type"] == "task.failed")
    assert failed["data"]["class"] == "timeout"
    assert "not-yet" in failed["data"]["message"]


def test_a_remedy_comes_after_a_failed_attempt_and_before_the_next(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        tasks:
          mend:
            command: {shell: "test -e mended"}
            retry: {attempts: 2, delay: 0}
            remedy: {command: {shell: "touch mended"}}
            undo: none
    """)
    assert ran.code == 0
    assert ran.types("mend") == ["task.started", "task.failed", "task.retrying", "task.started", "task.progress", "task.succeeded"]


def test_what_stands_under_finally_sees_how_the_run_ended(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        tasks:
          good: {command: {shell: "true"}, undo: {command: {shell: "touch undone"}}}
          bad: {needs: [good], command: {shell: "false"}, undo: none}
        finally:
          report:
            template: {content: "{{ run.status }} {{ run.error.task }} {{ tasks.good.status }}", dest: report.txt}
    """)
    assert ran.code == 3
    assert (ran.project / "undone").exists()
    report = next((ran.project / ".drystone" / "runs").glob("*/artifacts/report.txt"))
    assert report.read_text() == "compensated bad succeeded"


def test_a_task_that_would_wait_for_what_stands_under_finally_is_refused(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        tasks:
          early: {noop: {outputs: {x: "{{ tasks.report.outputs.path }}"}}}
        finally:
          report: {template: {content: x, dest: report.txt}}
    """)
    assert ran.code == 1
    assert not (ran.project / ".drystone").exists()


def test_what_failed_can_be_told_apart_by_the_tasks_behind_it(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        on_failure: continue
        tasks:
          play:
            ansible: {playbook: site.yaml, hosts: [{name: gone, address: 127.77.250.1, port: 1, user: root}]}
            allow_failure: true
            undo: none
          mail:
            needs: [play]
            when: "{{ tasks.play.result.unreachable > 0 and tasks.play.result.failed == 0 }}"
            noop: {}
    """, files={"site.yaml": "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.ping: }]\n"})  # fmt: skip
    assert ran.types("mail") == ["task.ready", "task.started", "task.succeeded"]


def test_an_undo_written_for_a_task_that_changes_nothing_by_itself_is_meant(run_plan: Run) -> None:
    ran = run_plan("""
        drystone: 1
        name: test
        tasks:
          first: {noop: {}, undo: {command: {shell: "echo first >> undone"}}}
          second: {needs: [first], noop: {}, undo: {command: {shell: "echo second >> undone"}}}
          never: {needs: [second], noop: {}, when: false, undo: {command: {shell: "echo never >> undone"}}}
          last: {needs: [second], command: {shell: "false"}, undo: none}
    """)
    assert ran.code == 3
    assert (ran.project / "undone").read_text().split() == ["second", "first"]
