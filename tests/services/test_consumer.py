"""Consuming polled topics in a process of one's own, on the embedded emulator: threads, real locks, real time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.clocks import wall_clock_ms
from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.engine.polling import poll
from chalicelib.engine.worker.context import Reject
from chalicelib.engine.yard import Yard
from chalicelib.services import dead_letters, installation, messages, queues, traces
from chalicelib.services.consumer import Consumer, Options
from chalicelib.services.locks import LockExtender
from chalicelib.services.messages import NewMessage
from chalicelib.services.records import Message
from chalicelib.services.serving import label_of
from chalicelib.services.words import Status
from tests.services.handlers.publishers import publisher
from tests.support.backends import embedded_emulator
from tests.support.waiting import DEADLINE_S, becomes, until
from tests.support.yards import SETTINGS, endpoint_bench

QUICK = replace(SETTINGS, mq_retry_base_ms=1, poll_lease_ms=30_000, mq_poll_wait_s=1, index_shards=1)
SHORT_LOCK_MS = 1_000  # the shortest there is
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with embedded_emulator() as emulator, endpoint_bench(emulator().endpoint_url, [publisher], QUICK) as bench:
        yield replace(bench.yard, now_ms=wall_clock_ms)


@pytest.fixture(autouse=True)
def _acting(yard: Yard) -> Iterator[None]:
    with installation.using(yard):
        yield


@pytest.fixture
def consume() -> Iterator[Callable[..., Consumer]]:
    """Makes started consumers of a topic's functions, all stopped in the end."""
    started: list[Consumer] = []

    def make(topic: str, *functions: Callable[[Message], Any], **options: Any) -> Consumer:
        consumer = Consumer(Options(**{"wait_s": 0, **options}))
        started.append(consumer)
        for function in functions:
            consumer.subscribe(topic, function)
        consumer.start()
        return consumer

    yield make
    for consumer in started:
        consumer.stop()


def status_of(message: Message) -> Status:
    return messages.get(message).status


def story_of(message: Message) -> list[str]:
    return [event.event.value for event in traces.get(message.trace_id)]


class Gate:
    """A function that holds its messages until it is let go."""

    def __init__(self) -> None:
        self.seen: list[Message] = []
        self.opened = threading.Event()

    def __call__(self, message: Message) -> None:
        self.seen.append(message)
        assert self.opened.wait(DEADLINE_S)


def test_each_message_gets_to_every_function_and_completes(consume: Callable[..., Consumer], topic: str) -> None:
    ones: list[Message] = []
    others: list[Message] = []
    sent = [messages.publish(topic, {"n": n}, meta={"m": n}) for n in range(5)]
    consume(topic, ones.append, lambda message: others.append(message))
    becomes(5, lambda: messages.list(topic=topic, status=Status.COMPLETED).total_count)
    assert {(m.id, m.payload["n"], m.meta["m"]) for m in ones} == {(m.id, n, n) for n, m in enumerate(sent)}
    assert {m.id for m in others} == {m.id for m in sent}
    assert story_of(sent[0]) == ["PUBLISHED", "PROCESSING", "COMPLETED"]


def test_a_message_published_later_is_seen_and_so_is_a_later_subscription(
    consume: Callable[..., Consumer], topic: str
) -> None:
    seen: list[str] = []
    consumer = consume(topic, lambda message: seen.append(message.topic), wait_s=1)
    consumer.start()  # a second start changes nothing
    messages.publish(topic, {})
    until(lambda: seen == [topic])
    consumer.subscribe(f"{topic}.more", lambda message: seen.append(message.topic))
    messages.publish(f"{topic}.more", {})
    until(lambda: seen == [topic, f"{topic}.more"])


def test_an_exception_fails_the_delivery_with_its_text_and_the_retry_calls_only_who_failed(
    consume: Callable[..., Consumer], topic: str
) -> None:
    calls: list[str] = []

    def steady(_: Message) -> None:
        calls.append("steady")

    def shaky(message: Message) -> None:
        calls.append("shaky")
        raise ValueError(f"no luck with {message.payload['n']}")

    sent = messages.publish(topic, {"n": 7}, max_retries=2)
    consume(topic, shaky, steady)
    becomes(Status.FAILED, lambda: status_of(sent))
    (letter,) = dead_letters.list(topic=topic)
    assert (letter.error_message, letter.retry_count) == ("no luck with 7", 2)
    assert calls == ["shaky", "steady", "shaky"]
    assert story_of(sent) == ["PUBLISHED", "PROCESSING", "FAILED", "PROCESSING", "MOVED_TO_DLQ"]


