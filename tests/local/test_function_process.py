"""A batch in the process that works on it: received, announced, handed to the function, and deleted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib import aws
from chalicelib.clocks import ledger_clock
from chalicelib.engine.worker import shutdown
from chalicelib.local import function_process
from chalicelib.local.batches import Queue
from chalicelib.local.channel import EXIT_CODE, Channel, pair
from chalicelib.local.stream_batches import Place
from tests.support.streams import ARN, Streams

QUEUE = Queue("lane", "arn:aws:sqs:us-east-1:000000000000:lane", "http://127.0.0.1/lane")

ENDED_AS_IT_WARMS_UP = """
import os, signal, sys
from chalicelib.local import function_process
function_process.functions.load = lambda name: lambda event, context: os.kill(os.getpid(), signal.SIGTERM)
sys.argv[1:] = ["projector"]
function_process.main()
"""


class Sqs:
    """A queue in memory."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.asked: list[tuple[int, int]] = []
        self.deleted: list[str] = []
        self.broken = False

    def receive_message(self, *, MaxNumberOfMessages: int, VisibilityTimeout: int, **_: Any) -> Any:  # noqa: N803
        self.asked.append((MaxNumberOfMessages, VisibilityTimeout))
        self._fail_if_broken()
        return {"Messages": [message(name) for name in self.there[:MaxNumberOfMessages]]}

    def get_queue_url(self, *, QueueName: str) -> Any:  # noqa: N803
        return {"QueueUrl": QueueName}

    def delete_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        assert QueueUrl == QUEUE.name
        self._fail_if_broken()
        self.deleted += [entry["ReceiptHandle"] for entry in Entries]
        return {}

    def _fail_if_broken(self) -> None:
        if self.broken:
            raise EndpointConnectionError(endpoint_url=QUEUE.url)


def message(name: str) -> dict[str, str]:
    return {"MessageId": name, "ReceiptHandle": f"receipt {name}", "Body": name, "MD5OfBody": ""}


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sqs]:
    stub = Sqs()
    monkeypatch.setattr(aws, "client", lambda service: {"sqs": stub}[service])
    function_process._transport.cache_clear()
    yield stub
    function_process._transport.cache_clear()


def said(channel: Channel) -> Iterator[Any]:
    """All that was sent to this end, once the other is closed."""
    try:
        while True:
            yield channel.receive()
    except EOFError:
        return


class Process:
    """One whose function answers as a test says."""

    def __init__(self, sqs: Sqs) -> None:
        self._sqs = sqs
        self.parent, self._its_end = pair()
        self.answer: dict[str, Any] = {"result": None}
        self.seen: list[str] = []
        self.hidden_until_ms = 0

    def asked(self, **request: Any) -> list[Any]:
        """What is answered to a batch; SQS has deleted nothing by then."""
        channel = Channel(self._its_end.detach())
        request = {"queue": asdict(QUEUE), "most": 2, "hide_s": 60, "hidden_until_ms": 7, "event": None, **request}
        function_process._work(channel, self._call, request)
        channel._connection.close()
        return list(said(self.parent))

    def _call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._sqs.deleted == []
        self.hidden_until_ms = request["hidden_until_ms"]
        self.seen += [record["messageId"] for record in request["event"]["Records"]]
        return self.answer


@pytest.fixture
def process(sqs: Sqs) -> Process:
    return Process(sqs)


def test_a_batch_that_it_receives(sqs: Sqs, process: Process) -> None:
    sqs.there = ["1", "2", "3"]
    process.answer = {"result": {"batchItemFailures": [{"itemIdentifier": "2"}]}}
    assert process.asked() == [{"begun": ["", ""]}, process.answer]
    assert (sqs.asked, process.seen, sqs.deleted) == ([(2, 60)], ["1", "2"], ["receipt 1"])
    assert abs(process.hidden_until_ms - 60_000 - ledger_clock()) < 30_000


def test_a_batch_that_is_brought(sqs: Sqs, process: Process) -> None:
    event = function_process.sqs_event([message("7")], QUEUE.arn)
    assert process.asked(event=event) == [{"begun": [""]}, {"result": None}]
    assert (sqs.asked, process.seen, sqs.deleted) == ([], ["7"], ["receipt 7"])
    assert process.hidden_until_ms == 7


