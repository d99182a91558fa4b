"""Histograms: what is in which bucket, and the percentiles that can be told of them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.histogram import BOUNDS_MS, BUCKETS, bucket_of, cumulative, percentile_ms

times = st.lists(st.integers(0, 400_000), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("time_ms", "bucket"),
    [(0, 10), (10, 10), (11, 50), (1_000, 1_000), (1_001, 2_500), (300_000, 300_000), (300_001, None)],
)
def test_a_bound_is_within_its_bucket(time_ms: int, bucket: int | None) -> None:
    assert bucket_of(time_ms) == bucket


def test_bounds_rise_and_the_last_bucket_has_none() -> None:
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))
    assert (*BOUNDS_MS, None) == BUCKETS


def test_counts_add_up_from_the_left() -> None:
    assert cumulative({10: 2, 100: 1, None: 4})[:3] == [(10, 2), (50, 2), (100, 3)]
    assert cumulative({10: 2, 100: 1, None: 4})[-2:] == [(300_000, 3), (None, 7)]
    assert cumulative({})[-1] == (None, 0)


def test_a_percentile_lies_on_the_line_between_two_bounds() -> None:
    """The documented example."""
    assert percentile_ms({10: 1, 50: 3}, 0.5) == pytest.approx(10 + 40 / 3)
    assert percentile_ms({10: 1, 50: 3}, 0.25) == 10
    assert percentile_ms({10: 1, 50: 3}, 1) == 50


def test_what_is_beyond_all_bounds_is_told_as_the_largest() -> None:
    assert percentile_ms({None: 3}, 0.5) == 300_000
    assert percentile_ms({10: 1, None: 99}, 0.99) == 300_000


def test_nothing_has_no_percentile() -> None:
    assert percentile_ms({}, 0.5) is None


@given(times, st.sampled_from((0.5, 0.95, 0.99, 1.0)))
def test_a_percentile_is_in_the_bucket_of_the_true_one(found: list[int], share: float) -> None:
    true_ms = sorted(found)[math.ceil(share * len(found)) - 1]
    told = percentile_ms(Counter(bucket_of(time_ms) for time_ms in found), share)
    position = BUCKETS.index(bucket_of(true_ms))
    assert told is not None
    assert (0, *BOUNDS_MS)[position] <= told <= (BOUNDS_MS[position] if position < len(BOUNDS_MS) else BOUNDS_MS[-1])


@given(times)
def test_percentiles_rise(found: list[int]) -> None:
    counts = Counter(bucket_of(time_ms) for time_ms in found)
    told = [percentile_ms(counts, share / 100) or 0 for share in range(1, 101)]
    assert told == sorted(told)
