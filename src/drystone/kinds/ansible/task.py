"""The attempt: puts the files into a scratch folder, runs the worker, reads its events, and leaves nothing behind.

The scratch folder is in memory where the machine has such a place: variables, vault passwords and what Ansible drops on
its way are not to reach a disk. Its path is noted in the instance's state folder first, so that an attempt after a crash
finds and removes what the lost one left.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.ansible import belonging, inventory, recap, warm
from drystone.kinds.ansible.argv import Files, playbook_argv, playbook_env
from drystone.kinds.ansible.config import AnsibleConfig
from drystone.kinds.ansible.parse import Progress, Tally
from drystone.plugin import api
from drystone.plugin.fields import written
from drystone.plugin.files import user_path

GRACE = timedelta(seconds=20)
"""How long Ansible may take to end after a cancel: it ends its own workers first, which takes it a few seconds."""
_SECRET_NAMES = ("*password*", "*passwd*", "*passphrase*", "*secret*", "*token*", "*private_key*", "*api_key*", "*access_key*")
NO_HOSTS = "no hosts: nothing was run"
_OUTPUTS = "outputs"
"""In the result of a failed attempt: what it gave with `set_stats`, sealed."""
_SHOWN_HOSTS = 5
_PREFIX = "drystone-"
_MAX_ROOT_LENGTH = 50
"""A socket's path has at most 107 bytes; Ansible's and ssh's own parts of it take 40."""


