"""Messages in clients' hands, on each backend and by its own time: waits, vanished clients, reports at one moment."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Timer

import pytest

from chalicelib.clocks import wall_clock_ms
from chalicelib.core.decisions import Succeeded
from chalicelib.core.job import Job
from chalicelib.core.lanes import Band
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.leases import recover_locked
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling.poll import NotLocked, complete, extend, failure, poll
from chalicelib.engine.polling.settle_many import Report, settle_batch
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.yard import Yard, build
from tests.support.backends import Ground
from tests.support.lanes import lane_of
from tests.support.waiting import becomes, until
from tests.support.yards import events_of

PRIORITY_OF = {Band.HIGH: 12, Band.NORMAL: 0, Band.LOW: -5}
LOCK_MS = 30_000
SEEN_WITHIN_S = 10.0  # a second by design, and what a busy machine adds; a wait of its own would last 15
numbers = itertools.count()


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"in.hand.{next(numbers)}"


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard that goes by the backend's time."""
    return build(Registry.of(()), ground.settings, now_ms=wall_clock_ms)


def message(topic: str, **fields: object) -> NewJob:
    return NewJob(kind=Kind.MESSAGE, type=topic, input={}, **fields)  # type: ignore[arg-type]


@contextmanager
def soon(yard: Yard, new_job: NewJob, after_s: float = 0.4) -> Iterator[list[float]]:
    """Somebody publishes in a moment; returns when (monotonic seconds), once they have."""
    published: list[float] = []

    def act() -> None:
        publish(yard, new_job)
        published.append(time.monotonic())

    timer = Timer(after_s, act)
    timer.start()
    try:
        yield published
    finally:
        timer.join()


class TestWaiting:
    @pytest.mark.parametrize("band", PRIORITY_OF)
    def test_a_message_on_any_lane_ends_the_wait(self, yard: Yard, topic: str, band: Band) -> None:
        for priority in PRIORITY_OF.values():
            lane_of(yard, topic, priority)
        with soon(yard, message(topic, priority=PRIORITY_OF[band])) as published:
            (job,) = poll(yard, topic, 10, LOCK_MS, "c", 15)
            seen_s = time.monotonic()
        assert job.priority == PRIORITY_OF[band]
        assert seen_s - published[0] < SEEN_WITHIN_S

    def test_the_first_message_of_a_topic_ends_the_wait(self, yard: Yard, topic: str) -> None:
        with soon(yard, message(topic)) as published:
            assert len(poll(yard, topic, 10, LOCK_MS, "c", 15)) == 1
            seen_s = time.monotonic()
        assert seen_s - published[0] < SEEN_WITHIN_S

    def test_nobody_comes(self, yard: Yard, topic: str) -> None:
        lane_of(yard, topic, 0)
        began_s = time.monotonic()
        assert poll(yard, topic, 10, LOCK_MS, "c", 1) == []
        assert 1.0 <= time.monotonic() - began_s < 1.0 + SEEN_WITHIN_S

    def test_what_a_vanished_client_held_comes_to_who_waits(self, yard: Yard, topic: str) -> None:
        publish(yard, message(topic, max_attempts=2))
        (first,) = until(lambda: poll(yard, topic, 10, 1_000, "one that vanishes", 5))
        (second,) = poll(yard, topic, 10, 1_000, "another", 15)
        assert (second.id, second.attempts, second.failures) == (first.id, 2, 0)
        assert (second.started_at_ms or 0) > (first.lease_until_ms or 0)
        assert events_of(second) == ["published", "started", "recovered", "started"]
        with pytest.raises(NotLocked):
            complete(yard, first.id, first.lease)
        # It vanishes, too: as often as a client may vanish is a bound of its own, not max_attempts.
        (third,) = poll(yard, topic, 10, LOCK_MS, "a third", 15)
        assert (third.id, third.attempts, third.failures) == (first.id, 3, 0)
        assert complete(yard, third.id, third.lease).state is State.SUCCESS

    def test_an_extended_lock_outlives_the_first(self, yard: Yard, topic: str) -> None:
        publish(yard, message(topic))
        (job,) = until(lambda: poll(yard, topic, 10, 1_000, "c", 5))
        extend(yard, job.id, job.lease or "", LOCK_MS)
        assert poll(yard, topic, 10, LOCK_MS, "another", 2) == []
        assert complete(yard, job.id, job.lease).attempts == 1


class TestReports:
    def test_of_many_reports_at_one_moment_one_counts(self, ground: Ground, yard: Yard, topic: str) -> None:
        publish(yard, message(topic))
        (job,) = until(lambda: poll(yard, topic, 10, LOCK_MS, "c", 5))

        def report(_: int) -> Job | NotLocked:
            try:
                return complete(yard, job.id, job.lease)
            except NotLocked as refused:
                return refused

        with ThreadPoolExecutor(ground.threads()) as clients:
            outcomes = list(clients.map(report, range(8)))
        (counted,) = [outcome for outcome in outcomes if isinstance(outcome, Job)]
        assert counted == yard.jobs.find(job.id)
        assert events_of(counted) == ["published", "started", "succeeded"]

    def test_a_hundred_at_once(self, yard: Yard, topic: str) -> None:
        publish_many(yard, [message(topic, priority=n % 3) for n in range(100)])
        taken: list[Job] = []
        until(lambda: taken.extend(poll(yard, topic, 100, LOCK_MS, "c")) or len(taken) >= 100)
        assert len({job.id for job in taken}) == 100
        reports = [
            Report(job.id, failure("no") if n % 10 == 0 else Succeeded(), job.lease) for n, job in enumerate(taken)
        ]
        settled = settle_batch(yard, reports)
        states = [job.state for job in settled if isinstance(job, Job)]
        assert (states.count(State.SUCCESS), states.count(State.PENDING)) == (90, 10)
        sources = [yard.transport.source_of(lane) for lane in yard.directory.lanes_of(topic)]
        becomes(10, lambda: sum(yard.transport.depth(source) for source in sources))

    def test_recovered_by_request(self, yard: Yard, topic: str) -> None:
        publish(yard, message(topic))
        (job,) = until(lambda: poll(yard, topic, 10, 1_000, "one that vanishes", 5))
        until(lambda: recover_locked(yard, topic, lambda: True) == 1)
        (again,) = until(lambda: poll(yard, topic, 10, LOCK_MS, "another", 5))
        assert (again.id, again.attempts, again.failures) == (job.id, 2, 0)
        assert complete(yard, again.id, again.lease).state is State.SUCCESS
        becomes([], lambda: poll(yard, topic, 10, LOCK_MS, "a third", 2))  # the first message shows, and is void
        becomes(0, lambda: yard.transport.depth(yard.transport.source_of(lane_of(yard, topic, 0))))
