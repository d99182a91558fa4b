#!/usr/bin/env bash
# chalice 1.34.0 with aws-lambda-powertools 3.37.0: a test event of several SQS messages gives all of them one id.
#
# `Client.events.generate_sqs_event` writes the messageId `message-id` (and one receipt handle) into every record. What works
# by these ids cannot be tested with it: of three messages one fails, Powertools' batch processor reports that one, and its
# report names all three. A test that takes the reported ids off the batch finds that nothing was done.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'chalice==1.34.0' \
    'boto3==1.44.8' \
    'aws-lambda-powertools==3.37.0' \
    'jmespath==1.1.0'
cat >"$folder/probe.py" <<'PYTHON'
import contextlib
import io

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from chalice import Chalice
from chalice.test import Client


def work(record):
    if record.body == "b":
        raise ValueError("no b")


with Client(Chalice("shop")) as client:
    event = client.events.generate_sqs_event(["a", "b", "c"])
processor = BatchProcessor(event_type=EventType.SQS)
with contextlib.redirect_stderr(io.StringIO()):
    answer = process_partial_response(event=event, record_handler=work, processor=processor, context=None)
reported = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
print(sum(record["messageId"] in reported for record in event["Records"]), "of 3 messages are reported as failed")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="3 of 3 messages are reported as failed"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
