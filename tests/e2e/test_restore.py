"""A failed update of a standing environment: everything that it touched is as it was, and what it did not touch served throughout."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from e2e_support import Project, generations, health, left_of, statuses

Provision = Callable[..., list[str]]


class Users:
    """People who ask for a page, again and again: how many answers they got, and which of them were none."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/health"
        self.answers = 0
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.1):
            words = ["curl", "--silent", "--show-error", "--fail", "--max-time", "5", self.url]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode == 0:
                self.answers += 1
            else:
                self.failures.append(done.stderr)


@pytest.fixture
def standing(shop: Project, provision: Provision) -> Iterator[Project]:
    """The environment in version 1.0.0, with one VM; taken away afterwards."""
    shop.run(*provision(vms="1"))
    first = shop.show()["id"]
    yield shop
    shop.run("undo", first, "--yes")
    assert left_of(shop) == []


def test_a_failed_update_is_put_back_while_the_environment_serves(standing: Project, provision: Provision) -> None:
    before = standing.show()
    url = before["outputs"]["url"]
    assert health(url)["version"] == "1.0.0"
    # The second VM is new, the first one gets a new version of the software; then the migration fails.
    with Users(url) as users:
        standing.run(*provision(vms="2", app_version="2.0.0", fail_migration="true"), code=3)
    after = statuses(standing.show())
    assert health(url)["version"] == "1.0.0"
    assert generations(standing.lab) == {"shop-0": 1}, "the VM that stood was left alone, the new one is gone"
    assert (after["vm[1]"], after["software"], after["network"]) == ("undone", "undone", "succeeded")
    restarts = len(users.failures)
    assert users.answers > 20 and restarts <= users.answers / 2, users.failures[:3]
    again = standing.run(*provision(vms="1"))
    assert "nothing changed" in again.out
    assert standing.show()["outputs"] == before["outputs"]
    assert json.loads(standing.run("show", "--json").out)["status"] == "succeeded"
