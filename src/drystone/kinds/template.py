"""The template kind: one file from a Jinja2 template, with its own undo.

    render -> same as what is there? -> nothing changed
                    | no
                    v
    keep what was there (state folder, fsync) -> write atomically

What was there is kept once per run and before the first write, so a retry or a crash in between never mistakes the new
file for the old one. The undo puts it back, and refuses when somebody has changed the file since: their work would be
lost.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from drystone.errors import FailureClass, PermanentError
from drystone.plugin import api
from drystone.plugin.fields import Mode
from drystone.plugin.files import inside, refused_write, sync_folder, write_atomic
from drystone.plugin.templating import render, sources_of

_NEW_FILE_MODE = 0o644
_KEPT_RUNS = 20
"""Runs of one task for which the old content is kept; the oldest give way, so that a nightly job does not fill the disk."""


class TemplateConfig(api.Config):
    """Exactly one of `src` and `content`."""

    src: str | None = Field(default=None, description="the template's file")
    content: str | None = Field(default=None, description="the template itself")
    dest: str = Field(min_length=1, description="a file among the run's artifacts, or an absolute path")
    vars: dict[str, Any] = Field(default_factory=dict, description="what the template may use, besides `run` and `task`")
    mode: Mode | None = Field(default=None, description='octal digits; an existing file keeps its own, a new one gets "0644"')

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.src is None) == (self.content is None):
            raise ValueError("give exactly one of src and content")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class _Before:
    """What was at `dest` before this run wrote there, and what it wrote. `mode` None means that there was nothing."""

    dest: str
    mode: int | None
    before: str
    after: str


class Template(api.Kind):
    """A render that gives what is there already changes nothing, and has nothing to undo."""

    name: ClassVar[str] = "template"
    Config = TemplateConfig
    outputs: ClassVar[tuple[str, ...] | None] = ("path", "sha256", "changed")

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The template, and its folder when it looks for others there."""
        return sources_of(config.get("src"), source)

    def preview(self, ctx: api.Context, config: TemplateConfig) -> api.Preview:
        """The difference to the file that is there. A file among the run's artifacts is new with every run, and changes nothing."""
        content = _rendered(ctx, config).encode()
        path = Path(config.dest)
        outputs = {"path": str(path), "sha256": _digest(content)} if path.is_absolute() else api.UNKNOWN
        if not path.is_absolute():
            return api.Preview(summary=f"would write the artifact {config.dest}", outputs=outputs)
        existed, now = _read(path)
        mode = _mode_of(path) if existed else None
        other_mode = mode is not None and config.mode is not None and mode != config.mode
        if existed and now == content and not other_mode:
            return api.Preview(summary="nothing to do", outputs={**outputs, "changed": False} if isinstance(outputs, dict) else outputs)
        old, new = (text.decode("utf-8", "replace").splitlines() for text in (now, content))
        diff = [*difflib.unified_diff(old, new, f"{config.dest}, now", f"{config.dest}, then", lineterm="")]
        if other_mode:
            diff.insert(0, f"mode: {mode:04o} → {config.mode:04o}")
        change = api.Change(
            action=api.Action.CHANGE if existed else api.Action.ADD,
            what=config.dest,
            detail="\n".join(diff),
            attributes=tuple(name for name, differs in (("content", now != content), ("mode", other_mode)) if differs) if existed else (),
        )
        return api.Preview(summary=f"would {'change' if existed else 'write'} {config.dest}", changes=(change,), outputs=outputs)

    def drift(self, ctx: api.Context, config: TemplateConfig) -> api.Preview:
        """What a run would put back. An artifact belongs to its run, and no run writes it again."""
        return self.preview(ctx, config)

    def run(self, ctx: api.Context, config: TemplateConfig) -> api.Outcome:
        """Outputs path (absolute), sha256, changed."""
        dest = _destination(ctx, config.dest)
        content = _rendered(ctx, config).encode()
        existed, old = _read(dest)
        mode = config.mode if config.mode is not None else (_mode_of(dest) if existed else _NEW_FILE_MODE)
        changed = not existed or old != content or _mode_of(dest) != mode
        if changed:
            _keep(ctx, dest, old if existed else None, content)
            write_atomic(dest, content, mode)
            _forget_if_as_before(_kept(ctx), content, mode)
        ctx.log(f"{dest}: {'written' if changed else 'unchanged'}, {len(content)} bytes")
        outputs = {"path": str(dest), "sha256": _digest(content), "changed": changed}
        return api.Outcome(outputs=outputs, result={"changed": changed}, changed=changed)

    def undo(self, ctx: api.Context, config: TemplateConfig) -> api.Outcome:
        """Puts back what was there before this run, or removes the file. Done twice, it changes nothing."""
        folder = _kept(ctx)
        kept = _load(folder)
        if kept is None:
            return api.Outcome(changed=False)
        dest = Path(kept.dest)
        existed, now = _read(dest)
        is_ours = existed and _digest(now) == kept.after
        if not is_ours and not _is_as_before(kept, existed, now):
            raise PermanentError(
                FailureClass.CONFLICT,
                f'"{dest}" was changed after this run wrote it',
                hint=f'compare it with "{folder / "content"}", which holds what was there before, and decide yourself'
                if (folder / "content").exists()
                else "what was there before is not kept any more; bring the file to what you want by hand",
            )
        if is_ours:
            _check_content(kept, folder, dest)
            _put_back(kept, folder, dest)
        _forget(folder)
        return api.Outcome(result={"changed": is_ours}, changed=is_ours)


