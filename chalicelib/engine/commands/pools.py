"""What clients and processes do with a pool: add a job, tell how far it is, look at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.errors import Conflict, Full, InvalidInput, NotFound, TaskyardError, Unavailable
from chalicelib.core.job import Job, Progress
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import RACE_TRIES
from chalicelib.engine.failures import log_failure
from chalicelib.engine.handlers.pool_files import ID_TARGET, Pool, error_text, id_of
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import current_run
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused

FULL = 0  # what ``add`` answers where the pool has no room; no job has this id
MESSAGE_MAX_CHARS = 1_000
CANCELED = "canceled"
STATUS = {
    State.PENDING: "WAITING",
    State.RUNNING: "RUNNING",
    State.WAITING: "RUNNING",  # its process has begun, and somebody is still to call back
    State.SUCCESS: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELED: "FAILURE",
}


@dataclass(frozen=True, slots=True)
class PoolJob:
    """A job as its pool shows it. ``response``: what the process returned, or why the job failed, in words."""

    id: int
    status: str
    current: float
    total: float
    message: str
    response: Any


def pool_of(yard: Yard, name: str) -> Pool:
    """The pool of a name; raises ``NotFound``."""
    pool = yard.handlers.pools.get(name)
    if pool is None:
        known = ", ".join(sorted(yard.handlers.pools)) or "none is defined"
        raise NotFound(f"there is no pool {name!r}", field="name", expected=known, got=name)
    return pool


def add(yard: Yard, name: str, args: Sequence[Any], tenant: str | None = None, flow_key: str | None = None) -> int:
    """Add a job to a pool, to be run with ``args``; returns its id, or 0 where the pool is full.

    Raises ``NotFound``, ``InvalidInput``, ``TooLarge``, ``Conflict`` where ``event.next`` gave an id that another job
    has, and ``Unavailable``.
    """
    pool = pool_of(yard, name)
    number = _next_id(pool)
    new_job = NewJob(kind=Kind.TASK, type=pool.type, input={"args": list(args)}, tenant=tenant, flow_key=flow_key)
    if number is not None:
        new_job = replace(new_job, target_id=str(number), target_type=ID_TARGET, alias=number)
    try:
        return id_of(publish(yard, new_job))
    except Full:
        return FULL


def report(yard: Yard, name: str, number: int, current: float, total: float, message: str = "") -> None:
    """Tell how far a running job is. By the process of that very job it is fenced by the lease.

    Raises ``NotFound``, ``InvalidInput`` for numbers that are none, ``Conflict`` for a job that is not running; and
    within a process whose run is void, ``JobCanceled`` or ``LeaseLost``.
    """
    pool = pool_of(yard, name)
    context = current_run.get()
    if context is not None and context.job.type == pool.type and id_of(context.job) == number:
        context.progress(current, total, message)
        return
    progress = Progress(_finite("current", current), _finite("total", total), message[:MESSAGE_MAX_CHARS])
    for _ in range(RACE_TRIES):
        job = _find(yard, pool, number)
        if job.state is not State.RUNNING:
            raise _not_running(job)
        try:
            yard.jobs.report_progress(job.id, job.lease or "", progress, yard.now_ms())
        except JobRefused:
            continue  # it moved in between, perhaps to its next attempt: look again
        return
    raise Conflict("the job keeps changing", field="id", got=str(number), remedy="try again")


def find(yard: Yard, name: str, number: int) -> PoolJob:
    """A job of a pool as it stands; raises ``NotFound``."""
    job = _find(yard, pool_of(yard, name), number)
    told = job.progress or Progress(0, 0)
    return PoolJob(number, STATUS[job.state], told.current, told.total, told.message, _response(yard, job))


def _next_id(pool: Pool) -> int | None:
    try:
        return pool.next_id()
    except (TaskyardError, Interruption):
        raise
    except BaseException as error:  # user code
        log_failure("event.next failed", error, pool=pool.name)
        raise Unavailable(
            f"event.next of the pool {pool.name} failed, so the job has no id", remedy="look into the log"
        ) from error


def _find(yard: Yard, pool: Pool, number: int) -> Job:
    aliased = yard.directory.aliased(pool.type, number) if "next" in pool.events else None
    job = yard.jobs.find(number if aliased is None else aliased)
    if job is None or job.type != pool.type or id_of(job) != number:
        raise NotFound(f"the pool {pool.name} has no job {number}", field="id", got=str(number))
    return job


def _response(yard: Yard, job: Job) -> Any:
    match job.state:
        case State.SUCCESS:
            return yard.payloads.output(job)
        case State.FAILED:
            return error_text(job)
        case State.CANCELED:
            return CANCELED
    return None


def _not_running(job: Job) -> Conflict:
    return Conflict(
        "only a running job makes progress", field="id", expected=STATUS[State.RUNNING], got=STATUS[job.state]
    )


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput("progress is told in numbers", field=name, expected="a finite number", got=value)
    return value
