"""A batch of a stream: up to a thousand records, in short answers, and the place from which the next one is read."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from chalicelib.local.stream_batches import BATCH_MAX, READ_MAX, Place, gather
from tests.support.streams import ARN, Streams


@pytest.fixture
def streams() -> Streams:
    return Streams()


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, READ_MAX, READ_MAX + 1, BATCH_MAX - 1])
def test_all_that_there_is(streams: Streams, count: int) -> None:
    streams.shards["s1"] = numbers(count)
    gathered = gather(streams, ARN, Place("s1"))
    assert [each["eventID"] for each in gathered.records] == numbers(count)
    assert gathered.place == Place("s1", f"s1/{count}", str(count - 1) if count else None)
    assert (gathered.at_end, gathered.finished) == (True, False)
    assert streams.most_asked == READ_MAX


def test_a_full_batch_and_the_one_behind_it(streams: Streams) -> None:
    streams.shards["s1"] = numbers(BATCH_MAX + 1)
    first = gather(streams, ARN, Place("s1"))
    assert (len(first.records), first.at_end) == (BATCH_MAX, False)
    second = gather(streams, ARN, first.place)
    assert [each["eventID"] for each in second.records] == [str(BATCH_MAX)]
    assert streams.starts == [("s1", "TRIM_HORIZON")]


def test_the_last_of_a_shard(streams: Streams) -> None:
    streams.shards["s1"], streams.closed = ["0"], {"s1"}
    gathered = gather(streams, ARN, Place("s1"))
    assert (len(gathered.records), gathered.at_end, gathered.finished) == (1, False, True)


@pytest.mark.parametrize(
    ("code", "place", "start"),
    [
        ("ExpiredIteratorException", Place("s1", None, "1"), "AFTER_SEQUENCE_NUMBER"),
        ("TrimmedDataAccessException", Place("s1"), "TRIM_HORIZON"),
    ],
)
def test_where_the_iterator_or_the_record_is_gone(streams: Streams, code: str, place: Place, start: str) -> None:
    streams.shards["s1"] = numbers(3)
    streams.refusals = [code]
    gathered = gather(streams, ARN, Place("s1", "s1/2", "1"))
    assert (gathered.records, gathered.place, gathered.at_end) == ([], place, False)
    gather(streams, ARN, gathered.place)
    assert streams.starts == [("s1", start)]


def test_what_a_batch_has_been_gathered_of_before_an_error_is_read_again(streams: Streams) -> None:
    streams.shards["s1"] = numbers(READ_MAX + 1)
    streams.refusals = [None, "ExpiredIteratorException"]
    gathered = gather(streams, ARN, Place("s1", "s1/0"))
    assert (gathered.records, gathered.place) == ([], Place("s1"))


def test_any_other_error_is_raised(streams: Streams) -> None:
    streams.refusals = ["InternalServerError"]
    with pytest.raises(ClientError, match="InternalServerError"):
        gather(streams, ARN, Place("s1"))
