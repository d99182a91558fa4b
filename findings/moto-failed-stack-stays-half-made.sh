#!/usr/bin/env bash
# moto 5.2.5: a CloudFormation stack that fails while it is made is never rolled back, and stays CREATE_IN_PROGRESS.
#
# Of a stack with a table and a queue whose name SQS refuses, CloudFormation accepts the request, fails at the queue, deletes
# the table and ends in ROLLBACK_COMPLETE. moto raises the queue's error from CreateStack, keeps the table, and the stack
# stays in progress for good, so a deployment that waits for its end, or looks at what a failure leaves, cannot be tested.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'moto[cloudformation,dynamodb,sqs]==5.2.5' \
    'boto3==1.44.8' \
    'botocore==1.44.8'
cat >"$folder/probe.py" <<'PYTHON'
import os

os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

import json

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

table = {
    "TableName": "stock",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "sku", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "sku", "AttributeType": "S"}],
}
resources = {
    "Stock": {"Type": "AWS::DynamoDB::Table", "Properties": table},
    "Orders": {"Type": "AWS::SQS::Queue", "DependsOn": "Stock", "Properties": {"QueueName": "my orders"}},
}
with mock_aws():
    cloudformation = boto3.client("cloudformation")
    try:
        cloudformation.create_stack(StackName="shop", TemplateBody=json.dumps({"Resources": resources}))
        answer = "accepted"
    except ClientError as error:
        answer = error.response["Error"]["Code"]
    status = cloudformation.describe_stacks(StackName="shop")["Stacks"][0]["StackStatus"]
    print(answer, status, boto3.client("dynamodb").list_tables()["TableNames"])
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="InvalidParameterValue CREATE_IN_PROGRESS ['stock']"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
