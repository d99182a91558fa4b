"""Claiming: the right to run a job, taken just before its handler starts.

One conditional write does it in the normal case. When it is refused, the record that stood in the way decides
what the message is (see ``core.decisions.on_delivery``).
"""

from __future__ import annotations

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import (
    Abandoned,
    Ack,
    Claim,
    InLine,
    Nack,
    Own,
    Record,
    TakeOver,
    on_delivery,
)
from chalicelib.core.job import Job, changed
from chalicelib.core.job_documents import from_envelope
from chalicelib.core.waking import wake_for_send
from chalicelib.engine.graphs.advance import after_end_again
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.publish.wait_list import wait_in_line
from chalicelib.engine.worker.concurrency import admitted, free_of_old_run, turn_away
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.worker.gates import gates_of, passed, takes_of
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused
from chalicelib.store.payloads import ITEM_PLACE
from chalicelib.store.table import TransactionRefused
from chalicelib.store.transitions.running import Lease

CLAIM_TRIES = 6
CONTENDED = Nack(1_000, "contended")


def opened(text: str) -> Job:
    """The travelling job in a message; raises ``InvalidInput`` for a foreign text."""
    return from_envelope(text)


def claim(yard: Yard, envelope: Job, lease: Lease) -> Job | Ack | Nack:
    """The running job, its body at hand where the message carried it; or what its message is instead."""
    counted = admitted(yard, envelope)
    if counted is None:
        return Ack("its pool is full")
    envelope = counted
    seen: Job | None = None
    for _ in range(CLAIM_TRIES):
        now_ms = yard.now_ms()
        before = seen if seen is not None and seen.run_goes_on else None
        gates = gates_of(yard, envelope, before)
        try:
            takes = takes_of(yard, envelope, gates, now_ms, before)
            claimed = yard.jobs.claim(envelope, lease, now_ms, seen, takes)
            passed(yard, gates, now_ms)
            return with_body(claimed, envelope)
        except JobRefused as refused:
            ledger = refused.ledger
        except TransactionRefused as refused:
            disposition = turn_away(yard, envelope, gates, refused)
            if disposition is not None:
                return disposition
            continue
        verdict = on_delivery(ledger, envelope, now_ms, lease.token)
        try:
            match verdict:
                case Own(job):
                    return with_body(job, envelope)
                case Record():
                    record, body = _split(envelope)
                    if envelope.limited or gates:  # it is counted first, then claimed like any other
                        yard.jobs.record(record, body)
                        continue
                    return with_body(yard.jobs.claim_unrecorded(record, body, lease, now_ms), envelope)
                case TakeOver(job):
                    taken = _taken_over(yard, job, lease, now_ms)
                    return with_body(taken, envelope) if isinstance(taken, Job) else taken
                case Abandoned(job, error):
                    dead = yard.jobs.dead_letter(job, Cause.LEASE_LOST, error, now_ms)
                    follow_through(yard, job, dead)
                    return Ack("attempts used up")
                case InLine(job):
                    wait_in_line(yard, free_of_old_run(yard, job))
                    return Ack("waits for its turn")
                case Claim(crowded):
                    seen = crowded
                case Ack() | Nack():
                    if isinstance(ledger, Job):
                        after_end_again(yard, ledger)
                    return verdict
        except JobRefused:
            continue  # somebody moved it in between: look again
    return CONTENDED


def _taken_over(yard: Yard, job: Job, lease: Lease, now_ms: int) -> Job | Ack:
    """The job that a worker lost, running again; sent anew, without a slot, where it may not begin at once."""
    takes = takes_of(yard, job, gates_of(yard, job, job), now_ms, job)
    try:
        return yard.jobs.take_over(job, lease, now_ms, takes)
    except TransactionRefused:
        pending = yard.jobs.recover(job, wake_for_send(now_ms, now_ms), now_ms)
        send_marked(yard, follow_through(yard, job, pending))
        return Ack("sent anew")


def ensure_recorded(yard: Yard, envelope: Job, wake_at_ms: int) -> None:
    """Make sure that a job which goes back unstarted is on the ledger, and that the clock looks after it."""
    try:
        yard.jobs.remind(envelope.id, envelope.uid, envelope.delivery, wake_at_ms)
    except JobRefused as refused:
        if refused.ledger is not None:
            return  # it moved on: whoever moved it looks after it
        record, body = _split(envelope)
        try:
            yard.jobs.record(changed(record, wake_at_ms=wake_at_ms), body)
        except JobRefused:
            return  # the publisher was faster after all


def _split(envelope: Job) -> tuple[Job, str | None]:
    """The record that an envelope makes, and the body's text that goes beside it."""
    if envelope.body_at == ITEM_PLACE:
        return changed(envelope, body=None), envelope.body
    return envelope, None


def with_body(job: Job, envelope: Job) -> Job:
    """The claimed job with the body that travelled in the message, which saves reading it."""
    return job if job.body is not None or envelope.body is None else changed(job, body=envelope.body)
