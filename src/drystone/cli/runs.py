"""Commands that move a run: run, resume, cancel, undo, approve, reject."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Examples, Json, PlanWordOrNone, RunWord, Yes, examples, session
from drystone.errors import RefusedError

if TYPE_CHECKING:
    from drystone.app.inputs import Given
    from drystone.app.reading import Look
    from drystone.app.runs import Hand, Prepared
    from drystone.app.world import World
    from drystone.cli.ask import Decisions
    from drystone.cli.options import Session
    from drystone.core.run import Run

Wait = Annotated[
    bool | None, typer.Option("--wait/--no-wait", help="Stay, or leave, where only a person can move it on.", show_default=False)
]
TaskWord = Annotated[str, typer.Argument(metavar="TASK", help="The task, or the instance of it, that waits.", show_default=False)]
Comment = Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="For the record.")]


def run(
    ctx: typer.Context,
    word: PlanWordOrNone = None,
    pairs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input; may be given several times.")
    ] = None,
    inputs: Annotated[Path | None, typer.Option("--inputs", metavar="FILE", help="Inputs from a YAML or JSON file.")] = None,
    preview: Annotated[Path | None, typer.Option("--preview", metavar="FILE", help="Do exactly what this saved preview says.")] = None,
    approve_deferred: Annotated[
        bool, typer.Option("--approve-deferred", help="With --preview: do not ask once what was not certain in it is.")
    ] = False,
    changed_only: Annotated[
        bool, typer.Option("--changed-only", help="Leave what nothing has changed for since the last good run of the environment.")
    ] = False,
    token: Annotated[str | None, typer.Option("--token", metavar="T", help="Twice with the same token starts one run.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave the run to a process that serves the project, and print its id.")
    ] = False,
    wait: Wait = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Run a plan: live on a terminal, a line for each event elsewhere, NDJSON events with --json.

    Inputs that are secret are better given as DRYSTONE_INPUT_name in the environment than with -i, which others on this machine can read.
    First Ctrl-C: what runs is ended and what was done is undone. Second: ends at once; `drystone resume last` goes on.
    Where only a person can move the run on: stays on a terminal, and ends with exit code 5 elsewhere; --wait and --no-wait say it.
    """
    from drystone import wiring
    from drystone.app import runs
    from drystone.app.inputs import Given
    from drystone.core.run import Manner

    given = Given(pairs=pairs or (), file=inputs)
    if preview is not None:
        world, hand = _as_previewed(session(ctx), word, preview, given, token=token, approve_deferred=approve_deferred)
        return drive(world, hand, json=json, wait=wait, asks=not yes)
    if word is None or approve_deferred:
        raise typer.BadParameter("--approve-deferred goes with --preview FILE" if word else "give a PLAN, or --preview FILE", ctx=ctx)
    plan = session(ctx).plan(word)
    world = wiring.world(plan.project)
    prepared = runs.prepare(world, plan, given)
    if changed_only and prepared.graph.plan.environment is None:
        raise RefusedError(
            f'plan "{prepared.graph.plan.name}" has no environment, so nothing is known of its last good run',
            hint="give the plan an `environment`, or leave --changed-only out",
        )
    manner = Manner(changed_only=changed_only)
    hand = runs.start(world, _completed(prepared, ask=not yes and not json), token=token, manner=manner, detached=detach)
    if detach:
        return left(world, hand, json=json)
    return drive(world, hand, json=json, wait=wait, asks=not yes)


