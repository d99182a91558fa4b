"""Commands that put an installation on AWS, or on an emulator, and take it away."""

from __future__ import annotations

import sys

import click

from chalicelib.cli.common import REFUSED, choose_deployed, endpoint_option, explained, stage_option
from chalicelib.cli.output import show_text

WAYS = ("chalice", "stack")


@click.command()
@stage_option
@endpoint_option
@click.option(
    "--way",
    type=click.Choice(WAYS),
    default="chalice",
    show_default=True,
    help="chalice: `chalice deploy` between two stacks. stack: one stack of everything.",
)
@click.option("--force", is_flag=True, help="Run Chalice even if nothing has changed.")
def deploy(stage: str, endpoint_url: str | None, way: str, force: bool) -> None:
    """Bring an installation to what this checkout says: infrastructure, functions, routes, event sources.

    Repeating it changes nothing. What ended half-way is finished by deploying again. In the end the installation is
    checked as by `taskyard doctor`; exit code 1 when something is wrong.
    """
    with explained():
        choose_deployed(stage, endpoint_url)
        from chalicelib import settings
        from chalicelib.cli.cost import deployment_of
        from chalicelib.engine.handlers.registry import registry
        from chalicelib.engine.projections.events import decided
        from infra.cost.estimate import bills
        from infra.cost.load import Load
        from infra.deploy.deploy import Way
        from infra.deploy.deploy import deploy as run
        from infra.deploy.mark import leave_costs
        from infra.deploy.stages import project_here

        chosen = decided(settings.current(), registry())
        declared = registry()
        done = run(project_here(), chosen, declared.queues, declared.batches, Way(way), force=force, say=show_text)
        idle, _ = bills(deployment_of(chosen.stage), Load(jobs=0))
        leave_costs(chosen, idle.usd_by_service)
        sound = _is_sound()
        show_text("deployed" if done.changed else "nothing to change")
        show_text(f"API {done.api_url}")
        if not sound:
            sys.exit(REFUSED)


@click.command()
@stage_option
@endpoint_option
@click.option("--release", is_flag=True, help="Keep the data, but in no stack: to deploy the other way.")
@click.option("--data", is_flag=True, help="Delete tables, queues and objects as well: all jobs are gone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(stage: str, endpoint_url: str | None, release: bool, data: bool, yes: bool) -> None:
    """Take an installation away: functions, API, event sources. Its data stays unless --data is given.

    What stays costs nothing but for what is stored, and `taskyard deploy` finds it again.
    """
    if data and release:
        raise click.UsageError("--release keeps the data, --data deletes it")
    with explained():
        choose_deployed(stage, endpoint_url)
        from chalicelib import settings
        from chalicelib.engine.handlers.registry import registry
        from chalicelib.engine.projections.events import decided
        from infra.deploy.destroy import Data
        from infra.deploy.destroy import destroy as run
        from infra.deploy.stages import project_here

        if not yes:
            what = "and ALL ITS JOBS" if data else "but not its data"
            click.confirm(f"Destroy {settings.current().base_name}, {what}?", abort=True)
        disposition = Data.DELETED if data else Data.RELEASED if release else Data.KEPT
        chosen = decided(settings.current(), registry())
        run(project_here(), chosen, registry().queues, disposition, show_text)


def _is_sound() -> bool:
    """Show what is not as this checkout wants it, as far as it can be seen; returns whether nothing is wrong."""
    from chalicelib.cli.doctor import checkout_here, show
    from infra.doctor.findings import Level
    from infra.doctor.report import run_checks

    report = run_checks(checkout_here(), alive=False)
    show(report, [problem for problem in report.problems if problem.level is not Level.UNKNOWN])
    return report.healthy
