"""The events that AWS hands to Lambda functions, built from what its APIs answer.

Shapes: the Lambda developer guide, "Using Lambda with Amazon SQS", "... with DynamoDB streams", "... with API Gateway"
(proxy event, version 1.0), and the EventBridge user guide, "Scheduled events". ``events/`` holds one of each.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]
Answer = Mapping[str, Any]  # what botocore answers

ACCOUNT = "000000000000"  # of emulators
API_ID = "local"
SECOND = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came over the wire, and the resource that its path leads to."""

    request_id: str
    method: str
    path: str  # as the client wrote it, still percent-encoded
    resource: str  # as declared: /jobs/{id}
    path_parameters: Mapping[str, str]  # still percent-encoded, as a REST API leaves them
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]]  # names in lower case
    body: bytes
    source_ip: str
    received_at_s: float  # seconds since 1970


def sqs_event(messages: Sequence[Answer], queue_arn: str) -> Event:
    """The event for a batch of messages as ``ReceiveMessage`` answers them, all attributes asked for."""
    return {"Records": [_sqs_record(message, queue_arn) for message in messages]}


def stream_event(records: Sequence[Answer], stream_arn: str, shard_id: str, window_s: int, now_s: float) -> Event:
    """The event for a batch of one shard's records as ``GetRecords`` answers them, in a tumbling window.

    ``window_s`` is the window's length. The event is none that ends a window.
    """
    start_s = int(now_s) // window_s * window_s
    return {
        "Records": [_stream_record(record, stream_arn) for record in records],
        "window": {"start": _moment(start_s).strftime(SECOND), "end": _moment(start_s + window_s).strftime(SECOND)},
        "state": {},
        "shardId": shard_id,
        "eventSourceARN": stream_arn,
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }


def scheduled_event(rule: str, event_id: str, region: str, at_s: float) -> Event:
    """The event of an EventBridge rule with a schedule."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": _moment(at_s).strftime(SECOND),
        "region": region,
        "resources": [f"arn:aws:events:{region}:{ACCOUNT}:rule/{rule}"],
        "detail": {},
    }


def http_event(request: HttpRequest, stage: str, binary_types: Sequence[str]) -> Event:
    """The event of a REST API with Lambda proxy integration.

    A body of one of the ``binary_types``, or one that is no UTF-8, travels in base64.
    """
    body, is_base64 = _text_of(request, binary_types)
    headers = dict(request.headers)
    return {
        "resource": request.resource,
        "path": request.path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": _grouped(request.headers),
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": _grouped(request.query) or None,
        "pathParameters": dict(request.path_parameters) or None,
        "stageVariables": None,
        "requestContext": _request_context(request, stage, headers),
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _sqs_record(message: Answer, queue_arn: str) -> Event:
    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {name: _message_attribute(value) for name, value in attributes.items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": _region_of(queue_arn),
    }


def _message_attribute(value: Answer) -> Event:
    typed: Event = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        typed["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        typed["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return typed


def _stream_record(record: Answer, stream_arn: str) -> Event:
    change = dict(record["dynamodb"])
    at = change["ApproximateCreationDateTime"]
    change["ApproximateCreationDateTime"] = at.timestamp() if isinstance(at, datetime) else at
    return {**record, "dynamodb": change, "eventSourceARN": stream_arn}


def _request_context(request: HttpRequest, stage: str, headers: Mapping[str, str]) -> Event:
    return {
        "accountId": ACCOUNT,
        "apiId": API_ID,
        "domainName": headers.get("host", ""),
        "httpMethod": request.method,
        "identity": {"sourceIp": request.source_ip, "userAgent": headers.get("user-agent")},
        "path": request.path,
        "protocol": "HTTP/1.1",
        "requestId": request.request_id,
        "requestTime": _moment(request.received_at_s).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": round(request.received_at_s * 1_000),
        "resourcePath": request.resource,
        "stage": stage,
    }


def _text_of(request: HttpRequest, binary_types: Sequence[str]) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    content_type = dict(request.headers).get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in binary_types:
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _region_of(arn: str) -> str:
    return arn.split(":")[3]
