"""What happens to a run that is killed, cancelled or met by another one: the real command, terraform and VMs."""

from __future__ import annotations

import signal
from collections.abc import Callable

from e2e_support import Following, Project, finish, generations, health, kill, left_of

Provision = Callable[..., list[str]]


def test_a_run_killed_twice_is_resumed_to_its_end_and_makes_each_vm_once(shop: Project, provision: Provision) -> None:
    first = shop.start(*provision(), "--json")
    Following(first).until("task.progress", "vm[0]", "creating")
    kill(first)
    told = shop.run("show").out
    assert "running, but its process is gone" in told and "drystone resume" in told

    second = shop.start("resume", "last", "--json")
    Following(second).until("task.progress", "software", "health page")
    made = generations(shop.lab)
    kill(second)

    # Two people go on with it at the same time.
    rivals = [shop.start("resume", "last") for _ in range(2)]
    ends = sorted((finish(rival, None) for rival in rivals), key=lambda end: end.code)
    # The loser may come so late that nothing is left to do.
    assert ends[0].code == 0 and ends[1].code in (1, 6), [end.said for end in ends]

    shown = shop.show()
    assert shown["status"] == "succeeded"
    # A start that the first kill cut short is made once more; a VM that stood is never touched again.
    assert generations(shop.lab) == made
    assert made.keys() == {"shop-0", "shop-1"} and set(made.values()) <= {1, 2}
    assert health(shown["outputs"]["url"])["status"] == "ok"
    assert [len(task["attempts"]) for task in shown["tasks"] if task["id"] in ("network", "subnet", "migration")] == [1, 1, 1]
    shop.run("undo", "last", "--yes")
    assert left_of(shop) == []


def test_a_run_that_is_cancelled_while_it_makes_vms_leaves_nothing(shop: Project, provision: Provision) -> None:
    running = shop.start(*provision(), "--json")
    Following(running).until("task.progress", "vm[0]", "creating")

    second = shop.run(*provision(), code=6)
    assert f'environment "shop" is held by run {shop.show()["id"]}' in second.err

    shop.run("cancel", "last")
    finish(running, 130)
    assert shop.show()["status"] == "compensated"
    assert left_of(shop) == []
    shop.write("plans/free.yaml", "{drystone: 1, name: free, environment: shop, tasks: {a: {noop: {}}}}")
    shop.run("run", "free")


def test_ctrl_c_while_software_is_installed_takes_everything_back(shop: Project, provision: Provision) -> None:
    running = shop.start(*provision(vms="1"), "--json")
    Following(running).until("task.progress", "software", "health page")
    running.send_signal(signal.SIGINT)
    done = finish(running, 130)
    assert "Ctrl-C" in done.err or "interrupt" in done.err, done.err
    assert left_of(shop) == []
