"""Projecting: the ledger's change stream into counters, series and groups, each change once; whoever cares is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from chalicelib.core.day_accounts import DayKey, key_postings, tenant_postings, vanished
from chalicelib.core.failures import failures_in
from chalicelib.core.job import Job
from chalicelib.core.projection import Effects, effects_of
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.settings import Settings
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.insights import ROWS_MAX, AlreadyCounted, Counted, Insights

RACE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a job's record: its place in the shard, the record before, the record after, the stream's time.

    ``at_ms`` is in milliseconds since 1970, though DynamoDB tells whole seconds only.
    """

    sequence: str
    before: Job | None
    after: Job | None
    at_ms: int = 0
    vanished: bool = False  # it left the ledger without a tombstone, as nothing here does


Notify = Callable[[Sequence[Change]], object]
Postings = Callable[[Job | None, Job | None], Iterator[tuple[DayKey, int]]]
"""What a change adds to accounts beside those of types: from a job before, and after it."""


def report_nothing(changes: Sequence[Change]) -> None:
    """Counted changes are of no further interest."""


def project(
    yard: Yard,
    shard: str,
    changes: Sequence[Change],
    report: Notify = report_nothing,
    announce: Notify = report_nothing,
) -> int:
    """Count the changes of one shard that were not counted yet; returns how many those were.

    ``announce`` hears of changes before they count as counted: of every one, in order, perhaps twice; where it raises,
    nothing more is counted. ``report`` hears of changes once they are counted, and of none twice: whoever dies in
    between has told too little.
    """
    for _ in range(RACE_TRIES):
        watermark = yard.insights.watermark(shard)
        fresh = [change for change in changes if watermark is None or int(change.sequence) > int(watermark)]
        try:
            for run, adding in _transactions(yard.insights, shard, fresh, _beside(yard.settings)):
                announce(run)
                yard.insights.add(shard, watermark, run[-1].sequence, adding, _newest(run, yard.now_ms()))
                watermark = run[-1].sequence
                report(run)
        except AlreadyCounted:
            continue  # the same batch is being counted elsewhere: start from where that has come
        return len(fresh)
    raise AlreadyCounted(shard)


def _newest(run: Sequence[Change], now_ms: int) -> Counted | None:
    """When the last change of a run was made, as far as the stream tells, and that it is counted now."""
    return Counted(run[-1].at_ms, now_ms) if run[-1].at_ms else None


def _beside(settings: Settings) -> Sequence[Postings]:
    """What is added up by day beside types, where that is wanted."""
    wanted = {tenant_postings: settings.tenant_usage, key_postings: settings.key_usage}
    return [postings for postings, setting in wanted.items() if setting == "on"]


def _transactions(
    insights: Insights, shard: str, changes: Sequence[Change], beside: Sequence[Postings]
) -> Iterator[tuple[Sequence[Change], list[AttributeValues]]]:
    """``changes`` in runs, each with what it adds, that fits into one transaction: the whole, or halves of it."""
    if not changes:
        return
    failures = failures_in((change.before, change.after) for change in changes)
    adding = insights.adding(shard, _effects_of(changes, beside), failures)
    if len(changes) == 1 or len(adding) <= ROWS_MAX:
        yield changes, adding
        return
    middle = len(changes) // 2
    yield from _transactions(insights, shard, changes[:middle], beside)
    yield from _transactions(insights, shard, changes[middle:], beside)


def _effects_of(changes: Sequence[Change], beside: Sequence[Postings]) -> Effects:
    effects = effects_of((change.before, change.after) for change in changes)
    for change in changes:
        if change.vanished and change.before is not None:
            logger.error("a job left the ledger without a tombstone", extra={"job_id": change.before.id})
            for key, amount in vanished(change.before):
                effects[key] += amount
    for change, postings in product(changes, beside):
        for key, amount in postings(change.before, change.after):
            effects[key] += amount
    return Counter({key: amount for key, amount in effects.items() if amount})
