"""Every transition of a job. How the table is laid out: ``ledger.py``.

Each transition is one conditional write that sets exactly its own fields. The race that every clause wins::

    worker A   claim(lease=a) ... stalls ......................... settle(lease=a) -> Refused: holds_lease
    worker B                      lease ends   take_over(lease=b) ... settle(lease=b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import LIGHT_EVENTS
from chalicelib.core.job import Job, JobError, Progress, Tombstone
from chalicelib.core.limits import Concurrency, Limit
from chalicelib.core.states import Kind, State
from chalicelib.core.texts import shortened
from chalicelib.core.trace import ERROR_MAX_CHARS, TRACE_MAX_EVENTS, Event, TraceEvent, failed, started
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.clauses import (
    ABSENT,
    ATTEMPTS_LEFT,
    CHILDLESS,
    EXISTS,
    HAS_SLOT,
    NOT_BLOCKED,
    NOT_REPLAYED,
    UNCOUNTED,
    UNHEARD,
    as_is,
    as_seen,
    due_by,
    holds_lease,
    in_state,
    lease_ran_out,
    room_in_trace,
    same_delivery,
    same_uid,
    slot_fence,
    woken_by,
)
from chalicelib.store.concurrency import Action, Count
from chalicelib.store.ledger import (
    ASIDE,
    BODY_PART,
    CHILD_PREFIX,
    DELETED,
    NO_WAKE,
    OBJECT_PLACE,
    REPLAYED,
    STATE_PART,
    Completed,
    JobRefused,
    Ledger,
    StoredOutput,
    decoded,
    state_key,
)
from chalicelib.store.table import Change, Clause, Refused

SETTLED_BY_RESET = "reset"
FINISHING_ATTEMPTS = 3  # how often a completion handler may be begun whose worker vanishes


@dataclass(frozen=True, slots=True)
class Lease:
    """What a claim is made with: who runs, under which token, until when (milliseconds since 1970).

    A polled job also keeps the SQS queue and the receipt handle by which its message is settled later.
    """

    token: str
    until_ms: int
    worker: str
    source: str | None = None
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A job that was run without a claim, as it was read before, and what the run has come to."""

    job: Job
    worker: str
    output: StoredOutput
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class JobStore(Ledger):
    """The transitions of a job."""

    # -- publishing ---------------------------------------------------------------------------

    def record(self, job: Job, body: str | None = None) -> None:
        """Write a new record, with a large ``body`` beside it.

        Raises ``JobRefused`` when the id is taken, be it by this very job (same uid) or another.
        """
        if body is None and not job.limited:
            try:
                self.table.put(self.item(job), ABSENT)
            except Refused as refused:
                raise JobRefused(str(refused), decoded(refused.old)) from refused
        else:
            self.together(self.recording(job, body))

    def recording(self, job: Job, body: str | None = None, within: Limit | None = None) -> list[Action]:
        """The actions that write a new record (first) in a transaction.

        The last of them counts a job of a limited type; it is refused where that would exceed ``within``.
        """
        actions: list[Action] = [self.table.putting(self.item(job), ABSENT)]
        if body is not None:
            actions.append(self.table.putting({"job": job.id, "part": BODY_PART, "text": body}))
        if job.concurrency_share:
            actions.append(Count(job.counted_as, job.concurrency_share, within))
        return actions

    def adopting(self, parent_id: int, child_id: int) -> list[AttributeValues]:
        """The actions by which a child begins to wait for its parent; refused if that has succeeded, or is deleted."""
        over = {":success": State.SUCCESS.value, ":deleted": DELETED}
        waits = Clause("parent not done", "{state} <> :success AND {state} <> :deleted", over)
        return [
            self.table.updating(state_key(parent_id), Change((EXISTS, waits), sets={"has_children": True})),
            self.table.putting({"job": parent_id, "part": f"{CHILD_PREFIX}{child_id}"}),
        ]

    # -- claiming -----------------------------------------------------------------------------

    def count_in(self, envelope: Job, limit: Limit, now_ms: int) -> None:
        """Count a job that is due and was not counted before; it stays pending.

        Raises ``JobRefused``, and ``TransactionRefused`` where ``limit`` leaves no room.
        """
        fence = (
            in_state(State.PENDING),
            same_uid(envelope.uid),
            same_delivery(envelope.delivery),
            due_by(now_ms),
            as_seen(envelope),
            UNCOUNTED,
        )
        counted = replace(envelope, limited=True)
        count = Count(counted.counted_as, counted.concurrency_share, limit)
        self._apply(envelope.id, Change(fence, sets={"limited": True}), [count])

    def claim(
        self, envelope: Job, lease: Lease, now_ms: int, seen: Job | None = None, limit: Limit | None = None
    ) -> Job:
        """pending -> running, under a lease. Raises ``JobRefused`` with the record that stands in the way.

        ``seen`` is the record of an earlier refusal whose trace is full: it is shortened on the way. Or one whose run
        before went on after somebody had ended it, until its lease ran out: its slot is taken over. Any other job of
        a limited type takes a slot of its own; raises ``TransactionRefused`` where ``limit`` leaves none.
        """
        inherits = seen is not None and seen.run_goes_on
        fence = (
            in_state(State.PENDING),
            same_uid(envelope.uid),
            same_delivery(envelope.delivery),
            due_by(now_ms),
            NOT_BLOCKED,
            ATTEMPTS_LEFT,
            room_in_trace(TRACE_MAX_EVENTS - 1) if seen is None else as_seen(seen),
            *slot_fence(envelope, inherits, now_ms),
        )
        sets, appends = self._traced(seen, _started(envelope, lease, now_ms))
        change = Change(
            fence,
            sets={**self._running(envelope, lease, now_ms), **sets},
            adds={"attempts": 1},
            appends=appends,
            keeps={"first_started_at_ms": now_ms},
        )
        takes = envelope.limited and not inherits
        claimed = self._change(
            envelope.id, change, [Count(envelope.counted_as, Concurrency(running=1), limit)] if takes else []
        )
        if claimed.lease != lease.token or claimed.state is not State.RUNNING:  # as read after the transaction
            raise JobRefused("the job moved on at once", claimed)
        return claimed

    def claim_unrecorded(self, envelope: Job, body: str | None, lease: Lease, now_ms: int) -> Job:
        """absent -> running: make the record that the publisher could not.

        Raises ``JobRefused`` when the publisher was faster after all.
        """
        job = replace(
            envelope,
            state=State.RUNNING,
            updated_at_ms=now_ms,
            attempts=1,
            lease=lease.token,
            lease_until_ms=lease.until_ms,
            worker=lease.worker,
            source=lease.source,
            receipt=lease.receipt,
            started_at_ms=now_ms,
            first_started_at_ms=now_ms,
            trace=(*envelope.trace, _started(envelope, lease, now_ms).to_line()),
        )
        self.record(job, body)
        return job

    def take_over(self, seen: Job, lease: Lease, now_ms: int) -> Job:
        """running with an expired lease -> running under a new one. Raises ``JobRefused`` if it was extended."""
        recovered, uncharged = _recovery(seen, now_ms)
        sets, appends = self._traced(seen, recovered, _started(seen, lease, now_ms))
        budget = UNHEARD if seen.silent else ATTEMPTS_LEFT
        fence = (in_state(State.RUNNING), holds_lease(seen.lease or ""), lease_ran_out(now_ms), budget)
        change = Change(
            (*fence, *slot_fence(seen, seen.slot)),
            sets={**self._running(seen, lease, now_ms), **sets},
            adds={"attempts": 1, **uncharged},
            appends=appends,
        )
        return self._change(seen.id, change)

    # -- while it runs ------------------------------------------------------------------------

    def extend_lease(self, job_id: int, lease: str, until_ms: int, running_at: str | None = None) -> None:
        """Keep the lease until ``until_ms``; raises ``JobRefused`` when the job was canceled or taken over.

        ``running_at`` is where the run is by now, if that is to be noted.
        """
        sets: dict[str, Any] = {"lease_until_ms": until_ms, "heard": True}
        if running_at is not None:
            sets["running_at"] = running_at
        self._apply(job_id, Change((in_state(State.RUNNING), holds_lease(lease)), sets=sets))

    def keep_slot(self, job_id: int, lease: str, until_ms: int) -> None:
        """A run goes on whose job somebody has ended: keep its slot until ``until_ms``. Raises ``JobRefused``."""
        self._apply(job_id, Change((holds_lease(lease), HAS_SLOT), sets={"lease_until_ms": until_ms}))

    def free_slot(self, seen: Job) -> Job:
        """The run of a job that somebody had ended is over, or its worker is gone. Raises ``JobRefused``."""
        fence = (in_state(seen.state), holds_lease(seen.lease or ""), HAS_SLOT)
        change = Change(fence, sets={"slot": None, "lease_until_ms": None})
        return self._change(seen.id, change, self._counted(seen, replace(seen, slot=False)))

    def delete_when_over(self, seen: Job) -> None:
        """A job that is done, whose run goes on, is to be deleted once that is over. Raises ``JobRefused``."""
        fence = (in_state(seen.state), holds_lease(seen.lease or ""), HAS_SLOT)
        self._apply(seen.id, Change(fence, sets={"delete_when_over": True}))

    def report_progress(self, job_id: int, lease: str, progress: Progress, now_ms: int) -> None:
        """Write how far the handler says it is; raises ``JobRefused`` when the job was canceled or taken over."""
        fence = (in_state(State.RUNNING), holds_lease(lease))
        self._apply(job_id, Change(fence, sets={"progress": progress.to_text(), "updated_at_ms": now_ms}))

    def report_poll(self, job: Job, progress: Progress | None, result: AttributeValues, now_ms: int) -> None:
        """Count a poll and keep its ``result``; raises ``JobRefused`` when the job was canceled or taken over."""
        sets: dict[str, Any] = {"updated_at_ms": now_ms}
        if progress is not None:
            sets["progress"] = progress.to_text()
        fence = (in_state(State.RUNNING), holds_lease(job.lease or ""))
        self._apply(job.id, Change(fence, sets=sets, adds={"poll_count": 1}), [result])

    # -- settling -----------------------------------------------------------------------------

    def succeed(self, job: Job, output: StoredOutput | None, now_ms: int, *beside: Action) -> Job:
        """running -> success, fenced by the lease; all or nothing with the actions ``beside`` it.

        ``output`` is ``None`` where the record has it already.
        """
        sets = {**_stored(output), "error": None, "finishing": None, "completed_at_ms": now_ms}
        event = TraceEvent(Event.SUCCEEDED, now_ms)
        wake_at_ms = now_ms if job.remove_on_complete else None
        return self._settle(job, State.SUCCESS, sets, event, now_ms, wake_at_ms=wake_at_ms, beside=beside)

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
        change, _ = self._ending(seen, State.SUCCESS, fence, sets, None, now_ms, adds={"attempts": 1})
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
        return self._settle(job, State.PENDING, sets, event, now_ms, adds=adds, wake_at_ms=wake_at_ms)

    def poll_later(self, job: Job, due_at_ms: int, wake_at_ms: int, *, resend: bool, now_ms: int) -> Job:
        """running -> pending until ``due_at_ms``, fenced by the lease: the next run goes on with the same attempt."""
        sets = {"due_at_ms": due_at_ms, "delivery": job.delivery + 1 if resend else job.delivery}
        adds = {"attempt_limit": 1, "polled": 1}
        return self._settle(job, State.PENDING, sets, None, now_ms, adds=adds, wake_at_ms=wake_at_ms)

    def park(self, job: Job, context: StoredOutput | None, wake_at_ms: int | None, now_ms: int) -> Job:
        """running -> waiting, fenced by the lease; the clock ends the wait at ``wake_at_ms``, if it is given."""
        sets = {} if context is None else {"context": context.text, "context_at": context.place}
        event = TraceEvent(Event.PARKED, now_ms, {"attempt": job.attempts})
        return self._settle(job, State.WAITING, sets, event, now_ms, wake_at_ms=wake_at_ms)

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
        event, adds = TraceEvent(Event.DEAD, now_ms, detail), {"failures": 1}
        if seen.state is State.RUNNING and cause is not Cause.LEASE_LOST:
            return self._settle(seen, State.FAILED, sets, event, now_ms, adds=adds)
        fence, run_ends = _abandoned(seen, now_ms), seen.state is State.RUNNING
        return self._end(seen, State.FAILED, fence, sets, event, now_ms, adds=adds, run_ends=run_ends)

    # -- between attempts ---------------------------------------------------------------------

    def remind(self, job_id: int, uid: str, delivery: int, wake_at_ms: int) -> None:
        """Let the clock look after a message that goes back unstarted, in case it is not redelivered."""
        self._apply(
            job_id,
            Change(
                (in_state(State.PENDING), same_uid(uid), same_delivery(delivery)),
                sets=self._wake(job_id, wake_at_ms),
            ),
        )

    def sent(self, job_id: int, delivery: int, now_ms: int) -> None:
        """The delivery is on its way: the clock need not send it."""
        self._apply(
            job_id,
            Change(
                (in_state(State.PENDING), same_delivery(delivery)),
                sets={"sent_at_ms": now_ms, **NO_WAKE},
            ),
        )

    def wake_later(self, seen: Job, wake_at_ms: int) -> None:
        """Move the wake-up call of a job that the clock looked at."""
        self._apply(seen.id, Change((EXISTS, woken_by(seen.wake_at_ms or 0)), sets=self._wake(seen.id, wake_at_ms)))

    def forget_wake(self, seen: Job) -> None:
        """Drop the wake-up call of a job that needs none any more."""
        self._apply(seen.id, Change((EXISTS, woken_by(seen.wake_at_ms or 0)), sets=NO_WAKE))

    def set_aside(self, seen: Job, wake_at_ms: int) -> None:
        """The clock could not do what was to be done: it looks again then, and other jobs come first.

        Raises ``JobRefused`` where somebody else has moved the job.
        """
        sets = {"wake_key": ASIDE, "wake_at_ms": wake_at_ms, "set_aside": seen.set_aside + 1}
        self._apply(seen.id, Change((EXISTS, woken_by(seen.wake_at_ms or 0)), sets=sets))

    def resend(self, seen: Job, now_ms: int, wake_at_ms: int, due_at_ms: int | None = None) -> Job:
        """pending -> pending with a new delivery, not yet sent: whatever was sent before is void."""
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.PENDING), same_delivery(seen.delivery)),
            {"delivery": seen.delivery + 1, "due_at_ms": due_at_ms or seen.due_at_ms},
            None,
            now_ms,
            wake_at_ms=wake_at_ms,
        )

    def requeue(self, seen: Job, due_at_ms: int, wake_at_ms: int, now_ms: int) -> Job:
        """pending -> pending, once more back from the dead-letter queue, with a new delivery not yet sent."""
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.PENDING), same_delivery(seen.delivery)),
            {"delivery": seen.delivery + 1, "due_at_ms": due_at_ms},
            TraceEvent(Event.REQUEUED, now_ms, {"lap": seen.requeue_count + 1}),
            now_ms,
            adds={"laps": 1},
            wake_at_ms=wake_at_ms,
        )

    def recover(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """running with a lease that ran out and nobody took over -> pending, with a new delivery not yet sent."""
        recovered, uncharged = _recovery(seen, now_ms)
        unheard = (UNHEARD,) if seen.silent else ()
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.RUNNING), holds_lease(seen.lease or ""), lease_ran_out(now_ms), *unheard),
            {"delivery": seen.delivery + 1, "due_at_ms": now_ms, "lease_until_ms": None},
            recovered,
            now_ms,
            adds=uncharged,
            wake_at_ms=wake_at_ms,
            run_ends=True,
        )

    def defer(self, seen: Job, wake_at_ms: int | None, *beside: Action) -> None:
        """pending -> pending with a new delivery that nobody sends; all or nothing with the actions ``beside`` it.

        The clock sends it at ``wake_at_ms``, if that is given and nobody else has by then. Raises ``JobRefused``, and
        ``TransactionRefused`` where one of the others was refused.
        """
        wake = NO_WAKE if wake_at_ms is None else self._wake(seen.id, wake_at_ms)
        fence = (in_state(State.PENDING), same_uid(seen.uid), same_delivery(seen.delivery))
        self._apply(seen.id, Change(fence, sets={"delivery": seen.delivery + 1, **wake}), beside)

    def release(self, job_id: int, delivery: int, wake_at_ms: int, *beside: AttributeValues) -> Job:
        """A job that was deferred under ``delivery`` is to be sent; all or nothing with the actions ``beside`` it.

        Raises as ``defer`` does.
        """
        fence = (in_state(State.PENDING), same_delivery(delivery))
        return self._change(job_id, Change(fence, sets=self._wake(job_id, wake_at_ms)), beside)

    def unblock(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """A child whose parent succeeded stops waiting: a new delivery, not yet sent."""
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.PENDING), Clause("held", "attribute_exists({held})")),
            {"held": None, "delivery": seen.delivery + 1},
            None,
            now_ms,
            wake_at_ms=wake_at_ms,
        )

    # -- by request ---------------------------------------------------------------------------

    def complete(
        self, seen: Job, by: Completed, error: JobError | None, output: StoredOutput, now_ms: int, *beside: Action
    ) -> Job:
        """pending, running or waiting -> success, or with an ``error`` failed, at somebody's word.

        A running worker's lease is void: it changes nothing more. All or nothing with the actions ``beside`` it.
        """
        state = State.SUCCESS if error is None else State.FAILED
        sets = {
            "output": output.text,
            "output_at": output.place,
            "error": error.to_document() if error is not None else None,
            "cause": Cause.CONSUMER.value if error is not None else None,
            "completed_at_ms": now_ms,
            **by.sets(),
        }
        event = TraceEvent(Event.COMPLETED, now_ms, {"success": error is None})
        removal = now_ms if seen.remove_on_complete and error is None else None
        fence = (as_is(seen),)
        return self._completed(by, lambda: self._end(seen, state, fence, sets, event, now_ms, None, removal, beside))

    def finish_later(self, seen: Job, by: Completed, output: StoredOutput, wake_at_ms: int, now_ms: int) -> Job:
        """pending, running or waiting -> pending, with its output: a worker shall call the completion handler.

        A new delivery, not yet sent. That run has attempts of its own, beyond the job's budget.
        """
        sets = {
            "output": output.text,
            "output_at": output.place,
            "finishing": True,
            "held": None,
            "delivery": seen.delivery + 1,
            "due_at_ms": now_ms,
            "attempt_limit": max(seen.attempt_limit, seen.attempts + FINISHING_ATTEMPTS),
            **by.sets(),
        }
        event = TraceEvent(Event.COMPLETED, now_ms, {"success": True})
        fence = (as_is(seen),)
        return self._completed(
            by, lambda: self._end(seen, State.PENDING, fence, sets, event, now_ms, wake_at_ms=wake_at_ms)
        )

    def promote(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """pending until later -> pending and due now, with a new delivery not yet sent."""
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.PENDING), same_delivery(seen.delivery), as_seen(seen)),
            {"delivery": seen.delivery + 1, "due_at_ms": now_ms, "start_at_ms": now_ms},
            TraceEvent(Event.PROMOTED, now_ms),
            now_ms,
            wake_at_ms=wake_at_ms,
        )

    def reset(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """running -> pending and due now, whoever runs it: their lease is void, their attempt not charged."""
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.RUNNING), holds_lease(seen.lease or "")),
            {"delivery": seen.delivery + 1, "due_at_ms": now_ms, "seal": SETTLED_BY_RESET},
            TraceEvent(Event.INTERRUPTED, now_ms, {"attempt": seen.attempts}),
            now_ms,
            adds={"attempt_limit": 1},
            wake_at_ms=wake_at_ms,
        )

    def cancel(self, seen: Job, now_ms: int) -> Job:
        """pending, running or waiting -> canceled; the lease is void, so a running worker changes nothing more."""
        return self._end(
            seen,
            State.CANCELED,
            (in_state(State.PENDING, State.RUNNING, State.WAITING),),
            {"completed_at_ms": now_ms, "finishing": None},
            TraceEvent(Event.CANCELED, now_ms),
            now_ms,
        )

    def skip(self, seen: Job, reason: str, now_ms: int, *beside: Action) -> Job:
        """pending -> canceled before it ever ran, with the ``reason`` as its message; all or nothing with ``beside``.

        Raises ``JobRefused``, and ``TransactionRefused`` where one of the others was refused.
        """
        return self._end(seen, State.CANCELED, *_skipped(seen, reason, now_ms), beside=beside)

    def skipping(self, seen: Job, reason: str, now_ms: int) -> list[Action]:
        """The actions of ``skip``, for a transaction with others."""
        change, counted = self._ending(seen, State.CANCELED, *_skipped(seen, reason, now_ms))
        return [self.table.updating(state_key(seen.id), change), *counted]

    def prioritize(self, seen: Job, priority: int, wake_at_ms: int | None, now_ms: int) -> Job:
        """Another priority; a pending job that travels gets a new delivery, not yet sent, for its new lane."""
        fence = (in_state(seen.state), same_delivery(seen.delivery), as_seen(seen))
        sets: dict[str, Any] = {"priority": priority, "updated_at_ms": now_ms}
        if wake_at_ms is not None:
            sets |= {"delivery": seen.delivery + 1, **self._wake(seen.id, wake_at_ms)}
        return self._change(seen.id, Change(fence, sets=sets))

    def restart(self, seen: Job, wake_at_ms: int | None, now_ms: int, *, blocked: bool) -> Job:
        """failed or canceled -> pending with as many attempts as at first, and a new delivery not yet sent.

        The attempts go on being numbered, because a worker of an old one may still be busy.
        """
        return self._end(
            seen,
            State.PENDING,
            (in_state(State.FAILED, State.CANCELED), NOT_REPLAYED, same_delivery(seen.delivery), as_seen(seen)),
            {
                "held": blocked or None,
                "delivery": seen.delivery + 1,
                "due_at_ms": now_ms,
                "attempt_limit": seen.attempts + seen.max_attempts,
                "failures": 0,
                "poll_count": None,
                "silences": None,
                "round": seen.attempts,
                "laps": 0,
                "error": None,
                "cause": None,
                "completed_at_ms": None,
                "completed_by": None,
                "msg": None,
                "finishing": None,
                "delete_when_over": None,
                "progress": None,
                "succeeded_subscribers": None,
            },
            TraceEvent(Event.RETRIED, now_ms),
            now_ms,
            wake_at_ms=wake_at_ms,
        )

    def replaying(self, seen: Job, successor_id: int, now_ms: int) -> AttributeValues:
        """The action that marks a dead letter as replayed by the job ``successor_id``; refused the second time."""
        change = Change(
            (in_state(State.FAILED), NOT_REPLAYED),
            sets={
                "replayed_at_ms": now_ms,
                "replayed_as": successor_id,
                "updated_at_ms": now_ms,
                **self._index_keys(seen, REPLAYED),
            },
        )
        return self.table.updating(state_key(seen.id), change)

    def delete(self, job: Job, expires_at_s: int, removal: str = "") -> Tombstone:
        """Replace a finished job by a tombstone, so that no late delivery can bring it back; then delete its parts.

        A message's tombstone keeps its trace, and where the trace is found.
        The tombstone names what is left in the bucket until ``purged`` says that nothing is. May be repeated: by its
        ``removal``, which nobody else has, a repeated write knows its own tombstone from another's.
        Raises ``JobRefused`` unless the job is as it was seen, or has this very tombstone.
        """
        fence = (in_state(job.state), same_uid(job.uid), same_delivery(job.delivery))
        places = [place for place in (job.body_at, job.output_at, job.context_at) if place is not None]
        unpurged = places or [BODY_PART]
        tombstone_item = {
            **state_key(job.id),
            **self.remembrance(job),
            "state": DELETED,
            "expires_at_s": expires_at_s,
            "leftovers": unpurged,
            **({"removal": removal} if removal else {}),
        }
        try:
            self.table.put(tombstone_item, *fence)
        except Refused as refused:
            ledger = decoded(refused.old)
            ours = isinstance(ledger, Tombstone) and (refused.old or {}).get("removal", "") == removal
            if not ours:  # otherwise our own write, whose answer was lost
                raise JobRefused(str(refused), ledger) from refused
        tombstone = Tombstone(job.id, tuple(unpurged), job.story if job.kind is Kind.MESSAGE else None)
        self.delete_parts(job.id)
        if not any(place.startswith(OBJECT_PLACE) for place in unpurged):
            self.purged(tombstone)
        return tombstone

    def delete_parts(self, job_id: int) -> None:
        """Delete the items beside a tombstone."""
        parts = self.table.query_all("{job} = :job", {":job": job_id}, consistent=True)
        self.table.delete_many([{"job": job_id, "part": row["part"]} for row in parts if row["part"] != STATE_PART])

    def purged(self, tombstone: Tombstone) -> None:
        """Nothing of the job is left but its tombstone."""
        deleted = Clause("deleted", "{state} = :deleted", {":deleted": DELETED})
        try:
            self.table.apply(state_key(tombstone.id), Change((deleted,), sets={"leftovers": None, "removal": None}))
        except Refused:
            return  # its time was over in between

    # -- small parts --------------------------------------------------------------------------

    def _running(self, job: Job, lease: Lease, now_ms: int) -> dict[str, Any]:
        return {
            "state": State.RUNNING.value,
            **self._index_keys(job, State.RUNNING.value),
            "updated_at_ms": now_ms,
            "started_at_ms": now_ms,
            "lease": lease.token,
            "lease_until_ms": lease.until_ms,
            "worker": lease.worker,
            "source": lease.source,
            "receipt": lease.receipt,
            "heard": None,
            "seal": None,
            **NO_WAKE,
            **({"slot": True} if job.limited else {}),
            **({} if job.application is None else {"running_at": None}),
        }


def _skipped(seen: Job, reason: str, now_ms: int) -> tuple[tuple[Clause, ...], dict[str, Any], TraceEvent, int]:
    """What ``skip`` demands, sets and tells, and when."""
    fence = (in_state(State.PENDING), same_uid(seen.uid), same_delivery(seen.delivery), as_seen(seen))
    event = TraceEvent(Event.CANCELED, now_ms, {"reason": reason})
    return fence, {"completed_at_ms": now_ms, "msg": reason}, event, now_ms


def _started(job: Job, lease: Lease, now_ms: int) -> TraceEvent:
    """How a run is told to begin: of a message with its consumer."""
    return started(now_ms, lease.worker if job.kind is Kind.MESSAGE else None)


def _recovery(seen: Job, now_ms: int) -> tuple[TraceEvent, dict[str, int]]:
    """How a lease that ran out is told, and what to add so that one without a sign of its client costs no attempt."""
    if not seen.silent:
        return TraceEvent(Event.RECOVERED, now_ms, {"attempt": seen.attempts}), {}
    detail = TraceEvent(Event.RECOVERED, now_ms, {"attempt": seen.attempts, "silent": seen.silences + 1})
    return detail, {"attempt_limit": 1, "silences": 1}


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
