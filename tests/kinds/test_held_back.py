"""Plans that meet an endpoint which is down, run by the real command: it is left alone, and the run goes on when it is back."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.engines.projects import Project

COOLDOWN_SECONDS = 4
"""Long enough to look at a run while something is held back."""


@pytest.fixture
def place(tmp_path: Path) -> Project:
    """A project whose circuit breakers open after 3 failures."""
    place = Project(tmp_path / "place")
    place.write("drystone.toml", f'[engine]\nbreaker_failures = 3\nbreaker_cooldown = "{COOLDOWN_SECONDS}s"\n')
    return place


class Flapping(ThreadingHTTPServer):
    """Closes every connection at once while it is down. `connections` has when each one came, `answered` how many got an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.is_up = False
        self.connections: list[float] = []
        self.answered = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(time.monotonic())
        if not self.is_up:
            self.shutdown_request(request)
            return
        self.answered += 1
        super().process_request(request, client_address)

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    """Everything is fine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """The test's output is not a log."""


@pytest.fixture
def server() -> Iterator[Flapping]:
    server = Flapping()
    yield server
    server.close()


class Closing:
    """Stands where an SSH server should be, and closes every connection at once."""

    def __init__(self, address: str, port: int) -> None:
        self.connections = 0
        self._listener = socket.create_server((address, port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        """Harmless when repeated."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def attempts(place: Project, task: str | None = None) -> list[str]:
    """How the attempts of all instances of a task, or of all tasks, ended."""
    return [each["status"] for item in place.shown()["tasks"] if task in (None, item["task"]) for each in item["attempts"]]


def show(place: Project) -> str:
    return place.run("show", "last").stdout


def are_apart(moments: Sequence[float]) -> bool:
    return all(after - before >= COOLDOWN_SECONDS for before, after in pairwise(moments))


def test_a_server_that_is_down_is_asked_once_in_a_while_and_the_run_succeeds_when_it_is_back(place: Project, server: Flapping) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    place.write("calls", f"""
        drystone: 1
        name: calls
        tasks:
          call: {{http: {{url: "{url}"}}, retry: {{attempts: 20, delay: 0}}}}
    """)  # fmt: skip
    with place.start("run", "calls") as command:
        shown = place.until(lambda: text if "held back, next in " in (text := show(place)) else "")
        place.until(lambda: len(server.connections) >= 4)
        server.is_up = True
        command.wait()
    assert re.search(rf"held back, next in [\d.]+s  {url} failed \d+ times in a row: GET {url}", shown)
    assert command.returncode == 0
    ends = attempts(place)
    assert ends.count("failed") + ends.count("succeeded") == len(server.connections)
    assert ends.count("held") >= 1
    assert are_apart(server.connections[2:])


def test_tasks_without_retries_wait_for_a_server_that_others_found_down(place: Project, server: Flapping) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    place.write("calls", f"""
        drystone: 1
        name: calls
        tasks:
          probe: {{for_each: 3, http: {{url: "{url}"}}, allow_failure: true}}
          call: {{needs: [probe], for_each: 10, http: {{url: "{url}"}}}}
    """)  # fmt: skip
    with place.start("run", "calls") as command:
        place.until(lambda: show(place).count("held back, next in ") == 10)
        assert len(server.connections) == 3
        server.is_up = True
        command.wait()
    assert command.returncode == 0
    assert server.answered == attempts(place, "call").count("succeeded") == 10
    assert "failed" not in attempts(place, "call")


def test_an_undo_that_finds_its_server_down_waits_for_it(place: Project, server: Flapping) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    place.write("calls", f"""
        drystone: 1
        name: calls
        tasks:
          made: {{command: {{argv: ["true"]}}, undo: {{http: {{url: "{url}"}}, retry: 1}}}}
          probe: {{needs: [made], for_each: 3, http: {{url: "{url}"}}, allow_failure: true}}
          bad: {{needs: [probe], command: {{argv: ["false"]}}, undo: none}}
    """)  # fmt: skip
    with place.start("run", "calls") as command:
        place.until(lambda: "undo held back, next in " in show(place))
        server.is_up = True
        command.wait()
    assert command.returncode == 3
    made = place.shown()["tasks"][0]
    assert (made["status"], server.answered) == ("undone", 1)
    assert {each["status"] for each in made["undo"]["attempts"]} == {"held", "succeeded"}


def test_a_remedy_comes_once_for_each_failure_however_often_the_next_attempt_is_held_back(place: Project, server: Flapping) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    place.write("calls", f"""
        drystone: 1
        name: calls
        tasks:
          call:
            http: {{url: "{url}"}}
            retry: {{attempts: 20, delay: 0}}
            remedy: {{command: {{shell: "echo mended >> mended"}}}}
    """)  # fmt: skip
    with place.start("run", "calls") as command:
        place.until(lambda: len(server.connections) >= 4)
        server.is_up = True
        command.wait()
    assert command.returncode == 0
    assert len(place.lines("mended")) == attempts(place).count("failed") >= 4


def test_a_poll_is_not_held_back(place: Project, server: Flapping) -> None:
    place.write("calls", f"""
        drystone: 1
        name: calls
        tasks:
          call: {{http: {{url: "http://127.0.0.1:{server.server_port}"}}, poll: {{every: 10ms, until: "{{{{ result.status == 200 }}}}"}}}}
    """)  # fmt: skip
    with place.start("run", "calls") as command:
        place.until(lambda: len(server.connections) >= 9)
        server.is_up = True
        command.wait()
    assert command.returncode == 0
    assert attempts(place) == ["succeeded"]


def test_a_host_that_is_down_is_tried_once_in_a_while_and_the_run_succeeds_when_it_is_back(place: Project, sshd: Any) -> None:
    sshd.stop()
    closing = Closing(sshd.address, sshd.port)
    place.write("commands", f"""
        drystone: 1
        name: commands
        tasks:
          command: {{ssh: {{hosts: [{json.dumps(sshd.host("web1"))}], run: "true"}}, retry: {{attempts: 20, delay: 0}}, undo: none}}
    """)  # fmt: skip
    try:
        with place.start("run", "commands") as command:
            shown = place.until(lambda: text if "held back, next in " in (text := show(place)) else "")
            closing.close()
            sshd.start()
            command.wait()
    finally:
        closing.close()
    assert re.search(rf"held back, next in [\d.]+s  ssh://{sshd.address}:{sshd.port} failed \d+ times in a row: web1: ", shown)
    assert command.returncode == 0
    assert attempts(place).count("failed") == closing.connections
    assert attempts(place).count("held") >= 1
