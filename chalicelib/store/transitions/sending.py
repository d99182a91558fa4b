"""Between attempts: a pending job is counted, sent, sent again, deferred, or looked after by the clock."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.core.job import Job, changed
from chalicelib.core.limits import ONE_AT_A_TIME, Concurrency, Limit
from chalicelib.core.states import State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.clauses import (
    EXISTS,
    NO_TURN,
    UNCOUNTED,
    as_seen,
    due_by,
    holding,
    in_state,
    same_delivery,
    same_uid,
    woken_by,
)
from chalicelib.store.concurrency import Action, Count
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.job_items import state_key
from chalicelib.store.ledger import ASIDE, NO_WAKE, Ledger, Transition
from chalicelib.store.shares import share_changes


@dataclass(frozen=True, slots=True)
class Sending(Ledger):
    """What brings a pending job to its next attempt."""

    def sent(self, job_id: int, delivery: int, now_ms: int) -> None:
        """The delivery is on its way: the clock need not send it."""
        self._apply(
            job_id,
            Change(
                (in_state(State.PENDING), same_delivery(delivery)),
                sets={"sent_at_ms": now_ms, **NO_WAKE},
            ),
        )

    def resend(self, seen: Job, now_ms: int, wake_at_ms: int, due_at_ms: int | None = None) -> Job:
        """pending -> pending with a new delivery, not yet sent: whatever was sent before is void."""
        resent = Transition(
            State.PENDING,
            now_ms,
            (in_state(State.PENDING), same_delivery(seen.delivery)),
            {"delivery": seen.delivery + 1, "due_at_ms": due_at_ms or seen.due_at_ms},
            wake_at_ms=wake_at_ms,
        )
        return self._make(seen, resent)

    def requeue(self, seen: Job, due_at_ms: int, wake_at_ms: int, now_ms: int) -> Job:
        """pending -> pending, once more back from the dead-letter queue, with a new delivery not yet sent."""
        requeued = Transition(
            State.PENDING,
            now_ms,
            (in_state(State.PENDING), same_delivery(seen.delivery)),
            {"delivery": seen.delivery + 1, "due_at_ms": due_at_ms},
            adds={"laps": 1},
            event=TraceEvent(Event.REQUEUED, now_ms, {"lap": seen.requeue_count + 1}),
            wake_at_ms=wake_at_ms,
        )
        return self._make(seen, requeued)

    def unblock(self, seen: Job, wake_at_ms: int, now_ms: int) -> Job:
        """A child whose parent succeeded stops waiting: a new delivery, not yet sent."""
        unblocked = Transition(
            State.PENDING,
            now_ms,
            (in_state(State.PENDING), Clause("held", "attribute_exists({held})")),
            {"held": None, "delivery": seen.delivery + 1},
            wake_at_ms=wake_at_ms,
        )
        return self._make(seen, unblocked)

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
        counted = changed(envelope, limited=True)
        count = Count(counted.counted_as, counted.shares[counted.counted_as], limit)
        self._apply(envelope.id, Change(fence, sets={"limited": True}), [count])

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

    def give_turn(self, job_id: int, count: str, wake_at_ms: int, *beside: Action) -> Job:
        """A job that runs in order is to be sent: from now on it is its turn among those of a ``count``.

        Whatever it was sent as since it stood in line, its place is the same. Raises as ``defer`` does,
        ``TransactionRefused``, too, while it is another's turn.
        """
        fence = (in_state(State.PENDING), NO_TURN)
        change = Change(fence, sets={"turn": True, **self._wake(job_id, wake_at_ms)})
        turn = Count(count, Concurrency(running=1), ONE_AT_A_TIME, holder=job_id)
        return self._change(job_id, change, [*beside, turn])

    def pass_over(self, seen: Job) -> Job:
        """A job that failed, for which those behind it wait, is passed over. Raises ``JobRefused``."""
        fence = (in_state(State.FAILED), same_delivery(seen.delivery), *holding(seen))
        return self._change(seen.id, Change(fence, sets={"turn": None}), share_changes(seen, changed(seen, turn=False)))

    def looking(self, seen: Job) -> AttributeValues:
        """The action that changes nothing, and is refused unless a job is in the state that it was seen in."""
        return self.table.checking(state_key(seen.id), in_state(seen.state), same_uid(seen.uid))

    def without(self, job_id: int, *attributes: str) -> AttributeValues:
        """The action that changes nothing, and is refused where a job's record has one of some attributes."""
        clauses = [Clause(f"no {name}", f"attribute_not_exists({{{name}}})") for name in attributes]
        return self.table.checking(state_key(job_id), *clauses)

    def remind(self, job_id: int, uid: str, delivery: int, wake_at_ms: int) -> None:
        """Let the clock look after a message that goes back unstarted, in case it is not redelivered."""
        self._apply(
            job_id,
            Change(
                (in_state(State.PENDING), same_uid(uid), same_delivery(delivery)),
                sets=self._wake(job_id, wake_at_ms),
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
