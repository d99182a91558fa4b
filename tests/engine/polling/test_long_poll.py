"""Waiting polls: who comes is seen soon on every lane, nobody comes for few requests. Time is the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.core.job import Job
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.states import State
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.yard import Yard
from tests.support.lanes import lane_of
from tests.support.slow_sqs import REQUEST_MS, SlowSqs, slowed
from tests.support.steps import a_message, before, message_of
from tests.support.worlds import World
from tests.support.yards import START_MS

PRIORITY_OF = {Band.CRITICAL: 1_000, Band.HIGH: 12, Band.MEDIUM: 5, Band.NORMAL: 0, Band.LOW: -5}
LANES = {1: [Band.NORMAL], 2: [Band.NORMAL, Band.LOW], 3: [Band.HIGH, Band.NORMAL, Band.LOW], 5: [*PRIORITY_OF]}
SEEN_WITHIN_MS = 1_000 + 8 * REQUEST_MS
LEASE_MS = 30_000
LEASE_MAX_MS = 43_200_000


@pytest.fixture
def sqs(w: World) -> SlowSqs:
    """The SQS of ``w``, where waiting takes time."""
    return SlowSqs(w.yard.transport, w.clock)


def opened(w: World, *bands: Band) -> None:
    """The lanes of a topic, open and empty."""
    for band in bands:
        lane_of(w.yard, "notes", PRIORITY_OF[band])


def waited(w: World, sqs: SlowSqs, wait_s: int = 20, limit: int = 10, lease_ms: int = LEASE_MS) -> list[Job]:
    return poll(slowed(w.yard, sqs), "notes", limit, lease_ms, "client", wait_s, sqs.sleep)


def arriving(w: World, after_ms: int, band: Band = Band.NORMAL) -> tuple[int, Callable[[], Any]]:
    """A message that another process publishes in a while."""
    priority = PRIORITY_OF[band]
    return (w.clock.ms + after_ms, lambda: a_message(w, "notes", priority=priority))


@pytest.mark.parametrize(("lanes", "requests"), [(1, 10), (2, 23), (3, 44), (5, 86)])
def test_an_empty_poll_asks_seldom(w: World, sqs: SlowSqs, lanes: int, requests: int) -> None:
    opened(w, *LANES[lanes])
    assert waited(w, sqs) == []
    assert len(sqs.waits_s) == requests
    assert 20_000 <= w.clock.ms - START_MS < 21_100


def test_a_topic_without_lanes_is_slept_over(w: World, sqs: SlowSqs) -> None:
    assert waited(w, sqs) == []
    assert (len(sqs.waits_s), sqs.missing) == (5, 5)  # one look for each band
    assert w.clock.ms - START_MS == 20_000


@pytest.mark.parametrize("wait_s", [0, 1, 7, 20])
def test_a_wait_is_as_long_as_was_asked_for(w: World, sqs: SlowSqs, wait_s: int) -> None:
    opened(w, Band.NORMAL)
    assert waited(w, sqs, wait_s) == []
    assert wait_s * 1_000 <= w.clock.ms - START_MS < wait_s * 1_000 + 1_100


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
@pytest.mark.parametrize("after_ms", [1, 990, 1_500, 4_321, 12_999, 18_900])
def test_a_message_is_seen_within_a_second_whichever_lane_it_is_on(
    w: World, sqs: SlowSqs, lanes: int, after_ms: int
) -> None:
    opened(w, *LANES[lanes])
    for band in LANES[lanes]:
        arrives_ms, arrive = arriving(w, after_ms, band)
        sqs.plans = [(arrives_ms, arrive)]
        (job,) = waited(w, sqs, lease_ms=LEASE_MAX_MS)
        assert job.priority == PRIORITY_OF[band]
        assert arrives_ms <= w.clock.ms <= arrives_ms + SEEN_WITHIN_MS


def test_the_first_message_of_a_topic_is_seen_within_a_second(w: World, sqs: SlowSqs) -> None:
    sqs.plans = [arriving(w, 7_300)]
    assert len(waited(w, sqs)) == 1
    assert w.clock.ms <= START_MS + 7_300 + SEEN_WITHIN_MS


def test_the_first_message_of_another_lane_is_seen_within_two_seconds(w: World, sqs: SlowSqs) -> None:
    """Who waits on the only lane does not learn earlier that there is another."""
    opened(w, Band.NORMAL)
    sqs.plans = [arriving(w, 5_100, Band.HIGH)]
    assert [job.priority for job in waited(w, sqs)] == [12]
    assert w.clock.ms <= START_MS + 5_100 + 2_000 + 4 * REQUEST_MS


@pytest.mark.parametrize(("lanes", "wait_s"), [(0, 3), (1, 2), (1, 20), (2, 3)])
def test_what_came_on_another_lane_in_the_last_moment_is_not_missed(
    w: World, sqs: SlowSqs, lanes: int, wait_s: int
) -> None:
    """Nobody waited there when the time was up; the message is ready, so the answer must have it."""
    opened(w, *LANES.get(lanes, []))
    sqs.plans = [arriving(w, wait_s * 1_000 - 600, Band.HIGH)]
    assert [job.priority for job in waited(w, sqs, wait_s)] == [12]
    assert w.clock.ms < START_MS + wait_s * 1_000 + 1_100


def test_a_lane_whose_queue_does_not_show_yet_is_no_busy_loop(w: World, sqs: SlowSqs) -> None:
    w.yard.directory.add_lane(Lane("notes", Band.NORMAL))
    assert waited(w, sqs) == []
    assert sqs.missing == 21  # one a second, and the last look


def test_what_is_there_is_not_waited_for(w: World, sqs: SlowSqs) -> None:
    opened(w, *LANES[3])
    a_message(w, "notes", priority=-5)
    sqs.plans = [arriving(w, 500, Band.HIGH)]
    assert [job.priority for job in waited(w, sqs)] == [-5]
    assert sqs.waits_s == [0] * 4  # the lowest lane is asked until it shows nothing more
    assert w.clock.ms == START_MS + 3 * REQUEST_MS


def test_a_single_lane_is_asked_once(w: World, sqs: SlowSqs) -> None:
    a_message(w, "notes")
    assert len(waited(w, sqs, limit=1)) == 1
    assert sqs.waits_s == [2]


def test_the_first_to_come_ends_the_wait(w: World, sqs: SlowSqs) -> None:
    opened(w, *LANES[3])
    sqs.plans = [arriving(w, 3_000), arriving(w, 6_000, Band.HIGH)]
    assert [job.priority for job in waited(w, sqs)] == [0]
    assert w.clock.ms < START_MS + 3_000 + SEEN_WITHIN_MS
    assert [job.priority for job in waited(w, sqs)] == [12]


@pytest.mark.parametrize("lease_ms", [1_000, 29_001, LEASE_MAX_MS])
def test_a_lock_is_as_long_as_was_asked_for_however_long_the_wait(w: World, sqs: SlowSqs, lease_ms: int) -> None:
    opened(w, Band.NORMAL)
    sqs.plans = [arriving(w, 4_000)]
    (job,) = waited(w, sqs, lease_ms=lease_ms)
    ends_ms = START_MS + 4_000 + lease_ms
    assert (job.started_at_ms, job.lease_until_ms) == (START_MS + 4_000, ends_ms)
    assert ends_ms <= message_of(w, job).visible_at <= ends_ms + 2_000  # SQS must not show it before


def test_an_early_message_does_not_end_the_wait(w: World, sqs: SlowSqs) -> None:
    """SQS shows it before its time; it is hidden again, and comes when it is due."""
    job = a_message(w, "notes", delay_ms=6_000)
    message_of(w, job).delayed_until = 0
    (taken,) = waited(w, sqs)
    assert START_MS + 6_000 <= (taken.started_at_ms or 0) <= START_MS + 6_000 + SEEN_WITHIN_MS


def test_a_slow_ledger_does_not_keep_the_client_waiting(w: World, sqs: SlowSqs) -> None:
    """What could not be claimed in time is shown to the next poll at once."""
    opened(w, Band.NORMAL)
    for _ in range(3):
        a_message(w, "notes")
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: w.clock.move(25_000)):
        assert len(waited(w, sqs)) == 1
    assert [job.state for job in w.jobs()].count(State.PENDING) == 2
    assert len(waited(w, sqs)) == 2


def test_an_aws_that_stops_answering_ends_a_wait(w: World, sqs: SlowSqs) -> None:
    opened(w, *LANES[2])
    yard: Yard = slowed(w.yard, sqs)

    def refuse(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    sqs.plans = [(START_MS + 2_500, refuse)]
    with pytest.raises(EndpointConnectionError):
        poll(yard, "notes", 10, LEASE_MS, "client", 20, sqs.sleep)
    assert w.clock.ms == START_MS + 2_500
