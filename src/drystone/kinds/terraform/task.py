"""The terraform kind: what an attempt does, and what its undo does.

    run:  keep the module as a version -> init -> plan -> guards -> note what was there before -> apply -> outputs
    undo: plan from what really exists (a plan begins with a refresh), then
          nothing was there before this run -> destroy what is there now, and forget the instance
          something was                     -> apply the last good version of then again

Runs that changed the same instance are taken back latest first; an earlier one is refused, as it would take down what the later one left.
An update is never undone by destroying (DESIGN §4.5). What was there before a run is noted on disk before its first apply, so that a
retry, or an undo after a crash, does not take this run's own half-made resources for something older.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from drystone.errors import AttemptError, DrystoneError
from drystone.kinds.terraform import binary, marks, parse, preview, source
from drystone.kinds.terraform.begun import Begun
from drystone.kinds.terraform.config import Guards, TerraformConfig
from drystone.kinds.terraform.failures import LOCK_RETRY
from drystone.kinds.terraform.parse import Change, Stream
from drystone.kinds.terraform.providers import Providers
from drystone.kinds.terraform.records import Before, Records, Version
from drystone.kinds.terraform.session import Session, holds_anything
from drystone.kinds.terraform.source import belonging
from drystone.kinds.terraform.states import Unsealing
from drystone.plugin import api, sources
from drystone.plugin.api import FailureClass, Outcome, PermanentError, TemporaryError, UndoWhen

WORKSPACE = "workspace-"
"""Begins the name of a workspace's own folder."""

