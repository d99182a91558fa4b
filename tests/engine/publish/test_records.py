"""Records of Kafka as jobs: each is one, whatever comes again; an unreadable one is a dead letter to be mended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.kafka import Format, Inward, Reading, Record, Tombstone
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish import records as records_module
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.publish.records import accept, accept_each
from tests.support.worlds import World, wiped, world
from tests.support.yards import SETTINGS

AT_MS = 1_790_000_000_000
TOPIC = {"topic": "orders", "direction": "in", "kafka": "orders.v1", "mapping": {"input": "value.a"}}
CHOSEN = replace(SETTINGS, kafka_topics=json.dumps([TOPIC]), payload_max_bytes=20_000)
INWARD = Inward(topic="orders", source="orders.v1", cluster="k", group="g")
IN_ORDER = Inward(topic="in order", source="ordered", cluster="k", group="g", reading=Reading(flow_key="key"))
GOT: list[Any] = []


@subscribe("orders")
def reader(given: Any) -> None:
    GOT.append(given)


@subscribe("in order", order="step aside")
def patient(given: Any) -> None:
    GOT.append(given)


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([reader, patient], CHOSEN) as used:
        yield used


@pytest.fixture
def w(ground: World) -> World:
    GOT.clear()
    return wiped(ground)


def numbered(count: int, start: int = 0, source: str = "orders.v1", **fields: Any) -> list[Record]:
    usual = {"key": b"k", **fields}
    return [
        Record(source, number % 2, number, AT_MS, value=b"%d" % number, **usual)
        for number in range(start, start + count)
    ]


def accepted(w: World) -> list[Job]:
    return sorted(w.jobs(), key=lambda job: job.id)


def inputs(w: World) -> list[Any]:
    return [w.yard.payloads.body(job).get("input") for job in accepted(w)]


# -- one job each ---------------------------------------------------------------------------------------


def test_each_record_is_a_message_of_the_topic_with_its_coordinates(w: World) -> None:
    accept(w.yard, INWARD, numbered(3))
    assert inputs(w) == [0, 1, 2]
    told = w.yard.payloads.body(accepted(w)[1])["options"]["kafka"]
    assert (told["cluster"], told["topic"], told["partition"], told["offset"], told["key"]) == (
        "k",
        "orders.v1",
        1,
        1,
        "k",
    )
    w.deliver()
    assert sorted(GOT) == [0, 1, 2]


def test_a_second_delivery_is_the_same_job(w: World) -> None:
    accept(w.yard, INWARD, numbered(5))
    w.restart()
    accept(w.yard, INWARD, numbered(5))
    accept(w.yard, INWARD, [*numbered(5), *numbered(5)])
    assert inputs(w) == [0, 1, 2, 3, 4]


def test_what_is_new_among_others_is_accepted(w: World) -> None:
    accept(w.yard, INWARD, numbered(5, 3))
    accept(w.yard, INWARD, numbered(12))
    assert sorted(inputs(w)) == list(range(12))


def test_a_bulk_that_meets_another_members_records_loses_none(w: World) -> None:
    """Nobody has the keys when they are looked up, and all are taken when they are written."""
    accept(w.yard, INWARD, numbered(4))
    with patch.object(type(w.yard.directory), "bindings", lambda *_: {}):
        accept(w.yard, INWARD, numbered(8))
    assert sorted(inputs(w)) == list(range(8))


def test_records_that_are_new_are_not_looked_up(w: World) -> None:
    with patch.object(type(w.yard.directory), "bindings", side_effect=AssertionError):
        accept(w.yard, INWARD, numbered(20))


def test_of_records_that_came_before_the_new_ones_start_together(w: World) -> None:
    accept(w.yard, INWARD, numbered(10))
    with patch("chalicelib.engine.publish.bulk.publish", side_effect=AssertionError):  # one by one
        accept(w.yard, INWARD, numbered(30))
    assert sorted(inputs(w)) == list(range(30))


def test_the_same_offset_of_a_topic_that_was_made_anew_is_another_message(w: World) -> None:
    accept(w.yard, INWARD, numbered(2))
    accept(w.yard, INWARD, [replace(each, timestamp_ms=AT_MS + 1) for each in numbered(2)])
    assert sorted(inputs(w)) == [0, 0, 1, 1]


def test_it_is_known_for_as_long_as_a_tombstone_lives(w: World) -> None:
    accept(w.yard, INWARD, numbered(1))
    w.deliver()
    lifecycle.delete(w.yard, accepted(w)[0].id, Kind.MESSAGE)
    w.clock.move((CHOSEN.tombstone_ttl_s - 1) * 1_000)
    accept(w.yard, INWARD, numbered(1))
    assert GOT == [0]
    assert accepted(w) == []


def test_a_client_cannot_name_a_record(w: World) -> None:
    """Keys of clients are of another scope."""
    name = f"k/orders.v1/0/0@{AT_MS}"
    publish(w.yard, NewJob(kind=Kind.MESSAGE, type="orders", input="a client's", idempotency_key=name))
    accept(w.yard, INWARD, numbered(1))
    assert inputs(w) == ["a client's", 0]


def test_with_a_mapped_key_the_first_record_of_a_key_is_the_message(w: World) -> None:
    keyed = replace(INWARD, reading=Reading(idempotency_key="headers.id"))
    accept(w.yard, keyed, numbered(3, headers=(("id", b"one"),)))
    accept(w.yard, keyed, numbered(2, 3, headers=(("id", b"two"),)))
    assert inputs(w) == [0, 3]


def test_a_tombstone_is_a_message_or_nothing(w: World) -> None:
    gone = [replace(each, value=None) for each in numbered(2)]
    accept(w.yard, replace(INWARD, reading=Reading(tombstone=Tombstone.SKIP)), gone)
    assert inputs(w) == []
    accept(w.yard, INWARD, gone)
    assert inputs(w) == [None, None]


def test_more_records_than_a_transaction_holds(w: World) -> None:
    accept(w.yard, INWARD, numbered(230))
    assert sorted(inputs(w)) == list(range(230))


# -- in order -------------------------------------------------------------------------------------------


def test_messages_in_order_run_as_their_records_stand(w: World) -> None:
    accept(w.yard, IN_ORDER, numbered(6, source="ordered"))
    w.go_on()
    assert GOT == [0, 1, 2, 3, 4, 5]


def test_of_messages_in_order_nothing_after_a_refused_one_is_tried(w: World) -> None:
    refused = Unavailable("not now")
    real = records_module.publish_many

    def moody(yard: Any, new_jobs: Sequence[Any]) -> Any:
        return [refused] if new_jobs[0].input == 2 else real(yard, new_jobs)

    with patch.object(records_module, "publish_many", moody):
        outcomes = accept_each(w.yard, IN_ORDER, numbered(5, source="ordered"))
    assert [outcome is None for outcome in outcomes] == [True, True, False, False, False]
    assert inputs(w) == [0, 1]


# -- what is not accepted -------------------------------------------------------------------------------


def test_where_the_ledger_does_not_answer_it_is_raised_and_all_come_again(w: World) -> None:
    down = EndpointConnectionError(endpoint_url="https://aws.test")
    with patch.object(type(w.yard.jobs), "together", side_effect=down), pytest.raises(Unavailable):
        accept(w.yard, INWARD, numbered(3))
    assert inputs(w) == []
    accept(w.yard, INWARD, numbered(3))
    assert inputs(w) == [0, 1, 2]


# -- unreadable records ---------------------------------------------------------------------------------


def poison(offset: int = 7, value: bytes = b'{"a":') -> Record:
    return Record("orders.v1", 0, offset, AT_MS, b"k", value, (("h", b"\xff"),))


def test_one_that_is_unreadable_is_a_dead_letter_and_the_others_go_on(w: World) -> None:
    accept(w.yard, INWARD, [*numbered(2), poison(), *numbered(2, 8)])
    (dead,) = (job for job in accepted(w) if job.state is State.FAILED)
    assert (dead.cause, dead.type, dead.error and dead.error.type) == (Cause.MALFORMED, "orders", "UnreadableRecord")
    kept = w.yard.payloads.body(dead)["options"]["kafka"]
    assert (kept["offset"], kept["raw"]["value"]) == (7, "eyJhIjo=")
    w.deliver()
    assert sorted(GOT) == [0, 1, 8, 9]


def test_it_is_one_however_often_it_is_delivered(w: World) -> None:
    for _ in range(3):
        accept(w.yard, INWARD, [poison(), poison()])
    assert len(accepted(w)) == 1


def test_once_it_was_a_dead_letter_it_is_no_message_beside_it(w: World) -> None:
    """The mapping was mended between two deliveries."""
    accept(w.yard, INWARD, [poison(value=b"\xff")])
    mended = replace(INWARD, reading=Reading(value=Format.BASE64))
    accept(w.yard, mended, [poison(value=b"\xff")])
    assert [job.state for job in accepted(w)] == [State.FAILED]


def test_a_replay_reads_it_with_the_mapping_of_now(w: World) -> None:
    broken = replace(INWARD, reading=Reading(value=Format.JSON, priority="value.a"))
    accept(w.yard, broken, [poison(value=b'{"a":"not a priority"}')])
    (dead,) = accepted(w)
    made = lifecycle.replay(w.yard, dead.id)
    assert (made.replay_of, made.state) == (dead.id, State.PENDING)
    w.deliver()
    assert GOT == ["not a priority"]
    with pytest.raises(Conflict, match="replayed already"):
        lifecycle.replay(w.yard, dead.id)


def test_one_that_still_cannot_be_read_stays_a_dead_letter(w: World) -> None:
    accept(w.yard, INWARD, [poison()])
    (dead,) = accepted(w)
    with pytest.raises(Conflict, match="cannot be read yet"):
        lifecycle.replay(w.yard, dead.id)
    with pytest.raises(Conflict, match="could not be read"):
        lifecycle.retry(w.yard, dead.id, Kind.MESSAGE)
    assert w.yard.jobs.find(dead.id) == dead


def test_one_of_a_topic_that_is_bridged_no_more_stays_too(w: World) -> None:
    accept(w.yard, replace(INWARD, topic="others"), [poison(value=b"\xff")])
    (dead,) = accepted(w)
    with pytest.raises(Conflict, match="nothing reads this record any more"):
        lifecycle.replay(w.yard, dead.id)


def test_one_that_is_too_large_is_kept_in_part(w: World) -> None:
    accept(w.yard, INWARD, [poison(value=b'"%s"' % (b"x" * 30_000))])
    (dead,) = accepted(w)
    assert dead.error is not None
    assert "x" * 100 not in dead.error.message
    assert w.yard.payloads.body(dead)["options"]["kafka"]["raw"]["cut"]
    with pytest.raises(Conflict, match=r"too large to be kept whole.* send it again from its source"):
        lifecycle.replay(w.yard, dead.id)


def test_an_unreadable_record_stands_outside_an_order(w: World) -> None:
    accept(w.yard, IN_ORDER, [replace(poison(), topic="ordered"), *numbered(2, 8, source="ordered")])
    w.go_on()
    assert GOT == [8, 9]
    assert [job.order for job in accepted(w) if job.state is State.FAILED] == [None]