class Ansible(api.Kind):
    """Outputs what the playbook gave with `set_stats`; results are the sums of its recap, and the recap by host, over all attempts."""

    name: ClassVar[str] = "ansible"
    Config = AnsibleConfig
    undo_when: ClassVar[api.UndoWhen] = api.UndoWhen.ATTEMPTED
    looks_at_world: ClassVar[bool] = True

    @classmethod
    def changes_things(cls, config: Mapping[str, Any]) -> bool:
        """A check only tells."""
        return written(config, "check") is not True

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The playbook's folder, and what Ansible looks for beside it and in the project's root; never what opens secrets."""
        return belonging.files(config, source)

    def run(self, ctx: api.Context, config: AnsibleConfig) -> api.Outcome:
        """Runs the playbook once. A check changes nothing, whatever it tells that it would change."""
        place = functools.partial(_Place, program=find_program(ctx.environ), playbook=ctx.path(config.playbook))
        only = _hosts_of_retry(ctx, config)
        tally = Tally()
        try:
            with _scratch(ctx) as scratch:
                _play(ctx, config, place(scratch=scratch, only=only), tally)
        except AttemptError as error:
            # It was cut off: what earlier attempts did is all that is known.
            error.result = dict(ctx.previous) if only else {}
            raise
        result = recap.merged(ctx.previous, tally.result(check=config.check))
        outputs = recap.merged_outputs(_outputs_before(ctx), tally.outputs)
        failure = tally.failure()
        if failure is not None:
            failure.result = {**result, **({_OUTPUTS: ctx.seal(outputs)} if outputs else {})}
            failure.changed = failure.changed and not config.check
            raise failure
        if not result["hosts"]:
            ctx.log(NO_HOSTS)
            ctx.emit(NO_HOSTS)
        return api.Outcome(
            outputs=outputs,
            result=result,
            changed=result["changed"] > 0 and not config.check,
            sensitive=_sensitive(outputs, config.sensitive),
        )

    def warm_up(self, ctx: api.Context, configs: Sequence[Mapping[str, Any]]) -> None:
        """Ansible is imported while tasks before the playbooks are at work."""
        program = find_program(ctx.environ)
        for config in configs:
            # What else is in it makes no difference, and may not be known yet.
            with contextlib.suppress(ValidationError):
                known = AnsibleConfig.model_validate({name: config[name] for name in ("playbook", "env", "collections") if name in config})
                settings_path = _settings(ctx, ctx.path(known.playbook))
                env = _env(ctx, known, Path(), settings_path)
                warm.prefixes(ctx, program, env, str(_folder(ctx, settings_path)))

    def preview(self, ctx: api.Context, config: AnsibleConfig) -> api.Preview:
        """What a run would change on the hosts, by a real --check --diff."""
        tally = _checked(ctx, config)
        result = tally.result(check=True)
        changes = _would_change(tally)
        changed = [change.what for change in changes]
        if (failure := tally.failure()) is not None:
            if failure.failure_class is not FailureClass.FAILED:
                raise failure
            # A step may only work after those before it, which a check does not do.
            reason = f"the check ends early: {failure.message}"
            summary = f"would run {config.playbook}"
            return api.Preview(
                certainty=api.Certainty.PARTIAL, summary=summary, changes=changes, reason=reason, hosts=len(changed), outputs=api.UNKNOWN
            )
        hosts = len(result["hosts"])
        summary = f"would change {len(changed)} of {hosts} host{'' if hosts == 1 else 's'}" if changed else "nothing to do"
        outputs = api.UNKNOWN if changed else tally.outputs
        return api.Preview(summary=summary, changes=changes, hosts=len(changed), outputs=outputs, result=result)

    def drift(self, ctx: api.Context, config: AnsibleConfig) -> api.Preview:
        """What the playbook would put back on the hosts, by a real --check --diff; hosts that do not answer are named."""
        tally = _checked(ctx, config)
        changes, unseen = _would_change(tally), tally.unreachable()
        failure = tally.failure()
        if failure is not None and not unseen and failure.failure_class is not FailureClass.FAILED:
            raise failure
        certainty, reason = api.Certainty.EXACT, ""
        if failure is not None and failure.failure_class is FailureClass.FAILED:
            certainty, reason = api.Certainty.PARTIAL, f"the check ends early: {failure.message}"
        hosts = len(tally.result(check=True)["hosts"])
        summary = f"{len(changes)} of {hosts} host{'' if hosts == 1 else 's'}" if changes else ""
        return api.Preview(certainty=certainty, summary=summary, changes=changes, reason=reason, hosts=len(changes), unseen=unseen)

    @classmethod
    def outline(cls, config: Mapping[str, Any], source: Path) -> api.Preview:
        """The playbook by its name."""
        playbook = config.get("playbook")
        shown = playbook if isinstance(playbook, str) else "a playbook"
        changes = (api.Change(action=api.Action.RUN, what=shown),) if cls.changes_things(config) else ()
        return api.Preview(
            certainty=api.Certainty.PARTIAL, summary=f"would run {shown}", changes=changes, outputs=api.UNKNOWN, result=api.UNKNOWN
        )


def _hosts_of_retry(ctx: api.Context, config: AnsibleConfig) -> tuple[str, ...]:
    """The hosts that this attempt keeps to, because the one before it was through with all others; none when it works on all."""
    if config.retry_hosts == "all" or not ctx.previous:
        return ()
    only = recap.to_retry(ctx.previous, None if config.hosts is None else [host.name for host in config.hosts])
    if only:
        done = len(ctx.previous["hosts"]) - len(only)
        shown = ", ".join(only[:_SHOWN_HOSTS]) + (f" and {len(only) - _SHOWN_HOSTS} more" if len(only) > _SHOWN_HOSTS else "")
        ctx.emit(f"again on {shown}; {done} {'host is' if done == 1 else 'hosts are'} done")
    return only


def _outputs_before(ctx: api.Context) -> dict[str, Any]:
    """What the attempt before this one, which failed, gave with `set_stats`."""
    sealed = ctx.previous.get(_OUTPUTS)
    return ctx.unseal(sealed) if isinstance(sealed, str) else {}


def _checked(ctx: api.Context, config: AnsibleConfig) -> Tally:
    """What a run of the playbook that changes nothing tells."""
    asked = config.model_copy(update={"check": True, "diff": True})
    program = find_program(ctx.environ)
    tally = Tally()
    with _scratch(ctx) as scratch:
        _play(ctx, asked, _Place(program=program, playbook=ctx.path(config.playbook), scratch=scratch), tally)
    return tally


def _would_change(tally: Tally) -> tuple[api.Change, ...]:
    """The hosts that a check found to be different, each with the steps that would change something."""
    steps = {name: tally.would_change(name) for name, host in tally.result(check=True)["hosts"].items() if host["changed"]}
    return tuple(
        api.Change(action=api.Action.CHANGE, what=name, detail="\n".join(names), attributes=tuple(dict.fromkeys(names)))
        for name, names in steps.items()
    )


def _sensitive(names: Iterable[str], patterns: Iterable[str]) -> frozenset[str]:
    """Outputs whose names say that they are secret, or of which the plan says so."""
    wanted = [pattern.lower() for pattern in (*_SECRET_NAMES, *patterns)]
    return frozenset(name for name in names if any(fnmatchcase(name.lower(), pattern) for pattern in wanted))


class _Place:
    """Where the run finds and puts things."""

    def __init__(self, *, program: str, playbook: Path, scratch: Path, only: tuple[str, ...] = ()) -> None:
        self.program = program
        self.playbook = playbook
        self.scratch = scratch
        self.only = only


def find_program(environ: Mapping[str, str]) -> str:
    """ansible-playbook: named by DRYSTONE_ANSIBLE_PLAYBOOK, else the first on PATH, else the one installed with drystone.

    Raises PermanentError(crashed) when there is none.
    """
    beside = Path(sys.executable).with_name("ansible-playbook")
    named = environ.get("DRYSTONE_ANSIBLE_PLAYBOOK", "")
    found = shutil.which(named or "ansible-playbook", path=environ.get("PATH", os.defpath))
    if found is None and not named and os.access(beside, os.X_OK):
        found = str(beside)
    if found is None:
        raise PermanentError(
            FailureClass.CRASHED,
            f'there is no "{named or "ansible-playbook"}"',
            changed=False,
            hint="install ansible-core, or name the program in DRYSTONE_ANSIBLE_PLAYBOOK",
        )
    return found


def _play(ctx: api.Context, config: AnsibleConfig, place: _Place, tally: Tally) -> None:
    settings_path = _settings(ctx, place.playbook)
    files, once = _files(ctx, config, place)
    env = _env(ctx, config, place.scratch, settings_path)
    cwd = str(_folder(ctx, settings_path))
    worker, playbook = warm.prefixes(ctx, place.program, env, cwd)
    spec = {
        "argv": [*playbook, *playbook_argv(place.program, config, files)],
        # Where its user would stand to run it: beside ansible.cfg, whose relative paths then mean the same.
        "cwd": cwd,
        "scratch": str(place.scratch),
        "once": once,
        # ansible-runner turns it off; what the user's ansible.cfg says must stand.
        "unset": [name for name in ("ANSIBLE_HOST_KEY_CHECKING",) if name not in ctx.environ and name not in config.env],
    }

    def read(stream: str, line: str) -> None:
        if stream == "stderr":
            ctx.log(line)
            return
        event = json.loads(line)
        for text in str(event.get("stdout") or "").splitlines():
            ctx.log(text)
        _tell(ctx, tally.take(event))

    ended = ctx.process(
        [*worker, sys.executable, "-m", "drystone.kinds.ansible.worker"],
        env=env,
        stdin=json.dumps(spec).encode(),
        on_line=read,
        log=False,
        grace=GRACE,
    )
    if ended.exit_code != 0 or tally.exit_code is None:
        raise TemporaryError(FailureClass.CRASHED, f"ansible-runner ended with exit code {ended.exit_code}", detail=ended.stderr[-4000:])


def _env(ctx: api.Context, config: AnsibleConfig, scratch: Path, settings_path: Path | None) -> dict[str, str]:
    return playbook_env(
        config,
        ctx.environ,
        settings=settings_path.read_text(encoding="utf-8", errors="replace") if settings_path is not None else "",
        settings_path=None if settings_path is None else str(settings_path),
        scratch=str(scratch),
        collections=tuple(str(ctx.path(folder)) for folder in config.collections),
    )


def _tell(ctx: api.Context, progress: Progress | None) -> None:
    if progress is not None:
        data = {"step": progress.step, "host": progress.host, "status": progress.status}
        ctx.emit(progress.message, **{name: value for name, value in data.items() if value})


def _folder(ctx: api.Context, settings_path: Path | None) -> Path:
    """In the project itself, where local tasks may write; `ansible.cfg` leads from its own place to what it names."""
    if settings_path is None or not settings_path.is_relative_to(ctx.source.absolute()):
        return ctx.project if settings_path is None else settings_path.parent
    own = ctx.project / settings_path.parent.relative_to(ctx.source.absolute())
    return own if own.is_dir() else ctx.project


def _settings(ctx: api.Context, playbook: Path) -> Path | None:
    """The project's ansible.cfg: the nearest one from the playbook's folder up to the project's root."""
    if "ANSIBLE_CONFIG" in ctx.environ:
        return None
    root = (ctx.source if playbook.is_relative_to(ctx.source) else ctx.project).absolute()
    for folder in playbook.absolute().parents:
        if (folder / "ansible.cfg").is_file():
            return folder / "ansible.cfg"
        if folder == root:
            return None
    return None


