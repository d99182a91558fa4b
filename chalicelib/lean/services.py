"""The services and operations that go the lean way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and its operations by the names of a client's methods."""

    name: str
    signing_name: str
    target: str  # what X-Amz-Target begins with
    operations: Mapping[str, str]


SERVICES: Mapping[str, Service] = {
    "dynamodb": Service(
        "dynamodb",
        "dynamodb",
        "DynamoDB_20120810",
        {
            "batch_get_item": "BatchGetItem",
            "batch_write_item": "BatchWriteItem",
            "delete_item": "DeleteItem",
            "get_item": "GetItem",
            "put_item": "PutItem",
            "query": "Query",
            "transact_write_items": "TransactWriteItems",
            "update_item": "UpdateItem",
        },
    ),
    "sqs": Service(
        "sqs",
        "sqs",
        "AmazonSQS",
        {
            "change_message_visibility": "ChangeMessageVisibility",
            "change_message_visibility_batch": "ChangeMessageVisibilityBatch",
            "delete_message": "DeleteMessage",
            "delete_message_batch": "DeleteMessageBatch",
            "get_queue_attributes": "GetQueueAttributes",
            "get_queue_url": "GetQueueUrl",
            "receive_message": "ReceiveMessage",
            "send_message": "SendMessage",
            "send_message_batch": "SendMessageBatch",
        },
    ),
}
