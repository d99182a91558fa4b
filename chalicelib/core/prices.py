"""AWS list prices in us-east-1, on the day they were read: the one place where an amount of money is written.

A price is an on-demand price without tax, discount or volume tier; every first tier here is far larger than what one
installation uses. ``source`` is the page that states it. AWS fills the numbers of those pages in by script, so they
were read from texts that quote them and agree with each other; ``doubt`` says where that was not enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

PRICES_OF = date(2026, 11, 21)
REGION = "us-east-1"

MILLION = 1_000_000
SQS_CHUNK_BYTES = 65_536  # each started 64 KB of what a request carries is billed as a request
GB_BYTES = 1_000_000_000  # of tables, objects and logs
WRITE_UNIT_BYTES = 1_024  # a write unit writes an item up to this size; in a transaction it takes two

_API_GATEWAY = "https://aws.amazon.com/api-gateway/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_EVENTBRIDGE = "https://aws.amazon.com/eventbridge/pricing/"
_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_S3 = "https://aws.amazon.com/s3/pricing/"
_SQS = "https://aws.amazon.com/sqs/pricing/"
_XRAY = "https://aws.amazon.com/xray/pricing/"


class Item(StrEnum):
    """What AWS writes a line of the bill for."""

    API_REQUEST = "api-gateway.request"
    ALARM_METRIC = "cloudwatch.alarm-metric"
    COMPOSITE_ALARM = "cloudwatch.composite-alarm"
    DASHBOARD = "cloudwatch.dashboard"
    METRIC = "cloudwatch.metric"
    LOG_INGESTION = "cloudwatch-logs.ingestion"
    LOG_STORAGE = "cloudwatch-logs.storage"
    TABLE_WRITE = "dynamodb.write"
    TABLE_READ = "dynamodb.read"
    TABLE_STORAGE = "dynamodb.storage"
    TABLE_BACKUP = "dynamodb.backup"
    STREAM_READ = "dynamodb.stream-read"
    SCHEDULED_EVENT = "eventbridge.scheduled-event"
    FUNCTION_REQUEST = "lambda.request"
    FUNCTION_TIME = "lambda.time"
    FUNCTION_TIME_ARM = "lambda.time-arm"
    KAFKA_POLLERS = "lambda.kafka-pollers"
    OBJECT_PUT = "s3.put"
    OBJECT_GET = "s3.get"
    OBJECT_STORAGE = "s3.storage"
    QUEUE_REQUEST = "sqs.request"
    TRACE = "xray.trace"


@dataclass(frozen=True, slots=True)
class Price:
    """``usd`` for ``per`` units. ``free_a_month`` units cost nothing, month after month, once for a whole account."""

    service: str
    unit: str
    usd: float
    source: str
    per: int = 1
    free_a_month: float = 0.0
    doubt: str = ""

    @property
    def usd_each(self) -> float:
        """What one unit costs."""
        return self.usd / self.per


# Free for the first twelve months only, and so not here: a million API calls, 5 GB in S3 with some requests.
PRICES: Mapping[Item, Price] = {
    Item.API_REQUEST: Price("API Gateway", "REST requests", 3.50, _API_GATEWAY, MILLION),
    Item.ALARM_METRIC: Price(
        "CloudWatch",
        "alarm metrics",
        0.10,
        _CLOUDWATCH,
        free_a_month=10,
        doubt="that an alarm on an expression pays for each metric in it is read from the unit's name, `alarm metric`",
    ),
    Item.COMPOSITE_ALARM: Price("CloudWatch", "composite alarms", 0.50, _CLOUDWATCH),
    Item.DASHBOARD: Price("CloudWatch", "dashboards", 3.00, _CLOUDWATCH, free_a_month=3),
    Item.METRIC: Price("CloudWatch", "custom metrics", 0.30, _CLOUDWATCH, free_a_month=10),
    Item.LOG_INGESTION: Price("CloudWatch Logs", "GB taken in", 0.50, _CLOUDWATCH, free_a_month=5),
    Item.LOG_STORAGE: Price(
        "CloudWatch Logs",
        "GB-months",
        0.03,
        _CLOUDWATCH,
        doubt="billed on compressed bytes, here on the plain ones: at most this much",
    ),
    Item.TABLE_WRITE: Price("DynamoDB", "write units", 0.625, _DYNAMODB, MILLION),
    Item.TABLE_READ: Price("DynamoDB", "read units", 0.125, _DYNAMODB, MILLION),
    Item.TABLE_STORAGE: Price("DynamoDB", "GB-months", 0.25, _DYNAMODB, free_a_month=25),
    Item.TABLE_BACKUP: Price("DynamoDB", "GB-months of backup", 0.20, _DYNAMODB),
    Item.STREAM_READ: Price("DynamoDB", "stream reads by Lambda", 0.0, _DYNAMODB),
    Item.SCHEDULED_EVENT: Price(
        "EventBridge",
        "scheduled events",
        0.0,
        _EVENTBRIDGE,
        doubt="the page prices custom, partner and cross-account events and names no price for a scheduled rule",
    ),
    Item.FUNCTION_REQUEST: Price("Lambda", "invocations", 0.20, _LAMBDA, MILLION, free_a_month=MILLION),
    Item.FUNCTION_TIME: Price("Lambda", "GB-seconds", 16.6667, _LAMBDA, MILLION, free_a_month=400_000),
    Item.FUNCTION_TIME_ARM: Price("Lambda", "GB-seconds on arm64", 13.3334, _LAMBDA, MILLION, free_a_month=400_000),
    Item.KAFKA_POLLERS: Price("Lambda", "hours of an event poller unit for Kafka", 0.185, _LAMBDA),
    Item.OBJECT_PUT: Price("S3", "PUT requests", 0.005, _S3, 1_000),
    Item.OBJECT_GET: Price("S3", "GET requests", 0.0004, _S3, 1_000),
    Item.OBJECT_STORAGE: Price("S3", "GB-months", 0.023, _S3),
    Item.QUEUE_REQUEST: Price("SQS", "requests", 0.40, _SQS, MILLION, free_a_month=MILLION),
    Item.TRACE: Price("X-Ray", "traces", 5.00, _XRAY, MILLION, free_a_month=100_000),
}