def test_what_no_retry_can_help_is_a_dead_letter_at_once(consume: Callable[..., Consumer], topic: str) -> None:
    def refuse(_: Message) -> None:
        raise Reject("not an order")

    sent = messages.publish(topic, {})
    consume(topic, refuse)
    becomes(Status.FAILED, lambda: status_of(sent))
    assert messages.get(sent).retry_count == 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_nothing_that_a_function_raises_ends_the_consumer(
    consume: Callable[..., Consumer], topic: str, error: type[BaseException]
) -> None:
    def odd(message: Message) -> None:
        if message.payload["n"] == 0:
            raise error

    bad = messages.publish(topic, {"n": 0}, max_retries=1, priority=10)
    good = messages.publish(topic, {"n": 1})
    consume(topic, odd, concurrency=1)
    becomes(Status.COMPLETED, lambda: status_of(good))
    assert status_of(bad) is Status.FAILED


def test_a_lock_is_extended_as_long_as_the_function_runs(consume: Callable[..., Consumer], topic: str) -> None:
    gate = Gate()
    sent = messages.publish(topic, {})
    consume(topic, gate, lock_timeout_ms=SHORT_LOCK_MS)
    until(lambda: gate.seen)
    first_end = gate.seen[0].lock_expires_at
    assert first_end is not None
    until(lambda: (end := messages.get(sent).lock_expires_at) and (end - first_end).total_seconds() > 1.5)
    assert messages.poll(topic) == []
    gate.opened.set()
    becomes(Status.COMPLETED, lambda: status_of(sent))
    assert len(gate.seen) == 1


def test_a_function_that_takes_too_long_loses_its_message(consume: Callable[..., Consumer], topic: str) -> None:
    gate = Gate()
    sent = messages.publish(topic, {})
    consume(topic, gate, lock_timeout_ms=SHORT_LOCK_MS, timeout_ms=1, concurrency=1)
    until(lambda: gate.seen)
    (taken,) = until(lambda: messages.poll(topic))
    assert taken.id == sent.id
    gate.opened.set()
    messages.complete(taken)


def test_a_message_that_came_back_to_the_same_process_keeps_its_lock_when_its_first_run_ends(
    yard: Yard, topic: str
) -> None:
    extender = LockExtender(yard, SHORT_LOCK_MS, 0)
    messages.publish(topic, {})
    (first,) = until(lambda: poll.poll(yard, topic, 1, SHORT_LOCK_MS, "first"))
    (again,) = until(lambda: poll.poll(yard, topic, 1, SHORT_LOCK_MS, "again"))
    extender.add(first)
    extender.add(again)
    extender.start()
    extender.let_go(first)
    until(lambda: (yard.jobs.find(again.id) or again).lease_until_ms > again.lease_until_ms)  # type: ignore[operator]
    extender.let_go(again)
    extender.stop(0)
    assert messages.complete(again.id, lock_token=again.lease).status is Status.COMPLETED


def test_no_more_is_in_hand_than_is_worked_on(consume: Callable[..., Consumer], topic: str) -> None:
    gate = Gate()
    for n in range(3):
        messages.publish(topic, {"n": n})
    consume(topic, gate, concurrency=1)
    until(lambda: gate.seen)
    assert queues.depth(topic).depth == 2
    gate.opened.set()
    becomes(3, lambda: messages.list(topic=topic, status=Status.COMPLETED).total_count)


def test_a_stop_waits_for_what_is_in_hand(consume: Callable[..., Consumer], topic: str) -> None:
    gate = Gate()
    sent, more = messages.publish(topic, {}, priority=10), messages.publish(topic, {})
    consumer = consume(topic, gate, concurrency=1)
    until(lambda: gate.seen)
    ended: list[bool] = []
    stopping = threading.Thread(target=lambda: ended.append(consumer.stop()))
    stopping.start()
    assert status_of(sent) is Status.PROCESSING
    assert ended == []
    gate.opened.set()
    stopping.join(DEADLINE_S)
    assert ended == [True]
    assert status_of(sent) is Status.COMPLETED
    assert [status_of(more), len(gate.seen)] == [Status.PENDING, 1]
    assert consumer.stop()  # there is nothing left to stop


def test_a_stop_out_of_time_hands_the_message_back_at_once(consume: Callable[..., Consumer], topic: str) -> None:
    gate, seen = Gate(), []
    sent = messages.publish(topic, {}, max_retries=1)
    consumer = consume(topic, gate)
    until(lambda: gate.seen)
    assert not consumer.stop(within_s=0.05)
    handed_back = messages.get(sent)
    assert (handed_back.status, handed_back.error, handed_back.retry_count) == (Status.PENDING, "shutdown", 0)
    consume(topic, seen.append)
    becomes(Status.COMPLETED, lambda: status_of(sent))
    assert [message.id for message in seen] == [sent.id]
    gate.opened.set()  # its end is refused: the message is settled
    assert [word for word in story_of(sent) if word in ("PROCESSING", "COMPLETED")] == ["PROCESSING"] * 2 + [
        "COMPLETED"
    ]


