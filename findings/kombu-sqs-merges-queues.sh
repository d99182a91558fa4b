#!/usr/bin/env bash
# kombu 5.7.0 (Celery's transport), with moto 5.2.5 as SQS: queues whose names differ in punctuation are one queue.
#
# SQS allows few characters in a queue's name, so the transport writes others as `-` or `_`: a dot becomes a hyphen. Nothing
# notices that the name is taken: `order.created` and `order-created`, two queues with any other transport, share one on SQS,
# and a consumer of the one takes the messages of the other.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'kombu[sqs]==5.7.0' \
    'moto[sqs]==5.2.5' \
    'boto3==1.44.8' \
    'botocore==1.44.8'
cat >"$folder/probe.py" <<'PYTHON'
import os

os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

import boto3
from kombu import Connection
from moto import mock_aws

with mock_aws(), Connection("sqs://x:x@", transport_options={"region": "us-east-1"}) as connection:
    connection.SimpleQueue("order.created").put("sent to order.created")
    message = connection.SimpleQueue("order-created").get(timeout=10)
    message.ack()
    queues = [url.rsplit("/", 1)[-1] for url in boto3.client("sqs").list_queues()["QueueUrls"]]
    print("order-created got:", message.payload, "queues:", *queues)
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="order-created got: sent to order.created queues: order-created"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
