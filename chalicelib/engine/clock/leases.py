"""What the clock does every minute: send what stayed unsent, pick up what a vanished worker left; or by request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import (
    HANDOVER_MS,
    LEASE_MARGIN_MS,
    UNSENT_GRACE_MS,
    WAITED_TOO_LONG,
    Abandoned,
    TakeOver,
    aside_ms,
    beyond_sqs,
    on_lost_lease,
    wake_for_send,
)
from chalicelib.core.errors import Unavailable
from chalicelib.core.job import Job
from chalicelib.core.lanes import Lane
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.retention import Step, retention
from chalicelib.engine.projections.statistics import condense
from chalicelib.engine.publish.children import look_after
from chalicelib.engine.publish.lanes import lane_named
from chalicelib.engine.publish.send import AWS_FAILURES, mark_sent, send, send_all, send_marked
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.worker.concurrency import fill_slots, freed
from chalicelib.engine.worker.pause import finish_resuming
from chalicelib.engine.worker.remove import remove_seen
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.directory import Outbox
from chalicelib.store.job_lists import JobQuery
from chalicelib.store.ledger import JobRefused

READ_CHUNK = 100
LEASE_REPAIR_GRACE_MS = 60_000  # how long SQS has to redeliver before the clock does
RECOVERED_MAX = 1_000  # by one request; the clock goes on, and so may the client
STALE_AFTER_MS = 7 * 86_400_000  # SQS forgets a message after 14 days
HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def tick(yard: Yard, enough_time: Callable[[], bool]) -> dict[str, int]:
    """One run of the clock; returns how many jobs each step touched, and how many all of them passed over.

    Each step goes on until nothing is left or ``enough_time`` says no; the next tick continues. One job that fails
    does not keep the others from their turn (see ``sweeping``). A step that fails does not keep the other steps from
    running, but the failure is raised in the end.
    """
    steps: dict[str, Step] = {
        "outboxes_sent": send_outboxes,
        "due_sent": send_due,
        "leases_recovered": recover_expired,
        "slots_filled": fill_slots,
        "resumed_sent": finish_resuming,
    }
    if yard.now_ms() % HOUR_MS < MINUTE_MS:
        steps["stale_resent"] = resend_stale
        steps["statistics_condensed"] = lambda yard, enough_time, _: condense(yard, enough_time)
    steps |= retention(yard)
    touched: dict[str, int] = {}
    passed = PassedOver()
    failures: list[Exception] = []
    for name, step in steps.items():
        try:
            touched[name] = step(yard, enough_time, passed)
        except Exception as error:  # raised below, once every step had its turn
            logger.exception("clock step failed", extra={"step": name})
            failures.append(error)
    touched["passed_over"] = passed.count
    if failures:
        raise failures[0]
    yard.directory.note_tick(yard.now_ms())
    return touched


def send_outboxes(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Send the jobs of every bulk whose sender did not finish; what cannot be sent now waits like any other job."""
    outboxes = yard.directory.open_outboxes(yard.now_ms() - UNSENT_GRACE_MS)
    return sweep(
        outboxes,
        partial(_empty_outbox, yard),
        named=lambda outbox: f"outbox {outbox.name}",
        enough_time=enough_time,
        passed=passed,
    )


