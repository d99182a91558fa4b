"""At somebody's word: whatever state a job is in, a person, a callback or another job moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import LIVE, State
from chalicelib.core.trace import Event, TraceEvent, canceled
from chalicelib.store.clauses import (
    NOT_REPLAYED,
    as_is,
    as_seen,
    holding,
    holds_lease,
    in_state,
    same_delivery,
    same_uid,
)
from chalicelib.store.concurrency import Action
from chalicelib.store.expressions import Change
from chalicelib.store.job_items import state_key
from chalicelib.store.ledger import REPLAYED, Ledger, Transition
from chalicelib.store.settled import Completed, StoredOutput
from chalicelib.store.shares import share_changes

SETTLED_BY_RESET = "reset"
FINISHING_ATTEMPTS = 3  # how often a completion handler may be begun whose worker vanishes


@dataclass(frozen=True, slots=True)
class Commands(Ledger):
    """What is done to a job by request."""

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
        completed = Transition(state, now_ms, (as_is(seen),), sets, event=event, wake_at_ms=removal)
        return self._completed(by, lambda: self._make(seen, completed, *beside))

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
        to_be_finished = Transition(State.PENDING, now_ms, (as_is(seen),), sets, event=event, wake_at_ms=wake_at_ms)
        return self._completed(by, lambda: self._make(seen, to_be_finished))

    def promote(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """pending until later -> pending and due now, with a new delivery not yet sent."""
        promoted = Transition(
            State.PENDING,
            now_ms,
            (in_state(State.PENDING), same_delivery(seen.delivery), as_seen(seen)),
            {"delivery": seen.delivery + 1, "due_at_ms": now_ms, "start_at_ms": now_ms},
            event=TraceEvent(Event.PROMOTED, now_ms),
            wake_at_ms=wake_at_ms,
        )
        return self._make(seen, promoted)

    def reset(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """running -> pending and due now, whoever runs it: their lease is void, their attempt not charged."""
        taken_back = Transition(
            State.PENDING,
            now_ms,
            (in_state(State.RUNNING), holds_lease(seen.lease or "")),
            {"delivery": seen.delivery + 1, "due_at_ms": now_ms, "seal": SETTLED_BY_RESET},
            adds={"attempt_limit": 1},
            event=TraceEvent(Event.INTERRUPTED, now_ms, {"attempt": seen.attempts}),
            wake_at_ms=wake_at_ms,
        )
        return self._make(seen, taken_back)

    def prioritize(self, seen: Job, priority: int, wake_at_ms: int | None, now_ms: int) -> Job:
        """Another priority; a pending job that travels gets a new delivery, not yet sent, for its new lane."""
        fence = (in_state(seen.state), same_delivery(seen.delivery), as_seen(seen))
        sets: dict[str, Any] = {"priority": priority, "updated_at_ms": now_ms}
        if wake_at_ms is not None:
            sets |= {"delivery": seen.delivery + 1, **self._wake(seen.id, wake_at_ms)}
        return self._change(seen.id, Change(fence, sets=sets))

    def cancel(self, seen: Job, now_ms: int, by: str | None = None) -> Job:
        """pending, running or waiting -> canceled; the lease is void, so a running worker changes nothing more.

        ``by``: who asked for it.
        """
        fence, sets = (in_state(*LIVE), as_is(seen)), {"completed_at_ms": now_ms, "finishing": None}
        return self._make(seen, Transition(State.CANCELED, now_ms, fence, sets, event=canceled(now_ms, by)))

    def skip(self, seen: Job, reason: str, now_ms: int, *beside: Action) -> Job:
        """pending -> canceled before it ever ran, with the ``reason`` as its message; all or nothing with ``beside``.

        Raises ``JobRefused``, and ``TransactionRefused`` where one of the others was refused.
        """
        return self._make(seen, _skipped(seen, reason, now_ms), *beside)

    def skipping(self, seen: Job, reason: str, now_ms: int) -> list[Action]:
        """The actions of ``skip``, for a transaction with others."""
        change, counted = self._made(seen, _skipped(seen, reason, now_ms))
        return [self.table.updating(state_key(seen.id), change), *counted]

    def restart(self, seen: Job, wake_at_ms: int | None, now_ms: int, *beside: Action, blocked: bool) -> Job:
        """failed or canceled -> pending with as many attempts as at first, and a new delivery not yet sent.

        All or nothing with the actions ``beside`` it. The attempts go on being numbered, because a worker of an old one
        may still be busy.
        """
        restarted = Transition(
            State.PENDING,
            now_ms,
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
            event=TraceEvent(Event.RETRIED, now_ms),
            wake_at_ms=wake_at_ms,
        )
        return self._make(seen, restarted, *beside)

    def replaying(self, seen: Job, successor_id: int, now_ms: int) -> list[Action]:
        """The actions that mark a dead letter as replayed by the job ``successor_id``; the first is refused if it was.

        It is no longer its turn.
        """
        change = Change(
            (in_state(State.FAILED), NOT_REPLAYED, *holding(seen)),
            sets={
                "replayed_at_ms": now_ms,
                "replayed_as": successor_id,
                "updated_at_ms": now_ms,
                **self._index_keys(seen, REPLAYED),
                **({"turn": None} if seen.turn else {}),
            },
        )
        return [self.table.updating(state_key(seen.id), change), *share_changes(seen, replace(seen, turn=False))]


def _skipped(seen: Job, reason: str, now_ms: int) -> Transition:
    fence = (in_state(State.PENDING), same_uid(seen.uid), same_delivery(seen.delivery), as_seen(seen))
    event = TraceEvent(Event.CANCELED, now_ms, {"reason": reason})
    return Transition(State.CANCELED, now_ms, fence, {"completed_at_ms": now_ms, "msg": reason}, event=event)
