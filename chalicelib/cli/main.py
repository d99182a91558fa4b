"""The command line of Taskyard."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from threading import Event
from typing import TextIO

import click

from chalicelib.cli.applications import applications
from chalicelib.cli.bulk import bulk, failures
from chalicelib.cli.common import choose_installation, explained, parsed, url_option
from chalicelib.cli.cost import cost
from chalicelib.cli.deploy import deploy, destroy
from chalicelib.cli.doctor import doctor
from chalicelib.cli.flow import flow
from chalicelib.cli.graphs import graphs
from chalicelib.cli.handlers import handlers
from chalicelib.cli.imports.commands import imports
from chalicelib.cli.kafka import kafka
from chalicelib.cli.keys import keys
from chalicelib.cli.messages import dlq, messages, publish
from chalicelib.cli.numbers import Number, Whole
from chalicelib.cli.output import show_json, show_text
from chalicelib.cli.pause import pause, paused, resume
from chalicelib.cli.rebuild import rebuild
from chalicelib.cli.schedules import schedules
from chalicelib.cli.tasks import tasks
from chalicelib.cli.top import top
from chalicelib.cli.webhooks import webhooks
from chalicelib.cli.why import why
from chalicelib.cli.worker import (
    DEFAULT_WORKERS,
    MAX_WORKERS,
    log_level_option,
    logs_option,
    shutdown_timeout_option,
    worker,
)
from chalicelib.core.errors import Unavailable
from infra.deploy import target
from infra.deploy.localstack import resolved

DEFAULT_PORT = 8_000
DEFAULT_EMULATOR_PORT = 4_566  # where tools look for LocalStack and its like


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib import metadata

        try:
            click.echo(f"taskyard {metadata.version('taskyard')}")
        except metadata.PackageNotFoundError:
            click.echo("taskyard, from a checkout that is not installed")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it and exit.")
def main() -> None:
    """Tasks and messages on SQS, DynamoDB and Lambda: on AWS, or all of it on this machine.

    Exit codes: 0 done, 1 refused, 2 a wrong command line, 3 nobody answers.
    """


for command in (
    publish, messages, tasks, flow, why, graphs, schedules, applications, handlers, dlq, failures, bulk, keys, webhooks,
    pause, resume, paused, deploy, destroy, doctor, rebuild, imports, cost, top, worker, kafka,
):  # fmt: skip
    main.add_command(command)


@main.command()
@click.option("--port", type=Whole(0, 65_535), default=DEFAULT_PORT, show_default=True, help="Of the API.")
@click.option(
    "--workers",
    type=Whole(0, MAX_WORKERS),
    default=DEFAULT_WORKERS,
    show_default=True,
    help="Jobs at a time; with 0, others run them.",
)
@click.option("--endpoint-url", help="Use this emulator instead of the embedded one: its URL, or the word localstack.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the data in this folder.")
@log_level_option
@logs_option
@shutdown_timeout_option
@click.option("--reload", is_flag=True, help="Let saved handlers take over at once; what runs ends on the old code.")
@click.option("--kafka", "brokers", metavar="BOOTSTRAP", help="Kafka's brokers, in place of TASKYARD_KAFKA.")
@click.option("--clock-interval", type=Number(0), default=60.0, envvar="TASKYARD_CLOCK_INTERVAL_S", hidden=True)
def up(
    port: int,
    workers: int,
    endpoint_url: str | None,
    data_dir: Path | None,
    log_level: str,
    logs: str | None,
    shutdown_timeout: float,
    reload: bool,
    brokers: str | None,
    clock_interval: float,
) -> None:
    """Run the whole service on this machine, until Ctrl-C."""
    if brokers is not None:
        os.environ["TASKYARD_KAFKA"] = brokers
    named = os.environ.get("TASKYARD_STAGE", target.LOCAL_STAGE)
    if named != target.LOCAL_STAGE:
        raise click.UsageError(
            f"`taskyard up` is the stage {target.LOCAL_STAGE}, and TASKYARD_STAGE says {named}: "
            f"unset it here, or deploy that stage with `taskyard deploy --stage {named}`"
        )
    if endpoint_url is not None and data_dir is not None:
        raise click.UsageError("--data-dir is for the embedded emulator: what --endpoint-url names keeps its own data")
    from chalicelib.local.plan import Plan
    from chalicelib.local.up import up as run

    with explained():
        endpoint_url = resolved(endpoint_url)
    plan = Plan(
        workers=workers,
        embedded=endpoint_url is None,
        data_dir=data_dir,
        clock_interval_s=clock_interval,
        reload=reload,
        shutdown_timeout_s=shutdown_timeout,
    )
    sys.exit(run(plan, endpoint_url, port, log_level, logs))


@main.command()
@click.option("--port", type=Whole(0, 65_535), default=DEFAULT_EMULATOR_PORT, show_default=True)
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the data in this folder.")
def emulator(port: int, data_dir: Path | None) -> None:
    """Run the AWS emulator alone, until Ctrl-C: somewhere to `taskyard deploy` to without an account."""
    from chalicelib.local.emulator import Emulator
    from chalicelib.local.save_watch import SaveWatch

    with explained():
        asked_to_end = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked_to_end.set())
        with Emulator.start(data_dir, port=port) as running:
            show_text(f"AWS emulator at {running.endpoint_url}; deploy with --endpoint-url {running.endpoint_url}")
            if data_dir is not None:
                SaveWatch(running.endpoint_url, partial(click.echo, err=True)).start()
            while not asked_to_end.wait(1):
                if not running.alive():
                    raise Unavailable("the emulator has ended unasked")


@main.command()
@click.argument("function")
@click.argument("event", type=click.File(encoding="utf-8"))
@click.option("--endpoint-url", help="Of AWS; by default what the service at --url uses.")
@url_option
def invoke(function: str, event: TextIO, endpoint_url: str | None, url: str) -> None:
    """Call a Lambda FUNCTION of the app with the EVENT in a JSON file (- is standard input), in this process.

    FUNCTION is worker, dead_letters, clock, projector, hooks or api, and where a topic comes from Kafka kafka; events/
    holds an event for each.
    """
    document = parsed(event.read(), "EVENT")
    with explained():
        choose_installation(None, endpoint_url, url)
        from chalicelib.local.functions import called

        show_json(called(function, document))


@main.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a project into the new folder NAME: handlers, a test, settings, what deploying needs.

    NAME is that of its handler package, too.
    """
    from chalicelib.cli.new_project import new_project

    with explained():
        for file in new_project(name, Path(name)):
            show_text(f"{name}/{file}")
        show_text(f"the next two commands are in {name}/README.md")


@main.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--stage", default="dev", show_default=True, help="A stage of .chalice/config.json.")
def package(out: Path, stage: str) -> None:
    """Build what runs on Lambda, and check it, into the folder OUT.

    deployment.zip is the code, sam.json the template of the whole installation, as `aws cloudformation package` takes
    it.
    """
    from infra.deploy.package import everything
    from infra.deploy.package import package as build

    with explained():
        target.work_from_here()
        report = build(out, stage, merged=everything(stage))
    show_text(f"{report.archive}: {report.archive_bytes / 1e6:.1f} MB")
    show_text(f"{report.template}: {len(report.functions)} functions, {len(report.routes)} routes")


if __name__ == "__main__":
    main()
