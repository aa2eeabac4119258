"""The approval kind: the run waits until a person says yes or no (`drystone approve`, `drystone reject`)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from drystone.plugin import api
from drystone.plugin.fields import Duration, Text, Texts


class ApprovalConfig(api.Config):
    """A question, and who may answer it."""

    message: Text = Field(default="", description="what is asked")
    approvers: Texts = Field(default=(), description="who may answer: USER or USER@HOST; anybody when there are none")
    timeout: Duration = Field(default="7d", validate_default=True, description="how long an answer is waited for")
    on_timeout: Literal["reject", "approve"] = Field(default="reject", description="what no answer in time means")
    self_approval: bool = Field(default=False, description="who started the run may answer too")


class Approval(api.Kind):
    """Changes nothing. Its outputs say who answered, when, and with which words."""

    name: ClassVar[str] = "approval"
    Config = ApprovalConfig
    changes: ClassVar[bool] = False
    inline: ClassVar[bool] = True
    pauses: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    outputs: ClassVar[tuple[str, ...] | None] = ("by", "comment", "at")

    def run(self, ctx: api.Context, config: ApprovalConfig) -> api.Outcome:
        """Asks; the answer ends the task."""
        question = api.Approval(
            message=config.message, approvers=config.approvers, self_approval=config.self_approval, on_timeout=config.on_timeout
        )
        return api.Outcome(changed=False, pause=api.Pause(duration=config.timeout, approval=question))
