"""Commands on plans: validate, graph, plugins, schema."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.completion import plan_words
from drystone.cli.options import Examples, Json, PlanWord, examples, session

PLANS_HELP = "Plans' files or names; all in plans/ when none is given."


class GraphFormat(StrEnum):
    """How `drystone graph` draws."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    JSON = "json"


def validate(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="PLAN", help=PLANS_HELP, show_default=False, autocompletion=plan_words),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
    json: Json = False,
) -> int:
    """Check plans: every mistake at once, with its place. Nothing is run."""
    from drystone.app import plans
    from drystone.cli import plan_view

    here = session(ctx)
    checked = plans.check_all(here.world(), [here.plan(word) for word in words or ()])
    plan_view.validation(checked, strict=strict, json=json)
    fine = all(item.is_fine(strict=strict) for item in checked)
    return exit_codes.DONE if fine else exit_codes.REFUSED


def graph(
    ctx: typer.Context,
    word: PlanWord,
    form: Annotated[GraphFormat, typer.Option("--format", "-f", help="How it is drawn.")] = GraphFormat.TEXT,
) -> None:
    """Show a plan's graph: its waves, what needs what, and the order of the way back."""
    from drystone.app import plans
    from drystone.core import graph_text

    here = session(ctx)
    compiled, _ = plans.load(here.world(), here.plan(word))
    typer.echo(graph_text.PRINTERS[form.value](compiled).rstrip("\n"))


def plugins(ctx: typer.Context, json: Json = False) -> None:
    """List the kinds of tasks that are installed, and what each came with."""
    from drystone.app import plugins
    from drystone.cli import plugin_view

    plugin_view.plugins(plugins.installed(session(ctx).world().registry), json=json)


def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of the plan language with all installed plugins, for editors."""
    import json

    from drystone.plugin.schema import plan_schema

    typer.echo(json.dumps(plan_schema(session(ctx).world().registry), indent=2))


COMMANDS = (validate, graph, plugins, schema)
EXAMPLES: Examples = {
    "validate": examples("drystone validate", "drystone validate environment --strict", "drystone validate plans/shop.yaml --json"),
    "graph": examples("drystone graph environment", "drystone graph environment --format mermaid > environment.mmd"),
    "plugins": examples("drystone plugins"),
    "schema": examples(
        "drystone schema > plan.schema.json",
        "# first line of a plan, for editors:",
        "# yaml-language-server: $schema=../plan.schema.json",
    ),
}  # fmt: skip
