"""Why a job is not running that has begun, or has ended: who has it, what it waits for, how it ended."""

from __future__ import annotations

from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Abandoned, on_lost_lease
from chalicelib.core.flow import newer_in
from chalicelib.core.job import ELSEWHERE, Job
from chalicelib.core.reasons import Code, Facts, Reason, by, error_of, latest
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, iso

_CAUSES = {
    Cause.REJECTED: "It was rejected, for no retry can help",
    Cause.TIMED_OUT: "It took too long",
    Cause.LEASE_LOST: "Whoever had it last vanished, and no attempt is left",
    Cause.NEVER_STARTED: "It was given to workers again and again, and never started",
    Cause.MALFORMED: "It cannot be read",
    Cause.NO_HANDLER: "No handler of it was deployed when a worker got it",
    Cause.CONSUMER: "Whoever had it, or completed it, said that it failed",
    None: "It failed",
}


def running(job: Job, facts: Facts, now_ms: int) -> Reason:
    """Somebody has it, or had it when their lease ended."""
    until_ms = job.lease_until_ms or 0
    if job.lease_expired(now_ms):
        return _lease_ended(job, until_ms)
    until, since_ms = iso(until_ms), job.started_at_ms
    details: dict[str, Any] = {**_run(job), "leaseUntil": until}
    if job.taken:
        return Reason(
            code=Code.TAKEN,
            sentence=f"The program {_taker(job)} has taken it to work on it elsewhere, until {until}.",
            remedy="it completes it by its id; after that time it is pending again",
            since_ms=since_ms,
            details={**details, "worker": _taker(job)},
        )
    if job.receipt is not None:
        return Reason(
            code=Code.LOCKED,
            sentence=f"The client {job.worker} has polled it, and has it locked until {until}.",
            remedy="it completes or fails it; after that time another poll gets it",
            since_ms=since_ms,
            details=details,
        )
    if facts.timeout_ms is not None and since_ms is not None:
        details["deadline"] = iso(since_ms + facts.timeout_ms)
    return Reason(
        code=Code.RUNNING,
        sentence=f"Worker {job.worker} runs attempt {job.tries} of {job.max_attempts}.",
        since_ms=since_ms,
        details=details,
    )


def _lease_ended(job: Job, until_ms: int) -> Reason:
    is_last = isinstance(on_lost_lease(job), Abandoned)
    who = f"The client {job.worker} let its lock run out" if job.receipt else f"Worker {job.worker} has vanished"
    if job.taken:
        who = f"The program {_taker(job)} did not complete it in time"
    then = "no attempt is left, so it becomes a dead letter" if is_last else "within two minutes of that it runs again"
    return Reason(
        code=Code.LEASE_ENDED,
        sentence=f"{who}: its lease ended at {iso(until_ms)}; {then}.",
        remedy="wait: SQS shows its message again, or the clock comes to it; if it does not, run `taskyard doctor`",
        since_ms=until_ms,
        details={**_run(job), "leaseUntil": iso(until_ms), "recoverable": not is_last},
    )


def parked(job: Job) -> Reason:
    """Its handler has ended, and waits for somebody to call back."""
    until_ms = job.wake_at_ms
    until = "for ever" if until_ms is None else f"until {iso(until_ms)}, when it fails"
    return Reason(
        code=Code.PARKED,
        sentence=f"It waits for a callback, {until}.",
        remedy=f"`taskyard tasks complete {job.id}`, or POST /api/task/callback",
        since_ms=latest(job).at_ms,
        details={"attempt": job.tries, "until": None if until_ms is None else iso(until_ms)},
    )


def ended(job: Job) -> Reason:
    """It is done."""
    match job.state:
        case State.SUCCESS:
            return _succeeded(job)
        case State.CANCELED:
            return _canceled(job)
        case _ if job.replayed_at_ms is not None:
            return Reason(
                code=Code.REPLAYED,
                sentence=f"It failed, and was replayed at {iso(job.replayed_at_ms)} as job {job.replayed_as}.",
                remedy=f"`taskyard why {job.replayed_as}` says how that one stands",
                since_ms=job.replayed_at_ms,
                details={**_failure(job), "replayedAs": str(job.replayed_as)},
            )
        case _:
            return _failed(job)


def _succeeded(job: Job) -> Reason:
    at, by = _end(job), "" if job.completed_by is None else f" by {job.completed_by}"
    was_completed = latest(job).event is Event.COMPLETED
    return Reason(
        code=Code.SUCCEEDED,
        sentence=f"It was completed{by} at {at}." if was_completed else f"It succeeded at {at}.",
        since_ms=job.completed_at_ms,
        details={"attempt": job.tries, "completedBy": job.completed_by},
    )


def _failed(job: Job) -> Reason:
    if job.cause is Cause.ATTEMPTS_USED_UP:
        code, what = Code.ATTEMPTS_USED_UP, f"{_attempts(job)} failed"
    else:
        code, what = Code.FAILED, _CAUSES[job.cause]
    return Reason(
        code=code,
        sentence=f"{what}: {error_of(job)}.",
        remedy=f"`taskyard {'tasks retry' if job.kind is Kind.TASK else 'dlq replay'} {job.id}` once the cause is gone",
        since_ms=job.completed_at_ms,
        details=_failure(job),
    )


def _attempts(job: Job) -> str:
    since = " since it was retried" if job.epoch else ""
    return f"The only attempt{since}" if job.max_attempts == 1 else f"All {job.max_attempts} attempts{since}"


def _canceled(job: Job) -> Reason:
    last = latest(job)
    told = last.detail if last.event is Event.CANCELED else {}
    reason, who = told.get("reason"), told.get("by")
    if (newer := newer_in(reason)) is not None:
        return _superseded(job, newer)
    if reason is not None:
        origin, how = "service", f": {reason}"
    elif who is not None:
        origin, how = "request", by(who)
    elif job.graph is not None:
        origin, how = "request", f", by request or with its graph {job.graph}"
    elif job.blocked:
        origin, how = "request", f", by request or because its parent {job.parent_id} was deleted"
    else:
        origin, how = "request", ", by request"
    goes_on = f"; worker {job.worker} has not noticed yet" if job.run_goes_on else ""
    return Reason(
        code=Code.CANCELED,
        sentence=f"It was canceled at {_end(job)}{how}{goes_on}.",
        remedy=f"`taskyard tasks retry {job.id}`" if job.kind is Kind.TASK else None,
        since_ms=job.completed_at_ms,
        details={"canceledBy": origin, "by": who, "reason": reason, "runGoesOn": job.run_goes_on},
    )


def _superseded(job: Job, newer: str) -> Reason:
    return Reason(
        code=Code.SUPERSEDED,
        sentence=f"It was superseded by the newer job {newer} at {_end(job)}; of those that are alike the newest runs.",
        remedy=f"`taskyard why {newer}` says how that one stands",
        since_ms=job.completed_at_ms,
        details={"supersededBy": newer},
    )


def _run(job: Job) -> dict[str, Any]:
    return {"worker": job.worker, "attempt": job.tries, "maxAttempts": job.max_attempts}


def _taker(job: Job) -> str:
    return (job.worker or "").removeprefix(ELSEWHERE)


def _failure(job: Job) -> dict[str, Any]:
    return {
        "cause": None if job.cause is None else job.cause.value,
        "error": None if job.error is None else job.error.to_document(),
        "attempt": job.tries,
        "maxAttempts": job.max_attempts,
    }


def _end(job: Job) -> str:
    return iso(job.completed_at_ms or job.updated_at_ms)
