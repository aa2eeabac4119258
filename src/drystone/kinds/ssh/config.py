"""What a plan may write under `ssh:`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from drystone.plugin import api
from drystone.plugin.fields import Duration, Env, Mode, Text
from drystone.plugin.hosts import Hosts


class Upload(api.Config):
    """A file to every host. With `template`, `src` is a Jinja2 template; it may use `host` and the config's `vars`."""

    src: str = Field(min_length=1, description="a file of the project")
    dest: str = Field(min_length=1, description="where to put it on the host; a folder when it ends with a slash")
    mode: Mode | None = Field(default=None, description='octal digits; an existing file keeps its own, a new one gets "0644"')
    template: bool = Field(default=False, description="`src` is a template, rendered for each host")

    @property
    def target(self) -> str:
        """The file on the host."""
        if not self.dest.endswith("/"):
            return self.dest
        name = PurePosixPath(self.src).name
        return self.dest + (name.removesuffix(".j2") if self.template else name)


class Command(api.Config):
    """A command for the host's /bin/sh."""

    command: str = Field(min_length=1, description="what /bin/sh -e runs")
    ok: tuple[int, ...] = Field(default=(0,), description="exit codes that are a success")
    env: Env = Field(default_factory=dict, description="environment variables, added to the config's")
    timeout: Duration | None = Field(default=None, description="then it is ended, with all that it started")


class Download(api.Config):
    """A file from every host. `{host}` in `dest` stands for the host's name."""

    src: str = Field(min_length=1, description="a file on the host")
    dest: str | None = Field(
        default=None, description="below HOST/ among the run's artifacts, or an absolute path; the file's name unless given"
    )


def _parse_commands(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"command": item} if isinstance(item, str) else item for item in items)


Commands = Annotated[
    tuple[Command, ...],
    BeforeValidator(_parse_commands, json_schema_input_type=str | Command | list[str | Command]),
]


class SshConfig(api.Config):
    """On each host: wait, upload, run or script, download. A host that fails at one of them does not go on."""

    hosts: Hosts = Field(description="the hosts to work on")
    wait: Duration | None = Field(
        default=None, description="how long to wait until one can log in and the host is set up; one try unless given"
    )
    cloud_init: bool = Field(default=True, description="`wait` also lasts until cloud-init has ended, on a host that has it")
    upload: tuple[Upload, ...] = Field(default=(), description="files to put there")
    run: Commands = Field(default=(), description="commands, one after the other; the first that fails ends it")
    script: str | None = Field(default=None, description="a file of the project, run on the hosts by what its #! line names")
    args: tuple[Text, ...] = Field(default=(), description="arguments of the script")
    download: tuple[Download, ...] = Field(default=(), description="files to fetch in the end")
    env: Env = Field(default_factory=dict, description="environment variables of commands and script")
    vars: dict[str, Any] = Field(default_factory=dict, description="what uploaded templates may use, besides `host` and `run`")
    timeout: Duration | None = Field(default=None, description="of each command and of the script")
    connect_timeout: Duration = Field(default="10s", validate_default=True, description="of one try to connect")
    max_parallel: int = Field(default=20, ge=1, le=200, description="hosts at once")
    idempotent: bool = Field(default=False, description="commands and script may simply be run again")
    sensitive: bool = Field(default=False, description="what commands print is secret: sealed in the store, not logged")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.run and self.script is not None:
            raise ValueError("give at most one of run and script")
        if self.args and self.script is None:
            raise ValueError("args are for a script")
        for item in self.download:
            if item.dest is not None and item.dest.startswith("/") and "{host}" not in item.dest and len(self.hosts) > 1:
                raise ValueError(f'download to "{item.dest}": several hosts would write one file; put {{host}} into the path')
        return self
