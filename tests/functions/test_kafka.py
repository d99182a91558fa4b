"""What Lambda's event source brings of Kafka: read byte by byte, accepted once, and refused whole where it must be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.errors import InvalidInput, Unavailable
from chalicelib.core.kafka import Record
from chalicelib.core.states import State
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.functions import kafka
from chalicelib.functions.kafka import records_by_source
from tests.support.lambda_shapes import Time, kafka_event
from tests.support.steps import failing
from tests.support.worlds import World, wiped, world
from tests.support.yards import SETTINGS

AT_MS = 1_790_000_000_000
SAMPLE = Path(__file__).parents[2] / "events" / "kafka.json"
TOPICS = [
    {"topic": "orders", "direction": "in", "kafka": "orders.v1", "group": "a"},
    {"topic": "notes", "direction": "in", "kafka": "notes", "group": "b", "mapping": {"value": "text"}},
    {"topic": "sent", "direction": "out"},
]
GOT: list[Any] = []


@subscribe("orders")
def take(given: Any) -> None:
    GOT.append(given)


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([take], replace(SETTINGS, kafka_topics=json.dumps(TOPICS))) as used:
        yield used


@pytest.fixture
def w(ground: World) -> World:
    GOT.clear()
    return wiped(ground)


def record(number: int, source: str = "orders.v1", **fields: Any) -> Record:
    return Record(source, number % 2, number, AT_MS, **{"value": b"%d" % number, **fields})


def handle(w: World, *records: Record, source: str = "aws:kafka") -> Any:
    return kafka.handle(w.yard, kafka_event(records, source), Time())


@pytest.mark.parametrize("source", ["aws:kafka", "SelfManagedKafka"])
def test_each_record_is_a_message_of_its_topic(w: World, source: str) -> None:
    notes = record(7, "notes", value="für dich".encode())
    assert handle(w, *map(record, range(3)), notes, source=source) == {"accepted": 4}
    assert sorted(job.type for job in w.jobs()) == ["notes", "orders", "orders", "orders"]
    w.deliver()
    assert sorted(GOT) == [0, 1, 2]


def test_a_batch_that_comes_again_is_no_new_message(w: World) -> None:
    records = [record(number) for number in range(5)]
    handle(w, *records)
    assert handle(w, *records, record(5)) == {"accepted": 6}
    assert len(w.jobs()) == 6


def test_a_batch_of_which_the_ledger_refuses_some_comes_again_whole(w: World) -> None:
    records = [record(number) for number in range(3)]
    with (
        failing(w.yard.jobs.table.client, "TransactWriteItems"),
        pytest.raises(Unavailable, match="3 records were not accepted"),
    ):
        handle(w, *records)
    assert handle(w, *records) == {"accepted": 3}
    w.deliver()
    assert sorted(GOT) == [0, 1, 2]


def test_one_that_cannot_be_read_is_a_dead_letter_and_holds_up_nothing(w: World) -> None:
    assert handle(w, record(0, value=b"no JSON"), record(2)) == {"accepted": 2}
    assert sorted(job.state for job in w.jobs()) == [State.FAILED, State.PENDING]


def test_records_of_a_topic_that_is_not_bridged_are_not_lost(w: World) -> None:
    for source in ("strangers", "sent"):
        with pytest.raises(Unavailable, match=f"1 records were not accepted: {source} is not bridged here"):
            handle(w, record(0, source), record(1))
    assert [job.type for job in w.jobs()] == ["orders"]


def test_bytes_are_what_they_were() -> None:
    odd = bytes(range(256))
    sent = record(1, key=odd, value=odd, headers=(("a", odd), ("a", b""), ("b", None)))
    bare = Record("orders.v1", 3, 0, -1, None, None)
    empty = Record("orders.v1", 3, 1, AT_MS, b"", b"")
    assert records_by_source(kafka_event([sent, bare, empty])) == {"orders.v1": [sent, bare, empty]}


def test_the_sample_event_is_read() -> None:
    first, second = records_by_source(json.loads(SAMPLE.read_text()))["orders.v1"]
    assert (first.key, first.value, first.headers) == (
        b"c-7",
        b'{"orderId": "41"}',
        (("priority", b"10"), ("origin", "ü".encode())),
    )
    assert (second.offset, second.key, second.headers) == (42, None, ())


def event_of(**fields: Any) -> dict[str, Any]:
    """An event of one record, but for ``fields``."""
    return {"records": {"t-0": [{"topic": "t", "partition": 0, "offset": 0, **fields}]}}


@pytest.mark.parametrize(
    ("broken", "place", "expected"),
    [
        ({}, "records", "a value"),
        ({"records": []}, "records", "an object"),
        (event_of(offset="first"), "records.t-0.0.offset", "a whole number"),
        (event_of(partition=-1), "records.t-0.0.partition", "greater than or equal to 0"),
        (event_of(value="s3cret!"), "records.t-0.0.value", "text in base64"),
        (event_of(headers=[{"h": [1, "s3cret!"]}]), "records.t-0.0.headers.0.h.1", "a whole number"),
    ],
)
def test_what_is_no_event_is_refused_without_its_content(broken: dict[str, Any], place: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        records_by_source(broken)
    assert (refused.value.field, refused.value.expected) == (place, expected)
    assert refused.value.remedy == "call this function by an event source mapping of Kafka alone"
    assert "s3cret" not in str(refused.value)
