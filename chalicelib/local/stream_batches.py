"""A batch of a DynamoDB stream's records: reading it where it is worked on, from the place up to which others were.

Limits: iterators end after 15 minutes, records after 24 hours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.local.lambda_events import Event

BATCH_MAX = 1_000  # as many as Lambda's event source hands over at once; with 200, light jobs are a fifth slower
WINDOW_S = 60  # of the tumbling window, whose only use is that its events name their shard
READ_MAX = 100  # in one answer: while the embedded emulator writes one of 1,000, 50 ms, it serves nobody else


@dataclass(frozen=True, slots=True)
class Place:
    """How far a shard has been read: by an iterator, and the sequence number behind which another one begins.

    Without either, it is the oldest record there is.
    """

    shard: str
    iterator: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """A shard's next records, up to a batch, and the place behind them.

    ``at_end``: there are no more now; ``finished``: there never will be.
    """

    records: list[Event]
    place: Place
    at_end: bool = False
    finished: bool = False


def gather(streams: Any, stream_arn: str, place: Place) -> Gathered:
    """The records behind ``place``: none now, where the iterator or a record is gone. Raises what AWS does."""
    records: list[Event] = []
    try:
        iterator = place.iterator or _iterator(streams, stream_arn, place)
        while len(records) < BATCH_MAX:
            answer = streams.get_records(ShardIterator=iterator, Limit=READ_MAX)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if iterator is None or len(answer["Records"]) < READ_MAX:
                break
    except ClientError as error:
        return Gathered([], _place_after(place, error))
    after = records[-1]["dynamodb"]["SequenceNumber"] if records else place.after
    finished = iterator is None
    at_end = not finished and len(answer["Records"]) < READ_MAX
    return Gathered(records, replace(place, iterator=iterator, after=after), at_end, finished)


def read_records_as_they_are(streams: Any) -> Any:
    """The client, whose ``GetRecords`` answers records as they came: with times as seconds since 1970, bytes in base64.

    So Lambda has them, too, and botocore's parser takes longer over an item than all the rest of its way.
    """
    streams.meta.events.register("before-parse.dynamodb-streams.GetRecords", _keep_records)
    return streams


def _keep_records(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict["status_code"] == HTTPStatus.OK:
        answer = json.loads(response_dict["body"])
        customized_response_dict["Records"] = answer.pop("Records", [])
        response_dict["body"] = json.dumps(answer).encode()


def _iterator(streams: Any, stream_arn: str, place: Place) -> str:
    position: Mapping[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
    if place.after is not None:
        position = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": place.after}
    found: str = streams.get_shard_iterator(StreamArn=stream_arn, ShardId=place.shard, **position)["ShardIterator"]
    return found


def _place_after(place: Place, error: ClientError) -> Place:
    """Where to take a new iterator: where reading had come to, or from the oldest record on if that is gone."""
    match error.response["Error"]["Code"]:
        case "TrimmedDataAccessException":
            return Place(place.shard)
        case "ExpiredIteratorException":
            return replace(place, iterator=None)
    raise error
