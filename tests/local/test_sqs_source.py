"""Which work goes to whom, and what becomes of it when an environment fails."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pytest

from chalicelib.local.batches import Queue
from chalicelib.local.environments import InvocationFailed
from chalicelib.local.queues import Assignment
from chalicelib.local.sqs_source import SqsSource
from tests.support.waiting import DEADLINE_S, becomes, until

IDS = ["1", "2", "3"]
QUEUE = Queue("lane", "arn:aws:sqs:us-east-1:000000000000:lane", "http://127.0.0.1/lane")


class Queues:
    """Hands out the work that a test puts in, and remembers what it hears."""

    def __init__(self) -> None:
        self.work: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self.given_back: list[str] = []
        self.found: list[int] = []
        self.took_s: list[float] = []
        self.ends = 0
        self.watched = True

    def put(self, *ids: str) -> None:
        """Messages; none are to be received."""
        messages = [{"MessageId": name, "ReceiptHandle": name, "Body": name, "MD5OfBody": ""} for name in ids]
        self.work.put(Assignment(QUEUE, 5, 60, messages))

    def start(self) -> None:
        pass

    def alive(self) -> bool:
        return self.watched

    def next_work(self) -> Assignment | None:
        return self.work.get()

    def received(self, work: Assignment, tenants: list[str]) -> None:
        assert (work.queue, set(tenants) - {""}) == (QUEUE, set())
        self.found.append(len(tenants))

    def ended(self, work: Assignment, job_s: float | None) -> None:
        assert work.queue == QUEUE
        self.ends += 1
        if job_s is not None:
            self.took_s.append(job_s)

    def give_back(self, work: Assignment) -> None:
        self.given_back += [message["MessageId"] for message in work.messages]

    def stop(self) -> None:
        self.work.put(None)


class Function:
    """An environment that finds as many messages and answers as a test says."""

    name = "worker-1"

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.orders: list[str] = []
        self.begin: Callable[[Any], int] = lambda batch: len(batch["event"]["Records"])
        self.answer: Callable[[], object] = lambda: None

    def await_ready(self, timeout_s: float) -> bool:  # noqa: ARG002
        return True

    def work(self, batch: Any, begun: Callable[[Mapping[str, Any]], None]) -> None:
        self.batches.append(batch)
        begun({"begun": [""] * self.begin(batch)})
        self.answer()

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


def fail(*_: Any) -> Any:
    raise InvocationFailed("its process ended")


@pytest.mark.usefixtures("source")
class TestWork:
    def test_messages_at_hand_are_an_event_of_their_queue(self, queues: Queues, function: Function) -> None:
        queues.put(*IDS)
        until(lambda: function.batches)
        (batch,) = function.batches
        assert [record["messageId"] for record in batch["event"]["Records"]] == IDS
        assert batch["event"]["Records"][0]["eventSourceARN"] == QUEUE.arn
        assert batch["queue"] == asdict(QUEUE)

    def test_others_are_received_by_the_process_which_tells_how_many_there_were(
        self, queues: Queues, function: Function
    ) -> None:
        function.begin = lambda _: 4
        queues.put()
        becomes([4], lambda: queues.found)
        told = {"most": 5, "hide_s": 60, "hidden_until_ms": 0, "event": None}
        assert function.batches == [{"queue": asdict(QUEUE), **told}]
        until(lambda: len(queues.took_s) == 1)

    def test_an_empty_queue_says_nothing_of_how_long_jobs_take(self, queues: Queues, function: Function) -> None:
        found = iter([0, 1])
        function.begin = lambda _: next(found)
        queues.put()
        queues.put()
        becomes([0, 1], lambda: queues.found)
        until(lambda: len(queues.took_s) == 1)

    def test_what_fails_comes_back_when_its_hiding_ends_and_the_next_is_done(
        self, queues: Queues, function: Function, caplog: pytest.LogCaptureFixture
    ) -> None:
        answers = iter([fail, lambda: None])
        function.answer = lambda: next(answers)()
        queues.put("1", "2")
        queues.put("3")
        until(lambda: len(queues.took_s) == 2)
        assert "worker-1 failed on 2 messages: its process ended" in caplog.text
        assert queues.given_back == []

    def test_what_is_not_begun_comes_back_at_once(
        self, queues: Queues, function: Function, caplog: pytest.LogCaptureFixture
    ) -> None:
        function.begin = fail
        queues.put("1", "2")
        becomes(["1", "2"], lambda: queues.given_back)
        assert "worker-1 could not begin: its process ended" in caplog.text
        assert queues.took_s == []


def test_with_eager_all_that_fails_comes_back_at_once(queues: Any, function: Any) -> None:
    function.answer = fail
    source = SqsSource(queues, [function], eager=True)
    source.start()
    queues.put("1", "2")
    becomes(["1", "2"], lambda: queues.given_back)
    source.stop(time.monotonic() + DEADLINE_S, time.monotonic() + DEADLINE_S)


def test_a_queue_that_nobody_watches_is_a_failure(source: SqsSource, queues: Queues) -> None:
    assert source.alive()
    queues.watched = False
    assert not source.alive()


def test_stopping_interrupts_what_does_not_end_and_tells_whether_it_did(
    queues: Any, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    blocked: queue.SimpleQueue[None] = queue.SimpleQueue()
    function.answer = blocked.get
    source = SqsSource(queues, [function])
    source.start()
    queues.put("1")
    until(lambda: function.batches)
    assert not source.stop(0, 0)
    assert function.orders == ["wind up", "interrupt"]
    assert "worker-1 did not end in time and is interrupted" in caplog.text
    blocked.put(None)
    later_s = time.monotonic() + DEADLINE_S
    assert source.stop(later_s, later_s)
    assert queues.given_back == []
    assert function.orders == ["wind up", "interrupt", "wind up"]


def test_work_that_arrives_while_stopping_goes_back(queues: Any, function: Any) -> None:
    source = SqsSource(queues, [function])
    source.start()
    source._stopping.set()
    queues.put("1", "2")
    becomes(["1", "2"], lambda: queues.given_back)
    assert function.batches == []
