#!/usr/bin/env bash
# moto 5.2.5: PartiQL's INSERT of a key that exists replaces the item.
#
# DynamoDB answers DuplicateItemException to an INSERT of a primary key that is there already; who claims a name or a lock
# by INSERT relies on it. moto answers 200, and the item of the first writer is gone.
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
    for owner in ("ann", "bob"):
        statement = "INSERT INTO stock VALUE {'sku': 'apple', 'owner': '%s'}" % owner
        status = dynamodb.execute_statement(Statement=statement)["ResponseMetadata"]["HTTPStatusCode"]
    print(status, dynamodb.get_item(TableName="stock", Key={"sku": {"S": "apple"}})["Item"]["owner"]["S"])
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="200 bob"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
