"""A DynamoDB stream in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/jobs/stream/2026"


class Streams:
    """The stream. An iterator is ``<shard>/<position>``."""

    def __init__(self) -> None:
        self.shards: dict[str, list[str]] = {"s1": []}
        self.parents: dict[str, str] = {}
        self.closed: set[str] = set()
        self.refusals: list[str | None] = []  # error codes of the next reads; None: it is answered
        self.most_asked = 0
        self.starts: list[tuple[str, str]] = []

    def describe_stream(self, **_: Any) -> Any:
        shards = [
            {"ShardId": name, **({"ParentShardId": self.parents[name]} if name in self.parents else {})}
            for name in self.shards
        ]
        return {"StreamDescription": {"Shards": shards}}

    def get_shard_iterator(self, *, ShardId: str, ShardIteratorType: str, **position: str) -> Any:  # noqa: N803
        self.starts.append((ShardId, ShardIteratorType))
        start = 0
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            start = self.shards[ShardId].index(position["SequenceNumber"]) + 1
        return {"ShardIterator": f"{ShardId}/{start}"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:  # noqa: N803
        self.most_asked = max(self.most_asked, Limit)
        if self.refusals and (code := self.refusals.pop(0)):
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "GetRecords")
        name, _, start = ShardIterator.partition("/")
        page = self.shards[name][int(start) : int(start) + Limit]
        end = int(start) + len(page)
        over = name in self.closed and end == len(self.shards[name])
        return {
            "Records": [record(sequence) for sequence in page],
            **({} if over else {"NextShardIterator": f"{name}/{end}"}),
        }


def record(sequence: str) -> dict[str, Any]:
    change = {"SequenceNumber": sequence, "ApproximateCreationDateTime": datetime(2026, 1, 31, tzinfo=UTC)}
    return {"eventID": sequence, "dynamodb": change}
