"""The wait kind: the run goes on after some time, or at a moment. No process has to live so long."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from drystone.plugin import api
from drystone.plugin.fields import Duration


class WaitConfig(api.Config):
    """Either `for` or `until`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    for_: Duration | None = Field(default=None, alias="for", description="how long")
    until: AwareDatetime | None = Field(default=None, description="a moment with its time zone, such as 2026-11-30T02:00:00Z")

    @model_validator(mode="after")
    def _has_one(self) -> WaitConfig:
        if (self.for_ is None) == (self.until is None):
            raise ValueError('say either "for" or "until"')
        return self


class Wait(api.Kind):
    """Changes nothing."""

    name: ClassVar[str] = "wait"
    Config = WaitConfig
    changes: ClassVar[bool] = False
    inline: ClassVar[bool] = True
    pauses: ClassVar[bool] = True
    outputs: ClassVar[tuple[str, ...] | None] = ()

    def run(self, ctx: api.Context, config: WaitConfig) -> api.Outcome:
        """Notes when the wait is over."""
        return api.Outcome(changed=False, pause=api.Pause(duration=config.for_, until=config.until))
