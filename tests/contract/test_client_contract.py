"""The lean client and botocore's: one script of calls, and the same answers and errors from either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.lean.client import LeanClient
from chalicelib.lean.services import SERVICES
from tests.support.backends import Ground

OF_THEIR_OWN = {
    "MessageId",
    "QueueUrl",
    "ReceiptHandle",
    "ResponseMetadata",
    "SequenceNumber",
}  # each call gets another
NOT_OF_THE_API = {"ConsumedCapacityUnits"}  # moto tells it of a deletion
TOLD_TWICE = {"message", "Message"}  # by botocore, of some errors: beside the Error, too
CLIENTS: dict[str, Callable[[str], Any]] = {
    "lean": aws.client,
    "boto3": lambda service: aws._botocore_client(service, aws.Limits(2, 5, 4)),
}


class Script:
    """Calls of one client, and what they were answered."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.called: set[str] = set()
        self.told: list[Any] = []

    def __call__(self, operation: str, **parameters: Any) -> Any:
        """Make a call and note its answer, or its error with all that botocore tells of it."""
        self.called.add(operation)
        try:
            answer = getattr(self.client, operation)(**parameters)
        except ClientError as error:
            told = {name: part for name, part in error.response.items() if name not in TOLD_TWICE}
            self.told.append((type(error).__mro__[-4:], str(error), error.operation_name, normal(told)))
            return None
        self.told.append((operation, normal(answer)))
        return answer


def normal(value: Any) -> Any:
    """An answer without what differs from call to call."""
    if isinstance(value, dict):
        kept = {name: part for name, part in sorted(value.items()) if name not in OF_THEIR_OWN | NOT_OF_THE_API}
        return {name: normal(part) for name, part in kept.items() if part is not None}
    return [normal(part) for part in value] if isinstance(value, list) else value


def ledger(script: Script, table: str) -> None:
    """All that is done with items, on one partition that is empty before and after."""
    key = {"job": {"N": "7"}, "part": {"S": "state"}}
    item = {**key, "text": {"S": 'ünï "\\ \u2028 📦'}, "list": {"L": [{"M": {"a": {"BOOL": True}}}, {"N": "12"}]}}
    absent = {"ConditionExpression": "attribute_not_exists(job)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    script("get_item", TableName=table, Key=key, ConsistentRead=True)
    script("put_item", TableName=table, Item=item, **absent)
    script("put_item", TableName=table, Item=item, **absent)
    script("get_item", TableName=table, Key=key, ConsistentRead=True)
    script(
        "update_item",
        TableName=table,
        Key=key,
        UpdateExpression="SET #n = :n REMOVE #l",
        ExpressionAttributeNames={"#n": "number", "#l": "list"},
        ExpressionAttributeValues={":n": {"N": "5"}},
        ReturnValues="ALL_NEW",
    )
    others = [{"job": {"N": "7"}, "part": {"S": f"part {number}"}} for number in range(3)]
    script("batch_write_item", RequestItems={table: [{"PutRequest": {"Item": other}} for other in others]})
    answer = script("batch_get_item", RequestItems={table: {"Keys": others[:1], "ConsistentRead": True}})
    assert answer["Responses"][table] == others[:1]
    query = {
        "TableName": table,
        "KeyConditionExpression": "job = :job",
        "ExpressionAttributeValues": {":job": {"N": "7"}},
        "ConsistentRead": True,
    }
    first = script("query", **query, Limit=2)
    script("query", **query, ExclusiveStartKey=first["LastEvaluatedKey"], ScanIndexForward=True)
    script("query", **query, Select="COUNT")
    refused = {"Put": {"TableName": table, "Item": item, **absent}}
    deleted = [{"Delete": {"TableName": table, "Key": other}} for other in others]
    script("transact_write_items", TransactItems=[refused, *deleted])
    script("transact_write_items", TransactItems=deleted)
    script("delete_item", TableName=table, Key=key)
    script("query", **query)
    script("get_item", TableName=table, Key={"job": {"S": "seven"}, "part": {"S": "state"}})
    script("get_item", TableName=f"{table}-of-somebody", Key=key)


def messages(script: Script, queue: str) -> None:
    """All that is done with messages, on a queue that is empty before and after."""
    url = script("get_queue_url", QueueName=queue)["QueueUrl"]
    script("get_queue_url", QueueName=f"{queue}-of-somebody")
    script("get_queue_attributes", QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    script("receive_message", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
    script("send_message", QueueUrl=url, MessageBody='one "ü" 📦', DelaySeconds=0)
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-67891233-abcdef012345678912345678"}}
    script("send_message", QueueUrl=url, MessageBody="one", MessageSystemAttributes=header, MessageGroupId="acme")
    received = _all_of(script, url, 2)
    script("change_message_visibility", QueueUrl=url, ReceiptHandle=received[0], VisibilityTimeout=60)
    script("delete_message", QueueUrl=url, ReceiptHandle=received[0])
    script("delete_message", QueueUrl=url, ReceiptHandle=received[1])
    texts = [{"Id": str(n), "MessageBody": f"text {n}", "MessageGroupId": f"tenant-{n}"} for n in range(2)]
    script("send_message_batch", QueueUrl=url, Entries=texts)
    entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(_all_of(script, url, 2))]
    hidden = [{**entry, "VisibilityTimeout": 30} for entry in entries]
    script("change_message_visibility_batch", QueueUrl=url, Entries=hidden)
    script("delete_message_batch", QueueUrl=url, Entries=entries)
    script("send_message", QueueUrl=f"{url}-of-somebody", MessageBody="lost")


def _all_of(script: Script, url: str, number: int) -> list[str]:
    """The handles of all messages of a queue, by their texts; an emulator may take more than one call."""
    handles: dict[str, str] = {}
    while len(handles) < number:
        answer = script.client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=60,
            WaitTimeSeconds=5,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "AWSTraceHeader", "MessageGroupId"],
        )
        for message in answer.get("Messages", []):
            handles[message["Body"]] = message["ReceiptHandle"]
            script.told.append(normal(message))
    return [handles[body] for body in sorted(handles)]


@pytest.mark.parametrize(("service", "play"), [("dynamodb", ledger), ("sqs", messages)], ids=["dynamodb", "sqs"])
def test_either_client_is_answered_alike(ground: Ground, service: str, play: Callable[[Script, str], None]) -> None:
    name = ground.settings.jobs_table if service == "dynamodb" else ground.settings.dead_letter_queue
    scripts = {way: Script(make(service)) for way, make in CLIENTS.items()}
    for script in scripts.values():
        play(script, name)
    lean, boto3 = scripts["lean"], scripts["boto3"]
    assert isinstance(lean.client, LeanClient)
    assert lean.called == set(SERVICES[service].operations)
    for ours, theirs in zip(lean.told, boto3.told, strict=True):
        assert ours == theirs
