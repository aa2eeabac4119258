"""The picture of a run: what it shows when there is little room, and that it never is larger than the terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from rich.cells import cell_len

from drystone.cli.frame import SPINNER, draw
from drystone.cli.scene import Scene
from drystone.core.expected import Expected
from drystone.core.plan import Fanout, Undo, UndoMode
from drystone.core.retry import RetryPolicy
from drystone.core.run import Run, new_run, remaining
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, asks, fail, held_back, ok, waits


def scene(simulation: Simulation, **fields: object) -> Scene:
    forecast = remaining(simulation.run, simulation.now)
    return Scene(run=simulation.run, now=simulation.now, forecast=forecast, **fields)  # type: ignore[arg-type]


def picture(simulation: Simulation, *, width: int = 80, height: int | None = 24, **fields: object) -> list[str]:
    return [line.plain for line in draw(scene(simulation, **fields), width=width, height=height)]


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if f" {name} " in f"{line} ")


def fan_out(size: int) -> Simulation:
    tasks = {"network": [], "vm": task("vm", ["network"], for_each=Fanout(items=size)), "end": ["vm"]}
    return Simulation(graph_of(tasks), script={"vm[3]": fail(), "end": ok()})


def test_header_tells_plan_run_environment_and_state() -> None:
    head = picture(Simulation(graph_of({"a": []}), environment="staging"))[0]
    assert "test" in head and "01SIMULATED" in head and "staging" in head and head.rstrip().endswith("running 0.0s")


def test_a_run_with_a_history_tells_how_long_it_has_still_to_go_and_a_failed_one_does_not() -> None:
    expected = {"a": Expected(100, 130, 12), "b": Expected(5, 5, 12)}
    simulation = Simulation(graph_of({"a": [], "b": ["a"]}), script={"b": fail()}, expected=expected)
    assert picture(simulation)[1] == "eta 1m45s–2m15s"
    before = remaining(simulation.run, simulation.now)
    simulation.until("undo:a")
    late = draw(Scene(run=simulation.run, now=simulation.now, forecast=before), width=80, height=24)
    assert not any("eta" in line.plain for line in late), "what was reckoned before it failed does not count any more"


def test_a_task_in_flight_shows_its_last_progress() -> None:
    lines = picture(Simulation(graph_of({"a": []})), progress={"a": "lab_vm.this: Creating..."})
    assert "running" in row(lines, "a") and "Creating..." in row(lines, "a")


def test_a_retry_shows_which_attempt_failed_why_and_when_the_next_is() -> None:
    policy = RetryPolicy(attempts=3, delay=timedelta(seconds=5), jitter=False)
    simulation = Simulation(graph_of({"a": task("a", retry=policy)}), script={"a": [fail("unreachable", "no route"), ok()]})
    simulation.step()
    assert "attempt 1/3 failed, next in 5.0s  unreachable: no route" in row(picture(simulation, width=120), "a")


def test_what_is_held_back_says_why_and_uses_up_no_number() -> None:
    policy = RetryPolicy(attempts=2, delay=timedelta(seconds=5), jitter=False)
    script = {"a": [held_back(), fail("unreachable", "no route"), ok()]}
    simulation = Simulation(graph_of({"a": task("a", retry=policy)}), script=script)
    simulation.step()
    assert "held back, next in 30s  http://web:80 failed 5 times in a row: as the script says" in row(picture(simulation, width=120), "a")
    simulation.step()
    assert "attempt" not in row(picture(simulation, width=120), "a")
    simulation.step()
    assert "attempt 1/2 failed, next in 5.0s  unreachable: no route" in row(picture(simulation, width=120), "a")
    simulation.step()
    assert "attempt 2/2" in row(picture(simulation, width=120), "a")


def test_the_way_back_tells_how_far_it_is_and_why() -> None:
    simulation = Simulation(graph_of({"a": [], "b": ["a"]}), script={"b": fail("failed", "relation exists")})
    simulation.until("undo:a")
    lines = picture(simulation)
    assert lines[1] == "undoing 0 of 1, as b failed: relation exists"
    assert "undoing" in row(lines, "a")


def test_what_is_left_standing_says_why() -> None:
    tasks = {"a": task("a", undo=Undo(mode=UndoMode.IRREVERSIBLE)), "b": ["a"]}
    simulation = Simulation(graph_of(tasks), script={"b": fail()})
    simulation.finish()
    assert "left" in row(picture(simulation), "a") and "it cannot be undone" in row(picture(simulation), "a")


def test_what_changed_nothing_says_so() -> None:
    simulation = Simulation(graph_of({"a": []}), script={"a": ok(changed=False)})
    simulation.finish()
    assert "nothing changed" in row(picture(simulation), "a")


@pytest.mark.parametrize("size", [1, 5, 30, 200])
@pytest.mark.parametrize("height", [8, 24])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_picture_is_larger_than_the_terminal(size: int, height: int, width: int) -> None:
    simulation = fan_out(size)
    while True:
        lines = picture(simulation, width=width, height=height, notice="cancelling " * 20)
        assert len(lines) < height
        assert max(cell_len(line) for line in lines) <= width
        if simulation.run.status.is_final:
            return
        simulation.step()


@pytest.mark.parametrize("size", [1, 7, 40])
def test_every_task_is_shown_or_counted(size: int) -> None:
    simulation = fan_out(size)
    while True:
        assert told(picture(simulation, height=14), simulation.run) == sum(1 for _ in simulation.run.in_order())
        if simulation.run.status.is_final:
            return
        simulation.step()


def told(lines: list[str], run: Run) -> int:
    """How many tasks a picture has: in the lines of its waves where there are some, else in rows."""
    counted = [re.match(r"(?:wave|undo|others|finally)[ \d–]*?  +(\d+) tasks?", line) for line in lines]
    if any(counted):
        return sum(int(found[1]) for found in counted if found)
    ids = {instance.id for instance in run.in_order()}
    return sum(bool(ids & set(line.split()[:3]) and not line.startswith("undoing")) for line in lines[1:])


def test_a_failure_is_shown_however_many_tasks_are_in_flight() -> None:
    simulation = fan_out(200)
    simulation.until("vm[3]")
    simulation.step()
    assert "failed" in row(picture(simulation, height=12), "vm[3]")


def test_columns_stay_where_they_are_when_other_rows_come_into_view() -> None:
    simulation = fan_out(40)
    simulation.until("vm[0]")
    columns = set()
    while not simulation.run.status.is_final:
        rows = [line for line in picture(simulation, height=12)[1:] if " running " in line and not line.startswith("  …")]
        columns |= {line.index(" running ") for line in rows}
        simulation.step()
    assert len(columns) == 1


def test_a_long_name_is_cut_in_the_middle_where_fan_outs_are_alike() -> None:
    name = "a_very_long_name_of_a_task_that_does_not_fit_on_a_terminal"
    simulation = Simulation(graph_of({name: task(name, for_each=Fanout(items=2))}))
    lines = picture(simulation, width=60)
    assert any(line.split()[2].startswith("a_very") and line.split()[2].endswith("[1]") for line in lines[2:])


# ---- whole pictures ---------------------------------------------------------------------------------------------------

PATIENT = RetryPolicy(attempts=3, delay=timedelta(seconds=4), jitter=False)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Moments are told in local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def release() -> Simulation:
    """A run with a question, a wait, a pool with one slot, a retry, and a last task that fails."""
    tasks = {
        "network": [],
        "vm": task("vm", ["network"], for_each=Fanout(items=2), undo=Undo(mode=UndoMode.AUTO, retry=PATIENT)),
        "db": task("db", ["network"], pool="db"),
        "seed": task("seed", ["network"], pool="db"),
        "night": ["network"],
        "gate": ["vm"],
        "api": task("api", ["network"], retry=PATIENT),
        "migration": ["gate", "db", "seed"],
    }
    script = {
        "vm[0]": ok(after=timedelta(seconds=90)),
        "db": ok(after=timedelta(minutes=10)),
        "night": waits(timedelta(hours=2)),
        "gate": asks(message="Go on?", timeout=timedelta(minutes=30)),
        "api": [held_back(), ok()],
        "migration": fail("failed", 'relation "notes" exists'),
        "undo:vm[1]": [fail("unreachable", "no route to host"), ok()],
    }
    expected = {"vm": Expected(100, 130, 12), "migration": Expected(40, 50, 12)}
    return Simulation(graph_of(tasks), script=script, expected=expected, slots={"db": 1})


def drawn(lines: Sequence[str]) -> str:
    return "\n".join(re.sub(f"[{SPINNER}]", "▸", line) for line in lines)


def test_picture_of_the_way_forward() -> None:
    simulation = release()
    simulation.until("vm[1]")
    for _ in range(2):
        simulation.step()
    assert drawn(picture(simulation)) == """\
