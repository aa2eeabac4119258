"""What a plan may write under `sql:`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from drystone.plugin import api
from drystone.plugin.fields import Duration

Parameters = dict[str, Any]


class Step(api.Config):
    """One or more statements, with parameters of their own; several sets of these run it once for each."""

    sql: str = Field(min_length=1)
    params: Parameters | tuple[Parameters, ...] = Field(default_factory=dict, description="by name, before those of the task")

    @property
    def sets(self) -> tuple[Parameters, ...]:
        """The sets of parameters: one unless a list was given."""
        return (self.params,) if isinstance(self.params, dict) else self.params


def parse_steps(value: Any) -> Any:
    """One text stands for a list of one, a text in the list for a step without parameters of its own."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"sql": item} if isinstance(item, str) else item for item in items)


Steps = Annotated[
    tuple[Step, ...],
    BeforeValidator(parse_steps),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"anyOf": [{"type": "string"}, Step.model_json_schema()]}},
            ]
        }
    ),
]


class SqlConfig(api.Config):
    """Exactly one of `statements` and `file`."""

    url: str = Field(min_length=1, description="SQLAlchemy URL; a relative SQLite file belongs to the project")
    statements: Steps = Field(default=(), description="a text or a list, run in order; `:name` stands for a parameter")
    file: str | None = Field(default=None, description="a file of statements with semicolons between them")
    params: Parameters = Field(default_factory=dict, description="values for `:name`, bound by the driver, never put into the text")
    max_rows: int = Field(default=1000, ge=0, le=100_000, description="more rows than these are left out")
    transaction: bool = Field(default=True, description="all statements or none of them")
    timeout: Duration | None = Field(default=None, description="of all statements together")
    idempotent: bool = Field(default=False, description="it may simply be run again when nobody knows how it ended")
    sensitive: bool = Field(default=False, description="the rows are secret: sealed in the store")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.statements) == (self.file is not None):
            raise ValueError("give exactly one of statements and file")
        if self.timeout is not None and self.timeout <= timedelta():
            raise ValueError("timeout must be more than nothing")
        return self
