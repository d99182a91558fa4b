"""Leases that ran out without a redelivery: by the clock, or by request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Abandoned, TakeOver, on_lost_lease
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import UNSENT_GRACE_MS
from chalicelib.engine.clock.listed import chunks_of, jobs_of, name_of
from chalicelib.engine.publish.send import send_marked, send_marked_together
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.yard import Yard
from chalicelib.store.job_queries import JobQuery

LEASE_REPAIR_GRACE_MS = 60_000  # how long SQS has to redeliver before the clock does
RECOVERED_MAX = 1_000  # by one request; the clock goes on, and so may the client


def recover_expired(
    yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None, types_most: int | None = 0
) -> int:
    """Send again every job whose lease ran out without a redelivery; a dead letter if no attempt is left.

    Looked at are the types of which the counters do not say that nothing is on its way; where ``types_most`` is
    ``None``, all.
    """
    queries = (JobQuery(kind, index_keys=(State.RUNNING.value,), descending=False) for kind in Kind)
    running = chain.from_iterable(yard.lists.ids(each, types_most=types_most) for each in queries)
    expired = (job for job in jobs_of(yard, running) if job.lease_expired(yard.now_ms() - LEASE_REPAIR_GRACE_MS))
    return sweep(expired, partial(_recover, yard), named=name_of, enough_time=enough_time, passed=passed)


def recover_locked(yard: Yard, topic: str | None, enough_time: Callable[[], bool]) -> int:
    """Send again, at once, every message whose lock ran out; a dead letter if that was its last delivery.

    Of one topic or of all, the oldest first, until 1,000 are recovered or ``enough_time`` says no (fastify-mq's
    recoverLocked). Whatever SQS shows again of them is void. Reads the index of running messages, not the table.
    """
    recovered = 0
    locked = JobQuery(Kind.MESSAGE, topic, (State.RUNNING.value,), descending=False)
    for chunk in chunks_of(yard.lists.ids(locked)):
        now_ms = yard.now_ms()
        expired = [job for job in yard.jobs.find_many(chunk) if job.lease_expired(now_ms)]
        recovered += _recover_together(yard, expired[: RECOVERED_MAX - recovered])
        if recovered == RECOVERED_MAX or not enough_time():
            break
    return recovered


def _recover(yard: Yard, job: Job) -> int:
    recovered = _release(yard, job, yard.now_ms())
    if recovered.state is State.PENDING:
        send_marked(yard, recovered)
    return 1


def _recover_together(yard: Yard, jobs: Iterable[Job]) -> int:
    """Recover jobs and send them ten a call; returns how many. What SQS does not take now the clock will send."""
    released: list[Job] = []

    def unblock(job: Job) -> int:
        released.append(_release(yard, job, yard.now_ms()))
        return 1

    sweep(jobs, unblock, named=name_of)
    send_marked_together(yard, [job for job in released if job.state is State.PENDING])
    return len(released)


def _release(yard: Yard, job: Job, now_ms: int) -> Job:
    """A job whose lease ran out, to be sent again, or a dead letter. Raises ``JobRefused``."""
    match on_lost_lease(job):
        case Abandoned(_, error):
            released = yard.jobs.dead_letter(job, Cause.LEASE_LOST, error, now_ms)
        case TakeOver():
            released = yard.jobs.recover(job, now_ms + UNSENT_GRACE_MS, now_ms)
    return follow_through(yard, job, released)
