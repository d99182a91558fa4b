"""boto3 alone: what a put and a send, and batches of ten, cost at least.

python bare.py JOBS
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from typing import Any

import boto3
import marks
import meter

BATCH = 10
NAME = "bare"  # of its table and its queue


class Publisher:
    """Publishes as a user of boto3 would: an item in a table of one key, and a message."""

    def __init__(self) -> None:
        self._dynamodb, self._sqs, self._ids = boto3.client("dynamodb"), boto3.client("sqs"), itertools.count()
        self._url = self._sqs.create_queue(QueueName=NAME)["QueueUrl"]
        self._dynamodb.create_table(
            TableName=NAME,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )

    def publish(self, jobs: int) -> int:
        """Put and send so many."""
        text = json.dumps(meter.BODY)
        for job in itertools.islice(self._ids, jobs):
            self._dynamodb.put_item(TableName=NAME, Item={"id": {"N": str(job)}, "body": {"S": text}})
            self._sqs.send_message(QueueUrl=self._url, MessageBody=text)
        return jobs


def main() -> None:
    """Work on a backlog in batches: receive ten, handle them, delete them."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=NAME)["QueueUrl"]
    jobs = int(sys.argv[1])
    text = json.dumps(meter.BODY)
    entries = [{"Id": str(number), "MessageBody": text} for number in range(BATCH)]
    for _ in range(math.ceil((meter.WARM_UP + jobs) / BATCH)):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    work(sqs, url, meter.WARM_UP)
    meter.report(meter.measured(lambda: work(sqs, url, jobs)))


def work(sqs: Any, url: str, jobs: int) -> int:
    """Handle at least so many; returns how many."""
    done = 0
    while done < jobs:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH)["Messages"]
        for message in messages:
            json.loads(message["Body"])
            marks.done()
        handles = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=handles)
        done += len(messages)
    return done


if __name__ == "__main__":
    main()
