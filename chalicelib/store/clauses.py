"""What a transition demands of a job's record, each clause with a name that a refusal tells."""

from __future__ import annotations

from functools import cache

from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.store.table import Clause

ABSENT = Clause("absent", "attribute_not_exists({job})")
EXISTS = Clause("exists", "attribute_exists({job})")
NOT_REPLAYED = Clause("not replayed", "attribute_not_exists({replayed_at_ms})")
NOT_BLOCKED = Clause("unheld", "attribute_not_exists({held})")
ATTEMPTS_LEFT = Clause("attempts left", "{attempts} < {attempt_limit}")
UNHEARD = Clause("unheard of", "attribute_not_exists({heard})")
HAS_SLOT = Clause("has a slot", "attribute_exists({slot})")
UNCOUNTED = Clause("not counted yet", "attribute_not_exists({limited})")
CHILDLESS = Clause("has no children", "attribute_not_exists({has_children})")
NO_SLOT = Clause("has no slot", "attribute_not_exists({slot})")


@cache
def in_state(*states: State) -> Clause:
    """The job is in one of ``states``."""
    values = {f":in_{state.value}": state.value for state in states}
    return Clause(f"in {' or '.join(states)}", f"{{state}} IN ({', '.join(values)})", values)


def holds_lease(lease: str) -> Clause:
    """The newest lease is ``lease``: nobody took the job over."""
    return Clause("holds lease", "{lease} = :held_lease", {":held_lease": lease})


def lease_ran_out(now_ms: int) -> Clause:
    """The lease ended before ``now_ms``."""
    return Clause("lease ran out", "{lease_until_ms} < :expiry", {":expiry": now_ms})


def same_uid(uid: str) -> Clause:
    """It is the same job, not another one with its id."""
    return Clause("same uid", "{birth} = :birth", {":birth": uid})


def same_delivery(delivery: int) -> Clause:
    """No newer send has made this delivery void."""
    return Clause("same delivery", "{delivery} = :delivery", {":delivery": delivery})


def due_by(now_ms: int) -> Clause:
    """Its time has come."""
    return Clause("due", "{due_at_ms} <= :due_now", {":due_now": now_ms})


def room_in_trace(events: int) -> Clause:
    """Its trace holds at most ``events`` events."""
    return Clause("room in trace", "size({trace}) <= :room", {":room": events})


def as_seen(job: Job) -> Clause:
    """No attempt was begun since ``job`` was read."""
    return Clause("as seen", "{attempts} = :seen_attempts", {":seen_attempts": job.attempts})


def as_is(job: Job) -> Clause:
    """The job stands exactly where it was seen: the same state, delivery and attempt."""
    values = {":is_state": job.state.value, ":is_delivery": job.delivery, ":is_attempts": job.attempts}
    return Clause("as it is", "{state} = :is_state AND {delivery} = :is_delivery AND {attempts} = :is_attempts", values)


def woken_by(wake_at_ms: int) -> Clause:
    """Its wake-up call still is the one that was seen."""
    return Clause("same wake-up", "{wake_at_ms} = :wake", {":wake": wake_at_ms})


def slot_fence(job: Job, slot: bool, lease_over_at_ms: int | None = None) -> tuple[Clause, ...]:
    """A job of a limited type holds a slot, or none; if so, under a lease that is over by now, if told.

    That of a schedule's slot, which joins its type's count when it is due, has not joined since it was read.
    """
    if not job.limited:
        return () if job.slot_at_ms is None else (UNCOUNTED,)
    if not slot:
        return (NO_SLOT,)
    return (HAS_SLOT,) if lease_over_at_ms is None else (HAS_SLOT, lease_ran_out(lease_over_at_ms))
