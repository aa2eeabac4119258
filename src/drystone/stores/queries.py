"""`queries.sql`, cut into named questions in the words of one database's driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_PARAMETER = re.compile(r":(\w+)")


def load(*, parameter: str, locked: str) -> Mapping[str, str]:
    """Name -> SQL.

    parameter: how the driver writes a parameter: `:\\1` for sqlite3, `%(\\1)s` for psycopg.
    locked:    what stands for {locked}.
    """
    _, *parts = _NAME.split(files(__package__).joinpath("queries.sql").read_text("utf-8"))
    return {name: _statement(text, parameter, locked) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _statement(text: str, parameter: str, locked: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    statement = " ".join(" ".join(lines).split()).removesuffix(";").replace("{locked}", locked)
    return _PARAMETER.sub(parameter, statement).strip()
