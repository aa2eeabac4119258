"""Commands for environments: env list, show, destroy, unlock, inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from drystone.cli import exit_codes
from drystone.cli.options import Json, Yes, examples, session

if TYPE_CHECKING:
    from drystone.app.drift import Report
    from drystone.app.environments import Content
    from drystone.app.world import World

HELP = "Environments: what stands in them, taking them down, and who has them."

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Name = Annotated[str, typer.Argument(metavar="ENV", help="The environment's name.", show_default=False)]


@app.callback()
def env(ctx: typer.Context) -> None:
    """What `drystone env` alone says."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list", epilog=examples("drystone env list", "drystone env list --json"))
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the environments, how their newest runs ended, and who has them."""
    from drystone.app import environments
    from drystone.cli import env_view

    env_view.listing(environments.known(session(ctx).world()), json=json)


@app.command(epilog=examples("drystone env show staging", "drystone env show staging --json | jq .outputs"))
def show(ctx: typer.Context, name: Name, json: Json = False) -> None:
    """Show what stands in an environment: which run made it, the serial of its Terraform state, and the outputs."""
    from drystone.app import environments, states
    from drystone.cli import env_view

    world = session(ctx).world()
    content = environments.content(world, name)
    env_view.show(content, [states.of(world, item) for item in content.standing], json=json)


@app.command(epilog=examples("drystone env state staging network > network.tfstate", "drystone env state staging 'vm[0]' --serial 4"))
def state(
    ctx: typer.Context,
    name: Name,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task that stands there: vm[0], or PLAN/vm[0].", show_default=False)],
    serial: Annotated[int | None, typer.Option("--serial", metavar="N", help="An earlier one; `env show --json` lists them.")] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", metavar="NAME", help="When the task was run in several.")] = None,
) -> None:
    """Print the Terraform state of a task, as Terraform writes it: IN CLEAR, with all secrets that are in it.

    It is sealed at rest. The states before each of the last 20 applies are kept too.
    """
    from drystone.app import environments, states
    from drystone.cli import env_view

    world = session(ctx).world()
    found = states.find(world, environments.content(world, name), task, serial=serial, name=workspace)
    env_view.state(found)


@app.command(epilog=examples("drystone env drift staging", "drystone env drift staging --json", "drystone env drift staging --reconcile"))
def drift(
    ctx: typer.Context,
    name: Name,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="TASK", help="Only this task, or instance; may be given several times.")
    ] = None,
    reconcile: Annotated[bool, typer.Option("--reconcile", help="Put back what has drifted, by a run of the last good version.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Say what is not any more as the last good version of each task made it. Nothing is changed by that.

    Terraform plans with a refresh, Ansible checks its hosts, files are compared; what cannot be checked is counted. Drift that is known
    is named in drystone.toml and reported as ignored. Exit code 0: no drift, 1: an error, 2: drift, 6: a run has the environment.
    """
    from drystone.app import drift as looking
    from drystone.cli import drift_view

    world = session(ctx).world()
    report = looking.check(world, name, tasks=tasks or ())
    drift_view.show(report, json=json, in_one_line=reconcile)
    found = exit_codes.CHANGES if report.has_drift else exit_codes.REFUSED if report.count(looking.Verdict.FAILED) else exit_codes.DONE
    return _reconcile(world, report, yes=yes, json=json) if reconcile and report.has_drift else found


def _reconcile(world: World, report: Report, *, yes: bool, json: bool) -> int:
    from drystone.app import reconcile
    from drystone.cli import ask, drift_view, runs

    proposal = reconcile.propose(world, report)
    drift_view.to_reconcile(proposal)
    if not proposal.reconciliations:
        return exit_codes.CHANGES
    ask.reconcile(report.environment, yes=yes)
    for item in proposal.reconciliations:
        if (code := runs.drive(world, reconcile.run(world, item), json=json)) != exit_codes.DONE:
            return code
    return exit_codes.CHANGES if proposal.left else exit_codes.DONE


@app.command(epilog=examples("drystone env destroy staging", "drystone env destroy staging --yes"))
def destroy(ctx: typer.Context, name: Name, yes: Yes = False, json: Json = False) -> int:
    """Take down all that stands in an environment, in reverse order; says first what that is, and asks.

    Terraform plans what it would destroy; what a task's guards protect is refused before anything goes. Also what runs left that a
    newer run no longer has, and also past a pivot. What a plan calls irreversible stays, and is named.
    """
    from drystone.app import destruction, environments
    from drystone.cli import ask, env_view

    world = session(ctx).world()
    content = environments.content(world, name)
    environments.check_free(world, content.environment)
    if not content.standing:
        typer.echo(f'nothing stands in environment "{name}"', err=True)
        return exit_codes.DONE
    found = destruction.preview(world, content)
    env_view.to_destroy(found, json=json)
    destruction.check(found)
    ask.destroy(name, yes=yes)
    destruction.check_unmoved(world, content)
    return _destroy(world, content, json=json)


def _destroy(world: World, content: Content, *, json: bool) -> int:
    from drystone.app import environments
    from drystone.cli import runs

    for part in environments.parts(content):
        code = runs.drive(world, environments.destroy(world, part), json=json)
        if code not in (exit_codes.DONE, exit_codes.COMPENSATED):
            return code
    return exit_codes.DONE


@app.command(epilog=examples("drystone env unlock staging --reason 'the machine of that run is gone'"))
def unlock(
    ctx: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the record: why it is in order.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Also from a process that lives: it can write nothing any more.")] = False,
) -> None:
    """Take an environment away from the run that has it. Break glass: it is written into that run's record."""
    from drystone.app import environments
    from drystone.errors import RefusedError
    from drystone.ports import owner_text

    if not reason.strip():
        raise RefusedError("a reason is missing: it stands in the record of the run", hint="--reason TEXT")
    lock = environments.unlock(session(ctx).world(), name, reason=reason, force=force)
    since = lock.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    typer.echo(f'environment "{name}" is free; run {lock.run} of {owner_text(lock.owner)} had it since {since}', err=True)
    typer.echo(f"to go on with that run: drystone resume {lock.run}; to end it: drystone cancel {lock.run}", err=True)


@app.command(epilog=examples("drystone env inventory staging", "ansible all -i ./staging.sh -m ping"))
def inventory(
    ctx: typer.Context,
    name: Name,
    list_: Annotated[bool, typer.Option("--list", help="All hosts and groups, as Ansible asks for them; the default.")] = False,
    host: Annotated[str | None, typer.Option("--host", metavar="NAME", help="The variables of one host.")] = None,
) -> None:
    """Print the hosts of an environment as an Ansible inventory.

    A script that says `exec drystone env inventory ENV "$@"` is a dynamic inventory.
    """
    from drystone.app import environments
    from drystone.cli import env_view

    world = session(ctx).world()
    env_view.inventory(environments.inventory(world, environments.content(world, name)), host=host)
