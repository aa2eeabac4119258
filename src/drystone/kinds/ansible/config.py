"""What a plan may write under `ansible:`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from drystone.plugin import api
from drystone.plugin.fields import Env, Text, Texts
from drystone.plugin.hosts import Hosts


class Become(api.Config):
    """How to become another user on the hosts. The password reaches Ansible as a variable, never as an argument."""

    user: Text | None = Field(default=None, description="whom to become; root unless given")
    method: Text | None = Field(default=None, description="`sudo` unless given")
    password: Text | None = Field(default=None, description="what the method asks for")


class Vault(api.Config):
    """What opens vault-encrypted files and variables: exactly one of `password` and `password_file`."""

    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+$", description="the vault id that it belongs to")
    password: Text | None = Field(default=None, description="the password itself")
    password_file: str | None = Field(default=None, description="a file with the password, or a program that prints it")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("give exactly one of password and password_file")
        return self


def _parse_vaults(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Vaults = Annotated[tuple[Vault, ...], BeforeValidator(_parse_vaults, json_schema_input_type=Vault | list[Vault])]


class AnsibleConfig(api.Config):
    """At most one of `hosts` and `inventory`; without both, the inventory of the project's ansible.cfg, or localhost."""

    playbook: str = Field(min_length=1, description="the playbook's file")
    hosts: Hosts | None = Field(default=None, description="the hosts to work on, as the plan knows them")
    inventory: str | None = Field(default=None, description="an inventory's file or folder")
    vars: dict[str, Any] = Field(default_factory=dict, description="variables, with the precedence of --extra-vars")
    limit: Texts = Field(default=(), description="hosts or groups to keep to")
    tags: Texts = Field(default=(), description="run only tasks with these tags")
    skip_tags: Texts = Field(default=(), description="leave out tasks with these tags")
    check: bool = Field(default=False, description="only tell what would be changed")
    diff: bool = Field(default=False, description="show differences in the log")
    retry_hosts: Literal["lost", "all"] = Field(
        default="lost", description="whom a retry runs on: hosts that failed or were unreachable, or all of them"
    )
    forks: int | None = Field(default=None, ge=1, le=500, description="hosts at once")
    become: bool | Become = Field(default=False, description="become root, or the user that is named")
    vault: Vaults = Field(default=(), description="what opens encrypted files")
    sensitive: Texts = Field(default=(), description="outputs that are secret, with * for any text, besides those whose names say so")
    collections: Texts = Field(default=(), description="folders with collections, searched first")
    env: Env = Field(default_factory=dict, description="environment variables for Ansible")
    verbosity: int = Field(default=0, ge=0, le=5, description="how much Ansible tells in the log")

    @model_validator(mode="after")
    def _one_inventory(self) -> Self:
        if self.hosts is not None and self.inventory is not None:
            raise ValueError("give at most one of hosts and inventory")
        return self

    @property
    def escalation(self) -> Become | None:
        """How to become another user, or None when nobody is to be become."""
        if isinstance(self.become, Become):
            return self.become
        return Become() if self.become else None
