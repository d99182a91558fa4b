"""The transport on SQS: one queue a lane."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib import settings
from chalicelib.core.errors import Unavailable
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.core.sqs import VISIBILITY_MAX_S
from chalicelib.queue.contract import (
    BATCH_MAX_MESSAGES,
    MESSAGE_MAX_BYTES,
    NoQueue,
    OutgoingMessage,
    QueueDepth,
    Received,
)

T = TypeVar("T")
COPIED_ATTRIBUTES = (
    "VisibilityTimeout",
    "MessageRetentionPeriod",
    "RedrivePolicy",
    "MaximumMessageSize",
    "SqsManagedSseEnabled",
)
DEPTH_ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
THERE = {"QueueAlreadyExists", "QueueNameExists"}  # said of a queue that has other attributes
MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
TRACE_ATTRIBUTE = "AWSTraceHeader"  # the one system attribute that a sender may set; it counts for no size limit
RECEIVED_ATTRIBUTES = ("ApproximateReceiveCount", TRACE_ATTRIBUTE)
TRACE_VARIABLE = "_X_AMZN_TRACE_ID"  # where Lambda has the tracing header of the invocation that is running
GONE = {
    "ReceiptHandleIsInvalid",
    "InvalidParameterValue",
    "InvalidParameterValueException",  # LocalStack's word for it
    "AWS.SimpleQueueService.MessageNotInflight",
}


@dataclass(slots=True)
class SqsTransport:
    """Messages on SQS. ``base_name`` begins every queue's name; ``pattern`` is the lane after which the lane of
    a topic that infra does not know is made (see ``open_lane``). With ``tracing``, a message carries the tracing
    header of the Lambda invocation that sends it; by default the process's settings say so."""

    client: Any
    base_name: str
    pattern: Lane
    tracing: bool = field(default_factory=lambda: settings.current().tracing == "on")
    _urls: dict[str, str] = field(default_factory=dict)

    def source_of(self, lane: Lane) -> str:
        """The SQS name of a lane's queue."""
        return sqs_name(self.base_name, lane)

    def send(self, outgoing: OutgoingMessage) -> None:
        """Send one text."""
        self._call(
            self.client.send_message,
            self.source_of(outgoing.lane),
            **_message(outgoing),
            **self._system_attributes(),
        )

    def send_to(self, source: str, text: str) -> None:
        """Send one text to a queue that is no lane."""
        self._call(self.client.send_message, source, MessageBody=text)

    def send_many(self, outgoing: Sequence[OutgoingMessage]) -> list[int]:
        """Send texts in batches of ten, packed by count and bytes; returns the positions not accepted."""
        refused: list[int] = []
        for source, positions in _grouped(range(len(outgoing)), lambda i: self.source_of(outgoing[i].lane)):
            for batch in packed(positions, lambda i: len(outgoing[i].text)):
                refused += self._send_batch(source, batch, outgoing)
        return refused

    def receive(self, source: str, most: int, hide_s: int, wait_s: int) -> list[Received]:
        """Up to ``most`` messages of one queue."""
        answer = self._call(
            self.client.receive_message,
            source,
            MaxNumberOfMessages=most,
            VisibilityTimeout=hide_s,
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=list(RECEIVED_ATTRIBUTES),
        )
        return [
            Received(
                source,
                message["MessageId"],
                message["ReceiptHandle"],
                message["Body"],
                int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
                message.get("Attributes", {}).get(TRACE_ATTRIBUTE),
            )
            for message in answer.get("Messages", [])
        ]

    def hide(self, messages: Sequence[Received], hide_s: int) -> None:
        """Hide messages, ten a call."""
        seconds = min(hide_s, VISIBILITY_MAX_S)
        self._settle(self.client.change_message_visibility_batch, messages, {"VisibilityTimeout": seconds})

    def delete(self, messages: Sequence[Received]) -> None:
        """Delete messages, ten a call."""
        self._settle(self.client.delete_message_batch, messages, {})

    def depth(self, source: str) -> int:
        """About how many messages a queue holds, hidden and delayed ones included."""
        return self.depths(source).total

    def depths(self, source: str) -> QueueDepth:
        """The same, each sort by itself."""
        answer = self._call(self.client.get_queue_attributes, source, AttributeNames=list(DEPTH_ATTRIBUTES))
        return QueueDepth(*(int(answer["Attributes"][name]) for name in DEPTH_ATTRIBUTES))

    def open_lane(self, lane: Lane) -> None:
        """Make a lane's queue, with the attributes that infra gave the pattern's; harmless if it is there.

        One that an earlier deployment made, with other attributes, is used as it is: every receive says by itself for
        how long it hides.
        """
        pattern = self.source_of(self.pattern)
        attributes = self._call(self.client.get_queue_attributes, pattern, AttributeNames=["All"])["Attributes"]
        copied = {name: attributes[name] for name in COPIED_ATTRIBUTES if name in attributes}
        try:
            answer = self.client.create_queue(QueueName=self.source_of(lane), Attributes=copied)
        except ClientError as error:
            if error.response["Error"]["Code"] not in THERE:
                raise
        else:
            self._urls[self.source_of(lane)] = answer["QueueUrl"]

    def _call(self, operation: Any, source: str, **parameters: Any) -> Any:
        """Call an operation on a queue; raises ``NoQueue`` where there is none, or none any more."""
        try:
            if source not in self._urls:
                self._urls[source] = self.client.get_queue_url(QueueName=source)["QueueUrl"]
            return operation(QueueUrl=self._urls[source], **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise
            self._urls.pop(source, None)
            raise NoQueue(f"there is no queue {source}") from error

    def _send_batch(self, source: str, positions: Sequence[int], outgoing: Sequence[OutgoingMessage]) -> list[int]:
        system_attributes = self._system_attributes()
        entries = [{"Id": str(i), **_message(outgoing[i]), **system_attributes} for i in positions]
        answer = self._call(self.client.send_message_batch, source, Entries=entries)
        return [int(entry["Id"]) for entry in answer.get("Failed", [])]

    def _system_attributes(self) -> dict[str, Any]:
        """The trace that a message sent now belongs to."""
        header = os.environ.get(TRACE_VARIABLE) if self.tracing else None
        if not header:
            return {}
        return {"MessageSystemAttributes": {TRACE_ATTRIBUTE: {"DataType": "String", "StringValue": header}}}

    def _settle(self, call: Any, messages: Sequence[Received], extra: dict[str, int]) -> None:
        for source, group in _grouped(messages, lambda message: message.source):
            for start in range(0, len(group), BATCH_MAX_MESSAGES):
                batch = group[start : start + BATCH_MAX_MESSAGES]
                entries = [{"Id": str(i), "ReceiptHandle": message.receipt, **extra} for i, message in enumerate(batch)]
                answer = self._call(call, source, Entries=entries)
                lasting = [entry for entry in answer.get("Failed", []) if entry["Code"] not in GONE]
                if lasting:
                    raise Unavailable(f"SQS did not settle {len(lasting)} messages of {source}", got=lasting[0]["Code"])


def _message(outgoing: OutgoingMessage) -> dict[str, Any]:
    """A message as SQS takes it: a standard queue is fair between the groups that messages name (since July 2025)."""
    group = {} if outgoing.tenant is None else {"MessageGroupId": outgoing.tenant}
    return {"MessageBody": outgoing.text, "DelaySeconds": outgoing.delay_s, **group}


def packed(positions: Sequence[int], size: Callable[[int], int]) -> Iterator[list[int]]:
    """``positions`` in batches that SQS takes: at most ten, at most 1 MiB together."""
    batch: list[int] = []
    room = MESSAGE_MAX_BYTES
    for position in positions:
        if batch and (len(batch) == BATCH_MAX_MESSAGES or size(position) > room):
            yield batch
            batch, room = [], MESSAGE_MAX_BYTES
        batch.append(position)
        room -= size(position)
    if batch:
        yield batch


def _grouped(entries: Sequence[T], key: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return list(groups.items())
