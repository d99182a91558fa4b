"""The command that runs workers alone, and what it shares with `taskyard up`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from chalicelib.cli.common import any_endpoint_option, choose_installation, endpoint_now, explained, url_option
from chalicelib.cli.numbers import Number, Whole
from infra.deploy.target import LOCAL_STAGE

DEFAULT_WORKERS = 2
MAX_WORKERS = 64
DEFAULT_SHUTDOWN_TIMEOUT_S = 10.0
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
BESIDE = ("clock", "dead_letters", "hooks", "projector")
ALL = "all"

log_level_option = click.option(
    "--log-level", type=click.Choice(LOG_LEVELS), envvar="TASKYARD_LOG_LEVEL", default="INFO", show_default=True
)
logs_option = click.option("--logs", metavar="FILE", help="Append all logs to FILE as JSON lines; - is standard error.")
shutdown_timeout_option = click.option(
    "--shutdown-timeout",
    type=Number(0, 3_600),
    default=DEFAULT_SHUTDOWN_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long running handlers may go on at the end; then they are interrupted, and run again.",
)


def _beside(_context: click.Context, _parameter: click.Parameter, value: str | None) -> frozenset[str]:
    names = frozenset(filter(None, (value or "").split(",")))
    if unknown := names - {*BESIDE, ALL}:
        raise click.BadParameter(f"expected {ALL}, or {', '.join(BESIDE)}, by commas; got {min(unknown)}")
    return frozenset(BESIDE) if ALL in names else names


@click.command()
@click.option(
    "--workers", type=Whole(1, MAX_WORKERS), default=DEFAULT_WORKERS, show_default=True, help="Jobs at a time."
)
@click.option(
    "--queue",
    "queues",
    metavar="QUEUE[:BAND]",
    multiple=True,
    help="Serve this queue, or this lane of it, and no other. May be repeated; by default all that is declared.",
)
@click.option(
    "--with",
    "beside",
    metavar="NAMES",
    callback=_beside,
    help="Run these, too: clock, dead_letters, hooks, projector, by commas, or all. Stage local alone.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the handlers are, and .chalice/config.json; by default the current folder.",
)
@click.option("--handlers", metavar="MODULES", help="Packages or modules by commas, in place of TASKYARD_HANDLERS.")
@click.option("--stage", help="Of the installation; by default the one that `taskyard up` runs at --url.")
@any_endpoint_option
@url_option
@log_level_option
@logs_option
@shutdown_timeout_option
@click.option("--clock-interval", type=Number(0), default=60.0, envvar="TASKYARD_CLOCK_INTERVAL_S", hidden=True)
def worker(
    workers: int,
    queues: tuple[str, ...],
    beside: frozenset[str],
    folder: Path | None,
    handlers: str | None,
    stage: str | None,
    endpoint_url: str | None,
    url: str,
    log_level: str,
    logs: str | None,
    shutdown_timeout: float,
    clock_interval: float,
) -> None:
    """Run workers alone, without API or emulator, until Ctrl-C or SIGTERM.

    Any number of them may work on one installation, beside `taskyard up` or a stage's functions.
    """
    from chalicelib.local.plan import Plan
    from chalicelib.local.session import Moved
    from chalicelib.local.terminal import say
    from chalicelib.local.worker import work as run
    from infra.deploy.bucket import choose_bucket

    started_with, started_in = dict(os.environ), Path.cwd()
    logs = logs if logs in (None, "-") else str(Path(logs).resolve())
    if folder is not None:
        os.chdir(folder)
    with explained():
        choose_installation(stage, endpoint_url, url)
        choose_bucket()
    if handlers is not None:
        os.environ["TASKYARD_HANDLERS"] = handlers
    plan = Plan(workers=workers, beside=beside, clock_interval_s=clock_interval, shutdown_timeout_s=shutdown_timeout)
    follows = endpoint_url is None and stage in (None, LOCAL_STAGE)
    try:
        sys.exit(run(plan, queues, log_level, logs, partial(endpoint_now, url) if follows else None))
    except Moved as moved:
        say(f"the emulator is at {moved} now; starting anew there")
        sys.stdout.flush()
        os.chdir(started_in)
        os.execve(sys.executable, sys.orig_argv, started_with)  # noqa: S606  # this very program
