"""Waiting for a task: ``tasks.wait_complete``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chalicelib.core.errors import Conflict, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.current import at_work
from chalicelib.services.task_records import Which, id_of

POLL_INTERVAL_MS = 1_000  # fastify-task's pollInterval
POLL_TIMES = 20  # fastify-task's maxPollTimes
POLL_INTERVAL_MAX_MS = 3_600_000
POLL_TIMES_MAX = 1_000_000


class TaskFailed(Conflict):
    """The task that was waited for has failed."""


class TaskCanceled(Conflict):
    """The task that was waited for was canceled."""


class TaskUnfinished(Unavailable):
    """The task that was waited for is not done yet."""


def wait_complete(
    task: Which,
    poll_interval_ms: int = POLL_INTERVAL_MS,
    max_poll_times: int = POLL_TIMES,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """The output of a task, once it is done; a pending one that a handler runs is run here, at once.

    It looks ``max_poll_times`` times (1 to 1,000,000), with ``poll_interval_ms`` (0 to an hour) between two looks.
    Raises ``TaskFailed``, ``TaskCanceled`` and ``TaskUnfinished``, and ``NotFound`` for a task that was removed.
    """
    interval_ms = checks.whole("poll_interval_ms", poll_interval_ms, 0, POLL_INTERVAL_MAX_MS)
    looks = checks.whole("max_poll_times", max_poll_times, 1, POLL_TIMES_MAX)
    yard, job_id = installation.yard(), id_of(task)
    with at_work(yard):
        job = run_now(yard, job_id)
    for _ in range(looks - 1):
        if job.state.terminal:
            break
        sleep(interval_ms / 1_000)
        job = lifecycle.find(yard, job_id, Kind.TASK)
    return _outcome(yard, job)


def _outcome(yard: Yard, job: Job) -> Any:
    told = f"task {job.id} ({job.type})"
    match job.state:
        case State.SUCCESS:
            return yard.payloads.output(job)
        case State.FAILED:
            reason = "no reason was given" if job.error is None else f"{job.error.type}: {job.error.message}"
            raise TaskFailed(f"{told} has failed: {reason}")
        case State.CANCELED:
            raise TaskCanceled(f"{told} was canceled")
    raise TaskUnfinished(f"{told} is not done yet", expected="success", got=job.state.value, remedy="wait for longer")
