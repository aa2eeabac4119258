"""The program `drystone-lab`: Terraform starts it as a plugin, `terraform.LabProvider.reattach` as a daemon.

A person who starts it by hand is told what it is.
"""

from __future__ import annotations

import os
import sys

_COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
"""What Terraform and OpenTofu set in every provider's environment. No secret: it keeps people from starting one."""


def main() -> None:
    """Serve, until Terraform or the starter ends."""
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "--daemon":
        from drystone.lab.server import serve_daemon

        serve_daemon(arguments[1])
    elif os.environ.get(_COOKIE[0]) == _COOKIE[1]:
        from drystone.lab.server import serve_plugin

        serve_plugin()
    else:
        sys.exit("drystone-lab is a Terraform provider, for terraform to start; a person uses: drystone lab --help")
    # The threads that served have nothing left to do, and must not be waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
