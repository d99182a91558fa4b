"""An idle month: what the resources of infra's templates take while nobody uses them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.prices import Item
from chalicelib.engine import cost_figures as figures
from infra.cost.load import Deployment
from infra.cost.usage import MONTH_HOURS, Usage, invocations
from infra.functions import Function

HOUR_MINUTES = 60
HOUR_S = 3_600

# AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings": on a quiet standard queue
# Lambda goes back to five batches at a time, and on to two, but not where a maximum concurrency is set.
POLLERS = 2
POLLERS_UNDER_A_LIMIT = 5
# The longest that SQS holds a receive: Amazon SQS Developer Guide, "Amazon SQS short and long polling".
LONG_POLL_S = 20
STREAM_POLLS_A_S = 4  # of each shard (AWS Lambda Developer Guide, "Polling and batching streams"); free

POLLERS_A_UNIT = 10  # of a topic on Kafka (AWS Lambda Developer Guide, "Apache Kafka event poller scaling modes")

FEWER_LANES = "fewer bands or queues"
NO_LIMIT = "no TASKYARD_LANE_CONCURRENCY, no hooks"


def idle(deployed: Deployment) -> Iterator[Usage]:
    """What the resources take in a month in which nobody uses them, resource by resource.

    Raises ``InvalidInput`` for a resource of a type that is neither priced nor known to be free.
    """
    for logical_id, resource in deployed.resources.items():
        kind = resource["Type"]
        if kind in PRICED:
            yield from PRICED[kind](resource.get("Properties", {}), deployed)
        elif kind not in FREE:
            raise InvalidInput(
                f"nobody has said what {logical_id} costs",
                field="type",
                expected="a type of resource that infra/cost/idle.py prices or declares free",
                got=kind,
                remedy="add it there",
            )


def _of_mapping(properties: Mapping[str, Any], _: Deployment) -> Iterator[Usage]:
    if "Topics" in properties:
        yield from _of_kafka(properties["ProvisionedPollerConfig"])
    elif "StartingPosition" in properties:
        reads = STREAM_POLLS_A_S * HOUR_S * MONTH_HOURS
        yield Usage(Item.STREAM_READ, reads, "Lambda reads the change stream, for each shard")
    else:
        limited = bool(properties.get("ScalingConfig"))
        receives = (POLLERS_UNDER_A_LIMIT if limited else POLLERS) * MONTH_HOURS * HOUR_S / LONG_POLL_S
        what, smaller = ("queues under a limit", NO_LIMIT) if limited else ("queues", FEWER_LANES)
        yield Usage(Item.QUEUE_REQUEST, receives, f"Lambda waits for messages at {what}", smaller)


def _of_kafka(pollers: Mapping[str, Any]) -> Iterator[Usage]:
    """Lambda reads Kafka for nothing, unless pollers are provisioned: then a unit for each started ten."""
    what, smaller = "Lambda waits for records of Kafka", "no pollers in TASKYARD_KAFKA_SOURCE"
    units = math.ceil(pollers.get("MinimumPollers", 0) / POLLERS_A_UNIT)
    yield Usage(Item.KAFKA_POLLERS, units * MONTH_HOURS, what, smaller if units else "")


def _of_rule(properties: Mapping[str, Any], deployed: Deployment) -> Iterator[Usage]:
    """The clock: its ticks and what each does when there is nothing to do."""
    shards = deployed.settings.index_shards
    ticks = MONTH_HOURS * HOUR_MINUTES / _rate_minutes(properties["ScheduleExpression"])
    queries = ticks * (figures.TICK_QUERIES + shards * figures.TICK_QUERIES_A_SHARD)
    queries += MONTH_HOURS * deployed.types * shards * figures.TICK_QUERIES_A_TYPE_AND_SHARD_ONCE_AN_HOUR
    of_types = ticks * figures.TICK_QUERIES_FOR_TYPES + MONTH_HOURS * figures.TICK_QUERIES_FOR_TYPES_ONCE_AN_HOUR
    of_topics = 0 if deployed.settings.told_metrics == "off" else ticks * figures.TICK_QUERIES_OF_TOPICS
    looks = ticks * figures.TICK_GETS
    gets = MONTH_HOURS * figures.TICK_GETS_ONCE_AN_HOUR
    writes = ticks * figures.TICK_WRITES
    what = "the clock"
    yield Usage(Item.SCHEDULED_EVENT, ticks, what)
    yield from invocations(
        deployed, Function.CLOCK, ticks, queries + of_types + of_topics + looks + gets + writes, 0, what
    )
    reads = (queries + looks) * figures.EMPTY_QUERY_READ_UNITS + gets
    reads += (of_types + of_topics) * figures.EMPTY_CONSISTENT_QUERY_READ_UNITS
    yield Usage(
        Item.TABLE_READ, reads, f"{what} looks for work", "fewer TASKYARD_INDEX_SHARDS, before the first deploy"
    )
    yield Usage(Item.TABLE_WRITE, writes, f"{what} notes that it ran")


def _rate_minutes(expression: str) -> int:
    """The minutes of ``rate(n minutes)``; raises ``InvalidInput`` for any other schedule."""
    found = re.fullmatch(r"rate\((\d+) minutes?\)", expression)
    if found is None:
        raise InvalidInput("this schedule has no price", expected="rate(n minutes)", got=expression)
    return int(found[1])


def _of_alarm(properties: Mapping[str, Any], _: Deployment) -> Iterator[Usage]:
    """An alarm pays for each metric that it looks at: one, or those in its expression."""
    metrics = sum("MetricStat" in query for query in properties.get("Metrics", [])) or 1
    yield Usage(Item.ALARM_METRIC, metrics, "alarms", "ten of an account are free; TASKYARD_WATCH=off")


def _of_composite_alarm(_: Mapping[str, Any], __: Deployment) -> Iterator[Usage]:
    yield Usage(Item.COMPOSITE_ALARM, 1, "alarms over alarms")


def _of_dashboard(_: Mapping[str, Any], __: Deployment) -> Iterator[Usage]:
    yield Usage(Item.DASHBOARD, 1, "dashboards", "three of an account are free; TASKYARD_WATCH=on")


def _of_table(properties: Mapping[str, Any], _: Deployment) -> Iterator[Usage]:
    yield Usage(Item.TABLE_STORAGE, 0, "tables, empty")
    if properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield Usage(Item.TABLE_BACKUP, 0, "tables, empty, to any point of 35 days")


def _of_bucket(_: Mapping[str, Any], __: Deployment) -> Iterator[Usage]:
    yield Usage(Item.OBJECT_STORAGE, 0, "bucket, empty")


PRICED: Mapping[str, Callable[[Mapping[str, Any], Deployment], Iterator[Usage]]] = {
    "AWS::CloudWatch::Alarm": _of_alarm,
    "AWS::CloudWatch::CompositeAlarm": _of_composite_alarm,
    "AWS::CloudWatch::Dashboard": _of_dashboard,
    "AWS::DynamoDB::Table": _of_table,
    "AWS::Events::Rule": _of_rule,
    "AWS::Lambda::EventSourceMapping": _of_mapping,
    "AWS::S3::Bucket": _of_bucket,
}
FREE: Mapping[str, str] = {
    "AWS::IAM::Role": "IAM costs nothing",
    "AWS::Lambda::Permission": "a policy of a function",
    "AWS::Logs::LogGroup": "what is written into it costs, and is counted with the functions",
    "AWS::SQS::Queue": "requests cost, and are counted with what makes them",
}
