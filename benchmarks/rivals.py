"""Other engines on the same graphs: each in a virtual environment of its own, pinned in peers/NAME.txt, driven by peers/NAME_peer.py.

They are asked for by name (`make bench PEERS="taskflow luigi"`), and installed the first time. One that cannot be installed, fails, or
takes longer than `LIMIT` is told as not measured, with the reason: the other figures do not depend on it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import venv
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path

from benchmarks.figures import Rival
from benchmarks.graphs import Graph
from benchmarks.project import BUILD, folder

PEERS = Path(__file__).parent / "peers"
LIMIT = timedelta(minutes=5)
"""Of one run of a peer: 1,000 tasks at 4 a second, the slowest that was seen."""


class NotMeasuredError(Exception):
    """Why there is no figure, in a few words."""


def names() -> list[str]:
    """Those that there are."""
    return sorted(path.stem for path in PEERS.glob("*.txt"))


@cache
def prepare(peer: str) -> Path:
    """The interpreter of a peer's virtual environment, which is made when there is none with its pins. Raises NotMeasuredError."""
    home = BUILD / "peers" / peer
    pins = (PEERS / f"{peer}.txt").read_text(encoding="utf-8")
    stamp, python = home / "pins.txt", home / "bin" / "python"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != pins:
        print(f"installing {peer} …", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PEERS / f"{peer}.txt")]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotMeasuredError(f"it cannot be installed: {_last_line(done.stderr)}")
        stamp.write_text(pins, encoding="utf-8")
    return python


def measured(peer: str, graph: Graph) -> Rival:
    """The rate of one run of the graph in which every task does nothing, its store being open; or why there is none."""
    try:
        return Rival(name=peer, samples=[len(graph) / _seconds(peer, graph)])
    except NotMeasuredError as reason:
        print(f"{peer} is not measured: {reason}", file=sys.stderr)
        return Rival(name=peer, reason=str(reason))


def _seconds(peer: str, graph: Graph) -> float:
    with folder() as place:
        (place / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
        argv = [str(prepare(peer)), str(PEERS / f"{peer}_peer.py"), "graph.json"]
        with subprocess.Popen(
            argv, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                out, err = process.communicate(timeout=LIMIT.total_seconds())
            except subprocess.TimeoutExpired:
                raise NotMeasuredError(f"{len(graph):,} tasks took longer than {LIMIT.total_seconds():,.0f} s") from None
            finally:
                # With what it started: Prefect has a server of its own.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            raise NotMeasuredError(f"it ended with {process.returncode}: {_last_line(err)}")
        return float(out.split()[-1])


def _last_line(text: str) -> str:
    return next((line.strip()[:200] for line in reversed(text.splitlines()) if line.strip()), "it did not say why")
