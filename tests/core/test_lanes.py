"""Lanes: which band a priority is in, which lane a job takes, and what SQS calls it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import (
    DEFAULT_BANDS,
    LABELS,
    PRIORITIES_A_BAND,
    PRIORITY_OF,
    QUEUE_NAME_MAX_CHARS,
    SOONEST_FIRST,
    Band,
    Lane,
    band_of,
    lane_for,
    lanes_soonest_first,
    nearest,
    polled_lane,
    priority_of,
    soonest_first,
    sqs_name,
)
from chalicelib.settings import Settings

LOW, NORMAL, MEDIUM, HIGH, CRITICAL = Band.LOW, Band.NORMAL, Band.MEDIUM, Band.HIGH, Band.CRITICAL
LONGEST_PREFIX = Settings(prefix="p" * 16, stage="s" * 12).checked().base_name

bands = st.sampled_from(Band)
some_bands = st.lists(bands, min_size=1, max_size=8)
lanes = st.builds(Lane, st.text(max_size=600), bands, st.integers(0, PRIORITIES_A_BAND - 1))


@pytest.mark.parametrize(
    ("priority", "band"),
    [
        (-1_000, LOW),
        (-1, LOW),
        (0, NORMAL),
        (4, NORMAL),
        (5, MEDIUM),
        (9, MEDIUM),
        (10, HIGH),
        (14, HIGH),
        (15, CRITICAL),
        (19, CRITICAL),
        (20, CRITICAL),
        (1_000, CRITICAL),
    ],
)
def test_band_of(priority: int, band: Band) -> None:
    assert band_of(priority) is band


def test_each_name_is_the_smallest_priority_of_its_band_but_low_which_has_none() -> None:
    assert {name: PRIORITY_OF[name] for name in Band} == {LOW: -10, NORMAL: 0, MEDIUM: 5, HIGH: 10, CRITICAL: 15}
    assert [band_of(PRIORITY_OF[name]) for name in Band] == list(Band)
    assert PRIORITY_OF.keys() == set(Band)


@given(st.integers(-1_000, 1_000))
def test_a_number_is_the_priority_it_says(number: int) -> None:
    assert priority_of(number) == number


@pytest.mark.parametrize("name", ["urgent", "High", "", " high", "10", "constructor"])
def test_a_name_that_there_is_not(name: str) -> None:
    with pytest.raises(InvalidInput) as either:
        priority_of(name)
    expected = "low, normal, medium, high or critical, or a whole number, -1000 to 1000"
    assert (either.value.field, either.value.expected, either.value.got) == ("priority", expected, name)


@pytest.mark.parametrize("given_", [1_001, -1_001, True, 1.0, None, ["high"]])
def test_what_is_no_priority(given_: Any) -> None:
    with pytest.raises(InvalidInput, match="or a whole number, -1000 to 1000"):
        priority_of(given_)


@given(st.integers(), st.integers())
def test_a_larger_priority_is_never_in_a_later_band(one: int, other: int) -> None:
    smaller, larger = sorted((one, other))
    assert SOONEST_FIRST.index(band_of(larger)) <= SOONEST_FIRST.index(band_of(smaller))


@pytest.mark.parametrize(
    ("band", "declared", "expected"),
    [
        (MEDIUM, DEFAULT_BANDS, HIGH),  # as close to normal as to high: the sooner
        (CRITICAL, DEFAULT_BANDS, HIGH),
        (LOW, (CRITICAL,), CRITICAL),
        (NORMAL, (LOW, CRITICAL), LOW),
        (NORMAL, (LOW, MEDIUM), MEDIUM),
        (HIGH, (LOW, NORMAL, CRITICAL), CRITICAL),
        (MEDIUM, (LOW, CRITICAL), CRITICAL),
    ],
)
def test_nearest(band: Band, declared: tuple[Band, ...], expected: Band) -> None:
    assert nearest(band, declared) is expected
    assert nearest(band, reversed(declared)) is expected


@given(bands, some_bands)
def test_a_declared_band_is_nearest_to_itself_and_no_other_is_closer(band: Band, declared: list[Band]) -> None:
    found = nearest(band, declared)
    rank = SOONEST_FIRST.index
    assert found in declared
    assert abs(rank(found) - rank(band)) == min(abs(rank(other) - rank(band)) for other in declared)
    if band in declared:
        assert found is band


def test_nearest_of_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        nearest(NORMAL, ())


@pytest.mark.parametrize(("priority", "band"), [(-7, LOW), (0, NORMAL), (4, NORMAL), (5, HIGH), (12, HIGH), (99, HIGH)])
def test_the_lane_of_a_job_by_default(priority: int, band: Band) -> None:
    assert lane_for("orders", priority) == Lane("orders", band)


def test_the_lane_of_a_job_in_a_queue_of_one_lane() -> None:
    assert {lane_for("orders", priority, (MEDIUM,)) for priority in (-5, 0, 7, 100)} == {Lane("orders", MEDIUM)}


def test_soonest_first_sorts_and_drops_repetitions() -> None:
    assert soonest_first([LOW, CRITICAL, NORMAL, LOW, HIGH, MEDIUM]) == [CRITICAL, HIGH, MEDIUM, NORMAL, LOW]
    assert soonest_first([]) == []


def test_the_name_of_a_lane_is_readable_and_does_not_change() -> None:
    """Queues outlive deployments: a changed name would strand what is in them."""
    assert sqs_name("taskyard-local", Lane("orders.created", HIGH)) == "taskyard-local-orders-created-18d455b75091-high"
    assert sqs_name("taskyard-local", Lane("订单", LOW)) == "taskyard-local-queue-3d5436ea23d2-low"


@given(lanes)
def test_every_name_is_one_that_sqs_takes(lane: Lane) -> None:
    name = sqs_name(LONGEST_PREFIX, lane)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    assert len(name) <= QUEUE_NAME_MAX_CHARS


@given(lanes, lanes)
def test_distinct_lanes_have_distinct_names(one: Lane, other: Lane) -> None:
    assert (sqs_name("p", one) == sqs_name("p", other)) == (one == other)


def test_names_that_look_alike_are_told_apart() -> None:
    queues = ["a.b", "a-b", "a b", "a/b", "A.b", "a..b", "", "-", "订", "单", "a" * 24, "a" * 25]
    assert len({sqs_name("p", Lane(queue, NORMAL)) for queue in queues}) == len(queues)


@pytest.mark.parametrize(
    ("priority", "label"),
    [(-1_000, "low"), (-1, "low"), (0, "normal"), (1, "normal_1"), (4, "normal_4"), (5, "medium"), (9, "medium_4"),
     (10, "high"), (14, "high_4"), (15, "critical"), (1_000, "critical")],
)  # fmt: skip
def test_a_polled_topic_has_a_lane_for_each_priority(priority: int, label: str) -> None:
    lane = polled_lane("t", priority)
    assert (lane.label, Lane.labelled("t", label)) == (label, lane)


@given(st.lists(st.integers(-20, 20), max_size=30))
def test_its_lanes_are_polled_by_priority(priorities: list[int]) -> None:
    told = [lane.label for lane in lanes_soonest_first(polled_lane("t", priority) for priority in priorities)]
    by_priority = [polled_lane("t", priority).label for priority in sorted(priorities, reverse=True)]
    assert told == [*dict.fromkeys(by_priority)]
    assert [label for label in LABELS if label in told] == told
