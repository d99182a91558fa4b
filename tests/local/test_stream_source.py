"""Reading a stream: every record in order, again and again until it is counted, to the very end when told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from chalicelib.local import stream_batches, stream_source
from chalicelib.local.environments import InvocationFailed
from chalicelib.local.stream_batches import Place, gather
from chalicelib.local.stream_source import StreamSource
from tests.support.streams import ARN, Streams
from tests.support.waiting import DEADLINE_S, becomes, until


class Projector:
    """A process that reads a stream as `function_process` does, and remembers what it was called with."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.seen: list[tuple[str, str]] = []
        self.calls = 0
        self.refuse: Callable[[], bool] = lambda: False

    def work(self, request: Any, begun: Callable[[Mapping[str, Any]], None]) -> None:
        assert request["stream"] == ARN
        try:
            gathered = gather(self.streams, ARN, Place(**request["place"]))
        except ClientError as error:
            begun({"begun": 0, "unread": str(error)})
            return
        told = {"place": asdict(gathered.place), "at_end": gathered.at_end, "finished": gathered.finished}
        begun({"begun": len(gathered.records), **told})
        if gathered.records:
            self.calls += 1
            if self.refuse():
                raise InvocationFailed("not now")
            self.seen += [(gathered.place.shard, each["dynamodb"]["SequenceNumber"]) for each in gathered.records]


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def projector(streams: Streams) -> Projector:
    return Projector(streams)


@pytest.fixture
def source(streams: Any, projector: Any) -> Iterator[StreamSource]:
    made = StreamSource(streams, ARN, projector)
    yield made
    drained(made)


def drained(source: StreamSource) -> bool:
    return source.drain(time.monotonic() + DEADLINE_S)


def in_order(shard: str, count: int) -> list[tuple[str, str]]:
    return [(shard, str(number)) for number in range(count)]


def test_reads_from_the_oldest_record_on(streams: Streams, projector: Projector, source: StreamSource) -> None:
    streams.shards["s1"] = ["0", "1"]
    source.start()
    becomes(in_order("s1", 2), lambda: projector.seen)
    streams.shards["s1"].append("2")
    becomes(in_order("s1", 3), lambda: projector.seen)
    assert streams.starts == [("s1", "TRIM_HORIZON")]


def test_gives_full_batches_one_after_the_other(
    streams: Streams, projector: Projector, source: StreamSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_source, "BUSY_PAUSE_S", 2 * DEADLINE_S)
    streams.shards["s1"] = [str(number) for number in range(2_100)]
    source.start()
    becomes(in_order("s1", 2_100), lambda: projector.seen)
    assert projector.calls == 3
    assert streams.most_asked == stream_batches.READ_MAX  # the emulator's other clients wait for each answer


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "InternalServerError"])
def test_an_error_while_a_batch_is_gathered_loses_and_doubles_nothing(
    streams: Streams, projector: Projector, source: StreamSource, code: str
) -> None:
    streams.shards["s1"] = [str(number) for number in range(300)]
    streams.refusals = [None, None, code]
    source.start()
    becomes(in_order("s1", 300), lambda: projector.seen)


