"""The noop kind: a real attempt that does nothing. Joins branches, tests the shape of a plan, measures an engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from drystone.plugin import api
from drystone.plugin.fields import Duration, written


class NoopConfig(api.Config):
    """`outputs` are given back as they are; `sleep` is waited first."""

    outputs: Any = Field(default_factory=dict, description="given back as they are")
    sleep: Duration | None = Field(default=None, description="time to wait first")


class Noop(api.Kind):
    """Changes nothing, so it needs no undo; never blocks unless it sleeps."""

    name: ClassVar[str] = "noop"
    Config = NoopConfig
    changes: ClassVar[bool] = False
    inline: ClassVar[bool] = True

    @classmethod
    def is_inline(cls, config: Mapping[str, Any]) -> bool:
        """A sleeping one takes a thread, so that the engine's loop goes on."""
        return written(config, "sleep") is None

    def preview(self, ctx: api.Context, config: NoopConfig) -> api.Preview:
        """Nothing, and its outputs are known."""
        return api.Preview(summary="nothing to do", outputs=config.outputs)

    @classmethod
    def outline(cls, config: Mapping[str, Any], source: Path) -> api.Preview:
        """Nothing; what is known of its outputs is."""
        return api.Preview(certainty=api.Certainty.PARTIAL, summary="nothing to do", outputs=config.get("outputs", {}))

    def run(self, ctx: api.Context, config: NoopConfig) -> api.Outcome:
        """Waits, and gives the outputs back."""
        if config.sleep is not None:
            ctx.wait(config.sleep)
        return api.Outcome(outputs=config.outputs, changed=False)
