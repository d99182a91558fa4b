"""Histograms of times: how many fell between fixed bounds. They add up over minutes, shards and queues."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate

BOUNDS_MS = (10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)
"""The largest time in each bucket but the last, which has no bound."""

BUCKETS: tuple[int | None, ...] = (*BOUNDS_MS, None)
"""Every bucket by its bound, in milliseconds; ``None`` is what is beyond all bounds."""


def bucket_of(time_ms: int) -> int | None:
    """The bucket of a time: a time at a bound is within it, as Prometheus has it (``le``)."""
    return BUCKETS[bisect_left(BOUNDS_MS, time_ms)]


def cumulative(counts: Mapping[int | None, int]) -> list[tuple[int | None, int]]:
    """Each bound with the number of times up to it; the last number is that of all times."""
    return list(zip(BUCKETS, accumulate(counts.get(bound, 0) for bound in BUCKETS), strict=True))


def percentile_ms(counts: Mapping[int | None, int], share: float) -> float | None:
    """The time that ``share`` (above 0, at most 1) of all times do not exceed; ``None`` without times.

    Between two bounds it is found by the straight line, as Prometheus' ``histogram_quantile`` does: with 4 times of
    which 1 is up to 10 ms and 3 between 10 and 50 ms, the half (2 of 4) is 10 + 40 * 1/3 = 23.3 ms. What lies beyond
    the largest bound is told as that bound: at least so long.
    """
    upto = cumulative(counts)
    wanted = share * upto[-1][1]
    if not wanted:
        return None
    below_ms, below = 0, 0
    for bound_ms, count in upto:
        if count >= wanted and count > below:
            if bound_ms is None:
                break
            return below_ms + (bound_ms - below_ms) * (wanted - below) / (count - below)
        below_ms, below = bound_ms or below_ms, count
    return float(BOUNDS_MS[-1])
