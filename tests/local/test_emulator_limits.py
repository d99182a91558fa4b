"""What the emulator keeps of the work done, by MiniStack's own functions in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import cloudwatch_logs, dynamodb, dynamodb_streams, lambda_svc

from chalicelib.local import emulator_limits
from chalicelib.local.emulator_limits import limit

KEPT = 3
TABLE = {
    "TableName": "jobs",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}
SHARD = {"ShardId": dynamodb_streams._DEFAULT_SHARD_ID}


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MiniStack with little to keep, and afterwards as it was."""
    monkeypatch.setattr(dynamodb, "stream_records_since", dynamodb.stream_records_since)
    monkeypatch.setattr(dynamodb, "_txn_token_store", dynamodb._txn_token_store)
    monkeypatch.setattr(lambda_svc, "_emit_lambda_logs", lambda_svc._emit_lambda_logs)
    monkeypatch.setattr(emulator_limits, "KEPT_READ_RECORDS", KEPT)
    monkeypatch.setattr(emulator_limits, "KEPT_LOG_STREAMS", KEPT)
    limit()
    yield
    dynamodb.reset()
    cloudwatch_logs.reset()


def asked(service: Any, target: str, request: Any) -> tuple[int, dict[str, Any]]:
    """The status and the answer of an operation."""
    headers = {"x-amz-target": target}
    status, _, body = asyncio.run(service.handle_request("POST", "/", headers, json.dumps(request).encode(), {}))
    return status, json.loads(body or b"{}")


def make_table() -> str:
    return str(asked(dynamodb, "DynamoDB_20120810.CreateTable", TABLE)[1]["TableDescription"]["LatestStreamArn"])


def put(*words: str) -> None:
    for word in words:
        asked(dynamodb, "DynamoDB_20120810.PutItem", {"TableName": "jobs", "Item": {"id": {"S": word}}})


def iterator(stream: str, **start: str) -> str:
    request = {"StreamArn": stream, **SHARD, **start}
    return str(asked(dynamodb_streams, "DynamoDBStreams_20120810.GetShardIterator", request)[1]["ShardIterator"])


def records(iterator: str, limit: int = 1_000) -> tuple[list[str], str]:
    """The ids that come next, and the iterator of what follows."""
    request = {"ShardIterator": iterator, "Limit": limit}
    answer = asked(dynamodb_streams, "DynamoDBStreams_20120810.GetRecords", request)[1]
    return [each["dynamodb"]["Keys"]["id"]["S"] for each in answer["Records"]], answer["NextShardIterator"]


def kept() -> list[str]:
    return [each["dynamodb"]["Keys"]["id"]["S"] for each in dynamodb.stream_live_records("jobs")]


class TestStreams:
    def test_keep_what_is_not_read_and_the_newest_that_is(self) -> None:
        stream = make_table()
        put(*"abcdef")
        first, following = records(iterator(stream, ShardIteratorType="TRIM_HORIZON"), limit=5)
        assert (first, kept()) == (list("abcde"), list("abcdef"))  # the reader may ask again
        put(*"gh")
        assert records(following)[0] == list("fgh")
        assert kept() == list("cdefgh")

    def test_go_on_where_a_reader_has_come_to(self) -> None:
        stream = make_table()
        seen: list[str] = []
        following = iterator(stream, ShardIteratorType="TRIM_HORIZON")
        for words in ("abcd", "efgh", "ijkl", ""):
            put(*words)
            found, following = records(following)
            seen += found
        assert seen == list("abcdefghijkl")
        assert kept() == list("jkl")
        assert records(iterator(stream, ShardIteratorType="TRIM_HORIZON"))[0] == list("jkl")

    def test_are_read_by_event_sources_from_positions_that_stay_true(self) -> None:
        make_table()
        put(*"abcdefgh")
        position = dynamodb.stream_start_position("jobs")
        assert len(dynamodb.stream_records_since("jobs", position, 6)) == 6
        (next_one, *_) = dynamodb.stream_records_since("jobs", position + 6, 6)
        assert next_one["dynamodb"]["Keys"]["id"]["S"] == "g"
        assert (dynamodb.stream_start_position("jobs"), dynamodb.stream_end_position("jobs")) == (3, 8)


class TestTransactions:
    def put(self, token: str, word: str) -> tuple[int, dict[str, Any]]:
        write = {"Put": {"TableName": "jobs", "Item": {"id": {"S": word}, "body": {"S": "x" * 10_000}}}}
        request = {"TransactItems": [write], "ClientRequestToken": token}
        return asked(dynamodb, "DynamoDB_20120810.TransactWriteItems", request)

    def test_are_known_by_their_token_without_being_kept(self) -> None:
        make_table()
        assert self.put("token", "a")[0] == 200
        put("a")  # without a body: a repeated transaction would bring it back
        assert self.put("token", "a")[0] == 200
        item = asked(dynamodb, "DynamoDB_20120810.GetItem", {"TableName": "jobs", "Key": {"id": {"S": "a"}}})[1]["Item"]
        assert item == {"id": {"S": "a"}}
        status, refused = self.put("token", "b")
        assert (status, refused["__type"].rpartition("#")[2]) == (400, "IdempotentParameterMismatchException")
        (entry,) = dynamodb._txn_idempotency.values()
        assert "xxx" not in json.dumps(entry, default=repr)


def test_functions_keep_the_logs_of_their_newest_calls() -> None:
    for number in range(KEPT + 2):
        lambda_svc._emit_lambda_logs({"FunctionName": "worker"}, f"request-{number}", "said", False, 1)
    streams = cloudwatch_logs._log_groups["/aws/lambda/worker"]["streams"].values()
    begun = [stream["events"][0]["message"].split()[2] for stream in streams]
    assert begun == ["request-2", "request-3", "request-4"]
