#!/usr/bin/env bash
# aws-lambda-powertools 3.37.0: with 29 dimensions the function does its work, and fails.
#
# CloudWatch takes 30 dimensions, Powertools 29, and add_dimension accepts the 29th. The name of the service is a dimension, too,
# and is added when the metrics are flushed, behind the handler: there it is one too many, SchemaValidationError is raised,
# and the call fails after its work was done. Of an SQS batch that means that all of it is done again.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'aws-lambda-powertools==3.37.0' \
    'jmespath==1.1.0'
cat >"$folder/probe.py" <<'PYTHON'
import contextlib
import io

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics.exceptions import SchemaValidationError

metrics = Metrics(namespace="shop", service="orders")
done = []


@metrics.log_metrics
def handler(event, context):
    for number in range(event["dimensions"]):
        metrics.add_dimension(name=f"d{number}", value="v")
    metrics.add_metric(name="sold", unit="Count", value=1)
    done.append(event["dimensions"])


def outcome(dimensions):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            handler({"dimensions": dimensions}, None)
    except SchemaValidationError as error:
        return type(error).__name__
    return "ok"


print(outcome(28), outcome(29), "done:", done)
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="ok SchemaValidationError done: [28, 29]"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
