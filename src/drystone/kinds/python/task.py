"""The attempt: starts the child with the interpreter that the plan names, and turns its answer into outputs or an error.

What the function writes goes into the log as it comes. What it returns comes by a channel of its own (`child` says how) and
becomes the outputs; a function that returns nothing has none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.python import child
from drystone.kinds.python.config import PythonConfig
from drystone.plugin import api, sources

_LIMIT_BYTES = 1 << 20
"""Of a result, as the store has it."""


class Python(api.Kind):
    """Not repeated after a crash unless the config says `idempotent: true`: only its author knows if that does harm."""

    name: ClassVar[str] = "python"
    Config = PythonConfig
    idempotent: ClassVar[bool] = False

    @classmethod
    def is_idempotent(cls, config: Mapping[str, Any]) -> bool:
        """Only the author of the plan knows."""
        return config.get("idempotent") is True

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The module, or the whole package that it is in."""
        call, folders = config.get("call"), config.get("path")
        top = call.partition(":")[0].partition(".")[0] if isinstance(call, str) else ""
        for folder in (*sources.paths([folders] if isinstance(folders, str) else folders, source), source):
            if top:
                yield from sources.paths([f"{folder.relative_to(source) / top}.py", str(folder.relative_to(source) / top)], source)

    def run(self, ctx: api.Context, config: PythonConfig) -> api.Outcome:
        """Outputs are what the function returned, `{}` for None."""
        answer: list[str] = []

        def take(stream: str, line: str) -> None:
            if stream == "stdout":
                answer.append(line)
            elif not config.sensitive:
                ctx.log(line)

        ended = ctx.process(
            [_interpreter(ctx, config.python), "-u", child.__file__],
            cwd=ctx.project,
            env=config.env,
            stdin=_order(ctx, config),
            on_line=take,
            log=False,
        )
        outputs = _outputs(config, ended, "".join(answer))
        return api.Outcome(outputs=outputs, sensitive=_sealed(ctx, outputs) if config.sensitive else frozenset())


def _interpreter(ctx: api.Context, python: str | None) -> str:
    """A name to look up on PATH, or a path, absolute or of the project; links stay, as they make a virtual environment."""
    if python is None:
        return sys.executable
    if "/" not in python:
        return python
    own = ctx.project / python
    return str(own if own.exists() else ctx.path(python))


def _order(ctx: api.Context, config: PythonConfig) -> bytes:
    folders = [*(ctx.path(folder) for folder in config.path), ctx.source, ctx.project]
    order = {
        "call": config.call,
        "args": config.args,
        "kwargs": config.kwargs,
        "path": [str(Path(folder).absolute()) for folder in folders],
        "limit_bytes": _LIMIT_BYTES,
    }
    try:
        return json.dumps(order).encode()
    except (TypeError, ValueError) as error:
        raise PermanentError(FailureClass.INVALID, f"args and kwargs must be JSON: {error}", changed=False) from error


def _outputs(config: PythonConfig, ended: api.ProcessResult, answer: str) -> Any:
    """What was returned. Raises what the child tells, or what its end means."""
    told: Mapping[str, Any] = json.loads(answer) if ended.exit_code == 0 and answer else {}
    if "outputs" in told:
        return {} if told["outputs"] is None else told["outputs"]
    if "failure" in told:
        raise _error(config, told["failure"])
    how = f"signal {-ended.exit_code}" if ended.exit_code < 0 else f"exit code {ended.exit_code}"
    raise TemporaryError(
        FailureClass.CRASHED,
        f'"{config.call}" ended with {how} {"after" if answer else "before"} it returned',
        detail="" if config.sensitive else "\n".join(ended.stderr.splitlines()[-child.TAIL_LINES :]),
    )


def _error(config: PythonConfig, failure: Mapping[str, Any]) -> AttemptError:
    """The error that the child tells of; of a sensitive call no more than the exception's type."""
    name = failure["class"]
    known = name in set(FailureClass)
    message, detail, hint = failure["message"], failure.get("detail", ""), failure.get("hint", "")
    if not known:
        hint = f'failure classes are {", ".join(FailureClass)}; it said "{name}"'
    if config.sensitive and "type" in failure:
        message, detail, hint = f'"{config.call}" raised {failure["type"]}', "", ""
    wait = failure.get("retry_in_s")
    return (PermanentError if failure.get("permanent") else TemporaryError)(
        FailureClass(name) if known else FailureClass.FAILED,
        message,
        retry_in=timedelta(seconds=wait) if isinstance(wait, int | float) else None,
        changed=failure.get("changed", True),
        detail=detail,
        hint=hint,
    )


def _sealed(ctx: api.Context, outputs: Any) -> frozenset[str]:
    """Names of outputs to seal; the texts of a result that has no names become secrets one by one."""
    if isinstance(outputs, Mapping):
        return frozenset(outputs)
    for item in outputs if isinstance(outputs, list) else [outputs]:
        if isinstance(item, str):
            ctx.redact(item)
    return frozenset()
