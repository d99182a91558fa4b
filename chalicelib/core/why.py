"""Why a job is not running, or what has become of it: from its record, what is known beside it, and the time.

What keeps a job whose time has come is ``why_turns.py``'s, how one stands that has begun ``why_begun.py``'s.
"""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import Any

from chalicelib.core.job import Job, Tombstone
from chalicelib.core.reasons import Code, Facts, Reason, error_of, latest
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, iso
from chalicelib.core.why_begun import ended, parked, running
from chalicelib.core.why_turns import turn_of


def why(record: Job | Tombstone, facts: Facts, now_ms: int) -> Reason:
    """The reason, for a job in any state."""
    if isinstance(record, Tombstone):
        return _deleted(record)
    reason = _of_state(record, facts, now_ms)
    details = {**_belongings(record), **reason.details}
    return replace(reason, sentence=" ".join(reason.sentence.splitlines()), details=details)


def awaits_turn(job: Job, now_ms: int) -> bool:
    """Whether a job's time has come and a worker, or a client, is to begin it."""
    return job.state is State.PENDING and job.travels and job.due_at_ms <= now_ms


def _of_state(job: Job, facts: Facts, now_ms: int) -> Reason:
    match job.state:
        case State.PENDING if awaits_turn(job, now_ms):
            return turn_of(job, facts, now_ms)
        case State.PENDING if job.travels:
            return _not_due(job, facts)
        case State.PENDING if job.blocked:
            return _blocked(job, facts)
        case State.PENDING:
            return _manual(job)
        case State.RUNNING:
            return running(job, facts, now_ms)
        case State.WAITING:
            return parked(job)
        case _:
            return ended(job)


def _deleted(tombstone: Tombstone) -> Reason:
    story = tombstone.story
    return Reason(
        code=Code.DELETED,
        sentence="It was deleted.",
        details={} if story is None else {"kind": story.kind.value, "type": story.type},
    )


def _belongings(job: Job) -> dict[str, Any]:
    """What is said of every job: what it is, and what it belongs to."""
    belongs = {
        "parentId": None if job.parent_id is None else str(job.parent_id),
        "graphId": None if job.graph is None else str(job.graph),
        "node": job.node,
        "schedule": job.schedule,
        "application": job.application,
        "tenant": job.tenant,
    }
    given = {name: value for name, value in belongs.items() if value is not None}
    return {"kind": job.kind.value, "type": job.type, "queue": job.queue, **given}


# -- it waits for a time, for another job, for a person -----------------------------------------------


def _not_due(job: Job, facts: Facts) -> Reason:
    """It has a time, which is still to come."""
    at, last = iso(job.due_at_ms), latest(job)
    remedy: str | None = None
    match last.event:
        case Event.INTERRUPTED:
            code, remedy = Code.BACKING_OFF, _mend(job)
            sentence = f"It could not be run ({error_of(job)}); it is tried again at {at}."
        case Event.FAILED:
            code, remedy = Code.BACKING_OFF, _mend(job)
            sentence = f"Attempt {job.tries} failed ({error_of(job)}); the next one starts at {at} at the earliest."
        case Event.REQUEUED:
            code = Code.REQUEUED
            sentence = f"It was given to workers again and again, and never started; the next try is at {at}."
            remedy = "look into the log of the worker function, and run `taskyard doctor`"
        case Event.STARTED | Event.RECOVERED if job.delivers:
            code = Code.APPLICATION_RESTS
            state = "is disabled" if facts.disabled else "takes nothing now"
            sentence = f"Its application {job.application} {state}; it is tried again at {at}."
            remedy = f"`taskyard applications enable {quote(job.application or '')}`" if facts.disabled else None
        case Event.STARTED | Event.RECOVERED:
            code = Code.POLLS_AGAIN
            sentence = f"Its handler has looked and is not done; it looks again at {at}."
        case _:
            code = Code.NOT_DUE
            sentence = f"It is scheduled; it starts at {at} at the earliest."
    if remedy is None and code is not Code.APPLICATION_RESTS and job.kind is Kind.TASK:
        remedy = f"`taskyard tasks promote {job.id}` starts it now"
    return Reason(
        code=code,
        sentence=sentence,
        remedy=remedy,
        since_ms=last.at_ms,
        expected_start_ms=job.due_at_ms,
        details=_tries(job) if code is Code.BACKING_OFF else {},
    )


def _mend(job: Job) -> str:
    cause = "mend the cause before the next attempt"
    return f"{cause}; then `taskyard tasks promote {job.id}` starts it at once" if job.kind is Kind.TASK else cause


def _tries(job: Job) -> dict[str, Any]:
    error = None if job.error is None else job.error.to_document()
    return {"attempt": job.tries, "maxAttempts": job.max_attempts, "error": error}


def _blocked(job: Job, facts: Facts) -> Reason:
    parent_id, parent = job.parent_id, facts.parent
    state = parent.state if isinstance(parent, Job) else None
    remedy = f"`taskyard why {parent_id}` says what that one waits for"
    match state:
        case None:
            sentence = f"Its parent {parent_id} was deleted before it had succeeded; the clock cancels it."
            remedy = f"`taskyard tasks cancel {job.id}` does it now"
        case State.SUCCESS:
            sentence = f"Its parent {parent_id} has succeeded; it is about to be sent."
            remedy = "nothing: the clock sends it if nobody else does"
        case State.FAILED | State.CANCELED:
            sentence = f"Its parent {parent_id} is {state}; it starts only after that one was retried and succeeded."
            remedy = f"`taskyard tasks retry {parent_id}`, or `taskyard tasks cancel {job.id}`"
        case _:
            sentence = f"It waits for its parent {parent_id}, which is {state}."
    return Reason(
        code=Code.WAITS_FOR_PARENT,
        sentence=sentence,
        remedy=remedy,
        since_ms=latest(job).at_ms,
        details={"parentState": "deleted" if state is None else state.value},
    )


def _manual(job: Job) -> Reason:
    return Reason(
        code=Code.MANUAL,
        sentence="It is a manual task: a person, or a program, completes it.",
        remedy=f"`taskyard tasks complete {job.id}`",
        since_ms=latest(job).at_ms,
    )
