"""Where the library that ships is: plans, Terraform modules, playbooks, jobs, inventories.

Asked when a plan's name is not among the project's own, and by `drystone init`, which copies from it.
An installed package carries the library as data; a checkout that is installed in place is its own library.
"""

from pathlib import Path

import drystone

FOLDERS = ("plans", "modules", "playbooks", "jobs", "inventories")
"""What the library consists of; pyproject.toml puts each into the wheel as drystone/library/<folder>."""


def library_root() -> Path:
    """The folder that holds `FOLDERS`; laid out like a project, so that paths in its plans are relative to it."""
    package = Path(drystone.__file__).resolve().parent
    packaged = package / "library"
    return packaged if packaged.is_dir() else package.parents[1]