def resume(
    ctx: typer.Context,
    word: RunWord = "last",
    start: Annotated[
        str | None, typer.Option("--from", metavar="TASK", help="Do this task again, and all that comes behind it.")
    ] = None,
    only_failed: Annotated[
        bool,
        typer.Option("--only-failed", help="Also what failed and was tolerated, and what was made without it; after a success, too."),
    ] = False,
    wait: Wait = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Go on with a run: after a crash, after a failure the plan stops at, or on a way back that was not finished.

    What has succeeded is not done again, unless --from names it or what it stands behind, or --only-failed means it. The run keeps the
    plan that it began with: when the plan's file was changed since, the difference is shown, and on a terminal you are asked.
    """
    from drystone.app import reading, runs
    from drystone.cli import edited_view
    from drystone.core.states import RunStatus, TaskStatus

    world = session(ctx).world()
    look = reading.look(world, word)
    if start is None and not only_failed and look.run.status is RunStatus.SUCCEEDED:
        tolerated = any(item.status is TaskStatus.FAILED for item in look.run.in_order())
        more = "but what failed and was tolerated; that comes again with --only-failed" if tolerated else ""
        typer.echo(f"the run has succeeded: nothing is left to do {more}".rstrip(), err=True)
        return exit_codes.DONE
    if look.run.status is not RunStatus.COMPENSATED:
        edited_view.check(look, yes=yes)
    if lost := runs.interrupted(world, word):
        typer.echo(f"its process died during {', '.join(lost)}: what it left running is let finish or ended first", err=True)
    return drive(world, runs.resume(world, word, start=start, only_failed=only_failed), json=json, wait=wait)


def cancel(
    ctx: typer.Context,
    word: RunWord = "last",
    reason: Annotated[str, typer.Option("--reason", help="For the record.")] = "",
    json: Json = False,
) -> int:
    """End a run gracefully: what runs is told to end, then what was done is undone as the plan says."""
    from drystone.app import runs

    world = session(ctx).world()
    hand = runs.cancel(world, word, reason=reason)
    if hand is None:
        typer.echo("asked the process that has the run to end it; drystone show tells how far it is", err=True)
        return exit_codes.DONE
    code = drive(world, hand, json=json)
    return exit_codes.DONE if code == exit_codes.CANCELLED else code


def undo(ctx: typer.Context, word: RunWord = "last", yes: Yes = False, json: Json = False) -> int:
    """Take a run back: the undo of each of its tasks, in reverse order."""
    from drystone.app import reading, runs
    from drystone.cli import ask

    world = session(ctx).world()
    look = reading.look(world, word)
    ask.undo(look, yes=yes)
    code = drive(world, runs.undo(world, look), json=json)
    return exit_codes.DONE if code == exit_codes.COMPENSATED else code


def approve(
    ctx: typer.Context,
    word: RunWord,
    task: TaskWord,
    comment: Comment = "",
    wait: Wait = None,
    json: Json = False,
) -> int:
    """Say yes to a task that waits for an approval; goes on with the run when no other process has it."""
    return _answer(ctx, word, task, answered="approve", comment=comment, wait=wait, json=json)


def reject(
    ctx: typer.Context,
    word: RunWord,
    task: TaskWord,
    comment: Comment = "",
    wait: Wait = None,
    json: Json = False,
) -> int:
    """Say no to a task that waits for an approval: it fails, and what follows is the plan's on_failure."""
    code = _answer(ctx, word, task, answered="reject", comment=comment, wait=wait, json=json)
    # That the run fails is what was asked for.
    return exit_codes.DONE if code in (exit_codes.COMPENSATED, exit_codes.STOPPED) else code


def _answer(ctx: typer.Context, word: str, task: str, *, answered: str, comment: str, wait: bool | None, json: bool) -> int:
    from drystone.app import approvals

    world = session(ctx).world()
    hand = approvals.give(world, word, task, answered=answered, comment=comment)
    if hand is None:
        typer.echo("told the process that has the run; drystone show tells how far it is", err=True)
        return exit_codes.DONE
    return drive(world, hand, json=json, wait=wait)


def left(world: World, hand: Hand, *, json: bool) -> int:
    """Says where a run that was left to a server is to be looked at, and whether there is one."""
    import json as codec

    from drystone.cli import commands

    start = commands.start_of(world.home)
    if json:
        typer.echo(codec.dumps({"format": 1, "run": hand.run.id, "status": hand.run.status.value}))
    else:
        typer.echo(hand.run.id)
    if hand.is_known:
        typer.echo(f"run {hand.run.id} was started with this token before; nothing new was started", err=True)
    elif world.journal().servers(world.clock.now()):
        typer.echo(f"to follow it: {commands.typed(start, 'logs', hand.run.id, '-f')}", err=True)
    else:
        hint = f"{commands.typed(start, 'serve')}; or run it here: {commands.typed(start, 'resume', hand.run.id)}"
        typer.echo(f"nobody serves this project now, so the run waits. to serve it: {hint}", err=True)
    return exit_codes.DONE


def _as_previewed(
    session: Session, word: str | None, file: Path, given: Given, *, token: str | None, approve_deferred: bool
) -> tuple[World, Hand]:
    """The run of a saved preview. A PLAN that is given too must be the preview's."""
    from drystone.app import runs, saved_previews

    world = session.world()
    preview = saved_previews.read(file, world.vault())
    path = world.project / preview.plan_file
    plan = session.plan(str(path))
    if word is not None and session.plan(word).path.resolve() != plan.path.resolve():
        raise RefusedError(f'"{file}" is a preview of plan "{preview.plan}", and not of "{word}"', hint="leave the PLAN out")
    prepared, manner = saved_previews.prepare(world, preview, plan, given, approve_deferred=approve_deferred)
    return world, runs.start(world, prepared, token=token, manner=manner)


def _completed(prepared: Prepared, *, ask: bool) -> Prepared:
    """With answers for the inputs that are missing, when there is somebody to ask."""
    from dataclasses import replace

    from drystone.cli import ask as asking

    if not ask or not prepared.missing or not asking.is_possible():
        return prepared
    answers: dict[str, Any] = asking.inputs(prepared.missing)
    return replace(prepared, values={**prepared.values, **answers}, missing=())


def drive(world: World, hand: Hand, *, json: bool, wait: bool | None = None, asks: bool = True) -> int:
    """Drives a run to its end while it is shown, and says what became of it.

    wait: whether to stay where only a person can move it on; None means on a terminal.
    asks: whether somebody at a terminal is asked what becomes of a failure, where the plan says `on_failure: ask`.
    """
    from drystone.cli import ask, commands, live, problems, run_view, terminal
    from drystone.cli.signals import graceful
    from drystone.core.run import Cause
    from drystone.errors import LockedError, StoreError

    start = commands.start_of(world.home)
    with live.watcher(world.clock, json=json, start=start) as watcher, graceful(hand, watcher):
        hand.watchers.append(watcher.see)
        if hand.is_known:
            watcher.notice(f"run {hand.run.id} was started with this token before; nothing new was started")
        try:
            stays = wait if wait is not None else not json and terminal.is_terminal(sys.stderr)
            look = hand.drive(lambda idles: stays)
        except (StoreError, LockedError) as error:
            problems.show(error, json=False)
            watcher.notice(f"run {hand.run.id} was left half-way; to go on: drystone resume {hand.run.id}")
            return exit_codes.LEFT
    run_view.finish(look, now=world.clock.now(), json=json)
    if not json:
        _tell_leftovers(world, look.run)
    asks = asks and not json and wait is not False and ask.is_possible() and _is_to_be_decided(look.run)
    if asks and (chosen := ask.decisions(look)) is not None:
        return _carry_out(world, look, chosen, wait=wait)
    if look.run.started_at is None and look.run.cause is Cause.TIMEOUT:
        return exit_codes.LOCKED
    return exit_codes.of_run(look.run.status, look.run.cause, left=bool(look.run.left))


def _is_to_be_decided(run: Run) -> bool:
    from drystone.core.plan import OnFailure
    from drystone.core.run import attention
    from drystone.core.states import RunStatus

    return run.graph.plan.on_failure is OnFailure.ASK and run.status is RunStatus.FAILED and bool(attention(run))


def _carry_out(world: World, look: Look, chosen: Decisions, *, wait: bool | None) -> int:
    from drystone.app import attention, runs

    id_ = look.run.id
    if chosen.undo:
        code = drive(world, runs.undo(world, look), json=False, wait=wait)
        # It is undone because it failed, though a person chose it.
        return exit_codes.COMPENSATED if code == exit_codes.DONE else code
    skips = [*chosen.skip.items()]
    last = None if chosen.retry else skips.pop()
    for task, reason in skips:
        # It ends at once: something else is still to be decided.
        attention.skip(world, id_, task, reason=reason).drive()
    hand = attention.retry(world, id_) if last is None else attention.skip(world, id_, last[0], reason=last[1])
    return drive(world, hand, json=False, wait=wait)


def _tell_leftovers(world: World, run: Run) -> None:
    """What earlier runs made and this one no longer has: nobody may take it for gone."""
    from drystone.app import leftovers

    found = leftovers.of(world, run)
    for folder in found:
        typer.echo(f"note: {folder.name} is not in this run, and what earlier runs made of it is still there: {folder}", err=True)
    if found:
        typer.echo("      to take it down, undo the run that made it (drystone runs), or remove it with what that folder holds", err=True)


COMMANDS = (run, resume, cancel, undo, approve, reject)
EXAMPLES: Examples = {
    "run": examples(
        "drystone run hello",
        "drystone run environment -i name=demo -i vms=5",
        "drystone run plans/shop.yaml --inputs staging.yaml --json | jq .type",
        "DRYSTONE_INPUT_password=... drystone run shop",
        "drystone run --preview friday.preview",
    ),
    "resume": examples(
        "drystone resume last", "drystone resume 01JD3X7P2K --from migration", "drystone resume last --only-failed"
    ),
    "approve": examples("drystone approve last release --comment 'tested on staging'"),
    "reject": examples("drystone reject 01JD3X7P2K release --comment 'not before Monday'"),
    "cancel": examples("drystone cancel last --reason 'wrong version'"),
    "undo": examples("drystone undo last", "drystone undo 01JD3X7P2K --yes"),
}
