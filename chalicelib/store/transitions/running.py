"""An attempt begins, goes on, and is lost with its worker: all that a lease is about but its end by a settle.

The race that every clause wins::

    worker A   claim(lease=a) ... stalls ......................... settle(lease=a) -> Refused: holds_lease
    worker B                      lease ends   take_over(lease=b) ... settle(lease=b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.core.job import Job, Progress, changed
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS, Event, TraceEvent, started
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.clauses import (
    ATTEMPTS_LEFT,
    HAS_SLOT,
    NOT_BLOCKED,
    UNHEARD,
    as_seen,
    due_by,
    holding,
    holds_lease,
    in_state,
    lease_ran_out,
    room_in_trace,
    same_delivery,
    same_uid,
    taking,
)
from chalicelib.store.concurrency import Action
from chalicelib.store.expressions import Change
from chalicelib.store.ledger import NO_WAKE, JobRefused, Transition
from chalicelib.store.shares import share_changes
from chalicelib.store.transitions.recording import Recording


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
class Takes:
    """What a run must get to begin: slots, which its job then holds, and whatever else ``actions`` take beside them."""

    slot: bool = False
    key_slot: bool = False
    actions: Sequence[Action] = ()

    def sets(self) -> dict[str, Any]:
        """The record's attributes for it."""
        return {name: True for name, taken in (("slot", self.slot), ("key_slot", self.key_slot)) if taken}


TAKES_NOTHING = Takes()