class Terraform(api.Kind):
    """Applies a root module. Its own undo destroys what the run made, or restores what was there before it."""

    name: ClassVar[str] = "terraform"
    Config = TerraformConfig
    undo_when: ClassVar[UndoWhen] = UndoWhen.ATTEMPTED
    restores: ClassVar[bool] = True

    def __init__(self) -> None:
        self.providers = Providers()
        self._versions = binary.Versions()

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The module with all that its text leads to, and files of variables."""
        for module in sources.paths(config.get("module"), source):
            yield from belonging(module, source)
        yield from sources.paths(config.get("var_files"), source)

    def run(self, ctx: api.Context, config: TerraformConfig) -> Outcome:
        """Plans and applies. `result` counts what was done and tells each resource's fate."""
        records = records_of(ctx, config)
        try:
            with at_work(ctx, records):
                session = self._session(ctx, config, records)
                session.enter(self._version(ctx, config, records))
                return self._apply(ctx, config, session)
        except AttemptError as error:
            # Before its first apply a run has changed nothing, whatever stopped it.
            error.changed = records.before(ctx.run_id) is not None
            raise

    def undo(self, ctx: api.Context, config: TerraformConfig) -> Outcome:
        """Takes back what this run applied. Harmless when repeated, and when nothing was applied."""
        records = records_of(ctx, config)
        with at_work(ctx, records):
            before = records.before(ctx.run_id)
            if before is None:
                ctx.log("this run applied nothing here: there is nothing to take back")
                return Outcome(changed=False)
            check_is_latest(ctx.run_id, records)
            session = self._session(ctx, config, records)
            if not before.existed:
                return self._destroy(ctx, config, session)
            return self._restore(ctx, config, session, before)

    def destroy(self, ctx: api.Context, config: TerraformConfig) -> Outcome:
        """Destroys all that the state has, by the version that was applied last, whichever run that was. Harmless when repeated.

        Also in workspaces that the task was given by other runs.
        """
        outcomes: list[Outcome] = []
        for one in everywhere(ctx, config):
            records = records_of(ctx, one)
            with at_work(ctx, records):
                if records.instance.applied is not None:
                    outcomes.append(self._destroy(ctx, one, self._session(ctx, one, records), config.guards))
        if not outcomes:
            ctx.log("nothing was ever applied here: there is nothing to destroy")
        counts = {name: sum(outcome.result[name] for outcome in outcomes) for name in ("add", "change", "remove")}
        resources = [resource for outcome in outcomes for resource in outcome.result["resources"]]
        result = {**counts, "summary": parse.summary_line(counts), "resources": resources} if outcomes else {}
        return Outcome(result=result, changed=any(outcome.changed for outcome in outcomes))

    def preview(self, ctx: api.Context, config: TerraformConfig) -> api.Preview:
        """What a run would apply, by a real plan. All of it happens in a copy of the records, which goes with the preview."""
        return self._planned(ctx, config, config.guards)

    def drift(self, ctx: api.Context, config: TerraformConfig) -> api.Preview:
        """What was changed outside: what a run would put back, by a real plan, and what it would leave. No guard hides it."""
        return self._planned(ctx, config, Guards())

    def _planned(self, ctx: api.Context, config: TerraformConfig, guards: Guards) -> api.Preview:
        with looking(ctx, config) as records:
            session = self._session(ctx, config, records)
            session.enter(self._version(ctx, config, records))
            _, stream = session.plan()
            check_guards(guards, stream.changes)
            return preview.of(session)

    def preview_destroy(self, ctx: api.Context, config: TerraformConfig) -> api.Preview:
        """What `destroy` would take away, by a real plan; as for `preview`, nothing of it stays."""
        changes: list[api.Change] = []
        for one in everywhere(ctx, config):
            changes += self._to_destroy(ctx, one)
        return api.Preview(summary=f"{len(changes)} to destroy" if changes else "nothing to destroy", changes=changes)

    def _to_destroy(self, ctx: api.Context, config: TerraformConfig) -> Sequence[api.Change]:
        with looking(ctx, config) as records:
            kept = records_of(ctx, config)
            applied = kept.version(kept.instance.applied)
            if applied is None:
                return ()
            session = self._session(ctx, config, records)
            session.enter(applied)
            _, stream = session.plan(destroy=True)
            check_destroys(config.guards, stream.changes)
            where = f" (workspace {config.workspace})" if config.workspace is not None else ""
            gone = (change for change in preview.of(session).changes if change.action is api.Action.DESTROY)
            return [replace(change, what=f"{change.what}{where}") for change in gone]

    def bound(self, ctx: api.Context, config: TerraformConfig) -> Mapping[str, str]:
        """What a saved preview of this rests on, as it is now."""
        with looking(ctx, config) as records:
            session = self._session(ctx, config, records)
            session.enter(self._version(ctx, config, records))
            return preview.bound(session)

    @classmethod
    def outline(cls, config: Mapping[str, Any], source: Path) -> api.Preview:
        """The resources that the module's text has."""
        return preview.outline(config, source)

    def recover(self, ctx: api.Context, config: TerraformConfig) -> None:
        """After a lost attempt: its plan file and what it left in clear go, and a state that it could not store is put in its place.

        A lock that it left is broken by the next plan, which learns the lock's id.
        """
        records = records_of(ctx, config)
        with at_work(ctx, records):
            if (version := records.version(records.instance.applied)) is not None:
                self._session(ctx, config, records).enter(version)

    def states(self, folder: Path, unseal: Callable[[str], Any]) -> Sequence[api.KeptState]:
        """Of the environment's own state, in each workspace that was used: the earlier ones, then that of now."""
        folders = {"": folder} | {path.name.removeprefix(WORKSPACE): path for path in sorted(folder.glob(f"{WORKSPACE}*"))}
        found: list[api.KeptState] = []
        for name, place in folders.items():
            state = Records(folder=place, seals=Unsealing(unseal), workspace=name or None).state
            for head, text in state.known():
                is_current = text == state.text
                found.append(api.KeptState(name=name, serial=head.serial, lineage=head.lineage, is_current=is_current, text=text))
        return found

    def close(self) -> None:
        """Ends the providers' daemons."""
        self.providers.close()

    def _session(self, ctx: api.Context, config: TerraformConfig, records: Records) -> Session:
        home = ctx.project / config.module
        chosen = binary.find({**ctx.environ, **config.env})
        if config.version is not None:
            self._versions.check(ctx, chosen, config.version)
        return Session(
            ctx=ctx,
            config=config,
            records=records,
            binary=chosen,
            providers=self.providers,
            home=home.resolve() if home.is_dir() else None,
        )

    def _version(self, ctx: api.Context, config: TerraformConfig, records: Records) -> Version:
        root, tree, base = ctx.path(config.module).resolve(), ctx.source.resolve(), None
        module = source.read(root, tree if root.is_relative_to(tree) else ctx.project.resolve())
        if module.base.is_relative_to(tree):
            # What lies beside it, and is not known to belong to it, is the project's own.
            base = ctx.project.resolve() / module.base.relative_to(tree)
        check_variables(source.facts(module), config)
        if source.facts(module).backend is None and (left := module.root / "terraform.tfstate").exists():
            ctx.log(f'note: "{left}" is not used, the environment has a state of its own; a backend block in the module would change that')
        return records.keep(module, config.vars, [ctx.path(file) for file in config.var_files], config.targets, base)

    def _apply(self, ctx: api.Context, config: TerraformConfig, session: Session) -> Outcome:
        changes, stream = session.plan() if ctx.saved is None else session.use(ctx.saved)
        check_guards(config.guards, stream.changes)
        records, version = session.records, session.version
        if changes:
            if lost := session.find_missing():
                ctx.emit(f"terraform was killed while it made {', '.join(lost)}: see that there are no two of them")
            self._begin(ctx, session)
            _applied(ctx, session, stream)
        head = session.head()
        records.succeed(version, head.serial if head else None)
        Begun(records.folder).clear()
        outputs = _outputs(ctx, session, stream if changes else None)
        return Outcome(
            outputs={name: item["value"] for name, item in outputs.items()},
            result=_result(stream if changes else Stream()) | ({"state": asdict(head)} if head else {}),
            # Also when an earlier attempt of this run applied and could not report it.
            changed=records.before(ctx.run_id) is not None,
            sensitive=frozenset(name for name, item in outputs.items() if item.get("sensitive")),
        )

    def _begin(self, ctx: api.Context, session: Session) -> None:
        state = session.state() or {}
        session.records.begin(ctx.run_id, session.version, was_there=holds_anything(state), serial=state.get("serial"))
        before = session.records.before(ctx.run_id)
        if before is not None and before.existed and before.version is None:
            ctx.log("note: the state had resources already, and no version that they came from is known: this run cannot be undone")

    def _destroy(self, ctx: api.Context, config: TerraformConfig, session: Session, guards: Guards | None = None) -> Outcome:
        """`guards`: what they protect stays. An undo has none: it takes away only what its run made, which they do not mean."""
        records = session.records
        version = records.version(records.instance.applied) or self._version(ctx, config, records)
        session.enter(version)
        missing = session.find_missing()
        changes, stream = session.plan(destroy=True)
        if guards is not None:
            check_destroys(guards, stream.changes)
        if changes:
            _applied(ctx, session, stream)
        else:
            session.drop_what_is_gone()
        check_nothing_missing(missing)
        records.forget()
        return Outcome(result=_result(stream), changed=changes)

    def _restore(self, ctx: api.Context, config: TerraformConfig, session: Session, before: Before) -> Outcome:
        version = session.records.version(before.version)
        if version is None:
            raise PermanentError(
                FailureClass.REFUSED,
                f'"{config.module}" had resources before this run, and no earlier version of it is known that could be restored',
                hint="nothing was destroyed; bring it to the state that you want by applying the module that you want",
            )
        ctx.log("restoring the version that was in place before this run")
        session.enter(version)
        missing = session.find_missing()
        changes, stream = session.plan()
        if changes:
            _applied(ctx, session, stream)
        check_nothing_missing(missing)
        head = session.head()
        session.records.restored(ctx.run_id, version, head.serial if head else None)
        return Outcome(result=_result(stream) | ({"state": asdict(head)} if head else {}), changed=changes)


