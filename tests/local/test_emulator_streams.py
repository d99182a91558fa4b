"""A long answer of the emulator's change streams is the one that MiniStack gives, made in slices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from ministack.services import dynamodb, dynamodb_streams

from chalicelib.local import emulator_streams
from chalicelib.local.emulator_apis import Handler
from chalicelib.local.emulator_streams import GET_RECORDS

TABLE = "changing"


@pytest.fixture
def handlers() -> Iterator[tuple[Handler, Handler]]:
    """What answers by itself, and in slices; the second is installed."""
    own = {name: getattr(dynamodb_streams, name) for name in ("_cap_page_bytes", "handle_request")}
    with patch.multiple(dynamodb_streams, **own):
        emulator_streams.install()
        yield own["handle_request"], dynamodb_streams.handle_request
    dynamodb.reset()


def asked(handle: Handler, action: str, **request: Any) -> tuple[int, Any]:
    async def answered() -> Any:
        return await handle("POST", "/", {"x-amz-target": f"DynamoDBStreams_20120810.{action}"}, body, {})

    body = json.dumps(request).encode()
    status, _, text = asyncio.run(answered())
    return status, json.loads(text)


def changing(records: int, chars: int = 10) -> str:
    """The iterator of the beginning of a stream of so many records."""
    dynamodb.reset()
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    attribute = {"AttributeName": "id", "AttributeType": "S"}
    made = dynamodb._create_table(
        {
            "TableName": TABLE,
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [attribute],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": stream,
        }
    )
    arn = json.loads(made[2])["TableDescription"]["LatestStreamArn"]
    for number in range(records):
        item = {"id": {"S": str(number)}, "text": {"S": 'x"], "NextShardIterator": "' + "y" * chars}}
        dynamodb._put_item({"TableName": TABLE, "Item": item})
    (shard,) = asked(dynamodb_streams.handle_request, "DescribeStream", StreamArn=arn)[1]["StreamDescription"]["Shards"]
    of = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    return str(asked(dynamodb_streams.handle_request, "GetShardIterator", **of)[1]["ShardIterator"])


@pytest.mark.parametrize(
    ("records", "limit"), [(0, 100), (7, 100), (40, 100), (100, 100), (150, 100), (45, 30), (5, 2)]
)
def test_it_is_the_same_answer(handlers: tuple[Handler, Handler], records: int, limit: int) -> None:
    plain, _ = handlers
    iterator = changing(records)
    (_, whole), (_, joined) = (asked(handle, "GetRecords", ShardIterator=iterator, Limit=limit) for handle in handlers)
    assert joined["Records"] == whole["Records"]
    assert len(joined["Records"]) == min(records, limit)
    rest = [asked(plain, "GetRecords", ShardIterator=each["NextShardIterator"])[1] for each in (whole, joined)]
    assert rest[0]["Records"] == rest[1]["Records"]


def test_the_last_answer_of_a_closed_stream_names_no_next_one(handlers: tuple[Handler, Handler]) -> None:
    iterator = changing(50)
    dynamodb._update_table({"TableName": TABLE, "StreamSpecification": {"StreamEnabled": False}})
    (_, whole), (_, joined) = (asked(handle, "GetRecords", ShardIterator=iterator, Limit=100) for handle in handlers)
    assert len(joined["Records"]) == 50
    assert joined == whole
    assert "NextShardIterator" not in joined


def test_one_that_would_be_too_long_ends_before(handlers: tuple[Handler, Handler]) -> None:
    iterator = changing(200, chars=20_000)
    _, answer = asked(handlers[1], "GetRecords", ShardIterator=iterator)
    assert 20 <= len(answer["Records"]) < 100
    found = [record["dynamodb"]["Keys"]["id"]["S"] for record in answer["Records"]]
    while answer["Records"]:
        _, answer = asked(handlers[1], "GetRecords", ShardIterator=answer["NextShardIterator"])
        found += [record["dynamodb"]["Keys"]["id"]["S"] for record in answer["Records"]]
    assert found == [str(number) for number in range(200)]


@pytest.mark.parametrize("request_", [{"ShardIterator": "none"}, {"Limit": 100}, {"Limit": 0}])
def test_a_refusal_is_the_same(handlers: tuple[Handler, Handler], request_: dict[str, Any]) -> None:
    plain, sliced = (asked(handle, "GetRecords", **request_) for handle in handlers)
    assert plain == sliced
    assert plain[0] == 400


def test_others_are_served_in_between(handlers: tuple[Handler, Handler]) -> None:
    iterator = changing(100)
    body = json.dumps({"ShardIterator": iterator, "Limit": 100}).encode()
    turns = 0

    async def played() -> None:
        nonlocal turns
        answer = asyncio.create_task(handlers[1]("POST", "/", {"x-amz-target": GET_RECORDS}, body, {}))
        while not answer.done():
            turns += 1
            await asyncio.sleep(0)

    asyncio.run(played())
    assert turns >= 100 / emulator_streams.SLICE