def send_due(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Wake every job whose time has come; those that were set aside come last."""
    now_ms = yard.now_ms()
    due = [yard.lists.due(shard, now_ms) for shard in range(yard.jobs.shards)]
    silent: set[Lane] = set()
    return sweep(
        _jobs(yard, chain(*due, yard.lists.due_again(now_ms))),
        lambda job: _wake(yard, job, silent),
        named=_named,
        enough_time=enough_time,
        passed=passed,
        set_aside=partial(_set_aside, yard),
    )


def recover_expired(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Send again every job whose lease ran out without a redelivery; a dead letter if no attempt is left."""
    running = chain(
        *(yard.lists.ids(JobQuery(kind, index_keys=(State.RUNNING.value,), descending=False)) for kind in Kind)
    )
    expired = (job for job in _jobs(yard, running) if job.lease_expired(yard.now_ms() - LEASE_REPAIR_GRACE_MS))
    return sweep(expired, partial(_recover, yard), named=_named, enough_time=enough_time, passed=passed)


def recover_locked(yard: Yard, topic: str | None, enough_time: Callable[[], bool]) -> int:
    """Send again, at once, every message whose lock ran out; a dead letter if that was its last delivery.

    Of one topic or of all, the oldest first, until 1,000 are recovered or ``enough_time`` says no (fastify-mq's
    recoverLocked). Whatever SQS shows again of them is void. Reads the index of running messages, not the table.
    """
    recovered = 0
    queries = JobQuery(Kind.MESSAGE, topic, (State.RUNNING.value,), descending=False)
    for chunk in _chunks(yard.lists.ids(queries)):
        now_ms = yard.now_ms()
        expired = [job for job in yard.jobs.find_many(chunk) if job.lease_expired(now_ms)]
        recovered += _recover_together(yard, expired[: RECOVERED_MAX - recovered])
        if recovered == RECOVERED_MAX or not enough_time():
            break
    return recovered


def resend_stale(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Send again every pending job last sent more than seven days ago, before SQS forgets its message."""
    old_ms = yard.now_ms() - STALE_AFTER_MS
    queries = (JobQuery(kind, index_keys=(State.PENDING.value,), until_ms=old_ms, descending=False) for kind in Kind)
    pending = _jobs(yard, chain.from_iterable(yard.lists.ids(each) for each in queries))
    stale = (
        job
        for job in pending
        if job.travels and job.wake_at_ms is None and (job.sent_at_ms or job.created_at_ms) <= old_ms
    )
    return sweep(stale, partial(_resend, yard), named=_named, enough_time=enough_time, passed=passed)


def _named(job: Job) -> str:
    return f"job {job.id}"


def _empty_outbox(yard: Yard, outbox: Outbox) -> int:
    """Send what is still to be sent of a bulk; returns how many SQS took. The due index has the others from now on."""
    pending = [job for job in yard.jobs.find_many(outbox.job_ids) if job.state is State.PENDING]
    unsent = send_all(yard, pending)
    for job in unsent:
        with suppress(JobRefused):  # it moved on
            yard.jobs.remind(job.id, job.uid, job.delivery, yard.now_ms() + UNSENT_GRACE_MS)
    yard.directory.close_outbox(outbox.name)
    return len(pending) - len(unsent)


def _set_aside(yard: Yard, job: Job) -> None:
    """Look at a job again when it has rested for as long as its failures want."""
    with suppress(JobRefused):  # somebody else has moved it
        yard.jobs.set_aside(job, yard.now_ms() + aside_ms(job.set_aside + 1))


def _wake(yard: Yard, job: Job, silent: set[Lane]) -> int:
    """Do for a job what its time has come for. Of the ``silent`` lanes, one of which takes nothing, none is tried."""
    now_ms = yard.now_ms()
    if job.wake_at_ms is None:
        return 0  # the index was behind
    if job.state is State.WAITING:
        yard.jobs.dead_letter(job, Cause.TIMED_OUT, WAITED_TOO_LONG, now_ms)
    elif job.state.terminal and job.run_goes_on:
        _free_slot(yard, job, now_ms)
    elif job.state is State.SUCCESS and job.remove_on_complete:
        remove_seen(yard, job)
    elif job.state is not State.PENDING:
        yard.jobs.forget_wake(job)
    elif job.blocked:
        look_after(yard, job)
    elif not job.travels:
        yard.jobs.forget_wake(job)  # a manual task that waited for its parent: from here on a person has it
    elif beyond_sqs(job.due_at_ms, now_ms):
        yard.jobs.wake_later(job, job.due_at_ms - HANDOVER_MS)
    else:
        _send_unless(yard, job, silent)
    return 1


def _send_unless(yard: Yard, job: Job, silent: set[Lane]) -> None:
    """Send a job unless its lane is ``silent``; a lane that takes it not becomes so, which spares the others a call."""
    lane = lane_named(yard, job.queue, job.priority)
    if lane in silent:
        raise Unavailable("its lane takes nothing now", got=str(lane))
    try:
        _send(yard, job)
    except AWS_FAILURES:
        silent.add(lane)
        raise


def _free_slot(yard: Yard, job: Job, now_ms: int) -> None:
    """The slot of a job that somebody ended while it ran is free once its worker has let the lease run out."""
    lease_until_ms = job.lease_until_ms or 0
    if lease_until_ms >= now_ms:
        yard.jobs.wake_later(job, lease_until_ms + LEASE_MARGIN_MS)
        return
    free = yard.jobs.free_slot(job)
    freed(yard, job, free)
    _wake(yard, free, set())


def _recover(yard: Yard, job: Job) -> int:
    recovered = _released(yard, job, yard.now_ms())
    if recovered.state is State.PENDING:
        send_marked(yard, recovered)
    return 1


def _resend(yard: Yard, job: Job) -> int:
    now_ms = yard.now_ms()
    send_marked(yard, yard.jobs.resend(job, now_ms, wake_for_send(job.due_at_ms, now_ms)))
    return 1


def _recover_together(yard: Yard, jobs: Iterable[Job]) -> int:
    """Recover jobs and send them ten a call; returns how many. What SQS does not take now the clock will send."""
    released: list[Job] = []

    def unblock(job: Job) -> int:
        released.append(_released(yard, job, yard.now_ms()))
        return 1

    sweep(jobs, unblock, named=_named)
    pending = [job for job in released if job.state is State.PENDING]
    refused = {job.id for job in send_all(yard, pending)} if pending else set()
    for job in pending:
        if job.id not in refused:
            mark_sent(yard, job, yard.now_ms())
    return len(released)


def _released(yard: Yard, job: Job, now_ms: int) -> Job:
    """A job whose lease ran out, to be sent again, or a dead letter. Raises ``JobRefused``."""
    match on_lost_lease(job):
        case Abandoned(_, error):
            released = yard.jobs.dead_letter(job, Cause.LEASE_LOST, error, now_ms)
        case TakeOver():
            released = yard.jobs.recover(job, now_ms + UNSENT_GRACE_MS, now_ms)
    freed(yard, job, released)
    return released


def _send(yard: Yard, job: Job) -> None:
    now_ms = yard.now_ms()
    send(yard, job, now_ms)
    mark_sent(yard, job, now_ms)


def _jobs(yard: Yard, ids: Iterable[int]) -> Iterable[Job]:
    """The jobs of a list of ids, read a hundred at a time."""
    for chunk in _chunks(ids):
        yield from yard.jobs.find_many(chunk)


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """Ids a hundred at a time, drawn from their index as they are needed."""
    drawn = iter(ids)
    while chunk := list(islice(drawn, READ_CHUNK)):
        yield chunk