def everywhere(ctx: api.Context, config: TerraformConfig) -> Sequence[TerraformConfig]:
    """The config in each workspace that the instance was applied in, its own first."""
    names = [None, *(folder.name.removeprefix(WORKSPACE) for folder in sorted(ctx.state.glob(f"{WORKSPACE}*")))]
    others = [config.model_copy(update={"workspace": name}) for name in names if name != config.workspace]
    return [config, *(other for other in others if records_of(ctx, other).instance.applied is not None)]


def records_of(ctx: api.Context, config: TerraformConfig) -> Records:
    """The records of this instance; each workspace has its own."""
    folder = ctx.state if config.workspace is None else ctx.state / f"{WORKSPACE}{config.workspace}"
    return Records(folder=folder, seals=ctx, workspace=config.workspace)


@contextmanager
def at_work(ctx: api.Context, records: Records) -> Iterator[None]:
    """Has an instance for itself, with its state in clear; that, saved plans and what a preview left are gone at the end, however it ends.

    Raises TemporaryError: conflict when somebody else is at work on it, crashed (naming the file) when the machine refuses a file.
    """
    try:
        with records.claimed() as is_ours:
            if not is_ours:
                message = "another run is at work on the same state"
                hint = "wait for it; runs that change the same things should share an environment, which is locked as a whole"
                raise TemporaryError(FailureClass.CONFLICT, message, retry_in=LOCK_RETRY, hint=hint)
            records.open()
            try:
                yield
            finally:
                _close(ctx, records)
    except OSError as error:
        message = f'"{error.filename}": {error.strerror}' if error.filename else str(error)
        hint = "check that it may be read, that the state folder may be written, and that the disk has room"
        raise TemporaryError(FailureClass.CRASHED, message, hint=hint) from error


@contextmanager
def looking(ctx: api.Context, config: TerraformConfig) -> Iterator[Records]:
    """As `at_work`, to change nothing: with records that go with it."""
    records = records_of(ctx, config)
    with at_work(ctx, records):
        yield preview.copy_of(records)
    with suppress(OSError):
        records.folder.rmdir()


