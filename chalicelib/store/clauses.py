"""What a transition demands of a job's record, each clause with a name that a refusal tells."""

from __future__ import annotations

from functools import cache

from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.store.expressions import Clause

ABSENT = Clause("absent", "attribute_not_exists({job})")
EXISTS = Clause("exists", "attribute_exists({job})")
NOT_REPLAYED = Clause("not replayed", "attribute_not_exists({replayed_at_ms})")
NOT_BLOCKED = Clause("unheld", "attribute_not_exists({held})")
ATTEMPTS_LEFT = Clause("attempts left", "{attempts} < {attempt_limit}")
UNHEARD = Clause("unheard of", "attribute_not_exists({heard})")
HAS_SLOT = Clause("has a slot", "attribute_exists({slot}) OR attribute_exists({key_slot})")
UNCOUNTED = Clause("not counted yet", "attribute_not_exists({limited})")
CHILDLESS = Clause("has no children", "attribute_not_exists({has_children})")
NO_TURN = Clause("has no turn", "attribute_not_exists({turn})")
HAS_TURN = Clause("has its turn", "attribute_exists({turn})")


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


def holding(job: Job) -> tuple[Clause, ...]:
    """The job holds the slots, and the turn, that it was seen with, where one of them could have changed meanwhile.

    That of a schedule's slot, which joins its type's count when it is due, has not joined since it was read.
    """
    seen = {}
    if job.limited or job.slot:
        seen["slot"] = job.slot
    if job.order or job.key_slot:
        seen["key_slot"] = job.key_slot
    if job.order:
        seen["turn"] = job.turn
    clauses = tuple(_as_seen(name, holds) for name, holds in seen.items())
    return clauses if job.limited or job.slot_at_ms is None else (*clauses, UNCOUNTED)


def taking(job: Job, *, slot: bool, key_slot: bool) -> tuple[Clause, ...]:
    """A job that begins to run holds none of the slots that it takes; one that runs in order has its turn."""
    clauses = [] if job.limited or job.slot_at_ms is None else [UNCOUNTED]
    clauses += [_as_seen("slot", False)] if slot else []
    clauses += [_as_seen("key_slot", False)] if key_slot else []
    return (*clauses, HAS_TURN) if job.order else tuple(clauses)


def _as_seen(name: str, holds: bool) -> Clause:
    return Clause(f"{name} as seen", f"attribute_{'' if holds else 'not_'}exists({{{name}}})")