def _destination(ctx: api.Context, dest: str) -> Path:
    """Where to write. An absolute path is followed through symbolic links: the link stays, its target is written."""
    if not Path(dest).is_absolute():
        path = inside(ctx.artifacts, dest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
    path = Path(dest).resolve()
    if not path.parent.is_dir():
        raise PermanentError(
            FailureClass.INVALID,
            f'the folder of "{dest}" does not exist',
            changed=False,
            hint=f'create "{path.parent}" first',
        )
    if path.is_dir():
        raise PermanentError(FailureClass.INVALID, f'"{dest}" is a folder', changed=False, hint="name a file in it")
    return path


def _rendered(ctx: api.Context, config: TemplateConfig) -> str:
    known: Mapping[str, Any] = {
        "run": {"id": ctx.run_id, "plan": ctx.plan, "environment": ctx.environment},
        "task": {"id": ctx.task, "attempt": ctx.attempt},
    }
    if config.content is not None:
        return render(config.content, config.dest, {**known, **config.vars}, (ctx.source,))
    assert config.src is not None
    source = ctx.path(config.src)
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(FailureClass.INVALID, f'template "{config.src}" cannot be read: {error}', changed=False) from error
    return render(text, config.src, {**known, **config.vars}, (source.parent, ctx.source))


def _read(path: Path) -> tuple[bool, bytes]:
    try:
        return True, path.read_bytes()
    except FileNotFoundError:
        return False, b""
    except OSError as error:
        raise refused_write(path, error) from error


def _mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---- what was there before -------------------------------------------------------------------------------------------


def _kept(ctx: api.Context) -> Path:
    return ctx.state / "template" / ctx.run_id


def _keep(ctx: api.Context, dest: Path, old: bytes | None, new: bytes) -> None:
    """Notes the way back. What this run noted already stays, save for the digest of what is about to be written."""
    folder = _kept(ctx)
    kept = _load(folder)
    if kept is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(folder / "content", old or b"", 0o600)
        mode = None if old is None else _mode_of(dest)
        kept = _Before(dest=str(dest), mode=mode, before=_digest(old or b""), after="")
        _drop_oldest(folder.parent)
    fields = {**asdict(kept), "after": _digest(new)}
    write_atomic(folder / "record.json", json.dumps(fields).encode(), 0o600)


def _load(folder: Path) -> _Before | None:
    try:
        return _Before(**json.loads((folder / "record.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _is_as_before(kept: _Before, existed: bool, now: bytes) -> bool:
    return existed is (kept.mode is not None) and _digest(now) == kept.before


def _forget_if_as_before(folder: Path, content: bytes, mode: int) -> None:
    """A run that writes what was there before it has nothing to put back: so it is when an update is undone by its last good version."""
    kept = _load(folder)
    if kept is not None and kept.mode == mode and kept.before == _digest(content):
        _forget(folder)


def _put_back(kept: _Before, folder: Path, dest: Path) -> None:
    if kept.mode is not None:
        write_atomic(dest, (folder / "content").read_bytes(), kept.mode)
        return
    try:
        dest.unlink(missing_ok=True)
        sync_folder(dest.parent)
    except OSError as error:
        raise refused_write(dest, error) from error


def _check_content(kept: _Before, folder: Path, dest: Path) -> None:
    if kept.mode is not None and not (folder / "content").exists():
        raise PermanentError(
            FailureClass.REFUSED,
            f'what was in "{dest}" before this run is not kept any more',
            changed=False,
            hint=f"the last {_KEPT_RUNS} runs that changed it can be taken back; bring the file to what you want by hand",
        )


def _forget(folder: Path) -> None:
    for path in (folder / "record.json", folder / "content"):
        path.unlink(missing_ok=True)
    folder.rmdir()
    with contextlib.suppress(OSError):
        # Of use only while it holds the way back of some run.
        folder.parent.rmdir()


def _drop_oldest(parent: Path) -> None:
    # Run ids are ULIDs: their order is that of time.
    # Their records stay: without its own, an old run would seem to have changed nothing.
    for folder in sorted(parent.iterdir())[:-_KEPT_RUNS]:
        (folder / "content").unlink(missing_ok=True)
