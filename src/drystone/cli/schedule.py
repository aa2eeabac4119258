"""Commands for schedules: schedule list, preview, pause, resume, run, backfill, history."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Json, examples, session
from drystone.errors import RefusedError

if TYPE_CHECKING:
    from drystone.app.schedules import Schedule

HELP = "What starts runs by the clock: the schedules among the triggers of this project's plans."

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Word = Annotated[str, typer.Argument(metavar="SCHEDULE", help="PLAN/TRIGGER, or a plan that has only one schedule.", show_default=False)]


@app.callback()
def schedule(ctx: typer.Context) -> None:
    """What `drystone schedule` alone says."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list", epilog=examples("drystone schedule list", "drystone schedule list --json"))
def list_(ctx: typer.Context, json: Json = False) -> int:
    """List the schedules, when each is due next, and what became of its last tick."""
    from drystone.app import schedules
    from drystone.cli import schedule_view

    lines, problems = schedules.listing(session(ctx).world())
    schedule_view.listing(lines, problems, json=json)
    return exit_codes.REFUSED if problems else exit_codes.DONE


@app.command(epilog=examples("drystone schedule preview nightly", "drystone schedule preview nightly --next 400 --odd"))
def preview(
    ctx: typer.Context,
    word: Word,
    count: Annotated[int, typer.Option("--next", metavar="N", min=1, max=10_000, help="How many ticks.")] = 20,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="From this moment on, as 2026-03-28 or 2026-03-28T02:00; now unless given.")
    ] = "",
    odd: Annotated[bool, typer.Option("--odd", help="Of these, only those on which something is odd.")] = False,
    json: Json = False,
) -> None:
    """Show the next ticks, with what is odd: hours that are left out or come twice, blackouts."""
    from itertools import islice

    from drystone.app import schedules
    from drystone.cli import schedule_view

    world = session(ctx).world()
    found = schedules.find(world, word)
    after = _moment(start, found) - timedelta(microseconds=1) if start else world.clock.now()
    ticks = list(islice(schedules.upcoming_ticks(found, after), count))
    schedule_view.upcoming(found, [tick for tick in ticks if tick.note or tick.skip or not odd], json=json)


@app.command(epilog=examples("drystone schedule pause nightly"))
def pause(ctx: typer.Context, word: Word, json: Json = False) -> None:
    """Let nothing of a schedule fire until it is resumed. Runs that it started go on."""
    from drystone.app import schedules
    from drystone.cli import schedule_view

    schedule_view.changed(schedules.pause(session(ctx).world(), word), "paused", json=json)


@app.command(epilog=examples("drystone schedule resume nightly"))
def resume(ctx: typer.Context, word: Word, json: Json = False) -> None:
    """Let a paused schedule go on from now. What was due meanwhile is not made up for: see backfill."""
    from drystone.app import schedules
    from drystone.cli import schedule_view

    schedule_view.changed(schedules.proceed(session(ctx).world(), word), "resumed", json=json)


@app.command(epilog=examples("drystone schedule run nightly"))
def run(ctx: typer.Context, word: Word, json: Json = False) -> None:
    """Start a run of a schedule now, with the inputs of a tick at this moment, and leave it to a server.

    It starts also while the schedule is paused, in a blackout, or beside a run that has not ended.
    """
    from drystone.app import schedules
    from drystone.cli import runs

    world = session(ctx).world()
    runs.left(world, schedules.run_now(world, word), json=json)


@app.command(epilog=examples("drystone schedule backfill nightly --from 2026-03-01 --to 2026-03-07"))
def backfill(
    ctx: typer.Context,
    word: Word,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="The first moment, as 2026-03-01 or 2026-03-01T02:00.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The last moment; a date is the whole day. Now unless given.")] = "",
    json: Json = False,
) -> None:
    """Ask for the ticks of a range that no run came of. A server starts them, one after the other.

    A tick of which there is a run is left alone, so a backfill may be repeated.
    """
    from drystone.app import schedules
    from drystone.cli import schedule_view

    world = session(ctx).world()
    found, now = schedules.find(world, word), world.clock.now()
    until = min(_moment(end, found, is_end=True), now) if end else now
    schedule_view.asked(found, schedules.backfill(world, found.id, _moment(start, found), until), json=json)


@app.command(epilog=examples("drystone schedule history nightly", "drystone schedule history --limit 200 --json"))
def history(
    ctx: typer.Context,
    word: Annotated[str | None, typer.Argument(metavar="[SCHEDULE]", help="Only this one; all unless given.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many, the newest.")] = 20,
    json: Json = False,
) -> None:
    """Show what became of each tick: fired, skipped, missed, and why."""
    from drystone.app import schedules
    from drystone.cli import schedule_view

    schedule_view.history(schedules.history(session(ctx).world(), word, limit=limit), json=json)


def _moment(text: str, schedule: Schedule, *, is_end: bool = False) -> datetime:
    """What a person wrote, on the clock of the schedule's zone. Raises RefusedError."""
    try:
        if len(text) > len("2026-03-01"):
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.combine(date.fromisoformat(text) + timedelta(days=is_end), time())
    except ValueError as error:
        raise RefusedError(f'"{text}" is no date, nor date and time', hint="write it as 2026-03-01 or 2026-03-01T02:00") from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=schedule.zone)).astimezone(UTC)
