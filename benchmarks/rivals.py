"""Other engines on the same graphs: each in a virtual environment of its own, pinned in peers/NAME.txt, driven by peers/NAME_peer.py.

They are asked for by name (`make bench PEERS="taskflow luigi"`), and installed the first time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.graphs import Graph
from benchmarks.project import BUILD, folder

PEERS = Path(__file__).parent / "peers"


def names() -> list[str]:
    """Those that there are."""
    return sorted(path.stem for path in PEERS.glob("*.txt"))


def prepare(peer: str) -> Path:
    """The interpreter of a peer's virtual environment; made when it is not there, or when its pins have changed."""
    home = BUILD / "peers" / peer
    pins = (PEERS / f"{peer}.txt").read_text(encoding="utf-8")
    stamp, python = home / "pins.txt", home / "bin" / "python"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != pins:
        print(f"installing {peer} …", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PEERS / f"{peer}.txt")]
        subprocess.run(install, check=True)
        stamp.write_text(pins, encoding="utf-8")
    return python


def seconds(peer: str, graph: Graph) -> float:
    """How long the peer takes for one run of the graph in which every task does nothing, its store being open."""
    with folder() as place:
        (place / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
        argv = [str(prepare(peer)), str(PEERS / f"{peer}_peer.py"), "graph.json"]
        done = subprocess.run(argv, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{peer} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return float(done.stdout.split()[-1])
