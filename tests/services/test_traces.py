"""Traces in Python."""

from __future__ import annotations

from itertools import islice

import pytest

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.services import messages, traces
from chalicelib.services.records import TraceEvent, moment_of
from chalicelib.services.words import TraceEventType
from tests.support.yards import Bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on


def test_the_documented_story(bench: Bench, topic: str) -> None:
    made = messages.publish(topic, {})
    bench.clock.move(10)
    (polled,) = messages.poll(topic, consumer_id="till 3")
    bench.clock.move(10)
    messages.complete(polled)
    told = traces.get(made.trace_id)
    assert [event.event for event in told] == ["PUBLISHED", "PROCESSING", "COMPLETED"]
    assert told[1] == TraceEvent(
        trace_id=made.trace_id,
        message_id=made.id,
        topic=topic,
        event=TraceEventType.PROCESSING,
        detail={"consumerId": "till 3"},
        created_at=moment_of(bench.clock.ms - 10),
    )


def test_messages_with_one_trace_id_tell_one_story(bench: Bench, topic: str) -> None:
    first = messages.publish(topic, {}, trace_id=f"ours-{topic}")
    bench.clock.move(1)
    second = messages.publish(topic, {}, trace_id=f"ours-{topic}")
    bench.clock.move(1)
    messages.poll(topic, 1)
    assert [(event.message_id, event.event) for event in traces.get(f"ours-{topic}")] == [
        (first.id, "PUBLISHED"),
        (second.id, "PUBLISHED"),
        (first.id, "PROCESSING"),
    ]


def test_events_by_their_time_and_only_what_is_asked_for_is_read(bench: Bench, topic: str) -> None:
    made = []
    for n in range(3):
        bench.clock.move(1)
        made.append(messages.publish(topic, {"n": n}).id)
    bench.clock.move(1)
    (polled,) = messages.poll(topic, 1)
    messages.complete(polled)
    told = [(event.message_id, event.event) for event in traces.list(topic=topic)]
    assert told == [
        (made[0], "COMPLETED"),
        (made[0], "PROCESSING"),
        (made[2], "PUBLISHED"),
        (made[1], "PUBLISHED"),
        (made[0], "PUBLISHED"),
    ]
    assert [event.message_id for event in islice(traces.list(topic=topic, event="PUBLISHED"), 2)] == made[:0:-1]
    assert [event.event for event in traces.list(message_id=made[0], event=TraceEventType.COMPLETED)] == ["COMPLETED"]
    assert [event.event for event in traces.list(message_id=made[0], topic="another")] == []


def test_what_is_refused() -> None:
    with pytest.raises(NotFound):
        traces.get("no-such-trace")
    with pytest.raises(NotFound):
        traces.list(message_id=12_345_678)
    with pytest.raises(InvalidInput) as error:
        traces.list(event="VANISHED")
    assert error.value.field == "event"
