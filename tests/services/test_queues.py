"""Depth, cleanup and recovery in Python."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.engine.clock import retention
from chalicelib.services import dead_letters, messages, queues, traces
from chalicelib.services.queues import Cleaned
from chalicelib.services.records import Message, moment_of
from chalicelib.services.words import Status
from tests.support.yards import Bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on


def done(topic: str) -> Message:
    """A message that was completed."""
    messages.publish(topic, {})
    return messages.complete(messages.poll(topic)[0])


def test_depth_counts_what_waits_delayed_ones_included(bench: Bench, topic: str) -> None:
    messages.publish(topic, {}, execute_at=moment_of(bench.clock.ms) + timedelta(days=1))
    messages.publish(topic, {})
    messages.publish(topic, {})
    messages.poll(topic, 1)
    seen = queues.depth(topic)
    assert (seen.depth, seen.is_exact, seen.by_topic) == (2, True, None)
    assert queues.depth("nothing.here").depth == 0


def test_depth_of_all_names_the_topics_that_the_counters_know(topic: str) -> None:
    before = queues.depth().depth
    messages.publish(topic, {})
    seen = queues.depth()
    assert (seen.depth, seen.is_exact, seen.by_topic) == (before + 1, True, {})  # no projector runs here


def test_what_was_done_before_a_time_is_removed(bench: Bench, topic: str) -> None:
    old = done(topic)
    bench.clock.move(10_000)
    recent, waiting = done(topic), messages.publish(topic, {})
    before = moment_of(bench.clock.ms) - timedelta(seconds=5)
    assert queues.cleanup(older_than=before, topic=topic) == Cleaned(1, has_more=False)
    with pytest.raises(NotFound):
        messages.get(old)
    assert {m.id for m in messages.list(topic=topic)} == {recent.id, waiting.id}
    assert queues.cleanup(topic=topic) == Cleaned(1, has_more=False)
    assert [m.id for m in messages.list(topic=topic)] == [waiting.id]


def test_dead_letters_are_removed_once_they_were_replayed_or_by_name(topic: str) -> None:
    for _ in range(2):
        messages.publish(topic, {}, max_retries=1)
        (letter,) = messages.poll(topic)
        messages.fail(letter)
    replayed = dead_letters.replay(letter)
    messages.complete(messages.poll(topic)[0])
    assert queues.cleanup(topic=topic) == Cleaned(1, has_more=False)
    assert queues.cleanup(status="FAILED", topic=topic) == Cleaned(1, has_more=False, kept=1)
    assert queues.cleanup(status="FAILED", topic=topic, include_unreplayed=True) == Cleaned(1, has_more=False)
    assert [event.event for event in traces.get(letter.trace_id)] == ["PUBLISHED", "PROCESSING", "MOVED_TO_DLQ"]
    assert [event.event for event in traces.list(message_id=replayed.id)] == ["COMPLETED", "PROCESSING", "REPLAYED"]


def test_a_cleanup_ends_when_its_caller_says_so(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "READ_CHUNK", 2)
    for _ in range(3):
        done(topic)
    assert queues.cleanup(topic=topic, going_on=lambda: False) == Cleaned(2, has_more=True)
    assert queues.cleanup(topic=topic) == Cleaned(1, has_more=False)


@pytest.mark.parametrize("status", ["PENDING", Status.PROCESSING, "done"])
def test_only_what_is_done_is_removed(status: str) -> None:
    with pytest.raises(InvalidInput) as error:
        queues.cleanup(status=status)
    assert error.value.field == "status"


def test_what_a_vanished_consumer_held_is_pending_again(bench: Bench, topic: str) -> None:
    held = messages.publish(topic, {})
    messages.publish(topic, {}, max_retries=1, priority=-1)
    messages.poll(topic, lock_timeout_ms=5_000)
    assert queues.recover_locked(topic) == 0
    bench.clock.move(5_001)
    assert queues.recover_locked("another") == 0
    assert queues.recover_locked(topic) == 2
    assert messages.get(held).status is Status.PENDING
    assert [m.retry_count for m in messages.list(topic=topic, status="PENDING")] == [0, 0]  # nobody gave a sign
    assert queues.recover_locked(topic) == 0
