"""Terraform's commands for one attempt: the environment they run in, their lines into log and progress, their failures as errors.

    enter(version): lay it out -> init, unless nothing changed since the last one -> a state that could not be stored is put back
    plan -> apply -> outputs                             on the way forward
    what a killed apply left out -> plan -> apply        on the way back

Variables and backend settings reach Terraform through standard input: they are never arguments, and no file holds them. (TF_VAR_
variables would do neither: they lose against the module's own *.auto.tfvars, and lists of an untyped variable would arrive as text.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from drystone.errors import AttemptError
from drystone.kinds.terraform import failures, hcl, locks, marks, plugin_cache, source, states, workdir
from drystone.kinds.terraform.argv import CommandLine
from drystone.kinds.terraform.begun import Begun
from drystone.kinds.terraform.binary import Binary
from drystone.kinds.terraform.config import TerraformConfig
from drystone.kinds.terraform.parse import Diagnostic, Stream
from drystone.kinds.terraform.providers import Providers
from drystone.kinds.terraform.records import Records, Version
from drystone.kinds.terraform.source import Facts
from drystone.kinds.terraform.states import Head
from drystone.kinds.terraform.workdir import Workdir
from drystone.plugin.api import Context, FailureClass, PermanentError, ProcessResult, TerraformProvider
from drystone.plugin.files import write_atomic

APPLY_GRACE = timedelta(minutes=5)
"""How long an interrupted apply may take to finish the resources in flight: killed earlier, they would exist without being in the state."""

OTHER_GRACE = timedelta(seconds=30)
CACHE_POLL = timedelta(milliseconds=100)
"""How often it is looked whether another task has filled the cache of providers."""
_OUTPUT_BYTES = 64 << 20
_NEEDS_INIT = re.compile(
    r"required plugins are not installed|inconsistent dependency lock file|module not installed|backend initialization required"
    r"|please run \"?\w+ init|missing or corrupted provider plugins|initialization required",
    re.IGNORECASE,
)
_LOCK_MISMATCH = re.compile(r"checksums? .*dependency lock file|locked provider|does not match configured version constraint", re.I | re.S)
_REATTACH_LOST = re.compile(r"reattach|plugin did not respond|connection refused|transport is closing", re.I)


@dataclass(kw_only=True)
class Session:
    """One attempt's commands. `enter` comes first."""

    ctx: Context
    config: TerraformConfig
    records: Records
    binary: Binary
    providers: Providers
    home: Path | None
    """The module's own folder, where commands are started from; None when it is gone."""
    _version: Version | None = None
    _workdir: Workdir | None = None
    _facts: Facts | None = None
    _environ: dict[str, str] = field(default_factory=dict)
    _known_state: tuple[tuple[int, int, int], dict[str, Any] | None] | None = None
    _required: list[TerraformProvider] = field(default_factory=list)

    def enter(self, version: Version) -> None:
        """Makes everything ready for commands on this version. Raises AttemptError when it cannot be initialised."""
        kept = version.source
        self._version, self._facts = version, source.facts(kept)
        self._check_backend()
        self._workdir = workdir.lay_out(self.records, version, own_state=self._facts.backend is None)
        self._required = self.providers.required(self._facts.text)
        self._environ = self._environment()
        self._initialise(kept.digest())
        workdir.keep_lock(self._workdir, version)
        self._store_errored_state()
        self._learn()

    @property
    def version(self) -> Version:
        """What was entered."""
        assert self._version is not None
        return self._version

    @property
    def facts(self) -> Facts:
        """About the entered version."""
        assert self._facts is not None
        return self._facts

    @property
    def workdir(self) -> Workdir:
        """Where it is laid out."""
        assert self._workdir is not None
        return self._workdir

    @property
    def lines(self) -> CommandLine:
        """Its command lines."""
        return CommandLine(self.binary.program, self.workdir.root)

    def _check_backend(self) -> None:
        if self.config.backend and self.facts.backend is None:
            raise PermanentError(
                FailureClass.INVALID,
                "the module has no backend block that `backend` could add to",
                changed=False,
                hint='write a block such as backend "s3" {} into its terraform block, or drop `backend`',
            )

    def _environment(self) -> dict[str, str]:
        own = dict(self.config.env)
        around = {**self.ctx.environ, **own}
        # Arguments that a person's shell adds to every command could turn a plan into something else.
        own |= {name: "" for name in around if name.startswith("TF_CLI_ARGS")}
        if (named := around.get("TF_CLI_CONFIG_FILE")) and not Path(named).is_file():
            own["TF_CLI_CONFIG_FILE"] = ""
        own |= {
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            "TF_DATA_DIR": str(self.records.data),
            "TF_WORKSPACE": self.config.workspace or "",
        }
        return own | self.providers.environ(self._required, {**around, **own}, self.config.env, self.ctx.log)

    # ---- init -------------------------------------------------------------------------------------------------------

    def _initialise(self, digest: str) -> None:
        settings = backend_settings(self.facts, self.config, home=self.home, project=self.ctx.project)
        done = self.records.data / "drystone-init"
        if done.is_file() and done.read_text() == self._init_key(digest, settings):
            return
        self.init(settings)
        write_atomic(done, self._init_key(digest, settings).encode(), 0o600)

    def _init_key(self, digest: str, settings: Mapping[str, Any]) -> str:
        """Stands for all that init depends on, and for the lock file that it wrote."""
        lock = self.workdir.lock_file
        known = {
            "files": digest,
            "binary": self.binary.identity,
            "backend": settings,
            "state": str(self.records.default_state) if self.facts.backend is None else "",
            "workspace": self.config.workspace,
            "installation": [self._environ.get("XDG_DATA_DIRS"), self._environ.get("TF_CLI_CONFIG_FILE")],
            "providers": [[provider.source, provider.version] for provider in self._required],
            "reattached": "TF_REATTACH_PROVIDERS" in self._environ,
            "lock": lock.read_text(encoding="utf-8") if lock.exists() else "",
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def init(self, settings: Mapping[str, Any]) -> None:
        """Chooses the backend, brings modules and providers: from the cache, into which they are downloaded first. Raises AttemptError."""
        self.records.data.mkdir(exist_ok=True, mode=0o700)
        if not plugin_cache.downloads(self.facts.text, self._required):
            self._init(settings)
            return
        cache = plugin_cache.of({**self.ctx.environ, **self._environ})
        if not cache.has(self.workdir.lock_file):
            with cache.filling(lambda: self.ctx.wait(CACHE_POLL), self.ctx.log) as staging:
                self._init(settings, staging)
        self._init(settings, cache.folder)

    def _init(self, settings: Mapping[str, Any], cache: Path | None = None) -> None:
        if cache is not None:
            self._environ[plugin_cache.VARIABLE] = str(cache)
            self._environ[plugin_cache.UNLOCKED] = "" if self.facts.lock_shipped else "1"
        stdin = hcl.assignments(settings).encode() if settings else None
        code, stream = self._run("init", self.lines.init(backend=bool(settings)), stdin=stdin)
        if code and not self.facts.lock_shipped and self.workdir.lock_file.exists() and _says(_LOCK_MISMATCH, stream):
            # The lock file is of our own making: a provider that was built anew has another checksum.
            self.ctx.log("the providers are not those that were locked: locking the present ones")
            self.workdir.lock_file.unlink()
            code, stream = self._run("init", self.lines.init(backend=bool(settings)), stdin=stdin)
        if code:
            raise self._failure("init", code, stream)

    # ---- the commands -----------------------------------------------------------------------------------------------

    def drop_what_is_gone(self) -> None:
        """Writes into the state that nothing of it exists any more, as a plan without changes found. Never fails."""
        if not holds_anything(self.state()):
            return
        version = self.version
        line = self.lines.refresh(variables=bool(version.vars), var_files=version.var_files, parallelism=self.config.parallelism)
        code, _ = self._run("refresh", line, stdin=self._variables())
        if code and self.facts.backend is not None:
            self.ctx.log("note: the state still names resources that do not exist any more; terraform state rm takes them out")

    def find_missing(self) -> list[str]:
        """Addresses that an apply which was killed had begun to make, and that the state does not have."""
        begun = Begun(self.records.folder)
        return begun.missing_in(self.state()) if begun.is_open else []

    def plan(self, *, destroy: bool = False) -> tuple[bool, Stream]:
        """Makes the plan file. True when there are changes, be it only in outputs. Raises AttemptError."""
        version = self.version
        line = self.lines.plan(
            self.records.plan_file,
            destroy=destroy,
            variables=bool(version.vars),
            var_files=version.var_files,
            targets=() if destroy else version.targets,
            parallelism=self.config.parallelism,
        )
        step = "destroy" if destroy else "plan"
        code, stream = self._with_remedies(step, lambda: self._run(step, line, stdin=self._variables()))
        if code not in (0, 2):
            raise self._failure(step, code, stream)
        return code == 2, stream

    def apply(self, planned: Stream) -> Stream:
        """Applies the plan file; the state of before is kept. Raises AttemptError; `planned` then knows how far each resource got."""
        planned.diagnostics.clear()
        if self.facts.backend is None:
            self.records.state.keep()
        begun = Begun(self.records.folder)
        planned.on_create = begun.add
        ephemeral = self.facts.has_ephemeral_variables
        line = self.lines.apply(self.records.plan_file, variables=ephemeral, parallelism=self.config.parallelism)
        code = 1
        try:
            code, stream = self._run("apply", line, stdin=self._variables() if ephemeral else None, grace=APPLY_GRACE, stream=planned)
        finally:
            # Terraform tells its errors when the state is written.
            if code == 0 or planned.errors:
                begun.settle()
            states.hide(self.workdir.errored_state, self.records.seals)
            self._learn()
        if code:
            raise self._failure("apply", code, stream, applying=True)
        stream.succeed()
        return stream

    def outputs(self) -> dict[str, Any]:
        """As `terraform output -json` has them: name -> {value, type, sensitive}. Raises PermanentError(invalid) for more than fits."""
        text = self._read("output", self.lines.output())
        try:
            data: dict[str, Any] = json.loads(text or "{}")
        except ValueError as error:
            # A line that long was cut on its way here.
            raise PermanentError(
                FailureClass.INVALID,
                f"the module gives outputs of {len(text):,} bytes, more than the store takes",
                hint="let it write large data to a file, and output the path",
            ) from error
        return data

    def use(self, saved: bytes) -> tuple[bool, Stream]:
        """Takes a plan that was saved, in the place of a new one. Terraform refuses it when the state has moved since."""
        self.ctx.log("applying the saved plan of the preview")
        write_atomic(self.records.plan_file, saved, 0o600)
        planned = self.planned()
        stream = Stream()
        stream.plan(planned.get("resource_changes") or ())
        moved = [item for item in (planned.get("output_changes") or {}).values() if item.get("actions") not in (["no-op"], ["read"])]
        return bool(stream.changes or moved), stream

    def planned(self) -> dict[str, Any]:
        """The plan file as `terraform show -json` has it: resource_changes, output_changes. Sensitive values are in clear."""
        # A line that is too long for one piece came in several; a line break never stands inside JSON's texts.
        found: dict[str, Any] = json.loads(self._read("show", self.lines.show(self.records.plan_file)).replace("\n", ""))
        return found

    def state(self) -> dict[str, Any] | None:
        """The state as it is stored; None when there is none yet."""
        if self.facts.backend is None:
            return self._own_state()
        return _load_state(self._read("state pull", self.lines.state_pull()))

    def _own_state(self) -> dict[str, Any] | None:
        """Read again only when it was written since: large states take a while."""
        file = self.records.state.clear
        try:
            stat = file.stat()
        except FileNotFoundError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if self._known_state is None or self._known_state[0] != stamp:
            self._known_state = stamp, _load_state(file.read_text(encoding="utf-8"))
        return self._known_state[1]

    def _learn(self) -> None:
        """What the environment's own state marks as sensitive is a secret from now on: providers may print it unmarked."""
        if self.facts.backend is None:
            for text in marks.in_state(self.state() or {}):
                self.ctx.redact(text)

    def head(self) -> Head | None:
        """Serial and lineage of the environment's own state; None when there is none, or the module has a backend, which is not asked."""
        state = self._own_state() if self.facts.backend is None else None
        return Head.of(state) if state is not None else None

    def _variables(self) -> bytes | None:
        try:
            return hcl.assignments(self.version.vars).encode() if self.version.vars else None
        except ValueError as error:
            raise PermanentError(FailureClass.INVALID, str(error), changed=False, hint="mend the name in `vars`") from error

    def _read(self, step: str, line: list[str]) -> str:
        """A command whose output is data, kept out of the log."""
        result = self._process(line, log=False, raw=True, keep_bytes=_OUTPUT_BYTES)
        if result.exit_code:
            stream = Stream()
            for text in result.stderr.splitlines():
                stream.feed(text)
            raise self._failure(step, result.exit_code, stream)
        return result.stdout

    def _run(
        self, step: str, line: list[str], *, stdin: bytes | None = None, grace: timedelta = OTHER_GRACE, stream: Stream | None = None
    ) -> tuple[int, Stream]:
        gathered = stream or Stream()
        self.ctx.log(f"$ {self.binary.name} {step}")

        def take(_: str, text: str) -> None:
            shown, progress = gathered.feed(text)
            if shown is not None:
                for part in shown.splitlines():
                    self.ctx.log(part)
            # A refresh plans nothing, and says so.
            if progress is not None and step != "refresh":
                self.ctx.emit(progress.message, **progress.data)

        note = locks.Note(self.records.folder) if self.facts.backend_type not in ("", "local") else None
        by_force = True
        try:
            result = self._process(line, stdin=stdin, on_line=take, log=False, grace=grace)
            by_force = result.exit_code < 0
        finally:
            # A command that was told to end and did so has reported it; one that was killed could not.
            if note is not None and (not by_force or gathered.errors):
                note.remove()
        return result.exit_code, gathered

    def _process(
        self,
        line: list[str],
        *,
        stdin: bytes | None = None,
        on_line: Callable[[str, str], None] | None = None,
        log: bool = True,
        grace: timedelta = OTHER_GRACE,
        raw: bool = False,
        keep_bytes: int = 1 << 20,
    ) -> ProcessResult:
        folder = self.home if self.home is not None and self.home.is_dir() else self.workdir.root
        return self.ctx.process(
            line, cwd=folder, env=self._environ, stdin=stdin, on_line=on_line, log=log, grace=grace, raw=raw, keep_bytes=keep_bytes
        )

    # ---- failures ---------------------------------------------------------------------------------------------------

    def _with_remedies(self, step: str, command: Callable[[], tuple[int, Stream]]) -> tuple[int, Stream]:
        """Runs a command again, once, when what it lacks can be mended: providers, a daemon, our own stale lock."""
        code, stream = command()
        if code in (0, 2):
            return code, stream
        if _says(_NEEDS_INIT, stream):
            self.init(backend_settings(self.facts, self.config, home=self.home, project=self.ctx.project))
        elif self._required and "TF_REATTACH_PROVIDERS" in self._environ and _says(_REATTACH_LOST, stream):
            self.ctx.log("a provider's daemon does not answer: starting it anew")
            self.providers.restart(self._required, self.config.env)
            self._environ = self._environment()
        elif (stale := locks.own_stale(self.records.folder, stream.errors)) is not None:
            self.ctx.log(f'breaking lock "{stale.id}", which a command of this task left behind when it was killed')
            self._read("force-unlock", self.lines.force_unlock(stale.id))
        else:
            return code, stream
        locks.forget(self.records.folder)
        return command()

    def _failure(self, step: str, code: int, stream: Stream, *, applying: bool = False) -> AttemptError:
        errors: list[Diagnostic] = stream.errors
        state = str(self.records.state.clear) if self.facts.backend is None else ""
        return failures.from_diagnostics(step, code, errors, tail=stream.tail, state=state, applying=applying)

    # ---- a state that could not be stored ---------------------------------------------------------------------------

    def _store_errored_state(self) -> None:
        """Puts back the state that an earlier apply could not store, when nobody wrote another one since."""
        file = self.workdir.errored_state
        states.show(file, self.records.seals)
        if not file.exists():
            return
        errored, current = _load_state(file.read_text(encoding="utf-8")), self.state()
        if errored is None or not self._may_replace(current, errored):
            raise PermanentError(
                FailureClass.CONFLICT,
                f'an earlier apply could not store its state, which is in "{file}", and the stored state has changed since',
                hint=f'compare both, put the right one in place with terraform state push, then remove "{file}"',
            )
        if current is None or current != errored:
            self._read("state push", self.lines.state_push(file))
            self.ctx.log("stored the state that an earlier apply had to leave in errored.tfstate")
        states.sealed_name(file).unlink(missing_ok=True)
        file.unlink()

    def _may_replace(self, current: Mapping[str, Any] | None, errored: Mapping[str, Any]) -> bool:
        if current is None or current == errored or not current.get("lineage"):
            return True
        if current["lineage"] != errored.get("lineage"):
            return False
        # Same serial: only when it is the one that the failed apply began with, so that nobody else wrote in between.
        newer: bool = errored.get("serial", 0) > current["serial"]
        return newer or current["serial"] == self.records.instance.serial


def _load_state(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text) if text.strip() else None
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def holds_anything(state: Mapping[str, Any] | None) -> bool:
    """True when a state has anything that Terraform manages, or outputs. One that only OpenTofu can decrypt does."""
    if state is None:
        return False
    managed = any(item.get("mode") == "managed" for item in state.get("resources", ()))
    return managed or bool(state.get("outputs")) or "encrypted_data" in state


def _says(pattern: re.Pattern[str], stream: Stream) -> bool:
    return any(pattern.search(f"{item.summary}\n{item.detail}") for item in stream.errors)


def backend_settings(facts: Facts, config: TerraformConfig, *, home: Path | None, project: Path) -> dict[str, Any]:
    """What init is told about the backend.

    A local backend's relative paths mean the module's own folder when they stand in its block, and the project when they stand in the
    plan; Terraform would take both relative to the private copy.
    """
    settings = dict(config.backend)
    if facts.backend_type != "local" or facts.backend is None:
        return settings
    for key, default in (("path", "terraform.tfstate"), ("workspace_dir", "terraform.tfstate.d")):
        if key in settings:
            settings[key] = str(project / settings[key])
            continue
        written = facts.backend.attributes.get(key)
        value = hcl.literal(written) if written is not None else default
        if value is not None and home is not None:
            settings[key] = str(home / value)
    return settings
