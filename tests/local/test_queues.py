"""Reading several queues in a strict order, and handing the messages to those who wait for them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.local.queues import Batch, OrderedQueues, Queue
from chalicelib.queue.contract import Received
from tests.support.waiting import DEADLINE_S, until


class Sqs:
    """Queues in memory: what is received is gone until it is shown again."""

    def __init__(self) -> None:
        self.messages: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        self.shown_again: list[str] = []
        self.deleted: list[str] = []
        self.polls = 0  # long polls under way
        self.broken = False
        self._changed = threading.Condition()
        self._sent = 0

    def put(self, name: str, *texts: str) -> None:
        with self._changed:
            for text in texts:
                self._sent += 1
                self.messages[name].append({"MessageId": text, "ReceiptHandle": f"r{self._sent}", "Body": text})
            self._changed.notify_all()

    def receive_message(self, *, QueueUrl: str, WaitTimeSeconds: int, **_: Any) -> dict[str, Any]:  # noqa: N803
        if self.broken:
            raise EndpointConnectionError(endpoint_url=QueueUrl)
        with self._changed:
            self.polls += bool(WaitTimeSeconds)
            self._changed.wait_for(lambda: self.messages[QueueUrl], WaitTimeSeconds)
            self.polls -= bool(WaitTimeSeconds)
            taken, self.messages[QueueUrl] = self.messages[QueueUrl][:10], self.messages[QueueUrl][10:]
            return {"Messages": taken} if taken else {}

    def hide(self, messages: Sequence[Received], hide_s: int) -> None:
        assert hide_s == 0
        self.shown_again += [message.message_id for message in messages]

    def delete(self, messages: Sequence[Received]) -> None:
        self.deleted += [message.message_id for message in messages]


def queue(name: str) -> Queue:
    return Queue(name, f"arn:aws:sqs:us-east-1:000000000000:{name}", name)


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def queues(sqs: Sqs) -> Iterator[OrderedQueues]:
    transport: Any = sqs
    made = OrderedQueues(sqs, transport, [[queue("high")], [], [queue("a"), queue("b")], [queue("low")]], hide_s=60)
    yield made
    made.stop()


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def texts(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [message["Body"] for message in batch.messages]


def waiting(workers: ThreadPoolExecutor, queues: OrderedQueues, sqs: Sqs, count: int = 1) -> list[Future[Batch | None]]:
    """Threads that wait for a batch, all queues being polled."""
    asked = [workers.submit(queues.next_batch) for _ in range(count)]
    until(lambda: sqs.polls == 4)
    until(lambda: queues._seekers == count)
    return asked


class TestOrder:
    def test_the_first_rank_that_holds_messages_is_read(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("low", "l")
        sqs.put("a", "n")
        sqs.put("high", "h")
        assert [texts(queues.next_batch()) for _ in range(3)] == [["h"], ["n"], ["l"]]

    def test_queues_of_one_rank_take_turns(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", *(f"a{number}" for number in range(20)))
        sqs.put("b", *(f"b{number}" for number in range(20)))
        read = [batch.queue.name for batch in (queues.next_batch() for _ in range(4)) if batch]
        assert sorted(read) == ["a", "a", "b", "b"]
        assert read[0] != read[1]

    def test_at_most_ten_at_a_time(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", *map(str, range(12)))
        assert len(texts(queues.next_batch())) == 10

    def test_a_free_worker_takes_what_came_first_to_a_higher_queue(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        (asked,) = waiting(workers, queues, sqs)
        sqs.put("low", "l1")
        assert texts(asked.result(DEADLINE_S)) == ["l1"]
        sqs.put("low", "l2")
        until(lambda: sqs.polls == 0)  # what they brought went back: nobody waited
        sqs.put("low", "l3")
        sqs.put("high", "h1")
        assert texts(queues.next_batch()) == ["h1"]


class TestWaiting:
    def test_a_message_is_handed_on_when_it_comes(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        (asked,) = waiting(workers, queues, sqs)
        sqs.put("low", "l")
        assert texts(asked.result(DEADLINE_S)) == ["l"]

    def test_a_queue_that_is_added_later_is_read_in_its_rank(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        (batch,) = waiting(workers, queues, sqs)
        queues.extend([[queue("high")], [queue("new")], [queue("b")], []])
        sqs.put("new", "first")
        assert texts(batch.result()) == ["first"]
        sqs.put("a", "third")
        sqs.put("new", "second")
        assert [texts(queues.next_batch()) for _ in range(2)] == [["second"], ["third"]]

    def test_those_who_wait_share_a_batch(self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor) -> None:
        asked = waiting(workers, queues, sqs, 3)
        sqs.put("a", *map(str, range(10)))
        shares = [texts(each.result(DEADLINE_S)) for each in asked]
        assert sorted(map(len, shares)) == [3, 3, 4]
        assert sorted(chain.from_iterable(shares), key=int) == [str(number) for number in range(10)]
        assert sqs.shown_again == []

    def test_what_comes_when_nobody_waits_any_more_goes_back_at_once(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        (asked,) = waiting(workers, queues, sqs)
        sqs.put("a", "taken")
        assert texts(asked.result(DEADLINE_S)) == ["taken"]
        assert sqs.polls > 0
        sqs.put("low", "unwanted")
        until(lambda: sqs.shown_again == ["unwanted"])

    def test_a_queue_that_cannot_be_read_is_tried_again(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
    ) -> None:
        sqs.broken = True
        asked = workers.submit(queues.next_batch)
        until(lambda: "cannot be read" in caplog.text)
        sqs.broken = False
        sqs.put("low", "l")
        assert texts(asked.result(DEADLINE_S)) == ["l"]


class TestStopping:
    def test_those_who_wait_are_told(self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor) -> None:
        asked = waiting(workers, queues, sqs, 2)
        queues.stop()
        assert [each.result(DEADLINE_S) for each in asked] == [None, None]
        assert sqs.polls == 0

    def test_takes_no_longer_than_a_poll(self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor) -> None:
        waiting(workers, queues, sqs)
        started_s = time.monotonic()
        queues.stop()
        assert time.monotonic() - started_s < 5

    def test_what_comes_meanwhile_goes_back(self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor) -> None:
        (asked,) = waiting(workers, queues, sqs)
        stopping = workers.submit(queues.stop)
        assert asked.result(DEADLINE_S) is None
        sqs.put("a", "late")
        stopping.result(DEADLINE_S)
        assert sqs.shown_again == ["late"] or sqs.messages["a"]  # received and shown again, or never received


def test_deletes_and_gives_back_by_the_transport(sqs: Sqs, queues: OrderedQueues) -> None:
    sqs.put("a", "one", "two", "three")
    batch = queues.next_batch()
    assert batch is not None
    queues.delete(batch.without({"two"}))
    queues.give_back(batch.without({"one", "three"}))
    assert (sqs.deleted, sqs.shown_again) == (["one", "three"], ["two"])
