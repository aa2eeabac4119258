"""`make demo`, `make demo-fail` and `make demo-down`: the commands that a person would type, one after the other.

Everything goes through the `drystone` command beside this interpreter, live on the caller's terminal.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DRYSTONE = str(Path(sys.executable).with_name("drystone"))
COMPENSATED = 3

DEMO = {"name": "demo"}
BROKEN = {
    "name": "demo-fail",
    "network_cidr": "10.79.0.0/16",
    "subnet_cidr": "10.79.1.0/24",
    "fail_migration": "true",
}


def main(argv: Sequence[str]) -> int:
    """Does what one make target promises, and answers with its exit code."""
    match argv[1:]:
        case ["up"]:
            return up()
        case ["fail"]:
            return fail()
        case ["down"]:
            return down()
    return tell("say up, fail or down", code=2)


def up() -> int:
    """Provisions the demo environment; exit 0 when its address was given."""
    finish(DEMO["name"])
    if code := run(DEMO):
        return tell(f"the demo did not come up (exit {code}); {DRYSTONE} show last tells why", code=code)
    url = answer("show", "last", "--json")["outputs"]["url"]
    return tell(
        f"The application answers at {url}",
        "",
        "Try next:",
        f"  {f'curl {url}/health':<47} ask it",
        "  .venv/bin/drystone show last                    what was done, task by task",
        "  .venv/bin/drystone graph environment            the plan: waves, and the way back",
        "  make demo                                       again: nothing changes",
        "  make demo-fail                                  a second environment whose migration breaks",
        "  make demo-down                                  take all of it down",
    )


def fail() -> int:
    """Provisions a second environment whose migration breaks; exit 0 exactly when it was taken back completely."""
    finish(BROKEN["name"])
    code = run(BROKEN)
    if code == COMPENSATED:
        return tell(
            "The migration failed, and everything that the run had done was undone (exit 3, as it should be).",
            "  .venv/bin/drystone show last                    what failed, why, and what was undone in which order",
            "  make demo-down                                  take down the first environment too",
        )
    return tell(f"the run should have ended with exit {COMPENSATED}, and it ended with {code}", code=code or 1)


def down() -> int:
    """Takes back what the two targets above made, newest run first, and what died without a trace in the lab."""
    for environment in (BROKEN["name"], DEMO["name"]):
        for id_, status in runs_in(environment):
            match status:
                case "compensated":
                    continue
                case "succeeded" | "failed" | "cancelled" | "compensation_failed":
                    code = call("undo", id_, "--yes")
                case _:
                    code = call("cancel", id_)
            if code:
                return tell(f"something is left (exit {code}); {DRYSTONE} show {id_} tells what", code=code)
    if code := call("lab", "reap"):
        return code
    return tell("nothing of the demo is left")


def finish(environment: str) -> None:
    """Lets a run that was killed end first, whatever its end: it holds the environment."""
    for id_, status in runs_in(environment):
        if status in ("queued", "running", "waiting", "compensating"):
            call("resume", id_)


def runs_in(environment: str) -> list[tuple[str, str]]:
    """Id and status of each run in an environment, the newest first."""
    found = answer("runs", "--environment", environment, "--limit", "10000", "--json")["runs"]
    return [(run["id"], run["status"]) for run in found]


def run(inputs: dict[str, str]) -> int:
    """The environment plan with these inputs, live."""
    given = [word for name, value in inputs.items() for word in ("-i", f"{name}={value}")]
    return call("run", "environment", "--yes", *given)


def call(*arguments: str) -> int:
    """Runs one drystone command on the caller's terminal; its exit code."""
    print(f"$ .venv/bin/drystone {' '.join(arguments)}", file=sys.stderr, flush=True)
    return subprocess.run([DRYSTONE, *arguments], check=False).returncode


def answer(*arguments: str) -> Any:
    """What one drystone command prints as JSON."""
    return json.loads(subprocess.run([DRYSTONE, *arguments], check=True, stdout=subprocess.PIPE).stdout)


def tell(*lines: str, code: int = 0) -> int:
    """Prints the lines for a person and gives `code` back."""
    print(*lines, sep="\n", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
