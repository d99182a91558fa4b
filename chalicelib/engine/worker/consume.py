"""Consuming a batch of messages: claim, run and settle one after the other, or together where a handler takes batches.

What must come back is hidden and reported; a crash costs only the job it hits. Whatever comes back is also known
to the clock, so that nothing depends on the report being honoured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from chalicelib.core.decisions import Disposition, Nack, Outcome
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.tenants import in_turns
from chalicelib.engine.policy import batch_of
from chalicelib.engine.publish.malformed import dead_letter_malformed
from chalicelib.engine.worker import light, watchdog
from chalicelib.engine.worker.begin import (
    Opened,
    RemainingMs,
    admit,
    begin,
    named,
    schedule_check,
    trace_run,
)
from chalicelib.engine.worker.canary import is_canary
from chalicelib.engine.worker.claim import opened
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.heartbeat import Heartbeat
from chalicelib.engine.worker.run import run
from chalicelib.engine.worker.settle import settle_or_leave
from chalicelib.engine.worker.shutdown import stopping
from chalicelib.engine.worker.together import calls_of, work_together
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received

START_SHARE = 4  # a job starts only while a quarter of the function's time is left


def consume(
    yard: Yard, messages: Sequence[Received], remaining_ms: RemainingMs, hidden_until_ms: int | None = None
) -> list[str]:
    """Work on a batch; returns the ids of the messages that must come back. All others may be deleted.

    ``remaining_ms`` tells how long the function may still run; ``hidden_until_ms`` until when whoever received the
    messages has hidden them, for a lease, if that is known.
    """
    successes = light.Successes(yard)
    with (
        Heartbeat(yard, messages, hidden_until_ms, when_slow=successes.record) as heartbeat,
        watchdog.watching(yard, lambda: heartbeat.hidden_until_ms),
    ):
        readable, come_back = _opened(yard, heartbeat, messages)
        for message, disposition in _worked_on(yard, heartbeat, successes, _in_order(readable), remaining_ms):
            if isinstance(disposition, Nack):  # what has served stays hidden until the function returns
                heartbeat.let_go(message)
                _hide(yard, message, disposition)
                come_back.append(message.message_id)
    return come_back


def _worked_on(
    yard: Yard,
    heartbeat: Heartbeat,
    successes: light.Successes,
    entries: Sequence[Opened],
    remaining_ms: RemainingMs,
) -> Iterator[tuple[Received, Disposition]]:
    """What becomes of each message, one after the other; successes of light runs are recorded together."""
    enough_ms = min(remaining_ms(), yard.settings.function_timeout_s * 1_000) // START_SHARE
    free = light.unclaimed(yard, [(entry.message, entry.envelope) for entry in entries])
    for position, call in enumerate(calls_of(yard, entries)):
        if successes.are_old or not any(entry.envelope.id in free for entry in call):
            successes.record()
        yield from successes.settled()
        is_late = stopping.is_set() or (position > 0 and remaining_ms() < enough_ms)
        ready: list[Opened] = []
        for entry in call:
            if not heartbeat.begin(entry.message):
                yield entry.message, schedule_check(yard, entry, Nack(None))
            elif is_late:
                yield entry.message, schedule_check(yard, entry, Nack(0))
            else:
                ready.append(entry)
        work = work_together if batch_of(yard, call[0].envelope) is not None else _work_alone
        for message, result in work(yard, heartbeat, ready, free, remaining_ms):
            if isinstance(result, light.Unrecorded):
                successes.add(message, result)
            else:
                yield message, result
    successes.record()
    yield from successes.settled()


def _opened(yard: Yard, heartbeat: Heartbeat, messages: Sequence[Received]) -> tuple[list[Opened], list[str]]:
    """The readable messages; the others are canaries or become dead letters. Also the ids of those that could not."""
    readable: list[Opened] = []
    come_back: list[str] = []
    for message in messages:
        if is_canary(yard, message):
            continue
        try:
            readable.append(Opened(message, opened(message.text)))
        except InvalidInput:
            if not _dead_letter(yard, message):
                heartbeat.let_go(message)
                come_back.append(message.message_id)
    return readable, come_back


def _dead_letter(yard: Yard, message: Received) -> bool:
    """Make a dead letter of an unreadable message; returns whether AWS let it."""
    try:
        dead_letter_malformed(yard, message)
    except Exception:  # it costs this message a redelivery and the others nothing
        logger.exception("unreadable message goes back", extra={"message_id": message.message_id})
        return False
    return True


def _in_order(readable: Sequence[Opened]) -> list[Opened]:
    """Larger priorities first; of one priority tenants take turns, each with its older ones first."""
    urgent_first = sorted(readable, key=lambda entry: -entry.envelope.priority)
    alike = (same for _, same in groupby(urgent_first, key=lambda entry: entry.envelope.priority))
    return [entry for same in alike for entry in in_turns(same, _tenant, _created_at_ms)]


def _tenant(entry: Opened) -> str | None:
    return entry.envelope.tenant


def _created_at_ms(entry: Opened) -> int:
    return entry.envelope.created_at_ms


def _work_alone(
    yard: Yard, heartbeat: Heartbeat, entries: Sequence[Opened], free: dict[int, Job], remaining_ms: RemainingMs
) -> Iterator[tuple[Received, Disposition | light.Unrecorded]]:
    for entry in entries:
        seen = free.pop(entry.envelope.id, None)
        yield entry.message, _safely(yard, heartbeat, entry, seen, remaining_ms)


def _safely(
    yard: Yard, heartbeat: Heartbeat, entry: Opened, seen: Job | None, remaining_ms: RemainingMs
) -> Disposition | light.Unrecorded:
    """One message; an AWS call that fails for good costs this message a redelivery and the others nothing."""
    with named(entry.envelope):
        try:
            return _consume_one(yard, heartbeat, entry, seen, remaining_ms)
        except Exception:
            logger.exception("message goes back")
            return Nack(None)
        finally:
            heartbeat.unwatch()


def _consume_one(
    yard: Yard, heartbeat: Heartbeat, entry: Opened, seen: Job | None, remaining_ms: RemainingMs
) -> Disposition | light.Unrecorded:
    """Run a job, claimed unless it was ``seen`` free by its light handler."""
    envelope = admit(yard, entry)
    if not isinstance(envelope, Job):
        return envelope
    unclaimed = None if seen is None else light.begin_unclaimed(yard, heartbeat, entry, seen, remaining_ms)
    if unclaimed is not None:
        return unclaimed.ended(_watched_run(yard, heartbeat, unclaimed.context, entry.message))
    context = begin(yard, heartbeat, entry, envelope, remaining_ms)
    if not isinstance(context, Context):
        return context
    return settle_or_leave(yard, context.job, _watched_run(yard, heartbeat, context, entry.message))


def _watched_run(yard: Yard, heartbeat: Heartbeat, context: Context, message: Received) -> Outcome:
    """The run, whose lease is kept meanwhile."""
    heartbeat.watch(context, message)
    watchdog.note(context.job)
    started_ms = yard.now_ms()
    outcome = run(yard, context)
    heartbeat.unwatch()
    trace_run(yard, message, context.job, started_ms, outcome)
    return outcome


def _hide(yard: Yard, message: Received, disposition: Nack) -> None:
    """Hide a message until it shall come back; if that fails, it comes back when its lease ends."""
    if disposition.delay_s is None:
        return
    try:
        yard.transport.hide([message], disposition.delay_s)
    except Exception:
        logger.exception("message not hidden", extra={"message_id": message.message_id})
