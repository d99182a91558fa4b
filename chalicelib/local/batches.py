"""A batch of SQS messages: receiving it, and what of it succeeded, as Lambda's event source mapping has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.local.lambda_events import Event

PASSING_OVER = "taskyard.passing-over."  # before a tenant, among the attributes that a receive asks for

Message = Mapping[str, Any]  # as ReceiveMessage answers it


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS queue."""

    name: str
    arn: str
    url: str


def receive(
    sqs: Any, queue: Queue, most: int, hide_s: int, wait_s: int = 0, passed_over: str | None = None
) -> Sequence[Message]:
    """Up to ``most`` messages, hidden for ``hide_s`` seconds; waits up to ``wait_s`` for one. Raises what AWS does.

    The embedded emulator hands out none of the tenant that is to be ``passed_over``; "": none without a tenant.
    """
    names = ["All"] if passed_over is None else ["All", PASSING_OVER + passed_over]
    messages: Sequence[Message] = sqs.receive_message(
        QueueUrl=queue.url,
        MaxNumberOfMessages=most,
        VisibilityTimeout=hide_s,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=names,
    ).get("Messages", [])
    return messages


def succeeded(event: Event, answer: Any) -> Event:
    """The part of an event that may be deleted, by the function's answer to it."""
    failed = failed_ids(answer, [record["messageId"] for record in event["Records"]])
    return {"Records": [record for record in event["Records"] if record["messageId"] not in failed]}


def failed_ids(answer: Any, message_ids: Sequence[str]) -> set[str]:
    """Which messages come back, by the function's answer.

    An answer without ``batchItemFailures`` means success, and one that cannot be read means that all have failed
    (Lambda developer guide, "Implementing partial batch responses").
    """
    everything = set(message_ids)
    if answer is None:
        return set()
    try:
        failures = answer.get("batchItemFailures") or []
        failed = {failure["itemIdentifier"] for failure in failures}
    except (AttributeError, KeyError, TypeError):
        return everything
    return failed if failed <= everything else everything