# ---- files for Ansible -----------------------------------------------------------------------------------------------


def _files(ctx: api.Context, config: AnsibleConfig, place: _Place) -> tuple[Files, list[str]]:
    """Writes the files; returns them, and those that nobody needs after Ansible has read them."""
    scratch = place.scratch
    variables = _write(scratch / "variables", inventory.to_yaml(_variables(ctx, config)))
    once = [variables]
    vaults = []
    for number, vault in enumerate(config.vault):
        if vault.password is not None:
            once.append(_write(scratch / f"vault-{number}", f"{vault.password}\n"))
            vaults.append((vault.id, once[-1]))
        elif vault.password_file is not None:
            vaults.append((vault.id, str(user_path(ctx, vault.password_file))))
    files = Files(
        playbook=str(place.playbook),
        variables=variables,
        inventory=_inventory(ctx, config, scratch),
        vaults=tuple(vaults),
        only=_write(scratch / "only", "".join(f"{host}\n" for host in place.only)) if place.only else None,
    )
    return files, once


def _inventory(ctx: api.Context, config: AnsibleConfig, scratch: Path) -> str | None:
    if config.inventory is not None:
        return str(ctx.path(config.inventory))
    if config.hosts is None:
        return None
    pinned = _write(scratch / "known_hosts", inventory.known_hosts(config.hosts))
    key_files = {host.name: str(user_path(ctx, host.key_file)) for host in config.hosts if host.key_file is not None}
    # It stays until the end: a playbook may read its inventory again.
    return _write(scratch / "inventory.yaml", inventory.to_yaml(inventory.inventory(config.hosts, pinned, key_files)))


