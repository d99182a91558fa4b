"""What people ask of a job: cancel it, delete it, run it again or at once, replay a dead letter."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import TypeGuard

from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, NotFound, unknown
from chalicelib.core.flow import newer_in
from chalicelib.core.job import Job, Tombstone, changed
from chalicelib.core.states import LIVE, TERMINAL, Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.core.waking import wake_for_send, wake_for_wait
from chalicelib.engine.commands.again import request_like
from chalicelib.engine.publish.flow import reclaiming
from chalicelib.engine.publish.prepare import Prepared, prepare
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.publish.wait_list import in_line, lined_up, start
from chalicelib.engine.sweeping import sweep
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.worker.remove import is_needed, purge, remove_seen
from chalicelib.engine.yard import Yard
from chalicelib.store.job_queries import JobQuery, index_keys_of
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused

RACE_TRIES = 4


class Replayed(Conflict):
    """A dead letter was replayed already."""


def find(yard: Yard, job_id: int, kind: Kind | None = None) -> Job:
    """The job with an id, of a kind if that is told; raises ``NotFound``."""
    job = yard.jobs.find(job_id)
    if job is None or kind not in (None, job.kind):
        raise unknown(kind or "job", job_id)
    return job


def cancel(yard: Yard, job_id: int, kind: Kind) -> Job:
    """Cancel a job that is not done; one that is done stays as it is (fastify-task: a no-op).

    A running handler learns of it at its next heartbeat or progress call. Raises ``NotFound``.
    """
    for _ in range(RACE_TRIES):
        job = find(yard, job_id, kind)
        if job.state.terminal:
            return job
        try:
            canceled = yard.jobs.cancel(job, yard.now_ms(), yard.actor)
        except JobRefused:
            continue  # it moved in between: look again
        return follow_through(yard, job, canceled)
    raise Conflict("the job keeps changing", field="id", got=str(job_id), remedy="try again")


def delete(yard: Yard, job_id: int, kind: Kind, *, force: bool = False) -> None:
    """Delete a job that is done with all it keeps. What an earlier deletion left undone is done now.

    With ``force`` whatever its state: one that is not done is canceled first. Where its run goes on and holds a slot of
    a limited type, the job is canceled for the time being, and deleted once that run is over; a retry keeps it.

    Raises ``NotFound``, and without ``force`` ``Conflict`` for a job that is not done.
    """
    for _ in range(RACE_TRIES):
        found = yard.jobs.ledger(job_id)
        if isinstance(found, Tombstone) and found.unpurged:
            purge(yard, found)
            return
        seen = find(yard, job_id, kind)
        if is_needed(yard, seen):
            raise Conflict("its graph is not done", field="id", got=str(job_id), remedy="cancel the graph first")
        if _deleted(yard, cancel(yard, job_id, kind) if force else _over(seen)):
            return
    raise Conflict("the job keeps changing", field="id", got=str(job_id), remedy="try again")


def _over(job: Job) -> Job:
    """``job``, if nothing of it goes on. Raises ``Conflict``."""
    if not job.state.terminal:
        raise Conflict(
            "only a job that is done can be deleted",
            field="id",
            expected=" or ".join(sorted(TERMINAL)),
            got=job.state.value,
            remedy="cancel it first, or force it",
        )
    if job.run_goes_on:
        remedy = "try again once its handler has ended, or force it"
        raise Conflict("its run is not over yet", field="id", got=str(job.id), remedy=remedy)
    return job


def _deleted(yard: Yard, done: Job) -> bool:
    """Delete a job that is done, or have it deleted once its run is over; false if it has changed meanwhile."""
    if not done.run_goes_on:
        return remove_seen(yard, done)
    try:
        yard.jobs.delete_when_over(done)
    except JobRefused:
        return False
    return True


def cancel_matching(yard: Yard, target_id: str, target_type: str, type: str) -> int:  # noqa: A002  # as the dialects say
    """Cancel every task of a type about a target that is not done; returns how many those were.

    Reads the records of all tasks about the target.
    """
    query = JobQuery(Kind.TASK, type, index_keys_of(*sorted(LIVE)), target_id=target_id, descending=False)
    found = (job for _, job in yard.lists.walk(query) if job is not None)
    about = (job.id for job in found if job.target_type == target_type)
    return sweep(about, lambda job_id: cancel(yard, job_id, Kind.TASK).state is State.CANCELED, named=_named)


def promote(yard: Yard, job_id: int, kind: Kind) -> Job:
    """Let a delayed job start now; one that is due already stays as it is.

    Raises ``NotFound``, and ``Conflict`` for a job that is not pending.
    """
    job = find(yard, job_id, kind)
    if job.state is not State.PENDING:
        raise Conflict(
            "only a pending job can be promoted", field="id", expected=State.PENDING.value, got=job.state.value
        )
    return start_now(yard, job)


def start_now(yard: Yard, job: Job) -> Job:
    """Let a job that was pending start now. Returns it as it stands, if a worker or a cancellation was faster."""
    for _ in range(RACE_TRIES):
        now_ms = yard.now_ms()
        if job.state is not State.PENDING or job.due_at_ms <= now_ms:
            break
        try:
            job = yard.jobs.promote(job, wake_for_send(now_ms, now_ms), now_ms)
        except JobRefused:
            job = find(yard, job.id, job.kind)  # it moved in between: look again
            continue
        send_marked(yard, job)
    return job


def reset_running(yard: Yard, sparing: Collection[int] = (), begun_by_ms: int | None = None) -> int:
    """Send every running task back to its lane, whoever runs it, but those with the ids ``sparing``; returns how many.

    ``begun_by_ms``: only those whose run began then or before. Their handlers learn of it at the next heartbeat or
    progress call, and record nothing more (fastify-task: resetAll).
    One that runs again meanwhile is not reset again.
    """
    done: set[int] = set()

    def reset(job: Job) -> int:
        if begun_by_ms is not None and (job.started_at_ms or 0) > begun_by_ms:
            return 0
        now_ms = yard.now_ms()
        send_marked(yard, yard.jobs.reset(job, wake_for_send(now_ms, now_ms), now_ms))
        done.add(job.id)
        return 1

    walked = yard.lists.walk(JobQuery(Kind.TASK, index_keys=index_keys_of(State.RUNNING), descending=False))
    running = (job for _, job in walked if job is not None and job.id not in sparing and job.id not in done)
    return sweep(running, reset, named=lambda job: _named(job.id))


def retry(yard: Yard, job_id: int, kind: Kind) -> Job:
    """Run a failed or canceled job again, with as many attempts as at first.

    Raises ``NotFound``, and ``Conflict`` for a job in another state, a dead letter that was replayed, a record that
    cannot be read, and a debounced job in whose place a newer one stands.
    """
    for _ in range(RACE_TRIES):
        job = find(yard, job_id, kind)
        if job.state not in (State.FAILED, State.CANCELED) or job.replayed_at_ms is not None:
            break
        _expect_not_superseded(job)
        _expect_readable(job)
        now_ms = yard.now_ms()
        blocked = job.blocked and not _parent_succeeded(yard, job)
        try:
            wake_at_ms = _restart_wake_ms(job, blocked, now_ms)
            alike = reclaiming(yard, job)
            restarted = yard.jobs.restart(job, wake_at_ms, now_ms, *alike, blocked=blocked)
        except TransactionRefused:
            continue  # somebody else was asked for a job like it in between: look again
        except JobRefused as refused:
            if not _is_restarted(refused.ledger, job):
                continue  # it moved in between: look again
            restarted = refused.ledger
        if restarted.state is State.PENDING:
            send_marked(yard, restarted)
        return restarted
    raise Conflict(
        "only a failed or canceled job can be retried",
        field="id",
        expected=f"{State.FAILED} or {State.CANCELED}, and not replayed",
        got="replayed" if job.replayed_at_ms is not None else job.state.value,
    )


def replay(yard: Yard, job_id: int, kind: Kind | None = Kind.MESSAGE) -> Job:
    """Publish a dead letter anew, as a job with an id and a trace of its own; answers that job.

    Of a record of Kafka that could not be read, what its topic's mapping reads now. Raises ``NotFound`` for what is no
    dead letter, ``Replayed`` for one that was replayed already, ``Conflict`` for a record that cannot be read still.
    """
    dead = yard.jobs.find(job_id)
    if dead is None or dead.state is not State.FAILED or (kind is not None and dead.kind is not kind):
        raise NotFound(f"there is no dead letter {job_id}", field="id", got=str(job_id))
    successor = _in_its_place(yard, dead, _successor(yard, dead))
    recording = yard.jobs.recording(successor.job, successor.body)
    recording += in_line(yard, successor)
    try:
        yard.jobs.together([*recording, *yard.jobs.replaying(dead, successor.job.id, yard.now_ms())])
    except TransactionRefused as refused:
        met = refused.old[len(recording)] or {}
        if met.get("replayed_as") is None:  # somebody runs it again, or has deleted it
            raise NotFound(f"there is no dead letter {job_id} any more", field="id", got=str(job_id)) from refused
        if met["replayed_as"] != successor.job.id:  # otherwise our own write, whose answer was lost
            raise Replayed("this dead letter was replayed already", field="id", got=str(job_id)) from refused
    except JobRefused as refused:
        if not (isinstance(refused.ledger, Job) and refused.ledger.uid == successor.job.uid):
            raise
    start(yard, successor)
    return successor.job


def _expect_not_superseded(job: Job) -> None:
    newer = newer_in(job.msg) if job.state is State.CANCELED else None
    if newer is not None:
        raise Conflict(
            "a newer job stands in the place of this one: of those that are alike only the newest runs",
            field="id",
            got=str(job.id),
            remedy=f"look at job {newer}, or ask for the work anew",
        )


def _expect_readable(job: Job) -> None:
    if job.cause is not Cause.MALFORMED:
        return
    from chalicelib.engine.publish.records import is_unreadable  # imported late, as above

    if is_unreadable(job):
        raise Conflict(
            "what Kafka delivered could not be read, so there is nothing to run",
            field="id",
            got=str(job.id),
            remedy="mend the mapping of its topic, then replay the dead letter",
        )


def _named(job_id: int) -> str:
    return f"job {job_id}"


def _in_its_place(yard: Yard, dead: Job, successor: Prepared) -> Prepared:
    """The successor of a dead letter for which others wait takes its turn; any other waits for that, in order.

    It is a turn in the line of the dead letter, whatever is declared of jobs like it by now.
    """
    if not dead.turn:
        return lined_up(yard, successor)
    place = {"flow_key": dead.flow_key, "order": dead.order, "order_seq": dead.order_seq}
    return replace(successor, job=changed(successor.job, turn=True, **place))


def _successor(yard: Yard, dead: Job) -> Prepared:
    detail = {"originalId": str(dead.id), "deadLetterId": str(dead.id)}
    replayed = TraceEvent(Event.REPLAYED, yard.now_ms(), detail)
    request = request_like(yard, dead)
    if dead.cause is Cause.MALFORMED:
        from chalicelib.engine.publish.records import (
            is_unreadable,
            read_again,
        )  # imported late: few dead letters are so

        request = read_again(yard, request) if is_unreadable(dead) else request
    new_job = replace(request, replay_of=dead.id, first_event=replayed)
    return prepare(yard, new_job).unsent(yard.now_ms())


def _is_restarted(ledger: Job | Tombstone | None, seen: Job) -> TypeGuard[Job]:
    """Whether what was refused is done already, by our own write, whose answer was lost, or by a twin of it.

    A worker may have begun since, or even ended.
    """
    return (
        isinstance(ledger, Job)
        and seen.state in (State.FAILED, State.CANCELED)
        and (ledger.uid, ledger.delivery) == (seen.uid, seen.delivery + 1)
    )


def _parent_succeeded(yard: Yard, job: Job) -> bool:
    parent = yard.jobs.find(job.parent_id) if job.parent_id is not None else None
    return parent is not None and parent.state is State.SUCCESS


def _restart_wake_ms(job: Job, blocked: bool, now_ms: int) -> int | None:
    if blocked:
        return wake_for_wait(job.created_at_ms, now_ms)
    return wake_for_send(now_ms, now_ms) if replace(job, blocked=False).travels else None


def pass_over(yard: Yard, job_id: int, kind: Kind | None = None) -> Job:
    """Let those run that wait behind a job which failed, where they run in order; it stays failed.

    Raises ``NotFound``, and ``Conflict`` for a job behind which nobody waits.
    """
    for _ in range(RACE_TRIES):
        job = find(yard, job_id, kind)
        if not job.is_blocking:
            expected = 'a failed job of a type that is declared with order="block"'
            raise Conflict("nobody waits for this job", field="id", expected=expected, got=job.state.value)
        with suppress(JobRefused):  # it moved in between: look again
            return follow_through(yard, job, yard.jobs.pass_over(job))
    raise Conflict("the job keeps changing", field="id", got=str(job_id), remedy="try again")
