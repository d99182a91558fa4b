"""Beginning with a message: what keeps its job from running now, else the claimed run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from chalicelib.core.decisions import Ack, Disposition, Failed, Nack, Outcome, Unread
from chalicelib.core.job import Job
from chalicelib.core.waking import wake_for_return
from chalicelib.engine.policy import timeout_of
from chalicelib.engine.publish.malformed import attempted
from chalicelib.engine.worker.claim import claim, ensure_recorded
from chalicelib.engine.worker.concurrency import admitted
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.gates import OVER_RATE
from chalicelib.engine.worker.heartbeat import Heartbeat
from chalicelib.engine.worker.pause import HANDED_BACK_S, defer_if_paused, is_paused_here
from chalicelib.engine.worker.settle import settle_or_leave
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.settings import SETTLING_RESERVE_S
from chalicelib.store.transitions.running import Lease

FUNCTION_RESERVE_MS = SETTLING_RESERVE_S * 1_000

RemainingMs = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Opened:
    """A message and the travelling job in it."""

    message: Received
    envelope: Job


def admit(yard: Yard, entry: Opened) -> Job | Disposition:
    """The job of a message as it is counted now, if it may begin; what becomes of the message, if not."""
    if is_paused_here(yard, entry.envelope.type, entry.envelope.queue):
        return schedule_check(yard, entry, Nack(HANDED_BACK_S * 1_000))
    envelope = admitted(yard, entry.envelope)
    if envelope is None or defer_if_paused(yard, envelope):
        return Ack()
    return envelope


def begin(
    yard: Yard, heartbeat: Heartbeat, entry: Opened, envelope: Job, remaining_ms: RemainingMs
) -> Context | Disposition:
    """The run of an admitted job, claimed; what becomes of its message, if it cannot be claimed or read."""
    taken = lease(yard, heartbeat)
    job = claim(yard, envelope, taken)
    match job:
        case Ack(reason):
            logger.debug("message acknowledged without a run", extra={"reason": reason})
            return Ack(reason)
        case Nack(delay_ms, reason) as later:
            if reason in ("not due", OVER_RATE) and delay_ms is not None:
                ensure_recorded(yard, entry.envelope, wake_for_return(yard.now_ms() + delay_ms, yard.now_ms()))
            return later
    logger.append_keys(attempt=job.attempts)
    match attempted(partial(yard.payloads.body, job)):
        case Failed() | Unread() as unreadable:
            return settle_or_leave(yard, job, unreadable)
        case body:
            return context_of(yard, heartbeat, job, body, taken.until_ms, remaining_ms)


def lease(yard: Yard, heartbeat: Heartbeat) -> Lease:
    """A new lease, which lasts as long as the batch's messages are hidden."""
    return Lease(yard.token(), heartbeat.renewed_until_ms(), yard.worker_name)


def context_of(
    yard: Yard, heartbeat: Heartbeat, job: Job, body: dict[str, Any], lease_until_ms: int, remaining_ms: RemainingMs
) -> Context:
    """The run's context; its deadline is the job's time-out or the function's end, whichever comes first."""
    now_ms = yard.now_ms()
    function_end_ms = now_ms + remaining_ms() - FUNCTION_RESERVE_MS - round(yard.settings.stop_grace_s * 1_000)
    timeout_ms = timeout_of(yard, job)
    deadline_ms = function_end_ms if timeout_ms is None else min(now_ms + timeout_ms, function_end_ms)
    return Context(yard, job, body, lease_until_ms, deadline_ms, heartbeat.extend_visibility)


def schedule_check(yard: Yard, entry: Opened, disposition: Nack) -> Nack:
    """Another worker shall start this job: let the clock look after it, should its message get lost on the way."""
    try:
        ensure_recorded(yard, entry.envelope, wake_for_return(yard.now_ms(), yard.now_ms()))
    except Exception:  # the message itself comes back all the same
        logger.exception("hand-back not noted", extra={"job_id": entry.envelope.id})
    return disposition


@contextmanager
def named(envelope: Job) -> Iterator[None]:
    """Every line logged meanwhile, by the heartbeat too, says which job it is about, and since the claim which attempt.

    One job is worked on at a time, so the keys are the process's.
    """
    with logger.append_context_keys(job_id=envelope.id, trace_id=envelope.trace_id, attempt=None):
        yield


def trace_run(yard: Yard, message: Received, job: Job, started_ms: int, outcome: Outcome) -> None:
    """Add a run to the trace that its message came with, if X-Ray is to follow jobs."""
    if yard.settings.tracing == "off" or message.trace_header is None:
        return
    from chalicelib.engine.worker import tracing  # imported late: few installations trace

    tracing.report_run(yard, message.trace_header, job, started_ms, outcome)