def _variables(ctx: api.Context, config: AnsibleConfig) -> dict[str, Any]:
    known: dict[str, Any] = {
        "drystone_run": ctx.run_id,
        "drystone_task": ctx.task,
        "drystone_environment": ctx.environment,
    }
    if config.escalation is not None and config.escalation.password is not None:
        known["ansible_become_password"] = config.escalation.password
    return {**known, **config.vars}


def _write(path: Path, text: str) -> str:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


@contextlib.contextmanager
def _scratch(ctx: api.Context) -> Iterator[Path]:
    """A private folder for one attempt, noted before it exists and removed with all that is in it."""
    notes = ctx.state / "ansible-scratch"
    notes.mkdir(mode=0o700, exist_ok=True)
    for note in notes.iterdir():
        _sweep(note)
    name = f"{_PREFIX}{secrets.token_hex(6)}"
    path = _scratch_root(ctx.environ) / name
    note = notes / name
    note.write_text(str(path), encoding="utf-8")
    try:
        path.mkdir(mode=0o700)
        (path / "c").mkdir(mode=0o700)
        yield path
    finally:
        _sweep(note)
        with contextlib.suppress(OSError):
            notes.rmdir()


def _sweep(note: Path) -> None:
    path = Path(note.read_text(encoding="utf-8"))
    if path.name == note.name and path.name.startswith(_PREFIX):
        shutil.rmtree(path, ignore_errors=True)
    note.unlink(missing_ok=True)


def _scratch_root(environ: Mapping[str, str]) -> Path:
    """A folder in memory if there is one that may be written, else the usual one for temporary files."""
    for candidate in (environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm"):
        if 0 < len(candidate) <= _MAX_ROOT_LENGTH and os.path.isdir(candidate) and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate)
    usual = tempfile.gettempdir()
    return Path(usual if len(usual) <= _MAX_ROOT_LENGTH else "/tmp")
