"""Wait lists: a pending job whose turn has not come is deferred, and sent again when it comes.

Deferring voids the message (a new delivery that nobody sends) in one transaction with its entry on the wait list and
with a check of the reason, so that no job is deferred for a reason that has just gone. Releasing marks the job unsent
and deletes its entry, in one transaction; then it is sent as whatever the ledger decides to send.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from chalicelib.core.job import Job, Tombstone, changed
from chalicelib.core.waking import wake_for_send, wake_for_wait
from chalicelib.engine.publish.prepare import Prepared
from chalicelib.engine.publish.send import AWS_FAILURES, send_marked, send_marked_together
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.concurrency import Action
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused
from chalicelib.store.wait_lists import ORDER, Entry, list_name, of_order

AT_ONCE = 25  # how many entries of a wait list are read at a time


def defer(yard: Yard, job: Job, wait_list: str, *reason: Action) -> bool:
    """Put a pending job on a wait list, unless a ``reason`` is refused; returns whether its message has served.

    It has, too, where the job has moved on, or was put there before under an answer that was lost. The clock looks
    through the lists of types and pauses, and those that are noted; after a job that waits for a run of its schedule,
    of which there may be many, it looks by the job itself.
    """
    put = changed(job, delivery=job.delivery + 1)
    wake_at_ms = None if job.overlap is None else wake_for_wait(job.due_at_ms, yard.now_ms())
    try:
        yard.jobs.defer(job, wake_at_ms, yard.wait_lists.putting(wait_list, put), *reason)
    except JobRefused as refused:
        return _is_void(refused.ledger, job)
    except TransactionRefused:
        return False  # the reason is gone
    return True


def send_next(
    yard: Yard,
    wait_list: str,
    most: int | None,
    enough_time: Callable[[], bool] = lambda: True,
    *,
    not_before_ms: int = 0,
) -> int:
    """Send up to ``most`` jobs of a wait list, the first first, while there is ``enough_time``; returns how many.

    ``None``: all of them. Of those that run in order it is the next one, if it is nobody else's turn; none of any
    others arrives before ``not_before_ms``.
    """
    if wait_list.startswith(ORDER):
        return _give_next_turn(yard, wait_list)
    sent = 0
    while (most is None or sent < most) and enough_time():
        entries = yard.wait_lists.first(wait_list, AT_ONCE if most is None else min(most - sent, AT_ONCE))
        if not entries:
            break
        sent += _send_all(yard, entries, not_before_ms)
    return sent


def send_next_safely(yard: Yard, wait_list: str, most: int) -> None:
    """The same, after a change that counts already: where AWS does not answer, it is left to the clock."""
    try:
        send_next(yard, wait_list, most)
    except AWS_FAILURES as error:
        logger.warning("a wait list is left to the clock", extra={"wait_list": wait_list, "error": str(error)})


def _send_all(yard: Yard, entries: Sequence[Entry], not_before_ms: int) -> int:
    """Send the jobs of entries; returns how many. Raises what failed for one, once all had their turn."""
    released, failures = [], []
    for entry in entries:
        try:
            released += _released(yard, entry)
        except Exception as error:  # the others shall go all the same
            failures.append(error)
    send_marked_together(yard, released, not_before_ms)
    if failures:
        raise failures[0]
    return len(released)


def _released(yard: Yard, entry: Entry) -> list[Job]:
    """The job of an entry, to be sent; none where the entry was void, or somebody else was faster."""
    wake_at_ms, taking = wake_for_send(0, yard.now_ms()), yard.wait_lists.taking(entry)
    try:
        return [yard.jobs.release(entry.job_id, entry.delivery, wake_at_ms, taking)]
    except JobRefused:
        yard.wait_lists.discard(entry)
    except TransactionRefused:
        pass
    return []


def _give_next_turn(yard: Yard, line: str) -> bool:
    """Let the first of a line begin, unless it is another's turn; returns whether it was sent. Void ones are gone."""
    count = list_name(line)
    while entries := yard.wait_lists.first(line, 1):
        (entry,) = entries
        wake_at_ms, taking = wake_for_send(0, yard.now_ms()), yard.wait_lists.taking(entry)
        try:
            job = yard.jobs.give_turn(entry.job_id, count, wake_at_ms, taking)
        except JobRefused:
            yard.wait_lists.discard(entry)
        except TransactionRefused as refused:
            if refused.refused[-1]:
                return False
        else:
            send_marked(yard, job)
            return True
    return False


def lined_up(yard: Yard, prepared: Prepared) -> Prepared:
    """A new job that runs in order, waiting for its turn from the beginning; any other as it is."""
    job = prepared.job
    if job.order is None or job.turn or not job.travels or job.due_at_ms > yard.now_ms():
        return prepared
    yard.wait_lists.note(of_order(job.key_counted_as), yard.now_ms())
    return replace(prepared, job=changed(job, wake_at_ms=None), waits_in_line=True)


def in_line(yard: Yard, prepared: Prepared) -> list[Action]:
    """The actions that put a new job where it waits for its turn, if it does."""
    job = prepared.job
    return [yard.wait_lists.putting(of_order(job.key_counted_as), job)] if prepared.waits_in_line else []


def start(yard: Yard, prepared: Prepared) -> None:
    """Send a job that was recorded unsent, or whichever is next where it waits in line."""
    if prepared.waits_in_line:
        send_next_safely(yard, of_order(prepared.job.key_counted_as), 1)
    else:
        send_marked(yard, prepared.travelling)


def wait_in_line(yard: Yard, job: Job) -> None:
    """A pending job that runs in order waits for its turn, at the place that it was given when it was accepted."""
    line = of_order(job.key_counted_as)
    yard.wait_lists.note(line, yard.now_ms())
    defer(yard, job, line)
    send_next_safely(yard, line, 1)


def _is_void(ledger: Job | Tombstone | None, job: Job) -> bool:
    """Whether a message has nothing more to do: a newer delivery, or another job, has taken its place."""
    if isinstance(ledger, Job):
        return ledger.uid != job.uid or ledger.delivery > job.delivery
    return ledger is not None
