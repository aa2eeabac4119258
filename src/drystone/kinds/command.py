"""The command kind: a program on the machine that runs drystone, as a supervised child.

`argv` runs one program as it is; `shell` is a script for /bin/sh which ends at the first line that fails. Environment
and standard input may hold secrets; so may `shell`, whose text never shows in the list of processes. The words of
`argv` do show there.
"""

from __future__ import annotations

import filecmp
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from drystone.errors import FailureClass
from drystone.plugin import api, sources
from drystone.plugin.fields import Env, Text, written

# The script travels in the environment and leaves it before it starts: everybody on the machine can read arguments.
_SHELL = ("/bin/sh", "-ec", 'drystone_script=$DRYSTONE_SCRIPT; unset DRYSTONE_SCRIPT; eval "$drystone_script"')
_KEEP_BYTES = 1 << 18
"""Of each stream, from its end: outputs go into the store, which is no place for files."""
_TAIL_LINES = 20


class CommandConfig(api.Config):
    """Exactly one of `argv` and `shell`."""

    argv: tuple[Text, ...] = Field(default=(), description="program and arguments, run without a shell")
    shell: str | None = Field(default=None, description="script for /bin/sh -e")
    cwd: str | None = Field(default=None, description="folder to run in; the project's root unless given")
    env: Env = Field(default_factory=dict, description="environment variables, added to those of drystone")
    stdin: Text | None = Field(default=None, description="text for its standard input, which is empty unless given")
    ok: tuple[int, ...] = Field(default=(0,), description="exit codes that are a success")
    parse: Literal["text", "json", "lines"] = Field(default="text", description="what the output `stdout` is made of")
    idempotent: bool = Field(default=False, description="it may simply be run again when nobody knows how it ended")
    sensitive: bool = Field(default=False, description="its output is secret: sealed in the store, not logged")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.argv) == (self.shell is not None):
            raise ValueError("give exactly one of argv and shell")
        return self


class Command(api.Kind):
    """Not repeated after a crash unless the config says `idempotent: true`: only its author knows if that does harm."""

    name: ClassVar[str] = "command"
    Config = CommandConfig
    idempotent: ClassVar[bool] = False
    outputs: ClassVar[tuple[str, ...] | None] = ("exit", "stdout", "stderr")

    @classmethod
    def is_idempotent(cls, config: Mapping[str, Any]) -> bool:
        """Only the author of the plan knows."""
        return written(config, "idempotent") is True

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The program, when it is a file of the project."""
        argv, cwd = written(config, "argv"), written(config, "cwd")
        program = argv[0] if isinstance(argv, list | tuple) and argv else argv
        if isinstance(program, str) and "/" in program and isinstance(cwd or "", str):
            yield from (path for path in sources.paths(str(Path(cwd or "", program)), source) if path.is_file())

    def run(self, ctx: api.Context, config: CommandConfig) -> api.Outcome:
        """Outputs exit, stdout (parsed, its last 256 KiB), stderr."""
        if not config.sensitive:
            for line in [shlex.join(config.argv)] if config.shell is None else config.shell.splitlines():
                ctx.log(f"$ {line}")
        ended = ctx.process(
            _argv(ctx, config) or _SHELL,
            cwd=_folder(ctx, config.cwd),
            env={**config.env, **({} if config.shell is None else {"DRYSTONE_SCRIPT": config.shell})},
            stdin=None if config.stdin is None else config.stdin.encode(),
            log=not config.sensitive,
            keep_bytes=_KEEP_BYTES,
            # Outputs that show a secret are sealed whole; stars in their place would be of no use to the next task.
            raw=True,
        )
        if ended.exit_code not in config.ok:
            raise _failed(config, ended)
        outputs = {
            "exit": ended.exit_code,
            "stdout": _parsed(config, ended.stdout),
            "stderr": ended.stderr.rstrip("\n"),
        }
        return api.Outcome(
            outputs=outputs,
            result={"exit": ended.exit_code},
            sensitive=frozenset({"stdout", "stderr"} if config.sensitive else ()),
        )


def _argv(ctx: api.Context, config: CommandConfig) -> tuple[str, ...]:
    """The program as it was when the run began; where it is the same still, it is started from its own place."""
    if not config.argv or "/" not in config.argv[0] or Path(config.argv[0]).is_absolute() or ctx.source == ctx.project:
        return config.argv
    name = Path(config.cwd or "", config.argv[0])
    kept, own = ctx.source / name, ctx.project / name
    if not kept.is_file() or (own.is_file() and filecmp.cmp(kept, own, shallow=False)):
        return config.argv
    ctx.log(f"note: {name} was changed since the run began; it is run as it was then")
    return (str(kept), *config.argv[1:])


def _folder(ctx: api.Context, cwd: str | None) -> Path:
    if cwd is None:
        return ctx.project
    folder = ctx.project / cwd
    if not folder.exists():
        folder = ctx.path(cwd)
    if not folder.is_dir():
        raise api.PermanentError(FailureClass.INVALID, f'cwd "{cwd}" is not a folder', changed=False)
    return folder


def _failed(config: CommandConfig, ended: api.ProcessResult) -> api.TemporaryError:
    name = f'"{config.argv[0]}"' if config.argv else "the script"
    how = f"signal {-ended.exit_code}" if ended.exit_code < 0 else f"exit code {ended.exit_code}"
    lines = [] if config.sensitive else (ended.stderr.strip() or ended.stdout.strip()).splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return api.TemporaryError(
        FailureClass.CRASHED if ended.exit_code < 0 else FailureClass.FAILED,
        f"{name} ended with {how}{said}",
        detail="\n".join(lines[-_TAIL_LINES:]),
        hint="" if config.ok == (0,) else f"exit codes that count as success: {', '.join(map(str, config.ok))}",
    )


def _parsed(config: CommandConfig, stdout: str) -> Any:
    match config.parse:
        case "lines":
            return stdout.splitlines()
        case "json":
            return _from_json(stdout)
        case "text":
            return stdout.rstrip("\n")


def _no_json(word: str) -> Any:
    raise ValueError(f'"{word}" is not in JSON')


def _from_json(stdout: str) -> Any:
    try:
        return json.loads(stdout, parse_constant=_no_json)
    except ValueError as error:
        cut = len(stdout.encode()) >= _KEEP_BYTES - 4
        raise api.PermanentError(
            FailureClass.INVALID,
            f"the output is not JSON: {error}",
            detail="\n".join(stdout.splitlines()[-_TAIL_LINES:]),
            hint=f"only the last {_KEEP_BYTES >> 10} KiB are kept; write large data to a file"
            if cut
            else "print nothing but JSON on standard output, or drop `parse: json`",
        ) from error