test  01SIMULATED                                                 ▸ running 2.0s

w1 ✓ network    succeeded     1.0s
w2 ↻ api        retrying      0.0s  held back, next in 29s  http://web:80 faile…
w2 ▸ db         running       1.0s
w2 … night      waiting       1.0s  until 02:00:01 (in 1h59m)
w2 · seed       pending             waits for a slot of pool db
w2 ▸ vm[0]      running       1.0s  of ~1m40s
w2 ✓ vm[1]      succeeded     1.0s
w3 · gate       pending
w4 · migration  pending             ~40s"""


def test_picture_of_a_run_that_asks() -> None:
    simulation = release()
    simulation.until("gate")
    simulation.step()
    lines = picture(simulation)
    assert lines[1] == "waits for an answer: gate"
    assert row(lines[2:], "gate") == 'w3 … gate       waiting       0.0s  approval: "Go on?" until 00:31:31'
    assert lines[-1] == "to answer: drystone approve 01SIMULATE gate   (or reject)"


def test_picture_of_the_way_back() -> None:
    simulation = release()
    simulation.until("gate")
    simulation.step()
    simulation.answer("gate", "approve")
    simulation.until("undo:vm[1]")
    simulation.step()
    assert drawn(picture(simulation)) == """\
test  01SIMULATED                                               ↶ undoing 10m04s
undoing 3 of 6, as migration failed: relation "notes" exists
u2 ◦ network    to undo       1.0s
u1 ↺ api        undone        1.0s
u1 ↺ db         undone        1.0s
   ■ night      cancelled   10m02s
