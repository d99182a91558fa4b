"""Running a task in this very process, without waiting for its message (fastify-task's waitingComplete)."""

from __future__ import annotations

import threading
from functools import partial

from chalicelib.core.decisions import Failed, Outcome, Unread
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import find, start_now
from chalicelib.engine.policy import timeout_of
from chalicelib.engine.publish.malformed import attempted
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.concurrency import leave
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.heartbeat import Heartbeat
from chalicelib.engine.worker.pause import keeps_back
from chalicelib.engine.worker.run import run
from chalicelib.engine.worker.settle import settle
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused
from chalicelib.store.transitions.running import Lease


def run_now(yard: Yard, job_id: int) -> Job:
    """Make one attempt at a pending task that a handler runs, delayed or not; returns the record as it then is.

    A task in another state, one that a person completes, a child that waits for its parent, one that is paused, and one
    of a type with no free slot are left as they are.
    The message on the lane finds the work done, or brings what is to be done again. Raises ``NotFound``.
    """
    job = find(yard, job_id, Kind.TASK)
    if job.state is not State.PENDING or not job.travels or keeps_back(yard, job) is not None:
        return job
    with Heartbeat(yard, []) as heartbeat:
        lease = Lease(yard.token(), heartbeat.renewed_until_ms(), yard.worker_name)
        claimed = claim(yard, start_now(yard, job), lease)
        if not isinstance(claimed, Job):
            return find(yard, job_id, Kind.TASK)  # a worker was faster, or no slot is free
        outcome: Outcome
        match attempted(partial(yard.payloads.body, claimed)):
            case Failed() | Unread() as unreadable:
                outcome = unreadable
            case body:
                context = Context(
                    yard, claimed, body, lease.until_ms, _deadline_ms(yard, claimed), heartbeat.extend_visibility
                )
                heartbeat.watch(context, None)
                outcome = run(yard, context)
                heartbeat.unwatch()
        try:
            return settle(yard, claimed, outcome)[0]
        except JobRefused as refused:
            leave(yard, claimed, refused.ledger)
            return find(yard, job_id, Kind.TASK)  # it was canceled or completed meanwhile


def _deadline_ms(yard: Yard, job: Job) -> int | None:
    """When the run is interrupted; never in a thread that cannot be, whose process would have to end instead."""
    timeout_ms = timeout_of(yard, job)
    if timeout_ms is None or threading.current_thread() is not threading.main_thread():
        return None
    return yard.now_ms() + timeout_ms
