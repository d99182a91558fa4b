"""What a job lacks: its turn where jobs run in order, a slot of its type or key, a token of a rate."""

from __future__ import annotations

from shlex import quote
from typing import Any

from chalicelib.core.flow import Rate
from chalicelib.core.job import Job
from chalicelib.core.reasons import (
    Code,
    Facts,
    Reason,
    Slots,
    Tokens,
    before,
    by,
    error_of,
    family_of,
    in_line,
    others_come,
    ready_ms,
    type_word,
)
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import iso
from chalicelib.core.waking import MISSED_GRACE_MS

SHOWN_MAX = 5  # holders that a sentence names; ``details`` has all


def of_family(job: Job) -> str:
    """What names the jobs with a job's key, or where it has none of its type, to the commands of `taskyard flow`."""
    return of_type(job) if job.flow_key is None else f"{of_type(job)} --key {quote(job.flow_key)}"


def of_type(job: Job) -> str:
    """What names all jobs of a job's type, or topic, to them."""
    return f"--topic {quote(job.type)}" if job.kind is Kind.MESSAGE else quote(job.type)


# -- in order ------------------------------------------------------------------------------------------


def ahead_of(job: Job, facts: Facts) -> int | None:
    """The id of the job whose turn it is, if it is not this one's."""
    if job.order is None or job.turn:
        return None
    return next((holder for holder in facts.key_slots.holders if holder != job.id), None)


def behind_failed(job: Job, facts: Facts, _: int) -> Reason | None:
    """Jobs run in order, and one before it has failed, which they may not pass."""
    ahead = facts.ahead
    if ahead_of(job, facts) is None or not isinstance(ahead, Job) or ahead.state is not State.FAILED:
        return None
    again = "tasks retry" if ahead.kind is Kind.TASK else "dlq replay"
    delete = f", or `taskyard tasks delete {ahead.id}`" if ahead.kind is Kind.TASK else ""
    return Reason(
        code=Code.BEHIND_FAILED,
        sentence=f"Jobs of the {family_of(job)} run in order, and job {ahead.id} before it has failed "
        f"({error_of(ahead)}); it waits until that one is retried, replayed, deleted or passed over.",
        remedy=f"`taskyard {again} {ahead.id}` once the cause is gone{delete}; "
        f"`taskyard flow pass {ahead.id}` lets those behind it run",
        since_ms=max(ready_ms(job), ahead.completed_at_ms or 0),
        details={"key": job.flow_key, "behind": str(ahead.id)},
    )


def not_its_turn(job: Job, facts: Facts, _: int) -> Reason | None:
    """Jobs run in order, and it is another one's turn.

    How many come before it is known of those that were accepted between the two, where the next one waits in any case.
    """
    turn_id, ahead = ahead_of(job, facts), facts.ahead
    if turn_id is None:
        return None
    state, others, details = "", in_line(facts.place), before(facts.place)
    if isinstance(ahead, Job):
        state = f", which is {ahead.state}"
        between = (job.order_seq or 0) - (ahead.order_seq or 0) - 1
        if between >= 0:
            others = f"; at most {others_come(between)} before it" if between else "; it is the next"
            details = {"beforeAtMost": between}
    return Reason(
        code=Code.NOT_ITS_TURN,
        sentence=f"Jobs of the {family_of(job)} run in order, and it is the turn of job {turn_id}{state}{others}.",
        remedy=f"`taskyard why {turn_id}` says how that one stands",
        since_ms=ready_ms(job),
        details={"key": job.flow_key, "turn": str(turn_id), **details},
    )


# -- slots ---------------------------------------------------------------------------------------------


def limit_reached(job: Job, facts: Facts, _: int) -> Reason | None:
    """As many of its type, topic or application run as may, or the run of its schedule before it."""
    slots = facts.slots
    if job.has_slot or not slots.all_taken:
        return None
    remedy = f"`taskyard tasks list --type {quote(job.type)} --status running` shows who has them"
    if job.overlap is not None:
        run = f", job {slots.holders[0]}," if slots.holders else ""
        limit, sentence = "schedule", f"The run of the schedule {job.schedule} before it{run} still goes on"
        remedy = f"`taskyard tasks list --type {quote(job.type)} --status running` shows it"
    elif job.delivers:
        limit, sentence = "application", _all_taken(slots, f"application {job.application}")
    else:
        limit = type_word(job)
        sentence = _all_taken(slots, f"{limit} {job.type}")
        remedy = f"wait, or raise the limit; `taskyard flow show {of_type(job)}` shows who has them"
    return Reason(
        code=Code.LIMIT_REACHED,
        sentence=f"{sentence}{in_line(facts.place)}.",
        remedy=remedy,
        since_ms=ready_ms(job),
        details={"limit": limit, **_slots(slots), **before(facts.place)},
    )