u1 ▸ seed       undoing       0.0s
u1 ↺ vm[0]      undone        1.0s
u1 ↻ vm[1]      undo again    1.0s  undo attempt 1/3 failed, next in 4.0s  unre…
   ✓ gate       succeeded     0.0s
   ✗ migration  failed        1.0s  failed: relation "notes" exists"""


def test_picture_of_five_hundred_tasks() -> None:
    simulation = fan_out(500)
    simulation.until("vm[3]")
    simulation.step()
    assert drawn(picture(simulation, height=12)) == """\
test  01SIMULATED                                                 ↶ undoing 2.0s
undoing 0 of 16, as vm[3] failed: as the script says
undo 1   15 tasks   15 ↶
undo 2    1 task    1 ◦
others  486 tasks   1 ✗  1 ⊘  484 ■
u1 ▸ vm[0]    undoing       0.0s
u1 ▸ vm[1]    undoing       0.0s
u1 ▸ vm[2]    undoing       0.0s
   ✗ vm[3]    failed        1.0s  failed: as the script says
u1 ▸ vm[4]    undoing       0.0s
u1 ▸ vm[5]    undoing       0.0s"""


def test_more_waves_than_there_is_room_for_are_taken_together_around_the_one_at_work() -> None:
    chain = {f"t{n:02}": [f"t{n - 1:02}"] if n else [] for n in range(40)}
    simulation = Simulation(graph_of(chain))
    simulation.until("t20")
    waves = [line for line in picture(simulation) if line.startswith("wave")]
    assert waves == [
        "wave 1–20   20 tasks   20 ✓",
        "wave 21      1 task    1 ▸",
        "wave 22      1 task    1 ·",
        "wave 23      1 task    1 ·",
        "wave 24      1 task    1 ·",
        "wave 25      1 task    1 ·",
        "wave 26–40  15 tasks   15 ·",
    ]


def test_a_queued_run_tells_whom_it_waits_for() -> None:
    graph = graph_of({"a": []})
    run = new_run(id="01SIMULATED", graph=graph, inputs={}, environment=None, created_at=START)
    lines = draw(Scene(run=run, now=START, behind=["01FIRSTRUN00", "01SECONDRUN0"]), width=80, height=24)
    assert lines[1].plain == "queued behind run 01SECONDRU (2 before it)"


def test_rows_stay_where_they_are_when_the_run_as_a_whole_has_something_to_say() -> None:
    simulation = release()
    places = set()
    while simulation.run.status.value in ("running", "waiting") and simulation.run.forward.remaining > 1:
        places.add(picture(simulation).index(row(picture(simulation), "network")))
        simulation.step()
        if "gate" in simulation.run.forward.waiting:
            break
    assert places == {2}
