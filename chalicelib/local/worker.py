"""`taskyard worker`: workers of an installation that runs elsewhere, until told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from chalicelib import settings
from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers.registry import registry
from chalicelib.local.following import Follower
from chalicelib.local.plan import Plan, chosen_lanes, comes_from_kafka
from chalicelib.local.session import Session, complain, logging_to
from chalicelib.local.supervisor import Supervisor
from chalicelib.local.terminal import say, styled
from infra.deploy.target import ENDPOINT_VARIABLE, LOCAL_STAGE


def work(
    plan: Plan, wanted: Sequence[str], log_level: str, logs: str | None, ask: Callable[[], str | None] | None = None
) -> int:
    """Run until a signal; returns the exit code: 0 after an orderly end, 1 when something failed.

    ``ask`` tells where the emulator is now, of an installation that may move. Raises ``Moved`` once it has.

    The workers serve the queues and lanes that are ``wanted``, by default those that the handlers declare. The
    environment says which installation it is. Logs go to the file ``logs``, if it is not None ("-": standard error).
    """
    os.environ["TASKYARD_LOG_LEVEL"] = log_level
    settings.current.cache_clear()
    with ExitStack() as resources:
        try:
            log = resources.enter_context(logging_to(logs))
            _expect_that_it_lacks_them(plan)
            declared = registry()
            comes_from_kafka(settings.current())  # raises where what a topic goes there with is not installed
            plan = replace(plan, lanes=chosen_lanes(wanted, _expect_some(declared.served)))
        except (TaskyardError, OSError) as error:
            complain(str(error))
            return 1
        supervisor = Supervisor(plan, None, declared.queues, declared.batches, log)
        follower = Follower(ask or (lambda: None), os.environ.get(ENDPOINT_VARIABLE, ""))
        if ask is not None:
            follower.start()
            resources.callback(follower.stop)
        return Session(supervisor, partial(_show_banner, plan), plan.shutdown_timeout_s, follower.moved_to).run()


def _expect_that_it_lacks_them(plan: Plan) -> None:
    chosen = settings.current()
    if plan.beside and not chosen.local:
        raise InvalidInput(
            "a deployed stage has functions for this already",
            field="with",
            expected=f"nothing, or the stage {LOCAL_STAGE}",
            got=", ".join(sorted(plan.beside)),
        )


def _expect_some(served: Mapping[str, Sequence[Band]]) -> Mapping[str, Sequence[Band]]:
    if served:
        return served
    raise InvalidInput(
        "there is nothing to work on: no handler is declared",
        field="handlers",
        expected="modules with a @task or a @subscribe",
        got=settings.current().handlers,
    )


def _show_banner(plan: Plan) -> None:
    """Say what runs where."""
    lanes = plan.lanes or ()
    queues = ", ".join(sorted({lane.queue for lane in lanes}))
    say("Taskyard works.", bold=True)
    for label, text in (
        ("stage", settings.current().base_name),
        ("AWS", os.environ.get(ENDPOINT_VARIABLE, settings.current().region)),
        ("workers", f"{plan.workers}, on {len(lanes)} lanes of {queues}"),
        ("beside", ", ".join(sorted(plan.beside)) or "nothing"),
        ("stop", "Ctrl-C"),
    ):
        say(f"  {label:<9}{styled(text, sys.stdout, fg='cyan')}")
