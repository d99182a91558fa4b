"""What the event source mapping does with a function's answer."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.core.errors import Unavailable
from chalicelib.local.environments import InvocationFailed
from chalicelib.local.queues import Batch, Queue
from chalicelib.local.sqs_source import SqsSource, failed_ids
from tests.support.waiting import DEADLINE_S, becomes, until

IDS = ["1", "2", "3"]
QUEUE = Queue("lane", "arn:aws:sqs:us-east-1:000000000000:lane", "http://127.0.0.1/lane")


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, []),
        ({}, []),
        ({"batchItemFailures": None}, []),
        ({"batchItemFailures": []}, []),
        ({"batchItemFailures": [{"itemIdentifier": "2"}]}, ["2"]),
        ({"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "2"}]}, ["2"]),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, IDS),
        ({"batchItemFailures": [{"identifier": "2"}]}, IDS),
        ({"batchItemFailures": ["2"]}, IDS),
        ({"batchItemFailures": 7}, IDS),
        ("no object", IDS),
        ([], IDS),
    ],
)
def test_which_messages_come_back(answer: Any, failed: list[str]) -> None:
    assert failed_ids(answer, IDS) == set(failed)


class Queues:
    """Hands out the batches that a test puts in, and remembers what is deleted."""

    def __init__(self) -> None:
        self.batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self.deleted: list[str] = []
        self.given_back: list[str] = []
        self.delete_fails = False

    def put(self, *ids: str) -> None:
        messages = [{"MessageId": name, "ReceiptHandle": name, "Body": name, "MD5OfBody": ""} for name in ids]
        self.batches.put(Batch(QUEUE, messages))

    def next_batch(self) -> Batch | None:
        return self.batches.get()

    def delete(self, batch: Batch) -> None:
        if self.delete_fails:
            raise Unavailable("SQS did not settle")
        self.deleted += [message["MessageId"] for message in batch.messages]

    def give_back(self, batch: Batch) -> None:
        self.given_back += [message["MessageId"] for message in batch.messages]

    def stop(self) -> None:
        self.batches.put(None)


class Function:
    """An environment that answers as a test says."""

    name = "worker-1"

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.orders: list[str] = []
        self.answer: Callable[[], Any] = lambda: {"batchItemFailures": []}

    def await_ready(self, timeout_s: float) -> bool:  # noqa: ARG002
        return True

    def invoke(self, event: Any) -> Any:
        self.events.append(event)
        return self.answer()

    def wind_up(self) -> None:
        self.orders.append("wind up")

    def interrupt(self) -> None:
        self.orders.append("interrupt")


@pytest.fixture
def queues() -> Queues:
    return Queues()


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def source(queues: Any, function: Any) -> Iterator[SqsSource]:
    started = SqsSource(queues, [function])
    started.start()
    yield started
    started.stop(time.monotonic() + DEADLINE_S, time.monotonic() + DEADLINE_S)


def fail() -> None:
    raise InvocationFailed("its process ended")


@pytest.mark.usefixtures("source")
class TestDelivery:
    def test_the_function_gets_an_event_of_the_queue(self, queues: Queues, function: Function) -> None:
        queues.put(*IDS)
        until(lambda: function.events)
        assert [record["messageId"] for record in function.events[0]["Records"]] == IDS
        assert function.events[0]["Records"][0]["eventSourceARN"] == QUEUE.arn

    def test_what_succeeded_is_deleted(self, queues: Queues, function: Function) -> None:
        function.answer = lambda: {"batchItemFailures": [{"itemIdentifier": "2"}]}
        queues.put(*IDS)
        becomes(["1", "3"], lambda: queues.deleted)

    def test_nothing_is_deleted_when_the_function_fails_and_it_goes_on(
        self, queues: Queues, function: Function, caplog: pytest.LogCaptureFixture
    ) -> None:
        answers = iter([fail, lambda: None])
        function.answer = lambda: next(answers)()
        queues.put("1", "2")
        queues.put("3")
        becomes(["3"], lambda: queues.deleted)
        assert "worker-1 failed on 2 messages: its process ended" in caplog.text

    def test_a_delete_that_fails_stops_nothing(self, queues: Queues, function: Function) -> None:
        queues.delete_fails = True
        queues.put("1")
        until(lambda: len(function.events) == 1)
        queues.put("2")
        until(lambda: len(function.events) == 2)


def test_stopping_interrupts_what_does_not_end_and_tells_whether_it_did(
    queues: Any, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    blocked: queue.SimpleQueue[None] = queue.SimpleQueue()
    function.answer = blocked.get
    source = SqsSource(queues, [function])
    source.start()
    queues.put("1")
    until(lambda: function.events)
    assert not source.stop(0, 0)
    assert function.orders == ["wind up", "interrupt"]
    assert "worker-1 did not end in time and is interrupted" in caplog.text
    blocked.put(None)
    later_s = time.monotonic() + DEADLINE_S
    assert source.stop(later_s, later_s)
    assert queues.deleted == ["1"]
    assert function.orders == ["wind up", "interrupt", "wind up"]


def test_a_batch_that_arrives_while_stopping_goes_back(queues: Any, function: Any) -> None:
    source = SqsSource(queues, [function])
    source.start()
    source._stopping.set()
    queues.put("1", "2")
    becomes(["1", "2"], lambda: queues.given_back)
    assert function.events == []
