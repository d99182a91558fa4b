"""What people ask of a job: cancel it, run it again, remove it, replay a dead letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeGuard

from chalicelib.core.decisions import wake_for_child, wake_for_send
from chalicelib.core.errors import Conflict, NotFound, TaskyardError
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.states import TERMINAL, Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine.children import release_children
from chalicelib.engine.publish import Draft, Prepared, check, prepare, unsent
from chalicelib.engine.sending import send_marked
from chalicelib.engine.yard import Yard
from chalicelib.store.jobs import JobRefused
from chalicelib.store.table import TransactionRefused

RACE_TRIES = 4


def find(yard: Yard, job_id: int, kind: Kind) -> Job:
    """The job of a kind with an id; raises ``NotFound``."""
    job = yard.jobs.find(job_id)
    if job is None or job.kind is not kind:
        raise NotFound(f"there is no {kind} {job_id}", field="id", got=str(job_id))
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
            return yard.jobs.cancel(job, yard.now_ms())
        except JobRefused:
            continue  # it moved in between: look again
    raise Conflict("the job keeps changing", field="id", got=str(job_id), remedy="try again")


def retry(yard: Yard, job_id: int, kind: Kind) -> Job:
    """Run a failed or canceled job again, with as many attempts as at first.

    Raises ``NotFound``, and ``Conflict`` for a job in another state or a dead letter that was replayed.
    """
    for _ in range(RACE_TRIES):
        job = find(yard, job_id, kind)
        if job.state not in (State.FAILED, State.CANCELED) or job.replayed_at_ms is not None:
            break
        now_ms = yard.now_ms()
        held = job.held and not _parent_succeeded(yard, job)
        try:
            restarted = yard.jobs.restart(job, _restart_wake_ms(job, held, now_ms), now_ms, held=held)
        except JobRefused as refused:
            if not _is_restarted(refused.ledger, job):
                continue  # it moved in between: look again
            restarted = refused.ledger
        send_marked(yard, restarted)
        return restarted
    raise Conflict(
        "only a failed or canceled job can be retried",
        field="id",
        expected=f"{State.FAILED} or {State.CANCELED}, and not replayed",
        got="replayed" if job.replayed_at_ms is not None else job.state.value,
    )


def remove(yard: Yard, job_id: int, kind: Kind) -> None:
    """Delete a job that is done, with all it keeps; a tombstone holds its place until SQS has forgotten it.

    What an earlier removal left undone is done now. Raises ``NotFound``, and ``Conflict`` for a job that is not
    done: cancel it first.
    """
    found = yard.jobs.ledger(job_id)
    if isinstance(found, Tombstone) and found.leftovers:
        _clear(yard, found)
        return
    job = find(yard, job_id, kind)
    if not job.state.terminal:
        raise Conflict(
            "only a job that is done can be removed",
            field="id",
            expected=" or ".join(sorted(TERMINAL)),
            got=job.state.value,
            remedy="cancel it first",
        )
    if job.has_children and job.state is State.SUCCESS:
        release_children(yard, job)  # nobody could tell them later that it succeeded
    try:
        tombstone = yard.jobs.entomb(job, yard.now_ms() // 1_000 + yard.settings.tombstone_ttl_s)
    except JobRefused as refused:
        raise Conflict("the job changed meanwhile", field="id", got=str(job_id), remedy="try again") from refused
    _clear(yard, tombstone)


def replay(yard: Yard, job_id: int, kind: Kind | None = Kind.MESSAGE) -> Job:
    """Publish a dead letter anew, as a job with an id and a trace of its own; answers that job.

    Raises ``NotFound`` for what is no dead letter and ``Conflict`` for one that was replayed already.
    """
    dead = yard.jobs.find(job_id)
    if dead is None or dead.state is not State.FAILED or (kind is not None and dead.kind is not kind):
        raise NotFound(f"there is no dead letter {job_id}", field="id", got=str(job_id))
    successor = _successor(yard, dead)
    now_ms = yard.now_ms()
    try:
        yard.jobs.together(
            [*yard.jobs.recording(successor.job, successor.body), yard.jobs.replaying(dead, successor.job.id, now_ms)]
        )
    except TransactionRefused as refused:
        met = refused.old[-1] or {}
        if met.get("replayed_as") != successor.job.id:  # otherwise our own write, whose answer was lost
            raise Conflict("this dead letter was replayed already", field="id", got=str(job_id)) from refused
    except JobRefused as refused:
        if not (isinstance(refused.ledger, Job) and refused.ledger.birth == successor.job.birth):
            raise
    send_marked(yard, successor.travelling)
    return successor.job


def replay_many(yard: Yard, job_ids: list[int], kind: Kind | None = Kind.MESSAGE) -> list[Job | TaskyardError]:
    """Replay dead letters one by one; answers, in order, the new job or what was wrong."""
    results: list[Job | TaskyardError] = []
    for job_id in job_ids:
        try:
            results.append(replay(yard, job_id, kind))
        except TaskyardError as error:
            results.append(error)
    return results


def _clear(yard: Yard, tombstone: Tombstone) -> None:
    """Delete whatever a removed job kept."""
    yard.jobs.delete_parts(tombstone.id)
    yard.payloads.delete_objects(tombstone.leftovers)
    yard.jobs.seal(tombstone)


def _successor(yard: Yard, dead: Job) -> Prepared:
    body: dict[str, Any] = yard.payloads.body(dead)
    detail = {"originalId": str(dead.id), "deadLetterId": str(dead.id)}
    draft = Draft(
        kind=dead.kind,
        type=dead.type,
        priority=dead.priority,
        max_attempts=dead.max_attempts,
        timeout_ms=dead.timeout_ms,
        backoff=dead.backoff,
        runner=dead.runner,
        script=dead.script,
        target_id=dead.target_id,
        target_type=dead.target_type,
        replay_of=dead.id,
        first_event=TraceEvent(Event.REPLAYED, yard.now_ms(), detail),
        **body,
    )
    return unsent(prepare(yard, draft, check(yard, draft)), yard.now_ms())


def _is_restarted(ledger: Job | Tombstone | None, seen: Job) -> TypeGuard[Job]:
    """Whether what was refused is done already: our own write, whose answer was lost, or a twin of it."""
    return (
        isinstance(ledger, Job)
        and seen.state in (State.FAILED, State.CANCELED)
        and ledger.state is State.PENDING
        and (ledger.birth, ledger.delivery) == (seen.birth, seen.delivery + 1)
    )


def _parent_succeeded(yard: Yard, job: Job) -> bool:
    parent = yard.jobs.find(job.parent_id) if job.parent_id is not None else None
    return parent is not None and parent.state is State.SUCCESS


def _restart_wake_ms(job: Job, held: bool, now_ms: int) -> int | None:
    if held:
        return wake_for_child(job.created_at_ms, now_ms)
    return wake_for_send(now_ms, now_ms) if replace(job, held=False).travels else None