class Changes:
    """Stands in for the embedded emulator's word that something has changed."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1
        self.changed.wait()
        self.changed.clear()

    def close(self) -> None:
        self.changed.set()


def test_where_changes_are_told_an_idle_stream_is_left_alone(streams: Streams, projector: Projector) -> None:
    changes: Any = Changes()
    watched: Any = streams
    source = StreamSource(watched, ARN, cast(Any, projector), changes)
    source.start()
    until(lambda: changes.waits == 1)
    streams.shards["s1"].append("0")
    assert projector.seen == []
    changes.changed.set()
    becomes(in_order("s1", 1), lambda: projector.seen)
    until(lambda: changes.waits == 2)
    streams.shards["s1"].append("1")
    assert drained(source)
    assert projector.seen == in_order("s1", 2)


def test_repeats_a_batch_until_it_succeeds(
    streams: Streams, projector: Projector, source: StreamSource, caplog: pytest.LogCaptureFixture
) -> None:
    streams.shards["s1"] = ["0", "1"]
    projector.refuse = lambda: projector.calls <= 2
    source.start()
    becomes(in_order("s1", 2), lambda: projector.seen)
    assert projector.calls == 3
    assert "failed on 2 records and is tried again: not now" in caplog.text


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "InternalServerError"])
def test_goes_on_where_it_was_after_an_error(
    streams: Streams, projector: Projector, source: StreamSource, code: str
) -> None:
    streams.shards["s1"] = ["0"]
    source.start()
    becomes(in_order("s1", 1), lambda: projector.seen)
    streams.refusals.append(code)
    until(lambda: not streams.refusals)
    streams.shards["s1"].append("1")
    becomes(in_order("s1", 2), lambda: projector.seen)


def test_begins_anew_where_records_are_gone(streams: Streams, projector: Projector, source: StreamSource) -> None:
    streams.shards["s1"] = ["0"]
    source.start()
    becomes(in_order("s1", 1), lambda: projector.seen)
    streams.refusals.append("TrimmedDataAccessException")
    until(lambda: streams.starts == [("s1", "TRIM_HORIZON")] * 2)


def test_reads_a_child_shard_after_its_parent(streams: Streams, projector: Projector, source: StreamSource) -> None:
    streams.shards = {"s2": ["0"], "s1": ["0", "1"]}
    streams.parents = {"s2": "s1", "s1": "long gone"}
    source.start()
    becomes(in_order("s1", 2), lambda: projector.seen)
    streams.closed.add("s1")
    becomes([*in_order("s1", 2), ("s2", "0")], lambda: projector.seen)


def test_finds_the_shards_that_follow_a_closed_one(
    streams: Streams, projector: Projector, source: StreamSource
) -> None:
    streams.shards["s1"] = ["0"]
    source.start()
    becomes(in_order("s1", 1), lambda: projector.seen)
    streams.shards["s2"], streams.parents["s2"] = ["0"], "s1"
    streams.closed.add("s1")
    becomes([("s1", "0"), ("s2", "0")], lambda: projector.seen)


def test_draining_reads_to_the_end(streams: Streams, projector: Projector, source: StreamSource) -> None:
    source.start()
    streams.shards["s1"] = [str(number) for number in range(1_600)]
    assert drained(source)
    assert projector.seen == in_order("s1", 1_600)


def test_draining_gives_up_in_time(streams: Streams, projector: Projector, source: StreamSource) -> None:
    streams.shards["s1"] = ["0"]
    projector.refuse = lambda: True
    source.start()
    until(lambda: projector.calls)
    assert not source.drain(time.monotonic() + 0.5)


def test_draining_goes_on_to_the_children_of_a_shard_that_ends(
    streams: Streams, projector: Projector, source: StreamSource
) -> None:
    streams.shards = {"s1": ["0"], "s2": ["0"], "s3": ["0"]}
    streams.parents = {"s2": "s1", "s3": "s2"}
    streams.closed = {"s1", "s2"}
    source.start()
    assert drained(source)
    assert projector.seen == [("s1", "0"), ("s2", "0"), ("s3", "0")]


def test_where_another_leads_it_reads_nothing_and_ends_at_once(streams: Streams, projector: Projector) -> None:
    elected, asked = threading.Event(), threading.Semaphore(0)

    def leads() -> bool:
        asked.release()
        return elected.is_set()

    streams.shards["s1"] = ["0"]
    first, second = (StreamSource(cast(Any, streams), ARN, cast(Any, projector), leads=leads) for _ in range(2))
    first.start()
    asked.acquire()
    asked.acquire()
    assert projector.seen == []
    assert drained(first)
    second.start()
    elected.set()
    becomes(in_order("s1", 1), lambda: projector.seen)
    assert drained(second)
