"""Keeps the journal of a run for good: `python tools/record_history.py PROJECT RUN NAME`.

Writes three files to tests/histories: NAME.jsonl, an event a line as the store has them; NAME.yaml, the plan that the run began with;
NAME.json, what `drystone show --json` says of its end. Who ran it and where is taken out. A name that is there is never written again:
what is recorded must be read by every drystone to come.
"""

import argparse
import getpass
import hashlib
import json
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from drystone import wiring
from drystone.app import describe, reading
from drystone.core import codec
from drystone.errors import DrystoneError

HISTORIES = Path(__file__).resolve().parents[1] / "tests/histories"
DIGESTS = "SHA256SUMS"
SOMEBODY, SOMEWHERE = "somebody", "somewhere"
OWNER = re.compile(r'"owner":"[^"]*"')


def main(argv: Sequence[str] | None = None) -> int:
    """Records one run; exit 1 with the reason when it cannot."""
    parser = argparse.ArgumentParser(description="Keeps the journal of a run for the tests, for good.")
    parser.add_argument("project", type=Path, help="the folder in which the run ran")
    parser.add_argument("run", help="its id, or last")
    parser.add_argument("name", help="of the files, such as undo-that-fails")
    given = parser.parse_args(argv)
    try:
        written = record(given.project.resolve(), given.run, given.name)
    except DrystoneError as error:
        print(f"error: {error.message}" + (f"\n  {error.hint}" if error.hint else ""))
        return 1
    except FileExistsError as error:
        print(f'error: "{error.filename}" is recorded, and what is recorded is never written again\n  take another name')
        return 1
    print(f"wrote {', '.join(path.name for path in written)} and their digests to {HISTORIES}")
    return 0


def record(project: Path, run: str, name: str) -> list[Path]:
    """Writes the files of one history. Raises NotFoundError for no such run, FileExistsError for a name that is taken."""
    world = wiring.world(project)
    look = reading.look(world, run)
    lines = [codec.dumps(event) for event in world.journal().events(look.run.id)]
    end = json.dumps(describe.run_json(look.run, look.record), indent=1)
    texts = {
        f"{name}.jsonl": without_traces("\n".join(lines), project) + "\n",
        f"{name}.yaml": look.record.source,
        f"{name}.json": without_traces(end, project) + "\n",
    }
    taken = [HISTORIES / file for file in texts if (HISTORIES / file).exists()]
    if taken:
        raise FileExistsError(None, "recorded", str(taken[0]))
    for file, text in texts.items():
        (HISTORIES / file).write_text(text)
    with (HISTORIES / DIGESTS).open("a") as sums:
        sums.writelines(f"{hashlib.sha256(text.encode()).hexdigest()}  {file}\n" for file, text in texts.items())
    return [HISTORIES / file for file in texts]


def without_traces(text: str, project: Path) -> str:
    """The text without the names of this machine, of its user and of the project's folder."""
    text = OWNER.sub(f'"owner":"{SOMEWHERE}:1:1:1"', text)
    for trace, instead in ((str(project), "/project"), (f"{getpass.getuser()}@{socket.gethostname()}", f"{SOMEBODY}@{SOMEWHERE}")):
        text = text.replace(trace, instead)
    return text


if __name__ == "__main__":
    raise SystemExit(main())
