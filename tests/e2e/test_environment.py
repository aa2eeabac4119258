"""The main job: the environment that ships, on real VMs of the lab, and back to nothing."""

from __future__ import annotations

from collections.abc import Callable

from e2e_support import Project, generations, health, left_of, statuses

Provision = Callable[..., list[str]]


def test_an_environment_comes_up_stays_as_it_is_survives_a_failure_and_goes(shop: Project, provision: Provision) -> None:
    made = shop.run(*provision())
    url = shop.show()["outputs"]["url"]
    assert f"url = {url}" in made.out
    assert health(url)["database"]["state"] == "ready"
    first = shop.show()["id"]

    again = shop.run(*provision())
    assert "8 tasks, nothing changed" in again.out
    assert not any(event["data"].get("changed") for event in shop.events() if event["type"] == "task.succeeded")
    assert generations(shop.lab) == {"shop-0": 1, "shop-1": 1}

    broken = shop.run(*provision(fail_migration="true"), code=3)
    assert "undone, in this order: migration\n" in broken.out
    assert health(url)["schema_version"] == 3
    assert generations(shop.lab) == {"shop-0": 1, "shop-1": 1}

    shop.run("undo", first, "--yes")
    undone = {task for task, status in statuses(shop.show(first)).items() if status == "undone"}
    assert undone == {"network", "subnet", "vm[0]", "vm[1]", "software", "migration"}
    assert left_of(shop) == []


def test_a_migration_that_fails_takes_everything_back(shop: Project, provision: Provision) -> None:
    shop.run(*provision(vms="5", fail_migration="true"), code=3)

    events = shop.events()
    begun = [event for event in events if event["type"] in ("task.started", "task.succeeded") and event["task"].startswith("vm[")]
    assert [event["type"] for event in begun] == ["task.started"] * 5 + ["task.succeeded"] * 5
    undone = [event["task"] for event in events if event["type"] == "undo.started"]
    vms = [f"vm[{number}]" for number in range(5)]
    assert (undone[:2], sorted(undone[2:7]), undone[7:]) == (["migration", "software"], vms, ["subnet", "network"])

    shown = shop.show()
    assert (shown["status"], shown["error"]["task"], shown["error"]["class"]) == ("compensated", "migration", "failed")
    told = shop.run("show").out
    assert "✗ task migration failed (failed): shop-0: " in told
    assert "fatal: [shop-0]: FAILED! => {" in told
    assert "↺ undone, in this order: migration, software, vm[" in told
    assert left_of(shop) == []
