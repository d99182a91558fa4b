"""Events in the shapes that AWS hands to the functions, made of what a test has in hand.

Shapes: the Lambda developer guide, "Using Lambda with Amazon SQS", "Using Lambda with DynamoDB streams" and "Using
Lambda with Amazon MSK".
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib import aws
from chalicelib.core.kafka import Record
from chalicelib.queue.contract import Received

REGION = "us-east-1"
ACCOUNT = "123456789012"


@dataclass(frozen=True, slots=True)
class Time:
    """What the functions use of Lambda's context object."""

    left_ms: int = 300_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


def sqs_event(messages: Sequence[Received]) -> dict[str, Any]:
    """Messages as an event source mapping hands them to a function."""
    return {
        "Records": [
            {
                "messageId": message.message_id,
                "receiptHandle": message.receipt,
                "body": message.text,
                "attributes": {
                    "ApproximateReceiveCount": str(message.receive_count),
                    "SentTimestamp": "1750000000000",
                    "SenderId": ACCOUNT,
                    "ApproximateFirstReceiveTimestamp": "1750000000001",
                },
                "messageAttributes": {},
                "md5OfBody": hashlib.md5(message.text.encode(), usedforsecurity=False).hexdigest(),
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{message.source}",
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def stream_event(table: str, shard: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stream records as a mapping with a tumbling window hands them to a function."""
    return {
        "shardId": shard,
        "state": {},
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
        "Records": [
            {
                "eventID": record["eventID"],
                "eventName": record["eventName"],
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": REGION,
                "dynamodb": record["dynamodb"],
                "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/2025-06-15T00:00:00.000",
            }
            for record in records
        ],
    }


class StreamReader:
    """Reads a table's change stream from its beginning, by the API that Lambda's poller uses."""

    def __init__(self, table: str) -> None:
        self._streams = aws.client("dynamodbstreams")
        described = aws.client("dynamodb").describe_table(TableName=table)["Table"]
        self._arn = described["LatestStreamArn"]
        self._iterators: dict[str, str | None] = {}
        self.seen: dict[str, list[dict[str, Any]]] = {}  # by shard, oldest first

    def read(self) -> dict[str, list[dict[str, Any]]]:
        """The records that were not read yet, by shard."""
        for shard in self._shards():
            if shard not in self._iterators:
                self._iterators[shard] = self._streams.get_shard_iterator(
                    StreamArn=self._arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
        fresh = {shard: self._records(shard) for shard in self._iterators}
        for shard, records in fresh.items():
            self.seen.setdefault(shard, []).extend(records)
        return {shard: records for shard, records in fresh.items() if records}

    def _shards(self) -> list[str]:
        shards: list[str] = []
        more: dict[str, str] = {}
        while True:
            description = self._streams.describe_stream(StreamArn=self._arn, **more)["StreamDescription"]
            shards += [shard["ShardId"] for shard in description["Shards"]]
            if "LastEvaluatedShardId" not in description:
                return shards
            more = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}

    def _records(self, shard: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while (iterator := self._iterators[shard]) is not None:
            answer = self._streams.get_records(ShardIterator=iterator, Limit=1_000)
            self._iterators[shard] = answer.get("NextShardIterator")
            found += answer["Records"]
            if not answer["Records"]:
                break
        return found


def kafka_event(records: Sequence[Record], source: str = "aws:kafka") -> dict[str, Any]:
    """Records as an event source mapping of MSK, or of another cluster, hands them to a function."""
    by_partition: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        fields = {name: getattr(record, name) for name in ("key", "value")}
        by_partition.setdefault(f"{record.topic}-{record.partition}", []).append(
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": record.timestamp_ms,
                "timestampType": "CREATE_TIME",
                **{name: b64encode(content).decode() for name, content in fields.items() if content is not None},
                "headers": [
                    {name: None if content is None else [int.from_bytes([byte], signed=True) for byte in content]}
                    for name, content in record.headers
                ],
            }
        )
    arn = {"eventSourceArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/main/5b1c-2"} if source == "aws:kafka" else {}
    return {"eventSource": source, **arn, "bootstrapServers": "b-1.test:9098,b-2.test:9098", "records": by_partition}
