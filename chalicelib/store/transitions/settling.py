"""An attempt ends, and its job succeeds, is retried, waits or becomes a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import LIGHT_EVENTS
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind, State
from chalicelib.core.texts import shortened
from chalicelib.core.trace import ERROR_MAX_CHARS, TRACE_MAX_EVENTS, Event, TraceEvent, failed, started
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.clauses import (
    ATTEMPTS_LEFT,
    CHILDLESS,
    NOT_BLOCKED,
    holds_lease,
    in_state,
    lease_ran_out,
    room_in_trace,
    same_delivery,
    same_uid,
    woken_by,
)
from chalicelib.store.concurrency import Action
from chalicelib.store.expressions import Clause
from chalicelib.store.job_items import state_key
from chalicelib.store.ledger import Ledger, Transition
from chalicelib.store.settled import StoredOutput


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A job that was run without a claim, as it was read before, and what the run has come to."""

    job: Job
    worker: str
    output: StoredOutput
    started_at_ms: int
    ended_at_ms: int


@dataclass(frozen=True, slots=True)
class Settling(Ledger):
    """How an attempt ends."""

    def succeed(self, job: Job, output: StoredOutput | None, now_ms: int, *beside: Action) -> Job:
        """running -> success, fenced by the lease; all or nothing with the actions ``beside`` it.

        ``output`` is ``None`` where the record has it already.
        """
        sets = {**_stored(output), "error": None, "finishing": None, "completed_at_ms": now_ms}
        event = TraceEvent(Event.SUCCEEDED, now_ms)
        wake_at_ms = now_ms if job.remove_on_complete else None
        succeeded = Transition(State.SUCCESS, now_ms, sets=sets, event=event, wake_at_ms=wake_at_ms)
        return self._settle(job, succeeded, *beside)

    def succeed_unclaimed(self, runs: Sequence[Unclaimed], now_ms: int) -> None:
        """pending -> success, of up to a hundred jobs or of none; each counts one attempt.

        Raises ``TransactionRefused`` where one of them is no longer free, or its success would set something going.
        """
        self.table.transact([self._succeeding_unclaimed(run, now_ms) for run in runs])

    def _succeeding_unclaimed(self, run: Unclaimed, now_ms: int) -> AttributeValues:
        seen = run.job
        fence = (
            in_state(State.PENDING),
            same_uid(seen.uid),
            same_delivery(seen.delivery),
            NOT_BLOCKED,
            ATTEMPTS_LEFT,
            CHILDLESS,
            room_in_trace(TRACE_MAX_EVENTS - LIGHT_EVENTS),
        )
        started_event = started(run.started_at_ms, run.worker if seen.kind is Kind.MESSAGE else None)
        _, appends = self._traced(None, started_event, TraceEvent(Event.SUCCEEDED, now_ms))
        sets = {
            **_stored(run.output),
            "error": None,
            "worker": run.worker,
            "started_at_ms": run.started_at_ms,
            "completed_at_ms": now_ms,
        }
        ran_ms = max(0, run.ended_at_ms - run.started_at_ms)
        adds = {"attempts": 1, **({"run_ms": ran_ms} if ran_ms else {})}
        change, _ = self._made(seen, Transition(State.SUCCESS, now_ms, fence, sets, adds))
        change = replace(change, appends=appends, keeps={"first_started_at_ms": run.started_at_ms})
        return self.table.updating(state_key(seen.id), change)

    def retry_later(
        self,
        job: Job,
        error: JobError,
        due_at_ms: int,
        wake_at_ms: int,
        *,
        resend: bool,
        succeeded_subscribers: Sequence[str],
        now_ms: int,
        charged: bool = True,
    ) -> Job:
        """running -> pending until ``due_at_ms``, fenced by the lease; the clock looks at ``wake_at_ms``.

        ``resend``: this message ends here, and the clock sends the next delivery. An attempt that is not ``charged``
        leaves as many as there were.
        """
        sets: dict[str, Any] = {
            "due_at_ms": due_at_ms,
            "error": error.to_document(),
            "succeeded_subscribers": list(succeeded_subscribers) or None,
            "delivery": job.delivery + 1 if resend else job.delivery,
        }
        if charged:
            event, adds = failed(now_ms, job.attempts, error.message, due_at_ms), {"failures": 1}
        else:
            detail = {"attempt": job.attempts, "error": shortened(error.message, ERROR_MAX_CHARS)}
            event, adds = TraceEvent(Event.INTERRUPTED, now_ms, detail), {"attempt_limit": 1}
        retried = Transition(State.PENDING, now_ms, sets=sets, adds=adds, event=event, wake_at_ms=wake_at_ms)
        return self._settle(job, retried)

    def poll_later(self, job: Job, due_at_ms: int, wake_at_ms: int, *, resend: bool, now_ms: int) -> Job:
        """running -> pending until ``due_at_ms``, fenced by the lease: the next run goes on with the same attempt."""
        sets = {"due_at_ms": due_at_ms, "delivery": job.delivery + 1 if resend else job.delivery}
        adds = {"attempt_limit": 1, "polled": 1}
        return self._settle(job, Transition(State.PENDING, now_ms, sets=sets, adds=adds, wake_at_ms=wake_at_ms))

    def park(self, job: Job, context: StoredOutput | None, wake_at_ms: int | None, now_ms: int) -> Job:
        """running -> waiting, fenced by the lease; the clock ends the wait at ``wake_at_ms``, if it is given."""
        sets = {} if context is None else {"context": context.text, "context_at": context.place}
        event = TraceEvent(Event.PARKED, now_ms, {"attempt": job.attempts})
        return self._settle(job, Transition(State.WAITING, now_ms, sets=sets, event=event, wake_at_ms=wake_at_ms))

    def dead_letter(
        self, seen: Job, cause: Cause, error: JobError, now_ms: int, output: StoredOutput | None = None
    ) -> Job:
        """running, pending or waiting -> failed: the record becomes a dead letter. It may have an output.

        A run's own end is fenced by its lease. For everybody else the job must still be as it was ``seen``: running
        with an expired lease (``Cause.LEASE_LOST``), pending, or waiting for too long.
        """
        sets = {**_stored(output), "error": error.to_document(), "cause": cause.value, "finishing": None}
        sets["completed_at_ms"] = now_ms
        detail = {"attempt": seen.attempts, "error": shortened(error.message, ERROR_MAX_CHARS), "cause": cause.value}
        event = TraceEvent(Event.DEAD, now_ms, detail)
        dead = Transition(State.FAILED, now_ms, sets=sets, adds={"failures": 1}, event=event)
        if seen.state is State.RUNNING and cause is not Cause.LEASE_LOST:
            return self._settle(seen, dead)
        run_ends = seen.state is State.RUNNING
        return self._make(seen, replace(dead, clauses=_abandoned(seen, now_ms), run_ends=run_ends))


def _abandoned(seen: Job, now_ms: int) -> tuple[Clause, ...]:
    """Nobody works on the job that was ``seen``, and nothing has changed that."""
    if seen.state is State.WAITING:
        return (in_state(State.WAITING), woken_by(seen.wake_at_ms or 0))
    lease = holds_lease(seen.lease) if seen.lease else Clause("never leased", "attribute_not_exists({lease})")
    expiry = (lease_ran_out(now_ms),) if seen.state is State.RUNNING else ()
    return (in_state(seen.state), lease, *expiry, same_delivery(seen.delivery))


def _stored(output: StoredOutput | None) -> dict[str, Any]:
    """What to set for an output; nothing where the record keeps the one it has."""
    return {} if output is None else {"output": output.text, "output_at": output.place}
