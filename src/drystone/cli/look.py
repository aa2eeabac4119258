"""Commands that look at runs: show, runs, diff, logs, events."""

from __future__ import annotations

from typing import Annotated

import typer

from drystone.cli.completion import run_words
from drystone.cli.options import Examples, Json, RunWord, examples, session

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")]


def show(
    ctx: typer.Context,
    word: RunWord = "last",
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="This task, or this instance of it, at length.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show a run: its tasks, why it failed with the last output, what was undone, and what to do next.

    With TASK its attempts, and how far each got with each resource.
    """
    from drystone.app import reading
    from drystone.cli import run_view, task_view

    world = session(ctx).world()
    look = reading.look(world, word)
    if task is None:
        run_view.show(look, now=world.clock.now(), json=json)
    else:
        task_view.show(look, reading.instances(look.run, task), now=world.clock.now(), json=json)


def runs(
    ctx: typer.Context,
    plan: Annotated[str | None, typer.Option("--plan", metavar="NAME", help="Only runs of this plan.")] = None,
    environment: Annotated[str | None, typer.Option("--environment", "-e", metavar="NAME", help="Only runs in this environment.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    json: Json = False,
) -> None:
    """List runs, the newest first."""
    from drystone.app import reading
    from drystone.cli import run_view

    world = session(ctx).world()
    found = reading.recent(world, plan=plan, environment=environment, limit=limit)
    behind = reading.behind(world, found)
    run_view.listing(found, now=world.clock.now(), json=json, behind=behind)


def logs(
    ctx: typer.Context,
    word: RunWord = "last",
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Only this task, or this instance of it.", show_default=False)] = None,
    follow: Follow = False,
    json: Json = False,
) -> None:
    """Print the logs of a run's attempts, in the order in which they began."""
    from drystone.app import reading
    from drystone.cli import log_view

    log_view.show(reading.logs(session(ctx).world(), word, task, follow=follow), json=json)


def events(ctx: typer.Context, word: RunWord = "last", follow: Follow = False, json: Json = False) -> None:
    """Print what happened in a run, one JSON event a line (with or without --json)."""
    from drystone.app import reading
    from drystone.cli import log_view

    log_view.events(reading.events(session(ctx).world(), word, follow=follow))


def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="RUN", help="The run to start from.", show_default=False, autocompletion=run_words)],
    new: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare it with.", autocompletion=run_words)] = "last",
    json: Json = False,
) -> None:
    """Show how two runs differ: plan, inputs, modules and playbooks, and how their tasks went."""
    from drystone.app import differences
    from drystone.cli import diff_view

    diff_view.show(differences.between(session(ctx).world(), old, new), json=json)


COMMANDS = (show, runs, diff, logs, events)
EXAMPLES: Examples = {
    "show": examples("drystone show last", "drystone show last network", "drystone show last --json | jq .status"),
    "runs": examples("drystone runs", "drystone runs --environment staging --json"),
    "diff": examples("drystone diff 01JB5 last", "drystone diff 01JB5 01JC2 --json | jq '.files[].name'"),
    "logs": examples("drystone logs last migration", "drystone logs last 'vm[0]' -f"),
    "events": examples("drystone events last | jq -r .type"),
}
