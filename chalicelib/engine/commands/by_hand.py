"""What people and programs elsewhere do to a task by its id: take it to work on, send it back, give it a priority."""

from __future__ import annotations

from chalicelib.core.errors import Conflict
from chalicelib.core.job import ELSEWHERE, Job
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import wake_for_send
from chalicelib.engine.commands.lifecycle import RACE_TRIES, find
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused
from chalicelib.store.transitions.running import Lease

TAKEN_MS = 3_600_000  # how long a task without a time-out of its own is its taker's


def take(yard: Yard, job_id: int, taker: str) -> Job:
    """Claim a task that is due for a program elsewhere, which completes it by its id; nothing runs it here meanwhile.

    It is the ``taker``'s for as long as an attempt may take (default one hour), and then pending again. Of several
    takers one gets it. Raises ``NotFound``, and ``Conflict`` for a task that cannot begin now.
    """
    job = find(yard, job_id, Kind.TASK)
    now_ms = yard.now_ms()
    if job.state is State.PENDING and job.travels and not job.finishing and job.due_at_ms <= now_ms:
        claimed = claim(yard, job, Lease(yard.token(), now_ms + (job.timeout_ms or TAKEN_MS), ELSEWHERE + taker))
        if isinstance(claimed, Job):
            return claimed
        job = find(yard, job_id, Kind.TASK)
    delayed = job.state is State.PENDING and job.due_at_ms > now_ms
    raise Conflict(
        "only a task that could begin now can be taken",
        field="id",
        expected=State.PENDING.value,
        got="delayed" if delayed else job.state.value,
        remedy="promote it first" if delayed else None,
    )


def send_back(yard: Yard, job_id: int) -> Job:
    """Make a running task pending and due now, whoever works on it: what they say of it from now on counts for nothing.

    Its attempt is not charged. One that is pending already stays as it is. Raises ``NotFound``, and ``Conflict`` for a
    task that neither runs nor is to run.
    """
    for _ in range(RACE_TRIES):
        job = find(yard, job_id, Kind.TASK)
        if job.state is State.PENDING:
            return job
        if job.state is not State.RUNNING:
            break
        now_ms = yard.now_ms()
        try:
            pending = yard.jobs.reset(job, wake_for_send(now_ms, now_ms), now_ms)
        except JobRefused:
            continue  # it moved in between: look again
        send_marked(yard, pending)
        return pending
    raise Conflict("the task does not run", field="id", expected=State.RUNNING.value, got=job.state.value)


def prioritize(yard: Yard, job_id: int, priority: int) -> Job:
    """Give a task another priority (-1,000 to 1,000); if it waits for a worker, it waits in that order from now on.

    Raises ``NotFound``.
    """
    for _ in range(RACE_TRIES):
        job, now_ms = find(yard, job_id, Kind.TASK), yard.now_ms()
        if job.priority == priority:
            return job
        moves = job.state is State.PENDING and job.travels
        try:
            changed = yard.jobs.prioritize(
                job, priority, wake_for_send(job.due_at_ms, now_ms) if moves else None, now_ms
            )
        except JobRefused:
            continue  # it moved in between: look again
        if moves:
            send_marked(yard, changed)
        return changed
    raise Conflict("the job keeps changing", field="id", got=str(job_id), remedy="try again")
