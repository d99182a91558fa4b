#!/usr/bin/env bash
# moto 5.2.5: a DynamoDB transaction that is sent again with its ClientRequestToken is applied again.
#
# TransactWriteItems is idempotent for ten minutes by its ClientRequestToken: a client that has not heard the answer sends the
# same request and the same token, and DynamoDB says yes without writing. On moto a counter that such a transaction moves by
# one stands at two afterwards, so a test of a retry, which would pass on AWS, fails, or the code is bent until it passes.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'moto[dynamodb]==5.2.5' \
    'boto3==1.44.8' \
    'botocore==1.44.8'
cat >"$folder/probe.py" <<'PYTHON'
import os

os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

import boto3
from moto import mock_aws

with mock_aws():
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName="stock",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "sku", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "sku", "AttributeType": "S"}],
    )
    sell = {
        "TableName": "stock",
        "Key": {"sku": {"S": "apple"}},
        "UpdateExpression": "ADD sold :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for _ in range(2):
        dynamodb.transact_write_items(ClientRequestToken="sale-7", TransactItems=[{"Update": sell}])
    print(dynamodb.get_item(TableName="stock", Key={"sku": {"S": "apple"}})["Item"]["sold"]["N"])
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="2"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
