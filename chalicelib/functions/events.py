"""The events that AWS hands to the functions, read into what the engine works with.

Shapes: the Lambda developer guide, "Using Lambda with Amazon SQS" and "Using Lambda with DynamoDB streams".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Protocol

from chalicelib.core.job import Job
from chalicelib.engine.projections.project import Change
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.job_items import STATE_PART, Unreadable, decoded

NO_SHARD = "the only shard"  # where the stream's events do not name one, as on emulators


class LambdaContext(Protocol):
    """What the functions use of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the function."""
        ...


def received(event: Mapping[str, Any]) -> list[Received]:
    """The messages of an SQS event."""
    return [
        Received(
            source=record["eventSourceARN"].rsplit(":", 1)[-1],
            message_id=record["messageId"],
            receipt=record["receiptHandle"],
            text=record["body"],
            receive_count=int(record.get("attributes", {}).get("ApproximateReceiveCount", 1)),
            trace_header=record.get("attributes", {}).get("AWSTraceHeader"),
        )
        for record in event["Records"]
    ]


def batch_response(come_back: list[str]) -> dict[str, Any]:
    """The answer by which the event source mapping keeps the messages that must come back."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in come_back]}


def changes_by_shard(event: Mapping[str, Any]) -> dict[str, list[Change]]:
    """The changes of job records in a stream event, by shard, oldest first; other parts of jobs are left out.

    So is a record that cannot be read, which would stop its shard for ever: it is logged, and counts nowhere.
    """
    shard = event.get("shardId", NO_SHARD)
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    for record in event["Records"]:
        image = record["dynamodb"]
        if image["Keys"]["part"]["S"] == STATE_PART and (change := _change(image)) is not None:
            changes[shard].append(change)
    return dict(changes)


def _change(image: Mapping[str, Any]) -> Change | None:
    try:
        before, after = _job(image.get("OldImage")), _job(image.get("NewImage"))
    except Unreadable as error:
        logger.error("a change is passed over: %s", error)
        return None
    vanished = before is not None and not image.get("NewImage")
    return Change(image["SequenceNumber"], before, after, _time_ms(image), vanished)


def _time_ms(image: Mapping[str, Any]) -> int:
    """When a change was made: DynamoDB writes seconds since 1970; read by API, it is a datetime."""
    at = image.get("ApproximateCreationDateTime", 0)
    return round(float(at.timestamp() if hasattr(at, "timestamp") else at) * 1_000)


def _job(image: Mapping[str, Any] | None) -> Job | None:
    found = decoded(from_attribute_values(image)) if image else None
    return found if isinstance(found, Job) else None
