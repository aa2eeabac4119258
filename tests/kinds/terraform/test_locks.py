"""Who holds a remote state: others are told of and left alone, a lock that our own killed command left is broken."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.kinds.terraform import object_server, state_server
from tests.kinds.terraform.conftest import APP
from tests.kinds.terraform.object_server import CREDENTIALS, LOCK, ObjectServer

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.terraform import locks


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with object_server.serving() as made:
        yield made


@pytest.fixture
def remote(server: ObjectServer, write_module) -> ObjectServer:
    """A module whose state is an object, locked by another one."""
    write_module({"main.tf": APP, "backend.tf": server.block})
    return server


@pytest.fixture
def config(configure) -> Any:
    return configure(vars={"name": "web"}, env=CREDENTIALS)


def held_by(who: str, created: datetime) -> bytes:
    info = {
        "ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "", "Who": who, "Version": "1.11.4",
        "Created": created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "Path": "",
    }  # fmt: skip
    return json.dumps(info).encode()


def lost_command(state: Path) -> None:
    """A note of a command that was killed just now."""
    locks.Note(state)


def test_a_free_state_is_locked_and_set_free(kind, attempt, remote, config):
    assert kind.run(attempt.ctx, config).outputs == {"name": "web"}
    assert list(remote.objects) == ["/states/app"]


def test_a_locked_state_is_a_conflict_that_names_the_holder(kind, attempt, remote, config):
    remote.objects[LOCK] = held_by("somebody@elsewhere", datetime.now(UTC))
    with pytest.raises(TemporaryError, match='locked by "somebody@elsewhere"') as caught:
        kind.run(attempt.ctx, config)
    assert caught.value.failure_class is FailureClass.CONFLICT
    assert "force-unlock 11111111-" in caught.value.hint
    assert not caught.value.changed
    assert LOCK in remote.objects


def test_a_lock_that_a_killed_command_left_is_broken(kind, attempt, remote, config):
    lost_command(attempt.ctx.state)
    remote.objects[LOCK] = held_by(locks.me(), datetime.now(UTC))
    assert kind.run(attempt.ctx, config).changed
    assert "breaking lock" in attempt.log
    assert LOCK not in remote.objects


@pytest.mark.parametrize(
    ("who", "age"), [("somebody@elsewhere", timedelta()), (None, timedelta(hours=1)), (None, timedelta(hours=-1))],
    ids=["of another", "older than the command", "younger than the command"],
)  # fmt: skip
def test_a_lock_of_another_is_never_broken(kind, attempt, remote, config, who, age):
    lost_command(attempt.ctx.state)
    remote.objects[LOCK] = held_by(who or locks.me(), datetime.now(UTC) - age)
    with pytest.raises(TemporaryError) as caught:
        kind.run(attempt.ctx, config)
    assert caught.value.failure_class is FailureClass.CONFLICT
    assert LOCK in remote.objects


def test_without_a_killed_command_no_lock_is_ours(kind, attempt, remote, config):
    remote.objects[LOCK] = held_by(locks.me(), datetime.now(UTC))
    with pytest.raises(TemporaryError):
        kind.run(attempt.ctx, config)
    assert LOCK in remote.objects


def test_a_holder_that_the_backend_does_not_name_is_not_taken_for_us(kind, attempt, write_module, configure):
    # The http backend prints the lock that was wanted in the place of the one that is there.
    with state_server.serving() as http:
        write_module({"main.tf": APP, "backend.tf": http.block})
        lost_command(attempt.ctx.state)
        http.locks["/state"] = json.loads(held_by("somebody@elsewhere", datetime.now(UTC)))
        with pytest.raises(TemporaryError, match=r'locked by somebody else \(lock "11111111-') as caught:
            kind.run(attempt.ctx, configure(vars={"name": "web"}))
        assert caught.value.failure_class is FailureClass.CONFLICT
        assert "/state" in http.locks


def test_terraform_killed_in_the_middle_leaves_a_lock_that_the_undo_breaks(
    kind, new_attempt, server, write_module, configure, in_background, eventually
):
    slow = 'resource "terraform_data" "a" {\n  provisioner "local-exec" { command = "echo $PPID > started; exec sleep 600" }\n}\n'
    write_module({"main.tf": slow, "backend.tf": server.block})
    first = new_attempt()
    running = in_background(lambda: kind.run(first.ctx, configure(env=CREDENTIALS)))
    eventually(lambda: any(file.read_text().strip() for file in first.ctx.state.rglob("started")))
    lock = server.objects[LOCK]
    os.kill(int(next(first.ctx.state.rglob("started")).read_text()), signal.SIGKILL)
    running.join()
    assert isinstance(running.error, AttemptError)
    assert server.objects[LOCK] == lock
    # The remote state was not written yet: what was made is nowhere in it.
    with pytest.raises(PermanentError, match=r"was killed while it made terraform_data\.a"):
        kind.undo(new_attempt().ctx, configure(env=CREDENTIALS))
    assert LOCK not in server.objects


def test_a_cancelled_command_leaves_neither_a_lock_nor_a_claim_to_one(
    kind, new_attempt, server, write_module, configure, in_background, eventually
):
    slow = 'resource "terraform_data" "a" {\n  provisioner "local-exec" { command = "touch started; exec sleep 600" }\n}\n'
    write_module({"main.tf": slow, "backend.tf": server.block})
    first = new_attempt()
    running = in_background(lambda: kind.run(first.ctx, configure(env=CREDENTIALS)))
    eventually(lambda: any(first.ctx.state.rglob("started")))
    first.stop()
    running.join()
    assert LOCK not in server.objects
    server.objects[LOCK] = held_by(locks.me(), datetime.now(UTC))
    with pytest.raises(TemporaryError):
        kind.undo(new_attempt().ctx, configure(env=CREDENTIALS))
