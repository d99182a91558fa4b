"""What the jobs of a type and day have cost, estimated: what they have used, as counted, at AWS's list prices.

Counted are handlers' time (on arm64), sends, receives, writes and payloads that are put into the bucket. Not the calls
of the API, reads, storage, logs and the projector, which depend on how many jobs share them: ``taskyard cost`` has
those for a load.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chalicelib.core.day_accounts import Account
from chalicelib.core.prices import PRICES, WRITE_UNIT_BYTES, Item
from chalicelib.core.states import Kind
from chalicelib.core.usage import Usage
from chalicelib.engine import cost_figures as figures
from chalicelib.engine.cost_figures import Attempt, Place, place_of
from chalicelib.engine.usage import used_by_day
from chalicelib.engine.yard import Yard

MEMORY_VARIABLE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"  # Lambda sets it
MEMORY_MB = 512  # of .chalice/config.json
MB_A_GB = 1_024
Amounts = Mapping[Item, float]  # of what AWS bills
COUNTED = (Item.TABLE_WRITE, Item.FUNCTION_TIME_ARM, Item.QUEUE_REQUEST, Item.OBJECT_PUT)
RECEIVES_AN_ATTEMPT = 1 / figures.MESSAGES_A_BATCH  # batches are full


@dataclass(frozen=True, slots=True)
class JobsCost:
    """What the jobs of a type have cost that were accepted on a day of UTC, and what that is made of."""

    account: Account
    accepted: int
    usage: Usage
    amounts: Amounts

    @property
    def usd(self) -> float:
        """In all."""
        return usd_of(self.amounts)


def costs_by_day(yard: Yard, days: int) -> Iterator[JobsCost]:
    """What the jobs have cost that were accepted within the newest ``days`` of UTC, by day and type. One query."""
    for each in used_by_day(yard, days):
        amounts = amounts_of_jobs(yard, each.account.kind, each.account.type, each.accepted, each.usage)
        yield JobsCost(each.account, each.accepted, each.usage, amounts)


def amounts_of_jobs(yard: Yard, kind: str, name: str, accepted: int, usage: Usage) -> Amounts:
    """What AWS bills of ``accepted`` jobs of a kind and type that have used so much in all."""
    polled = kind == Kind.MESSAGE and name not in yard.handlers.queues
    return amounts_of(accepted, usage, worker_memory_mb(), polled=polled)


def usd_of(amounts: Amounts) -> float:
    """What amounts cost, at list prices."""
    return sum(amount * PRICES[item].usd_each for item, amount in amounts.items())


def worker_memory_mb() -> int:
    """The memory that the worker is taken to have: as much as this function, or where that is not told 512 MB."""
    return int(os.environ.get(MEMORY_VARIABLE, MEMORY_MB))


def amounts_of(accepted: int, usage: Usage, memory_mb: int, *, polled: bool) -> Amounts:
    """What AWS bills of ``accepted`` jobs that have used so much; ``polled``: by clients, not run by a worker."""
    succeeded = usage.attempts - usage.failures
    ends = (
        ((figures.COMPLETED_BY_CLIENT, succeeded), (figures.FAILED_BY_CLIENT, usage.failures))
        if polled
        else ((figures.SUCCEEDED, succeeded), (figures.FAILED, usage.failures))
    )
    requests = usage.sends + usage.attempts * RECEIVES_AN_ATTEMPT
    requests += sum(number * _requests(attempt) for attempt, number in ends)
    writes = accepted * _published_units(usage.payload_bytes // max(accepted, 1))
    writes += sum(number * attempt.write_units for attempt, number in ends)
    writes += usage.attempts * figures.POLLED.write_units if polled else 0
    gb_seconds = 0 if polled else usage.run_ms / 1_000 * memory_mb / MB_A_GB
    puts = accepted if place_of(usage.payload_bytes // max(accepted, 1)) is Place.OBJECT else 0
    return dict(zip(COUNTED, (writes, gb_seconds, requests, puts), strict=True))


def _requests(attempt: Attempt) -> float:
    return attempt.requests + attempt.batch_requests / figures.MESSAGES_A_BATCH


def _published_units(payload_bytes: int) -> int:
    place = place_of(payload_bytes)
    beside = -(-payload_bytes // WRITE_UNIT_BYTES) * figures.BODY_WRITE_UNITS_A_KB if place is Place.ITEM else 0
    return figures.PUBLISHED_WRITE_UNITS[place] + beside
