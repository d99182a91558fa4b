"""Events have AWS's shape, and the functions read them; ``events/`` holds one of each."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.job_documents import from_envelope
from chalicelib.core.states import State
from chalicelib.engine.projections.events import Addressed
from chalicelib.functions.events import changes_by_shard, received
from chalicelib.http.exchange import incoming
from chalicelib.http.listener import Listener
from chalicelib.local.lambda_context import LambdaContext
from chalicelib.local.lambda_events import HttpRequest, http_event, scheduled_event, sqs_event, stream_event

EVENTS = Path(__file__).parents[2] / "events"
QUEUE_ARN = "arn:aws:sqs:eu-west-1:000000000000:taskyard-local-default-normal"
STREAM_ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/taskyard-local-jobs/stream/2026-01-31T12:00:00.000"
NOON_S = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC).timestamp()


def example(name: str) -> Any:
    return json.loads((EVENTS / name).read_text())


def keys_of(value: Any) -> Any:
    """The keys of a document, at all depths above the payloads."""
    return {key: keys_of(inner) for key, inner in value.items()} if isinstance(value, dict) else None


class TestSqs:
    MESSAGE: dict[str, Any] = {  # noqa: RUF012 - a sample
        "MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "ReceiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "Body": "text",
        "MD5OfBody": hashlib.md5(b"text").hexdigest(),  # noqa: S324 - as SQS does
        "Attributes": {
            "ApproximateReceiveCount": "2",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
    }

    def test_has_the_documented_fields(self) -> None:
        assert sqs_event([self.MESSAGE], QUEUE_ARN) == {
            "Records": [
                {
                    "messageId": self.MESSAGE["MessageId"],
                    "receiptHandle": self.MESSAGE["ReceiptHandle"],
                    "body": "text",
                    "attributes": self.MESSAGE["Attributes"],
                    "messageAttributes": {},
                    "md5OfBody": self.MESSAGE["MD5OfBody"],
                    "eventSource": "aws:sqs",
                    "eventSourceARN": QUEUE_ARN,
                    "awsRegion": "eu-west-1",
                }
            ]
        }

    def test_message_attributes_are_typed(self) -> None:
        attributes = {
            "count": {"StringValue": "100", "DataType": "Number"},
            "blob": {"BinaryValue": b"\x00\xff", "DataType": "Binary"},
        }
        (record,) = sqs_event([{**self.MESSAGE, "MessageAttributes": attributes}], QUEUE_ARN)["Records"]
        nothing: list[str] = []
        assert record["messageAttributes"] == {
            "count": {
                "stringValue": "100",
                "stringListValues": nothing,
                "binaryListValues": nothing,
                "dataType": "Number",
            },
            "blob": {
                "binaryValue": "AP8=",
                "stringListValues": nothing,
                "binaryListValues": nothing,
                "dataType": "Binary",
            },
        }

    def test_the_worker_reads_it(self) -> None:
        (message,) = received(sqs_event([self.MESSAGE], QUEUE_ARN))
        assert message.source == "taskyard-local-default-normal"
        assert (message.message_id, message.text, message.receive_count) == (self.MESSAGE["MessageId"], "text", 2)

    def test_the_example_holds_two_jobs_and_has_this_shape(self) -> None:
        event = example("sqs-batch.json")
        jobs = [from_envelope(message.text) for message in received(event)]
        assert [(job.type, job.priority) for job in jobs] == [("order.created", 0), ("order.created", 3)]
        for record in event["Records"]:
            assert keys_of(record) == keys_of(sqs_event([self.MESSAGE], QUEUE_ARN)["Records"][0])
            assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()  # noqa: S324

    def test_the_example_of_hooks_holds_a_letter(self) -> None:
        (message,) = received(example("sqs-hooks.json"))
        letter = Addressed.from_text(message.text)
        assert (letter.recipient, letter.event.what, letter.event.type) == ("code", "complete", "order.created")
        (record,) = example("sqs-hooks.json")["Records"]
        attributes, sent = record["attributes"], letter.letter()
        assert (attributes["MessageGroupId"], attributes["MessageDeduplicationId"]) == (sent.group, sent.id)
        assert (message.source, record["body"]) == ("taskyard-local-hooks.fifo", sent.text)
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()  # noqa: S324


class TestStream:
    RECORD: dict[str, Any] = {  # noqa: RUF012 - a sample
        "eventID": "c4ca4238a0b923820dcc509a6f75849b",
        "eventName": "REMOVE",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2026, 1, 31, 12, 0, 29, tzinfo=UTC),
            "Keys": {"job": {"N": "1"}, "part": {"S": "state"}},
            "SequenceNumber": "111",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    }

    def test_has_the_documented_fields_of_a_tumbling_window(self) -> None:
        event = stream_event([self.RECORD], STREAM_ARN, "shardId-1", 60, NOON_S)
        (record,) = event.pop("Records")
        assert event == {
            "window": {"start": "2026-01-31T12:00:00Z", "end": "2026-01-31T12:01:00Z"},
            "state": {},
            "shardId": "shardId-1",
            "eventSourceARN": STREAM_ARN,
            "isFinalInvokeForWindow": False,
            "isWindowTerminatedEarly": False,
        }
        assert record["eventSourceARN"] == STREAM_ARN
        assert record["dynamodb"]["ApproximateCreationDateTime"] == NOON_S - 1
        assert record["userIdentity"] == self.RECORD["userIdentity"]

    def test_is_json(self) -> None:
        json.dumps(stream_event([self.RECORD], STREAM_ARN, "shardId-1", 60, NOON_S))

    def test_the_example_tells_of_a_job_from_publish_to_success(self) -> None:
        ((shard, changes),) = changes_by_shard(example("dynamodb-stream.json")).items()
        states = [change.after.state for change in changes if change.after]
        assert shard.startswith("shardId-")
        assert states == [State.PENDING, State.PENDING, State.RUNNING, State.SUCCESS]
        assert changes[0].before is None

    def test_the_example_has_this_shape(self) -> None:
        event = example("dynamodb-stream.json")
        made = stream_event([self.RECORD], STREAM_ARN, "shardId-1", 60, NOON_S)
        assert keys_of(event).keys() == keys_of(made).keys()
        assert keys_of(event["window"]) == keys_of(made["window"])


class TestSchedule:
    def test_has_the_documented_fields(self) -> None:
        assert scheduled_event("taskyard-local-clock", "53dc4d37", "eu-west-1", NOON_S) == {
            "version": "0",
            "id": "53dc4d37",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": "000000000000",
            "time": "2026-01-31T12:00:30Z",
            "region": "eu-west-1",
            "resources": ["arn:aws:events:eu-west-1:000000000000:rule/taskyard-local-clock"],
            "detail": {},
        }

    def test_the_example_has_this_shape(self) -> None:
        assert keys_of(example("schedule.json")) == keys_of(scheduled_event("rule", "id", "eu-west-1", NOON_S))


def request(**changed: Any) -> HttpRequest:
    values: dict[str, Any] = {
        "request_id": "r-1",
        "method": "POST",
        "path": "/jobs/a%2Fb",
        "resource": "/jobs/{id}",
        "path_parameters": {"id": "a%2Fb"},
        "query": [("x", "1"), ("x", "2"), ("empty", "")],
        "headers": [("content-type", "application/json"), ("x-twice", "a"), ("x-twice", "b")],
        "body": b'{"a": "\xc3\xa4"}',
        "source_ip": "127.0.0.1",
        "received_at_s": NOON_S,
    }
    return HttpRequest(**{**values, **changed})


class TestHttp:
    def test_the_edge_reads_it(self) -> None:
        read = incoming(http_event(request(), "api", []), Listener())
        assert (read.method, read.route, read.url_path, read.request_id) == (
            "POST",
            "/jobs/{id}",
            "/jobs/a%2Fb",
            "r-1",
        )
        assert read.path == {"id": "a%2Fb"}
        assert read.query == {"x": ["1", "2"], "empty": [""]}
        assert read.content() == request().body

    def test_the_last_of_several_values_stands_for_them(self) -> None:
        event = http_event(request(), "api", [])
        assert event["headers"]["x-twice"] == "b"
        assert event["multiValueHeaders"]["x-twice"] == ["a", "b"]
        assert event["queryStringParameters"] == {"x": "2", "empty": ""}

    def test_what_is_not_there_is_null(self) -> None:
        event = http_event(request(query=[], body=b"", path_parameters={}), "api", [])
        absent = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body")
        assert [event[name] for name in absent] == [None] * 4

    @pytest.mark.parametrize("content_type", ["image/png", "Image/PNG; q=1"])
    def test_a_binary_type_travels_in_base64(self, content_type: str) -> None:
        event = http_event(request(headers=[("content-type", content_type)], body=b"text"), "api", ["image/png"])
        assert (event["body"], event["isBase64Encoded"]) == (base64.b64encode(b"text").decode(), True)

    def test_what_is_no_text_travels_in_base64(self) -> None:
        event = http_event(request(body=b"\xff\x00"), "api", [])
        assert incoming(event, Listener()).content() == b"\xff\x00"

    def test_the_example_has_this_shape(self) -> None:
        event = example("api-gateway-publish.json")
        made = http_event(request(), "api", [])
        assert event.keys() == made.keys()
        assert event["requestContext"].keys() == made["requestContext"].keys()
        assert json.loads(incoming(event, Listener()).content())["topic"] == "order.created"


class TestContext:
    def test_counts_down_to_the_deadline_and_no_further(self) -> None:
        assert 9_000 < _context(time.time() + 10).get_remaining_time_in_millis() <= 10_000
        assert _context(time.time() - 10).get_remaining_time_in_millis() == 0

    def test_names_the_log_group_after_the_function(self) -> None:
        assert _context(0).log_group_name == "/aws/lambda/taskyard-local-worker"


def _context(deadline_s: float) -> LambdaContext:
    return LambdaContext(
        function_name="taskyard-local-worker",
        aws_request_id="r-1",
        invoked_function_arn="arn:aws:lambda:eu-west-1:000000000000:function:taskyard-local-worker",
        memory_limit_in_mb=1_024,
        deadline_s=deadline_s,
    )