def key_limit_reached(job: Job, facts: Facts, _: int) -> Reason | None:
    """As many of its key run as may."""
    slots = facts.key_slots
    if job.flow_key is None or job.order is not None or job.has_slot or not slots.all_taken:
        return None
    return Reason(
        code=Code.KEY_LIMIT_REACHED,
        sentence=f"{_all_taken(slots, family_of(job))}{in_line(facts.place)}.",
        remedy=f"wait, or raise the limit; `taskyard flow show {of_family(job)}` shows who has them",
        since_ms=ready_ms(job),
        details={"key": job.flow_key, **_slots(slots), **before(facts.place)},
    )


def _all_taken(slots: Slots, of: str) -> str:
    which, verb = ("The only slot", "is") if slots.limit == 1 else (f"All {slots.limit} slots", "are")
    return f"{which} of the {of}{_set(slots)} {verb} taken{_by(slots)}"


def _by(slots: Slots) -> str:
    """Who has the slots, in words: the first five, and how many others."""
    shown = [str(holder) for holder in slots.holders[:SHOWN_MAX]]
    others = slots.taken - len(shown)
    if not shown:
        return ""
    if others > 0:
        shown.append("1 other" if others == 1 else f"{others} others")
    if len(shown) == 1:
        return f" by job {shown[0]}"
    return f" by the jobs {', '.join(shown[:-1])} and {shown[-1]}"


def _slots(slots: Slots) -> dict[str, Any]:
    holders = [str(holder) for holder in slots.holders]
    return {"slots": slots.limit, "taken": slots.taken, "holders": holders, **_set_at(slots)}


# -- rates ---------------------------------------------------------------------------------------------


def missing_token(facts: Facts, now_ms: int) -> Tokens | None:
    """The first of its rates by which a job may not begin yet."""
    return next((tokens for tokens in facts.tokens if tokens.ready_ms > now_ms), None)


def rate_reached(job: Job, facts: Facts, now_ms: int) -> Reason | None:
    """As many of its type, topic or key have begun as may by now."""
    if (tokens := missing_token(facts, now_ms)) is None:
        return None
    of, options = family_of(job), of_family(job)
    if not tokens.of_key:
        of, options = f"{type_word(job)} {job.type}", of_type(job)
    back_ms, place = (job.wake_at_ms or 0) - MISSED_GRACE_MS, facts.place
    if back_ms > now_ms:  # a worker has sent it back
        start_ms, waits = max(tokens.ready_ms, back_ms), f"; its message comes back at {iso(back_ms)}"
        details: dict[str, Any] = {"comesBackAt": iso(back_ms)}
    else:
        behind_ms = 0 if place is None else place.before * tokens.rate.interval_us // 1_000
        start_ms, waits, details = tokens.ready_ms + behind_ms, in_line(place), before(place)
    return Reason(
        code=Code.RATE_REACHED,
        sentence=f"Too many of the {of} have begun: the rate{_set(tokens)} is {_rate(tokens.rate)}; "
        f"it begins at {iso(start_ms)} at the earliest{waits}.",
        remedy=f"wait, or raise the rate; `taskyard flow show {options}` shows it",
        since_ms=ready_ms(job),
        expected_start_ms=start_ms,
        details={
            "limit": "key" if tokens.of_key else type_word(job),
            "key": job.flow_key,
            "rate": {"count": tokens.rate.count, "perS": tokens.rate.per_s, "burst": tokens.rate.burst},
            **_set_at(tokens),
            **details,
        },
    )


def _rate(rate: Rate) -> str:
    at_once = f", up to {rate.burst} at once" if rate.burst > 1 else ""
    return f"{rate.count} in {rate.per_s:g} s{at_once}"


# -- what was set while it runs ------------------------------------------------------------------------


def _set(bound: Slots | Tokens) -> str:
    return "" if bound.set_at_ms is None else f" (set{by(bound.set_by)} at {iso(bound.set_at_ms)})"


def _set_at(bound: Slots | Tokens) -> dict[str, Any]:
    return {} if bound.set_at_ms is None else {"setAt": iso(bound.set_at_ms), "setBy": bound.set_by}
