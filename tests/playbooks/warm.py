"""ansible-playbook without its start: imports Ansible once, then plays each request in a child.

Most of a short play is the import of Ansible. Reads a request a line from stdin, `{"arguments", "environment", "folder",
"output"}`, and answers each with a line holding the exit code.
"""

import json
import os
import sys
import traceback

import ansible.executor.playbook_executor  # noqa: F401  imported by `main` only when it plays
from ansible.cli.playbook import main


def play(request: dict[str, object]) -> int:
    """Play in a child of its own, as Ansible keeps its state in globals."""
    child = os.fork()
    if child == 0:
        code = 250
        try:
            code = play_here(**request)
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not sys.exit: the folders that Ansible would clean up are the parent's.
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def play_here(arguments: list[str], environment: dict[str, str], folder: str, output: str) -> int:
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    for number, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))):
        os.dup2(target, number)
    os.dup2(1, 2)
    sys.argv = ["ansible-playbook", *arguments]
    return int(main(sys.argv) or 0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(play(json.loads(line)), flush=True)