@dataclass(frozen=True, slots=True)
class Running(Recording):
    """Who runs a job, and for how long."""

    def claim(
        self,
        envelope: Job,
        lease: Lease,
        now_ms: int,
        seen: Job | None = None,
        takes: Takes = TAKES_NOTHING,
    ) -> Job:
        """pending -> running, under a lease. Raises ``JobRefused`` with the record that stands in the way.

        ``seen`` is the record of an earlier refusal whose trace is full: it is shortened on the way. Or one whose run
        before went on after somebody had ended it, until its lease ran out: its slots are taken over. ``takes`` is what
        the run must get to begin; raises ``TransactionRefused``, its actions in order behind the job's own, where some
        of it cannot be had.
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
            *((*holding(seen), lease_ran_out(now_ms)) if seen is not None and inherits else ()),
            *taking(envelope, slot=takes.slot, key_slot=takes.key_slot),
        )
        sets, appends = self._traced(seen, _started(envelope, lease, now_ms))
        change = Change(
            fence,
            sets={**self._running(envelope, lease, now_ms), **takes.sets(), **sets},
            adds={"attempts": 1},
            appends=appends,
            keeps={"first_started_at_ms": now_ms},
        )
        claimed = self._change(envelope.id, change, takes.actions)
        if claimed.lease != lease.token or claimed.state is not State.RUNNING:  # as read after the transaction
            raise JobRefused("the job moved on at once", claimed)
        return claimed

    def claim_unrecorded(self, envelope: Job, body: str | None, lease: Lease, now_ms: int) -> Job:
        """absent -> running: make the record that the publisher could not.

        Raises ``JobRefused`` when the publisher was faster after all.
        """
        job = changed(
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

    def take_over(self, seen: Job, lease: Lease, now_ms: int, takes: Takes = TAKES_NOTHING) -> Job:
        """running with an expired lease -> running under a new one, with the slots that it has, and what it ``takes``.

        Raises ``JobRefused`` if the lease was extended, and ``TransactionRefused`` as ``claim`` does.
        """
        recovered, uncharged = _recovery(seen, now_ms)
        ran_ms = seen.running_ms(now_ms)
        sets, appends = self._traced(seen, recovered, _started(seen, lease, now_ms))
        budget = UNHEARD if seen.silent else ATTEMPTS_LEFT
        fence = (in_state(State.RUNNING), holds_lease(seen.lease or ""), lease_ran_out(now_ms), budget)
        change = Change(
            (*fence, *holding(seen)),
            sets={**self._running(seen, lease, now_ms), **takes.sets(), **sets},
            adds={"attempts": 1, **uncharged, **({"run_ms": ran_ms} if ran_ms else {})},
            appends=appends,
        )
        return self._change(seen.id, change, takes.actions)

    def recover(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """running with a lease that ran out and nobody took over -> pending, with a new delivery not yet sent."""
        recovered, uncharged = _recovery(seen, now_ms)
        unheard = (UNHEARD,) if seen.silent else ()
        freed = Transition(
            State.PENDING,
            now_ms,
            (in_state(State.RUNNING), holds_lease(seen.lease or ""), lease_ran_out(now_ms), *unheard),
            {"delivery": seen.delivery + 1, "due_at_ms": now_ms, "lease_until_ms": None},
            uncharged,
            recovered,
            wake_at_ms,
            run_ends=True,
        )
        return self._make(seen, freed)

    def extend_lease(self, job_id: int, lease: str, until_ms: int, running_at: str | None = None) -> None:
        """Keep the lease until ``until_ms``; raises ``JobRefused`` when the job was canceled or taken over.

        ``running_at`` is where the run is by now, if that is to be noted.
        """
        sets: dict[str, Any] = {"lease_until_ms": until_ms, "heard": True}
        if running_at is not None:
            sets["running_at"] = running_at
        self._apply(job_id, Change((in_state(State.RUNNING), holds_lease(lease)), sets=sets))

    def report_progress(self, job_id: int, lease: str, progress: Progress, now_ms: int) -> None:
        """Write how far the handler says it is; raises ``JobRefused`` when the job was canceled or taken over."""
        fence = (in_state(State.RUNNING), holds_lease(lease))
        self._apply(job_id, Change(fence, sets={"progress": progress.to_text(), "updated_at_ms": now_ms}))

    def report_poll(
        self, job: Job, number: int, progress: Progress | None, result: AttributeValues, now_ms: int
    ) -> None:
        """Count poll ``number`` (from 1) and keep its ``result``; may be repeated, as where the first answer was lost.

        Raises ``JobRefused`` when the job was canceled or taken over.
        """
        sets: dict[str, Any] = {"updated_at_ms": now_ms, "poll_count": number}
        if progress is not None:
            sets["progress"] = progress.to_text()
        fence = (in_state(State.RUNNING), holds_lease(job.lease or ""))
        self._apply(job.id, Change(fence, sets=sets), [result])

    def keep_slot(self, job_id: int, lease: str, until_ms: int) -> None:
        """A run goes on whose job somebody has ended: keep its slot until ``until_ms``. Raises ``JobRefused``."""
        self._apply(job_id, Change((holds_lease(lease), HAS_SLOT), sets={"lease_until_ms": until_ms}))

    def free_slot(self, seen: Job) -> Job:
        """The run of a job that somebody had ended is over, or its worker is gone. Raises ``JobRefused``."""
        fence = (in_state(seen.state), holds_lease(seen.lease or ""), HAS_SLOT, *holding(seen))
        change = Change(fence, sets={"slot": None, "key_slot": None, "lease_until_ms": None})
        return self._change(seen.id, change, share_changes(seen, changed(seen, slot=False, key_slot=False)))

    def delete_when_over(self, seen: Job) -> None:
        """A job that is done, whose run goes on, is to be deleted once that is over. Raises ``JobRefused``."""
        fence = (in_state(seen.state), holds_lease(seen.lease or ""), HAS_SLOT)
        self._apply(seen.id, Change(fence, sets={"delete_when_over": True}))

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
            **({} if job.application is None else {"running_at": None}),
        }


def _started(job: Job, lease: Lease, now_ms: int) -> TraceEvent:
    """How a run is told to begin: of a message with its consumer."""
    return started(now_ms, lease.worker if job.kind is Kind.MESSAGE else None)


def _recovery(seen: Job, now_ms: int) -> tuple[TraceEvent, dict[str, int]]:
    """How a lease that ran out is told, and what to add so that one without a sign of its client costs no attempt."""
    if not seen.silent:
        return TraceEvent(Event.RECOVERED, now_ms, {"attempt": seen.attempts}), {}
    detail = TraceEvent(Event.RECOVERED, now_ms, {"attempt": seen.attempts, "silent": seen.silences + 1})
    return detail, {"attempt_limit": 1, "silences": 1}