def test_nothing_is_lost_or_done_twice_when_one_consumer_stops_and_another_goes_on(
    consume: Callable[..., Consumer], topic: str
) -> None:
    firsts: list[int] = []
    seconds: list[int] = []
    sent = [sent.id for sent in messages.publish_many([NewMessage(topic=topic, payload={})] * 40)]  # type: ignore[union-attr]
    first = consume(topic, lambda message: firsts.append(message.id))
    until(lambda: len(firsts) >= 10)
    assert first.stop()
    consume(topic, lambda message: seconds.append(message.id))
    becomes(40, lambda: messages.list(topic=topic, status=Status.COMPLETED).total_count)
    assert sorted(firsts + seconds) == sorted(sent)


def test_a_killed_consumer_loses_nothing(topic: str, tmp_path: Path, yard: Yard) -> None:
    """The module's own consumer, in a process that is killed with a message in hand."""
    sent = messages.publish(topic, {})
    mark = tmp_path / "in-hand"
    program = (
        "import sys, threading, pathlib\n"
        "from chalicelib.services import queues\n"
        "def hold(message):\n"
        "    pathlib.Path(sys.argv[2]).write_text(str(message.id))\n"
        "    threading.Event().wait()\n"
        "queues.subscribe(sys.argv[1], hold)\n"
        "queues.start_consumer()\n"
        "threading.Event().wait()\n"
    )
    chosen = yard.settings
    variables = {
        "TASKYARD_PREFIX": chosen.prefix,
        "TASKYARD_INDEX_SHARDS": str(chosen.index_shards),
        "TASKYARD_POLL_LEASE_MS": str(SHORT_LOCK_MS),
        "TASKYARD_HANDLERS": "chalicelib.tasks",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, topic, str(mark)], cwd=PROJECT, env={**os.environ, **variables}
    )
    try:
        until(mark.exists)
        assert status_of(sent) is Status.PROCESSING
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (taken,) = until(lambda: messages.poll(topic))
    assert (taken.id, taken.retry_count) == (sent.id, 0)  # it gave no sign, so it costs no delivery
    assert messages.complete(taken).status is Status.COMPLETED


def test_functions_act_on_the_installation_of_their_consumer(consume: Callable[..., Consumer], topic: str) -> None:
    def forward(message: Message) -> None:
        messages.publish(f"{topic}.next", {}, once="next")
        if message.retry_count == 0:
            raise ValueError("once more")

    sent = messages.publish(topic, {})
    consume(topic, forward)
    becomes(Status.COMPLETED, lambda: status_of(sent))
    assert queues.depth(f"{topic}.next").depth == 1


def test_a_poll_that_fails_is_tried_again(consume: Callable[..., Consumer], topic: str) -> None:
    sent = messages.publish(topic, {})
    answers = iter([EndpointConnectionError(endpoint_url="https://sqs.example")])
    asked = poll.poll

    def unreliable(*arguments: Any) -> Any:
        for error in answers:
            raise error
        return asked(*arguments)

    with patch.object(poll, "poll", unreliable):
        consume(topic, lambda _: None)
        becomes(Status.COMPLETED, lambda: status_of(sent))


def test_a_topic_with_deployed_subscribers_is_refused_and_nothing_started(topic: str) -> None:
    consumer = Consumer()
    consumer.subscribe("deployed", print)
    consumer.subscribe(topic, print)
    with pytest.raises(Conflict) as conflict:
        consumer.start()
    assert (conflict.value.field, conflict.value.got) == ("topic", "deployed")
    sent = messages.publish(topic, {})
    assert [message.id for message in messages.poll(topic, wait_s=1)] == [sent.id]


def test_nor_is_it_subscribed_to_later(consume: Callable[..., Consumer], topic: str) -> None:
    consumer = consume(topic, print)
    with pytest.raises(Conflict):
        consumer.subscribe("deployed", print)


def test_functions_of_a_topic_need_names_of_their_own(topic: str) -> None:
    consumer = Consumer()
    consumer.subscribe(topic, Gate())
    with pytest.raises(InvalidInput) as error:
        consumer.subscribe(topic, Gate())
    assert error.value.got == label_of(Gate()) == f"{__name__}.Gate"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 101}, "concurrency"),
        ({"lock_timeout_ms": 999}, "lock_timeout_ms"),
        ({"wait_s": 21}, "wait_s"),
        ({"timeout_ms": -1}, "timeout_ms"),
    ],
)
def test_options_out_of_range(options: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Consumer(Options(**options)).start()
    assert error.value.field == field
