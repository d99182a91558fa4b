"""Gates: what a run must get before it may begin. Slots of its type and its key, and tokens of their rates.

All are taken in the transaction that claims the job. Where a slot is missing, the job waits on the list of that slot;
where a token is, its message comes back when one will be there, or, if that is far off, it waits on the rate's list,
from which the clock sends as many as may begin until its next tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.core.decisions import Ack, Nack
from chalicelib.core.flow import Rate
from chalicelib.core.job import Job
from chalicelib.core.limits import Concurrency, Limit, counted_key
from chalicelib.engine.policy import is_unbounded, limit_of, limit_of_count, rate_of_bucket
from chalicelib.engine.publish.wait_list import defer, send_next_safely
from chalicelib.engine.yard import Yard
from chalicelib.store.concurrency import Action, Count
from chalicelib.store.transitions.running import TAKES_NOTHING, Takes
from chalicelib.store.wait_lists import of_rate, of_slots, of_type

COMES_BACK_MS = 90_000  # for how long a message without a token is hidden; beyond, its job waits on a list
OVER_RATE = "too many have begun"


@dataclass(frozen=True, slots=True)
class SlotGate:
    """A slot of the concurrency count ``name``; ``limit`` is ``None`` where it is only counted."""

    name: str
    limit: Limit | None

    @property
    def wait_list(self) -> str:
        """Where those wait that find none."""
        return of_slots(self.name)


@dataclass(frozen=True, slots=True)
class RateGate:
    """A token of a bucket."""

    bucket: str
    rate: Rate


Gate = SlotGate | RateGate


def gates_of(yard: Yard, job: Job, before: Job | None = None) -> list[Gate]:
    """What a run of a job must get; one that goes on from a run ``before`` gets the slots that this has not."""
    if is_unbounded(yard, job):  # as most are
        return []
    slots: list[Gate] = [gate for gate in _slot_gates(yard, job) if before is None or not _has(before, gate)]
    buckets = [job.counted_as] if job.overlap is None else []
    buckets += [job.key_counted_as] if job.flow_key is not None else []
    rates = ((bucket, rate_of_bucket(yard, bucket)) for bucket in buckets)
    return slots + [RateGate(bucket, rate) for bucket, rate in rates if rate is not None]


def _slot_gates(yard: Yard, job: Job) -> Sequence[SlotGate]:
    own = limit_of(yard, job)
    bounded = own is not None and own.concurrency is not None
    gates = [SlotGate(job.counted_as, own)] if job.limited or bounded else []
    if job.flow_key is not None and job.order is None:
        of_key_ = limit_of_count(yard, job.key_counted_as)
        gates += [SlotGate(job.key_counted_as, of_key_)] if of_key_ is not None else []
    return gates


def _has(before: Job, gate: SlotGate) -> bool:
    return before.slot if counted_key(gate.name) is None else before.key_slot


def takes_of(yard: Yard, job: Job, gates: Sequence[Gate], now_ms: int, before: Job | None = None) -> Takes:
    """What the claim of a job takes on its way through the gates; one that runs in order has its key's slot by turn."""
    if not gates and job.order is None:
        return TAKES_NOTHING
    slots = {gate.name for gate in gates if isinstance(gate, SlotGate)}
    return Takes(
        slot=job.counted_as in slots,
        key_slot=job.key_counted_as in slots or (job.order is not None and not (before and before.key_slot)),
        actions=[_action(yard, job, gate, now_ms) for gate in gates],
    )


def _action(yard: Yard, job: Job, gate: Gate, now_ms: int) -> Action:
    match gate:
        case SlotGate(name, limit):
            return Count(name, Concurrency(running=1), limit, holder=job.id)
        case RateGate(bucket, rate):
            return yard.rates.taking(bucket, rate, now_ms * 1_000)


def passed(yard: Yard, gates: Sequence[Gate], now_ms: int) -> None:
    """Remember the tokens that a run has taken."""
    for gate in gates:
        if isinstance(gate, RateGate):
            yard.rates.took(gate.bucket, gate.rate, now_ms * 1_000)


def turned_away(
    yard: Yard, job: Job, gates: Sequence[Gate], refused: Sequence[bool], met: Sequence[dict[str, Any] | None]
) -> Ack | Nack | None:
    """What becomes of the message of a job that was refused at a gate; ``None``: claim again.

    ``met`` are the items that the actions of the gates were refused for.
    """
    outcomes = zip(gates, refused, met, strict=True)
    closed = [(gate, item) for gate, was_refused, item in outcomes if was_refused]
    if not closed:
        return None
    gate, item = closed[0]
    turned = _come_back(yard, job, gate, item) if isinstance(gate, RateGate) else _wait_for_slot(yard, job, gate)
    if turned is not None and all(_is_of_key(each) for each, _ in closed):
        pass_on(yard, job)
    return turned


def pass_on(yard: Yard, job: Job) -> None:
    """What keeps a job is of its key alone: the slot of its type that it was sent for goes to the next."""
    limit = limit_of(yard, job)
    if limit is not None and limit.concurrency is not None:
        send_next_safely(yard, of_type(job.counted_as), 1)


def _is_of_key(gate: Gate) -> bool:
    return counted_key(gate.bucket if isinstance(gate, RateGate) else gate.name) is not None


def _come_back(yard: Yard, job: Job, gate: RateGate, item: dict[str, Any] | None) -> Ack | Nack | None:
    now_us = yard.now_ms() * 1_000
    if gate.rate.ready_us(yard.rates.learn(gate.bucket, item), now_us) <= now_us:
        return None  # what was known of it was old
    at_us = yard.rates.book(gate.bucket, gate.rate, now_us, now_us + COMES_BACK_MS * 1_000)
    if at_us is not None:
        return Nack(max(1, -(-(at_us - now_us) // 1_000)), OVER_RATE)
    wait_list = of_rate(gate.bucket)
    yard.wait_lists.note(wait_list, yard.now_ms())
    return Ack(OVER_RATE) if defer(yard, job, wait_list) else Nack(COMES_BACK_MS, OVER_RATE)


def _wait_for_slot(yard: Yard, job: Job, gate: SlotGate) -> Ack | None:
    if gate.limit is None or gate.limit.concurrency is None:
        return None
    if counted_key(gate.name) is not None:
        yard.wait_lists.note(gate.wait_list, yard.now_ms())
    full = Count(gate.name, running=gate.limit.concurrency)
    return Ack("no slot is free") if defer(yard, job, gate.wait_list, full) else None