def test_a_batch_in_which_somebody_names_a_tenant(process: Process) -> None:
    shared = {**message("7"), "Attributes": {"MessageGroupId": "acme"}}
    event = function_process.sqs_event([message("6"), shared], QUEUE.arn)
    assert process.asked(event=event)[0] == {"begun": ["", "acme"]}


def test_an_empty_queue(sqs: Sqs, process: Process) -> None:
    assert process.asked() == [{"begun": []}]
    assert (process.seen, sqs.deleted) == ([], [])


def test_nothing_is_deleted_when_the_function_raises(sqs: Sqs, process: Process) -> None:
    sqs.there = ["1"]
    process.answer = {"error": {"type": "ValueError", "message": "no"}}
    assert process.asked() == [{"begun": [""]}, process.answer]
    assert sqs.deleted == []


def test_a_queue_that_cannot_be_read_is_as_good_as_empty(
    sqs: Sqs, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    sqs.broken = True
    assert process.asked() == [{"begun": []}]
    assert "lane cannot be read" in caplog.text


def test_a_delete_that_fails_is_logged(sqs: Sqs, process: Process, caplog: pytest.LogCaptureFixture) -> None:
    sqs.broken = True
    event = function_process.sqs_event([message("7")], QUEUE.arn)
    assert process.asked(event=event) == [{"begun": [""]}, {"result": None}]
    assert "settled messages of lane come back" in caplog.text


def test_a_process_that_shall_begin_nothing_more_receives_nothing(
    sqs: Sqs, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown.stopping, "is_set", lambda: True)
    sqs.there = ["1"]
    assert process.asked() == [{"begun": []}]
    assert sqs.asked == []


class TestAStream:
    """What its process says of a batch of records, and what the function is called with."""

    @pytest.fixture
    def streams(self, monkeypatch: pytest.MonkeyPatch) -> Streams:
        found = Streams()
        monkeypatch.setattr(function_process, "_streams", lambda: found)
        return found

    def asked(self, answer: dict[str, Any], place: Place, seen: list[Any]) -> list[Any]:
        near, far = pair()
        channel = Channel(far.detach())

        def call(request: Mapping[str, Any]) -> dict[str, Any]:
            seen.append(request["event"])
            return answer

        function_process._follow(channel, call, {"stream": ARN, "place": asdict(place)})
        channel._connection.close()
        return list(said(near))

    def test_what_there_is(self, streams: Streams) -> None:
        streams.shards["s1"] = ["0", "1"]
        seen: list[Any] = []
        told, answered = self.asked({"result": 1}, Place("s1"), seen)
        end = asdict(Place("s1", "s1/2", "1"))
        assert told == {"begun": 2, "place": end, "at_end": True, "finished": False}
        assert answered == {"result": 1}
        (event,) = seen
        assert event["shardId"] == "s1"
        assert [each["dynamodb"]["SequenceNumber"] for each in event["Records"]] == ["0", "1"]

    def test_nothing(self, streams: Streams) -> None:
        seen: list[Any] = []
        assert [each["begun"] for each in self.asked({}, Place("s1"), seen)] == [0]
        assert (seen, streams.starts) == ([], [("s1", "TRIM_HORIZON")])

    def test_what_cannot_be_read(self, streams: Streams) -> None:
        streams.refusals.append("InternalServerError")
        seen: list[Any] = []
        (told,) = self.asked({}, Place("s1"), seen)
        assert (told["begun"], seen) == (0, [])
        assert "InternalServerError" in told["unread"]


@pytest.mark.parametrize(("name", "is_warmed"), [("worker", True), ("projector", True), ("clock", False)])
def test_who_works_on_batches_loads_what_the_first_one_needs(name: str, is_warmed: bool) -> None:
    events: list[Any] = []
    function_process._warm_up(name, lambda event, _: events.append(event))
    assert events == ([{"Records": []}] if is_warmed else [])


def test_a_process_that_is_ended_while_it_warms_up_tells_of_no_failure() -> None:
    near, its_end = pair()
    ended = subprocess.run(
        [sys.executable, "-c", ENDED_AS_IT_WARMS_UP], stdin=its_end, capture_output=True, text=True, check=False
    )
    assert near.receive() == {"ready": True}
    assert (ended.returncode, ended.stdout, ended.stderr) == (EXIT_CODE, "", "")
