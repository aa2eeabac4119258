"""What a terraform task says in a plan. `task` is handed one of these with every expression evaluated."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from drystone.kinds.terraform.versions import Constraint
from drystone.plugin import api
from drystone.plugin.fields import Env, Texts


class Guards(api.Config):
    """Limits that a plan of Terraform's must keep, or the attempt is refused before anything changes."""

    max_destroy: int | None = Field(default=None, ge=0, description="at most this many resources may be destroyed or replaced")
    deny_replace: bool | Texts = Field(
        default=False, description="true, or addresses (with * for any text) of resources that may not be destroyed and made anew"
    )


class TerraformConfig(api.Config):
    """A root module and what it is given. Paths are relative to the project."""

    module: str = Field(description="folder of the root module; it is read, never written to")
    vars: dict[str, Any] = Field(default_factory=dict, description="values of the module's variables; they win over var_files")
    var_files: Texts = Field(default=(), description="files of variables, later ones win")
    workspace: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Terraform workspace, made when it does not exist"
    )
    targets: Texts = Field(default=(), description="addresses to which the plan is limited")
    parallelism: int | None = Field(default=None, ge=1, description="resources worked on at once; Terraform's own default is 10")
    backend: dict[str, Any] = Field(
        default_factory=dict, description="settings added to the module's own backend block, as with -backend-config"
    )
    guards: Guards = Guards()
    version: Constraint | None = Field(
        default=None, description='versions of Terraform that are taken, as in required_version: ">= 1.6, < 2"'
    )
    env: Env = Field(default_factory=dict, description="environment variables for Terraform and its providers")
