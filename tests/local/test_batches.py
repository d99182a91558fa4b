"""A batch of SQS messages: what is asked of SQS, and what its mapping does with a function's answer."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.local.batches import Queue, failed_ids, receive, succeeded

IDS = ["1", "2", "3"]
QUEUE = Queue("lane", "arn:aws:sqs:us-east-1:000000000000:lane", "http://127.0.0.1/lane")


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, []),
        ({}, []),
        ({"batchItemFailures": None}, []),
        ({"batchItemFailures": []}, []),
        ({"batchItemFailures": [{"itemIdentifier": "2"}]}, ["2"]),
        ({"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "2"}]}, ["2"]),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, IDS),
        ({"batchItemFailures": [{"identifier": "2"}]}, IDS),
        ({"batchItemFailures": ["2"]}, IDS),
        ({"batchItemFailures": 7}, IDS),
        ("no object", IDS),
        ([], IDS),
    ],
)
def test_which_messages_come_back(answer: Any, failed: list[str]) -> None:
    assert failed_ids(answer, IDS) == set(failed)


def test_the_rest_of_an_event_has_succeeded() -> None:
    event = {"Records": [{"messageId": name} for name in IDS]}
    assert succeeded(event, {"batchItemFailures": [{"itemIdentifier": "2"}]}) == {
        "Records": [{"messageId": "1"}, {"messageId": "3"}]
    }


def test_receiving_asks_for_all_that_an_event_has() -> None:
    asked: list[dict[str, Any]] = []

    class Sqs:
        def receive_message(self, **parameters: Any) -> dict[str, Any]:
            asked.append(parameters)
            return {}

    assert receive(Sqs(), QUEUE, 7, 60) == []
    assert asked == [
        {
            "QueueUrl": QUEUE.url,
            "MaxNumberOfMessages": 7,
            "VisibilityTimeout": 60,
            "WaitTimeSeconds": 0,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
    ]
