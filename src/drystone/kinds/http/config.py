"""What a plan may write under `http:`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from drystone.plugin import api
from drystone.plugin.fields import Duration, Text, Texts, written

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing (RFC 9110 §9.2.1)."""
REPEATABLE_METHODS = SAFE_METHODS | {"PUT", "DELETE"}
"""Sent twice, they have the effect of once (RFC 9110 §9.2.2)."""


def parse_statuses(value: Any) -> tuple[tuple[int, int], ...]:
    """`[200-299, 404]` -> ((200, 299), (404, 404)). Raises ValueError."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(_status_range(item) for item in items)


def _status_range(item: Any) -> tuple[int, int]:
    found = re.fullmatch(r"\s*([1-5]\d\d)\s*(?:[-–]\s*([1-5]\d\d)\s*)?", str(item))
    if found is None or isinstance(item, bool):
        raise ValueError(f'"{item}" is no status; write a number such as 204 or a range such as 200-299')
    return int(found[1]), int(found[2] or found[1])


Statuses = Annotated[tuple[tuple[int, int], ...], BeforeValidator(parse_statuses, json_schema_input_type=int | str | list[int | str])]


def _place(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(_PLACE, value) is None:
        raise ValueError(f'"{value}" is no place in an answer; write header:NAME, or body:PATH such as body:job.state')
    return value


_PLACE = r"^(header:[A-Za-z0-9-]+|body:[^\s]+)$"
Place = Annotated[str, BeforeValidator(_place), Field(pattern=_PLACE)]
"""Where something stands in an answer: `header:Location`, or `body:job.id` (keys and indexes with dots between)."""


class Basic(api.Config):
    """User name and password."""

    user: Text = Field(description="user name")
    password: Text = Field(description="password")


class Auth(api.Config):
    """One of the two. The values do not show in logs."""

    basic: Basic | None = Field(default=None, description="user name and password")
    bearer: Text | None = Field(default=None, description="a token")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("give exactly one of basic and bearer")
        return self


class Cancel(api.Config):
    """The request that ends a job which nobody waits for any more; `{handle}` stands for the job's handle."""

    method: Literal["DELETE", "POST", "PUT", "PATCH"] = Field(default="DELETE", description="how to ask for it")
    url: str = Field(default="{handle}", description="where; relative to the first request's URL")


class Job(api.Config):
    """How to follow a job that the request started. Without `state`, 202 means pending and a status of `ok` done."""

    handle: Place = Field(default="header:Location", description="where the first answer says what to ask for")
    url: str = Field(default="{handle}", description="what to ask; relative to the first request's URL")
    state: Place | None = Field(default=None, description="where an answer says how far the job is")
    pending: Texts = Field(default=(), description="states of a job that is not done; every unknown one unless given")
    success: Texts = Field(default=(), description="states of a job that is done")
    failure: Texts = Field(default=(), description="states of a job that failed")
    every: Duration = Field(default="5s", validate_default=True, description="between two requests; Retry-After may ask for more")
    max_every: Duration = Field(default="1m", validate_default=True, description="the longest Retry-After that is honoured")
    timeout: Duration = Field(default="1h", validate_default=True, description="from the first answer to the end of the job")
    cancel: Cancel | None = Field(default=None, description="sent when the attempt is cancelled or its time is up")

    @model_validator(mode="after")
    def _states_have_a_place(self) -> Self:
        if self.state is None and (self.pending or self.success or self.failure):
            raise ValueError("pending, success and failure need `state`, the place to read it from")
        if self.state is not None and not self.success:
            raise ValueError("`state` needs `success`, the states in which the job is done")
        return self


class HttpConfig(api.Config):
    """At most one of `json` and `data`."""

    url: str = Field(pattern=r"^https?://", description="what to ask")
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] | None = Field(
        default=None, description="GET, or POST when there is a body, unless given"
    )
    headers: dict[str, Text] = Field(default_factory=dict, description="sent with every request")
    params: dict[str, Text] = Field(default_factory=dict, description="added to the URL's query")
    json_body: Any = Field(default=None, alias="json", description="a body that is sent as JSON")
    data: str | dict[str, Text] | None = Field(default=None, description="a body as it is, or the fields of a form")
    auth: Auth | None = Field(default=None, description="who asks")
    ok: Statuses = Field(default=("200-299",), validate_default=True, description="statuses that are a success")
    timeout: Duration = Field(default="30s", validate_default=True, description="of one request")
    follow_redirects: bool = Field(default=True, description="go on where the server points to")
    verify: bool | str = Field(default=True, description="false, or a file of certificates to trust")
    idempotent: bool = Field(default=False, description="the server knows Idempotency-Key, so a repeat does no harm")
    sensitive: bool = Field(default=False, description="the answer is secret: headers and body are sealed")
    job: Job | None = Field(default=None, alias="async", description="follow the job that the request starts")

    @field_validator("method", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.has_json and self.data is not None:
            raise ValueError("give at most one of json and data")
        return self

    @property
    def has_json(self) -> bool:
        """`json: null` is a body too."""
        return "json_body" in self.model_fields_set

    @property
    def verb(self) -> str:
        """The method that is sent."""
        return self.method or ("POST" if self.has_json or self.data is not None else "GET")


def method_of(config: object) -> str | None:
    """The method of a config as the plan has it, or None when only the run will tell."""
    method = written(config, "method")
    if method is None:
        has_body = isinstance(config, Mapping) and ("json" in config or config.get("data") is not None)
        return "POST" if has_body else "GET"
    return method.upper() if isinstance(method, str) else None
