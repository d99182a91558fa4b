"""Messages that go to Kafka: whatever becomes of a broker, a worker or a record, what was accepted arrives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import pytest

from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict
from chalicelib.core.kafka import Outward
from chalicelib.core.kafka_writing import Written
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.handlers import outward
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.queue import kafka_producer
from chalicelib.queue.kafka import properties
from chalicelib.queue.kafka_producer import KafkaProducer, NotSent
from chalicelib.store.jobs import JobStore
from tests.support.kafka import LIMIT_S, Kafka, kafka
from tests.support.waiting import until
from tests.support.worlds import World, wiped, world
from tests.support.yards import SETTINGS, Exited

PARTITIONS = 2
AWAY = "Kafka acknowledges nothing"
DROPPED = "Kafka has acknowledged nothing for 1 s"
Hurried = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kafka]:
    with kafka() as running:
        yield running


@dataclass(slots=True)
class Stage:
    """A world whose topic ``sent`` goes to a topic on Kafka of its own."""

    w: World
    cluster: Kafka
    target: str

    def publish(self, *inputs: Any, **fields: Any) -> list[int]:
        asked = [NewJob(kind=Kind.MESSAGE, type="sent", input=each, **fields) for each in inputs]
        return [job.id for job in publish_many(self.w.yard, asked) if not isinstance(job, Exception)]

    def arrived(self) -> list[Any]:
        return self.cluster.read(self.target, PARTITIONS)

    def values(self) -> list[Any]:
        return sorted(json.loads(each.value()) for each in self.arrived())

    def states(self) -> list[State]:
        return [job.state for job in self.w.jobs()]


@subscribe("sent")
def placeholder(_: Any) -> None:
    raise AssertionError("the topic goes to Kafka")


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([placeholder], SETTINGS) as used:
        yield used


@pytest.fixture
def stage(cluster: Kafka, ground: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    own = KafkaProducer(properties(cluster.bootstrap))
    monkeypatch.setattr(outward, "producer", lambda: own)
    monkeypatch.setattr(kafka_producer, "SILENCE_LIMIT_S", kafka_producer.FLUSH_LIMIT_S)  # a machine may be slow
    target = cluster.topic(PARTITIONS)
    used = wiped(ground)
    used.restart(Registry.of([], [Outward(topic="sent", target=target)]))
    yield Stage(used, cluster, target)
    cluster.up()
    cluster.answer_after(0)
    cluster.acknowledge_again()


@pytest.fixture
def hurried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Hurried:
    """A producer that gives up after a second, as long as the context is open."""

    @contextmanager
    def hurrying() -> Iterator[None]:
        with monkeypatch.context() as hasty:
            hasty.setattr(kafka_producer, "FLUSH_LIMIT_S", 3)
            hasty.setattr(kafka_producer, "PRODUCING", {**kafka_producer.PRODUCING, "delivery.timeout.ms": 1_000})
            own = KafkaProducer(properties(stage.cluster.bootstrap))
            hasty.setattr(outward, "producer", lambda: own)
            yield

    return hurrying


def test_messages_arrive_with_who_they_are(stage: Stage) -> None:
    (first, *_) = stage.publish({"n": 1}, {"n": 2}, flow_key="ann", trace_id="t-1")
    stage.w.go_on()
    assert stage.states() == [State.SUCCESS] * 2
    (record, _) = sorted(stage.arrived(), key=lambda each: each.value())
    assert (record.key(), record.value()) == (b"ann", b'{"n":1}')
    headers = dict(record.headers())
    assert (headers["taskyard-id"], headers["taskyard-trace-id"], headers["taskyard-attempt"]) == (
        str(first).encode(), b"t-1", b"1",
    )  # fmt: skip


def test_a_broker_that_is_down_costs_attempts_and_no_message(stage: Stage, hurried: Hurried) -> None:
    stage.publish(1, 2, 3)
    stage.cluster.down()
    with hurried():
        stage.w.deliver()
    assert stage.states() == [State.PENDING] * 3
    errors = {job.error.type for job in stage.w.jobs() if job.error is not None}
    assert errors == {"NotSent"}
    stage.cluster.up()
    stage.w.go_on()
    assert stage.states() == [State.SUCCESS] * 3
    assert sorted(set(stage.values())) == [1, 2, 3]


def test_a_broker_that_answers_late_costs_attempts_and_no_message(stage: Stage, hurried: Hurried) -> None:
    """What it was sent twice it may have twice."""
    stage.publish(1, 2)
    stage.cluster.answer_after(1_500)
    with hurried():
        stage.w.deliver()
    assert stage.states() == [State.PENDING] * 2
    stage.cluster.answer_after(0)
    stage.w.go_on()
    assert stage.states() == [State.SUCCESS] * 2
    assert sorted(set(stage.values())) == [1, 2]


def test_while_brokers_are_away_sends_are_refused_and_now_and_then_one_asks(stage: Stage, hurried: Hurried) -> None:
    now_s = [0.0]
    with hurried():
        producer = KafkaProducer(properties(stage.cluster.bootstrap), clock=lambda: now_s[0])
    record = Written(stage.target, None, b"1", ())
    stage.cluster.down()
    assert told(producer.send([record])) != AWAY  # it was waited for
    assert told(producer.send([record])) == AWAY
    now_s[0] += kafka_producer.ASK_PAUSE_S
    assert told(producer.send([record])) == AWAY  # no broker has answered
    stage.cluster.up()
    assert told(producer.send([record])) == AWAY  # nobody has asked
    assert stage.arrived() == []

    def asks() -> bool:
        now_s[0] += kafka_producer.ASK_PAUSE_S
        return producer.send([record]) == [None]

    until(asks)
    assert producer.send([record]) == [None]


def test_a_broker_that_answers_and_acknowledges_nothing_is_tried_less_and_less_often(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    producer = KafkaProducer(properties(stage.cluster.bootstrap), clock=lambda: now_s[0])

    def sent(value: bytes) -> str:
        return told(producer.send([Written(stage.target, None, value, ())]))

    assert sent(b"first") == ""
    stage.cluster.acknowledge_nothing()
    with monkeypatch.context() as hasty:
        hasty.setattr(kafka_producer, "SILENCE_LIMIT_S", 1)
        hasty.setattr(kafka_producer, "ASK_LIMIT_S", LIMIT_S)
        assert sent(b"lost") == DROPPED  # librdkafka goes on with it for 20 s
        for pause_s in (10, 20, 40, 60, 60):
            now_s[0] += pause_s - 1
            assert sent(b"refused") == AWAY
            now_s[0] += 1
            assert sent(b"lost") == DROPPED
    stage.cluster.acknowledge_again()

    def sends() -> bool:
        now_s[0] += kafka_producer.LONGEST_PAUSE_S
        return sent(b"last") == ""

    until(sends)
    assert {each.value() for each in stage.arrived()} - {b"lost"} == {b"first", b"last"}


def test_what_is_acknowledged_little_by_little_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_producer, "SILENCE_LIMIT_S", 2)
    producer, looks = KafkaProducer(properties(stage.cluster.bootstrap)), iter([4, 3, 3, 2, 2, 1, 1, 0])

    def flush(_limit_s: float) -> int:
        left = next(looks)
        producer._acknowledged = 4 - left
        return left

    client = Mock(flush=flush)
    assert producer._flushed(client)
    client.purge.assert_not_called()


def told(results: Sequence[Exception | None]) -> str:
    (result,) = results
    return "" if result is None else str(result).partition(";")[0]


def test_a_worker_that_dies_once_kafka_has_a_record_sends_it_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.publish(1)
    with monkeypatch.context() as dying:
        dying.setattr(JobStore, "succeed_unclaimed", Mock(side_effect=Exited))
        stage.w.deliver()
    assert stage.values() == [1]
    stage.w.restart()
    stage.w.go_on()
    assert stage.states() == [State.SUCCESS]
    assert stage.values() == [1, 1]
    assert {dict(each.headers())["taskyard-attempt"] for each in stage.arrived()} == {b"1"}  # it had recorded none
    assert len({dict(each.headers())["taskyard-uid"] for each in stage.arrived()}) == 1


def test_what_kafka_never_takes_is_a_dead_letter_and_the_rest_of_its_batch_goes(stage: Stage) -> None:
    stage.publish("a", "x" * 2_000_000, "b")
    stage.w.go_on()
    (dead,) = (job for job in stage.w.jobs() if job.state is State.FAILED)
    assert (dead.cause, dead.attempts, dead.error and dead.error.type) == (Cause.REJECTED, 1, "RecordRefused")
    assert stage.values() == ["a", "b"]


def test_in_order_those_of_a_key_arrive_as_they_were_published(stage: Stage) -> None:
    stage.w.restart(Registry.of([], [Outward(topic="sent", target=stage.target, order="block")]))
    for number in range(6):
        stage.publish(number, flow_key="ann")
    stage.w.go_on()
    assert [json.loads(each.value()) for each in stage.arrived()] == [0, 1, 2, 3, 4, 5]


def test_nobody_polls_a_topic_that_goes_to_kafka(stage: Stage) -> None:
    with pytest.raises(Conflict):
        poll(stage.w.yard, "sent", 1, 30_000, "me")


def test_a_replay_goes_to_kafka_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    job = publish(stage.w.yard, NewJob(kind=Kind.MESSAGE, type="sent", input=1, max_attempts=1))
    with monkeypatch.context() as refusing:
        refusing.setattr(KafkaProducer, "send", lambda _, records: [NotSent("not now")] * len(records))
        stage.w.deliver()
    assert stage.states() == [State.FAILED]
    lifecycle.replay(stage.w.yard, job.id)
    stage.w.go_on()
    assert stage.values() == [1]
