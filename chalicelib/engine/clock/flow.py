"""What the clock does for flow control: nobody waits for what is free, and no slot is held by nobody.

After the wait lists of keys, rates and orders, of which there may be very many, it looks where one is noted.
"""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.core.decisions import LEASE_MARGIN_MS
from chalicelib.core.flow import Rate
from chalicelib.core.job import Job
from chalicelib.core.limits import ONE_AT_A_TIME, counted_key
from chalicelib.engine.policy import limit_of_count, rate_of_bucket
from chalicelib.engine.publish.wait_list import send_next
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.worker.concurrency import fill_freed_slot
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused
from chalicelib.store.wait_lists import ORDER, RATE, list_name

AHEAD_US = 75_000_000  # up to when those are sent that may begin: until the next tick, and a little longer


def release_waiting(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Send what waits on the noted lists and may begin; first, slots that nobody has are freed. Returns how many."""

    def release(noted: tuple[str, int]) -> int:
        wait_list, noted_at_ms = noted
        if not yard.wait_lists.first(wait_list, 1):
            yard.wait_lists.forget(wait_list, noted_at_ms, yard.now_ms())
            return 0
        audit(yard, list_name(wait_list))
        return send_next(yard, wait_list, free_places(yard, wait_list), enough_time)

    noted = yard.wait_lists.noted()
    return sweep(noted, release, named=lambda each: each[0], enough_time=enough_time, passed=passed)


def audit_types(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Free the slots of task types and topics that nobody has; returns how many."""
    names = yard.concurrency.types()
    return sweep(names, lambda name: audit(yard, name), named=str, enough_time=enough_time, passed=passed)


def audit(yard: Yard, count: str) -> int:
    """Free the slots of a count whose holders, as far as they are named, have none by their records; returns how many.

    A slot is taken and freed in one transaction with the record, so there are none unless somebody has changed an item
    by hand, or restored a table alone.
    """
    holders = yard.concurrency.census(count).holders
    known = {job.id: job for job in yard.jobs.find_many(sorted(holders))}
    orphans = [holder for holder in holders if not _holds(known.get(holder), count)]
    left = [job for job in known.values() if _is_left(job, yard.now_ms())]
    return sum(_dismissed(yard, count, holder) for holder in orphans) + sum(_freed(yard, job) for job in left)


def free_places(yard: Yard, wait_list: str) -> int | None:
    """How many of a list of a type, key, rate or order may begin before the next tick; ``None``: all."""
    count = list_name(wait_list)
    if wait_list.startswith(RATE):
        return _tokens(yard, count)
    limit = ONE_AT_A_TIME if wait_list.startswith(ORDER) else limit_of_count(yard, count)
    return yard.concurrency.of(count).free(limit)


def _tokens(yard: Yard, bucket: str) -> int | None:
    rate = rate_of_bucket(yard, bucket)
    if rate is None:
        return None
    next_us, until_us = _next_us(yard, bucket, rate), yard.now_ms() * 1_000 + AHEAD_US
    return 0 if next_us > until_us else 1 + (until_us - next_us) // rate.interval_us


def _next_us(yard: Yard, bucket: str, rate: Rate) -> int:
    """When the next of those that wait may begin, behind those that were told when to come back."""
    now_us = yard.now_ms() * 1_000
    full_at_us, booked_us = yard.rates.find(bucket)
    return max(rate.ready_us(full_at_us, now_us), booked_us + rate.interval_us if booked_us else 0, now_us)


def next_token_ms(yard: Yard, bucket: str) -> int:
    """From when on (milliseconds since 1970) the clock finds that one of those that wait for a rate may begin."""
    rate = rate_of_bucket(yard, bucket)
    ahead_us = 0 if rate is None else _next_us(yard, bucket, rate) - AHEAD_US
    return max(yard.now_ms(), -(-ahead_us // 1_000))


def _holds(job: Job | None, count: str) -> bool:
    if job is None:
        return False
    return job.slot if counted_key(count) is None else job.key_slot or job.turn


def _is_left(job: Job, now_ms: int) -> bool:
    """Whether a job waits, with the slot of a run that somebody had ended, and whose worker is gone."""
    lease_until_ms = (job.lease_until_ms or 0) + LEASE_MARGIN_MS
    return job.run_goes_on and not job.state.terminal and lease_until_ms < now_ms


def _freed(yard: Yard, job: Job) -> bool:
    try:
        fill_freed_slot(yard, job, yard.jobs.free_slot(job))
    except JobRefused:
        return False  # it moved in between
    return True


def _dismissed(yard: Yard, count: str, holder: int) -> bool:
    attributes = ("slot",) if counted_key(count) is None else ("key_slot", "turn")
    try:
        yard.concurrency.dismiss(count, holder, yard.jobs.without(holder, *attributes))
    except TransactionRefused:
        return False  # it has one by now, or another clock was faster
    logger.warning("a slot that nobody had was freed", extra={"count": count, "job_id": holder})
    return True
