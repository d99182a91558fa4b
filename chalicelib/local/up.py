"""`taskyard up`: run everything on this machine until told to stop."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from chalicelib import settings
from chalicelib.core.errors import TaskyardError
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers.registry import registry
from chalicelib.http.cors import origins
from chalicelib.local.emulator import HOST
from chalicelib.local.plan import Plan, comes_from_kafka
from chalicelib.local.session import Session, complain, logging_to
from chalicelib.local.supervisor import Supervisor
from chalicelib.local.terminal import say, styled
from infra.deploy import target
from infra.deploy.stages import choose_local_stage


def up(plan: Plan, endpoint_url: str | None, port: int, log_level: str, logs: str | None) -> int:
    """Run until a signal; returns the exit code: 0 after an orderly end, 1 when something failed.

    It works on ``endpoint_url``, unless the plan is to start an emulator. The API listens on ``port`` (0: any free
    one). All logs go to the file ``logs``, if it is not None ("-": standard error).
    """
    os.environ["TASKYARD_LOG_LEVEL"] = log_level
    choose_local_stage()
    target.work_from_here()
    if plan.reload:  # a file saved twice within a second may be taken for its own byte code
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with ExitStack() as resources:
        try:
            listener = resources.enter_context(_listen(port))
            log = resources.enter_context(logging_to(logs))
            if endpoint_url is not None:
                target.choose_endpoint(endpoint_url)
            origins(settings.current().cors_origins)  # the API would refuse them again and again
            declared = registry()
            plan = replace(plan, kafka=comes_from_kafka(settings.current()))
        except (TaskyardError, OSError) as error:
            complain(str(error))
            return 1
        supervisor = Supervisor(plan, listener, declared.queues, declared.batches, log)
        banner = partial(_show_banner, plan, listener, declared.queues)
        return Session(supervisor, banner, plan.shutdown_timeout_s).run()


class PortTaken(TaskyardError):
    """Something else listens where the API shall."""


def _show_banner(plan: Plan, listener: socket.socket, queues: Mapping[str, Sequence[Band]]) -> None:
    """Say what runs where."""
    api = "http://{}:{}".format(*listener.getsockname()[:2])
    lanes = sum(len(bands) for bands in queues.values())
    say("Taskyard is up.", bold=True)
    for label, text in (
        ("API", api),
        ("console", f"{api}/console"),
        ("docs", f"{api}/docs"),
        ("emulator", f"{os.environ['AWS_ENDPOINT_URL']} (AWS_ENDPOINT_URL for the AWS CLI and SDKs)"),
        ("data", _data(plan)),
        ("workers", f"{plan.workers}, on {lanes} lanes of {', '.join(sorted(queues))}" if plan.workers else "none"),
        ("Kafka", "topics come from there: taskyard kafka status" if plan.kafka else None),
        ("stop", "Ctrl-C"),
    ):
        if text is None:
            continue
        say(f"  {label:<9}{styled(text, sys.stdout, fg='cyan')}")


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise PortTaken(
            f"port {port} of {HOST} cannot be had: {os.strerror(error.errno or 0).lower()}",
            remedy=f"end what listens there (another `taskyard up`?), or choose another: taskyard up --port {port + 1}",
        ) from error


def _data(plan: Plan) -> str:
    if not plan.embedded:
        return "kept as the endpoint keeps it"
    if plan.data_dir is None:
        return "in memory, gone at the end (--data-dir DIR keeps it)"
    return str(plan.data_dir)
