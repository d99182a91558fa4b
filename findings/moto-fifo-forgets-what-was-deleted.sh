#!/usr/bin/env bash
# moto 5.2.5: a FIFO queue takes a message twice once the first one was consumed.
#
# SQS remembers a deduplication id for five minutes, whether or not the message was received and deleted meanwhile. moto
# compares with the messages that are in the queue: while the first one is there the second is dropped, and right after its
# deletion the same id is accepted and delivered. A producer's retry that AWS swallows runs twice in a test.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'moto[sqs]==5.2.5' \
    'boto3==1.44.8' \
    'botocore==1.44.8'
cat >"$folder/probe.py" <<'PYTHON'
import os

os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

import boto3
from moto import mock_aws

with mock_aws():
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    def send():
        sqs.send_message(QueueUrl=url, MessageBody="order 7", MessageGroupId="7", MessageDeduplicationId="order-7")

    def consume():
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    send()
    send()
    first = consume()
    send()
    print("sent twice:", first, "and once more, after the deletion:", consume())
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="sent twice: 1 and once more, after the deletion: 1"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
