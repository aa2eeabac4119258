"""What a plan may write under `python:`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from drystone.plugin import api
from drystone.plugin.fields import Env, Texts

_NAME = r"[^\W\d]\w*"
_PATTERN = rf"^{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*$"


def parse_call(value: Any) -> str:
    """`package.module:function`, as entry points are written. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(_PATTERN, value):
        return value
    raise ValueError(f'"{value}" names no function; write "module:function" or "package.module:function"')


Call = Annotated[str, BeforeValidator(parse_call), WithJsonSchema({"type": "string", "pattern": _PATTERN})]


class PythonConfig(api.Config):
    """`call` with `args` and `kwargs`, as JSON has them."""

    call: Call = Field(description="package.module:function; the project's root is on the module search path")
    args: tuple[Any, ...] = Field(default=(), description="positional arguments")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="keyword arguments")
    path: Texts = Field(default=(), description="folders searched for modules before the project's root")
    env: Env = Field(default_factory=dict, description="environment variables, added to those of drystone")
    python: str | None = Field(default=None, min_length=1, description="interpreter; drystone's own unless given")
    idempotent: bool = Field(default=False, description="it may simply be called again when nobody knows how it ended")
    sensitive: bool = Field(default=False, description="what it returns is secret: sealed in the store; its output is not logged")
