"""What the clock sends: bulks whose sender died, jobs whose time has come, and what SQS is about to forget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain, islice

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import LEASE_MARGIN_MS, WAITED_TOO_LONG
from chalicelib.core.errors import Unavailable
from chalicelib.core.job import Job
from chalicelib.core.lanes import Lane
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import HANDOVER_MS, UNSENT_GRACE_MS, aside_ms, beyond_sqs, wake_for_send
from chalicelib.engine.clock.listed import chunks_of, jobs_of, name_of
from chalicelib.engine.publish.children import look_after
from chalicelib.engine.publish.lanes import lane_of
from chalicelib.engine.publish.send import AWS_FAILURES, mark_sent, send, send_all, send_marked, send_marked_together
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.worker.concurrency import fill_freed_slot
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.worker.remove import remove_seen
from chalicelib.engine.yard import Yard
from chalicelib.store.directory import Outbox
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.ledger import JobRefused

STALE_AFTER_MS = 7 * 86_400_000  # SQS forgets a message after 14 days
UNTAKEN_AFTER_MS = 1_800_000
UNTAKEN_LOOKED_AT = 100
WOKEN_AT_ONCE = 100


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
    """Wake every job whose time has come, the longest overdue first; those that were set aside come last.

    Those that are only to be sent go ten a call, as far as their lanes take them; what is left, one by one.
    """
    now_ms = yard.now_ms()
    silent: set[Lane] = set()
    touched = 0
    for chunk in chunks_of(chain(yard.lists.due(now_ms), yard.lists.due_again(now_ms)), WOKEN_AT_ONCE):
        jobs = yard.jobs.find_many(chunk)
        sent = _sent_together(yard, [job for job in jobs if _is_to_be_sent(job, yard.now_ms())], silent)
        touched += len(sent) + sweep(
            [job for job in jobs if job.id not in sent],
            lambda job: _wake(yard, job, silent),
            named=name_of,
            enough_time=enough_time,
            passed=passed,
            set_aside=partial(_set_aside, yard),
        )
        if not enough_time():
            break
    return touched


def resend_stale(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Send again every pending job last sent more than seven days ago, before SQS forgets its message."""
    old_ms = yard.now_ms() - STALE_AFTER_MS
    queries = (JobQuery(kind, index_keys=(State.PENDING.value,), until_ms=old_ms, descending=False) for kind in Kind)
    pending = jobs_of(yard, chain.from_iterable(yard.lists.ids(each) for each in queries))
    stale = (job for job in pending if is_stale(job, old_ms))
    return sweep(stale, partial(_resend, yard), named=name_of, enough_time=enough_time, passed=passed)


def count_untaken(yard: Yard, kinds: Iterable[Kind]) -> int:
    """How many of the hundred oldest pending jobs of each kind were sent half an hour ago, and not begun yet."""
    old_ms = yard.now_ms() - UNTAKEN_AFTER_MS
    queries = (JobQuery(kind, index_keys=(State.PENDING.value,), until_ms=old_ms, descending=False) for kind in kinds)
    oldest = (islice(yard.lists.ids(each, UNTAKEN_LOOKED_AT), UNTAKEN_LOOKED_AT) for each in queries)
    return sum(is_stale(job, old_ms) for job in jobs_of(yard, chain.from_iterable(oldest)))


def is_stale(job: Job, old_ms: int) -> bool:
    """Whether a pending job was last sent at ``old_ms`` or before, and nothing else looks after it."""
    waits = job.state is State.PENDING and job.travels and job.wake_at_ms is None
    return waits and (job.sent_at_ms or job.created_at_ms) <= old_ms


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


def _is_to_be_sent(job: Job, now_ms: int) -> bool:
    """Whether a job's time has come, and all that it needs is a message."""
    is_awaited = job.wake_at_ms is not None and job.wake_at_ms <= now_ms
    return is_awaited and job.state is State.PENDING and job.travels and not beyond_sqs(job.due_at_ms, now_ms)


def _sent_together(yard: Yard, jobs: Iterable[Job], silent: Collection[Lane]) -> set[int]:
    """Send jobs of lanes that have several; returns the ids of those of whom all is done.

    Ends with a lane that does not take all: there, perhaps one job is in the way of the others.
    """
    by_lane: defaultdict[Lane, list[Job]] = defaultdict(list)
    for job in jobs:
        by_lane[lane_of(yard, job)].append(job)
    done: set[int] = set()
    for lane, waiting in by_lane.items():
        if len(waiting) == 1 or lane in silent:
            continue
        sent = send_marked_together(yard, waiting)
        done |= sent
        if len(sent) < len(waiting):
            break
    return done


def _wake(yard: Yard, job: Job, silent: set[Lane]) -> int:
    """Do for a job what its time has come for. Of the ``silent`` lanes, one of which takes nothing, none is tried."""
    now_ms = yard.now_ms()
    if job.wake_at_ms is None or job.wake_at_ms > now_ms:
        return 0  # it has moved on since the index was read
    if job.state is State.WAITING:
        follow_through(yard, job, yard.jobs.dead_letter(job, Cause.TIMED_OUT, WAITED_TOO_LONG, now_ms))
    elif job.state.terminal and job.run_goes_on:
        _free_slot(yard, job, now_ms)
    elif job.state.terminal and job.to_be_deleted:
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
    lane = lane_of(yard, job)
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
    fill_freed_slot(yard, job, free)
    _wake(yard, free, set())


def _resend(yard: Yard, job: Job) -> int:
    now_ms = yard.now_ms()
    send_marked(yard, yard.jobs.resend(job, now_ms, wake_for_send(job.due_at_ms, now_ms)))
    return 1


def _send(yard: Yard, job: Job) -> None:
    now_ms = yard.now_ms()
    send(yard, job, now_ms)
    mark_sent(yard, job, now_ms)