def _close(ctx: api.Context, records: Records) -> None:
    """What was done is done: a state that cannot be sealed now stays in clear until the next attempt, and nothing else comes of it."""
    try:
        if records.close():
            return
        reason = "it is no whole state, or a terraform that outlived its attempt is at work on it"
    except (OSError, DrystoneError) as error:
        reason = str(error)
    if records.state.clear.exists():
        ctx.log(f'note: the state stays in clear, readable for its owner only, in "{records.state.clear}": {reason}')


def check_is_latest(run: str, records: Records) -> None:
    """Raises PermanentError(refused) when taking this run back would take back what a later run made of it, too."""
    if (later := records.later(run)) is not None:
        raise PermanentError(
            FailureClass.REFUSED,
            f'run "{later}" has changed the same resources since',
            changed=False,
            hint=f"nothing was taken back here; take that run back first (drystone undo {later}), then this one (drystone resume {run})",
        )


def check_variables(facts: source.Facts, config: TerraformConfig) -> None:
    """Raises PermanentError(invalid) for variables that the module does not have; Terraform would only warn."""
    known = facts.variables
    if known is None:
        return
    for name in config.vars:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise PermanentError(
                FailureClass.INVALID,
                f'"{config.module}" has no variable "{name}"',
                changed=False,
                hint=f'did you mean "{near[0]}"?' if near else f"it has: {', '.join(sorted(known)) or 'none'}",
            )


def check_guards(guards: Guards, changes: Mapping[str, Change]) -> None:
    """Raises PermanentError(refused) when a plan does more than the guards allow."""
    check_destroys(guards, changes)
    denied = [change.address for change in changes.values() if change.action == "replace" and _is_denied(guards, change.address)]
    if denied:
        raise _refused(f"the plan replaces what guards.deny_replace protects: {', '.join(denied)}")


def check_destroys(guards: Guards, changes: Mapping[str, Change]) -> None:
    """Raises PermanentError(refused) when a plan takes away more than max_destroy."""
    gone = [change.address for change in changes.values() if change.action in ("delete", "replace")]
    if guards.max_destroy is not None and len(gone) > guards.max_destroy:
        count = f"{len(gone)} resource{'' if len(gone) == 1 else 's'}"
        raise _refused(f"the plan destroys {count} and guards.max_destroy is {guards.max_destroy}: {', '.join(gone)}")


def check_nothing_missing(missing: Sequence[str]) -> None:
    """Raises PermanentError(crashed) when Terraform was killed while it made something that its state does not know."""
    if missing:
        them = "it" if len(missing) == 1 else "they"
        raise PermanentError(
            FailureClass.CRASHED,
            f"terraform was killed while it made {', '.join(missing)}: {them} may exist without being in the state",
            changed=True,
            hint=f"all that the state had is taken back; look whether {them} exist{'s' if them == 'it' else ''}, remove what does, "
            "then: drystone attention skip",
            result={"resources": [{"address": address, "action": "create", "status": parse.UNKNOWN} for address in missing]},
        )


def _is_denied(guards: Guards, address: str) -> bool:
    if isinstance(guards.deny_replace, bool):
        return guards.deny_replace
    # Not fnmatch: the brackets of `vm["a"]` are meant as they stand.
    patterns = (re.escape(pattern).replace(r"\*", ".*") for pattern in guards.deny_replace)
    return any(re.fullmatch(pattern, address) for pattern in patterns)


def _refused(message: str) -> PermanentError:
    return PermanentError(FailureClass.REFUSED, message, changed=False, hint="nothing was applied; loosen the guard if this is meant")


def _applied(ctx: api.Context, session: Session, stream: Stream) -> None:
    try:
        session.apply(stream)
    except AttemptError as error:
        ctx.emit(stream.reached())
        error.result = {"summary": stream.reached(), "resources": stream.resources()}
        raise


def _outputs(ctx: api.Context, session: Session, applied: Stream | None) -> Mapping[str, Any]:
    """From the apply when it told them all: it keeps sensitive ones to itself."""
    outputs: Mapping[str, Any] | None = applied.outputs if applied is not None else None
    if outputs is None or not all("value" in item for item in outputs.values()):
        outputs = session.outputs()
    for item in outputs.values():
        if item.get("sensitive"):
            for text in marks.texts(item["value"]):
                ctx.redact(text)
    return outputs


def _result(stream: Stream) -> dict[str, Any]:
    counts = {name: stream.summary.get(name, 0) for name in ("add", "change", "remove")}
    return {**counts, "summary": parse.summary_line(counts), "resources": stream.resources()}
