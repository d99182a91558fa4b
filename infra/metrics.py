"""Metrics of CloudWatch that alarms and the dashboard look at: our own, and those of AWS's services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.core.cloudwatch import KIND, METRICS, NAMESPACE, STAGE
from chalicelib.core.projection import Measure
from chalicelib.core.states import Kind
from chalicelib.settings import Settings
from infra.functions import Function, function_name


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of CloudWatch, and which of its statistics is meant."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str


def of_kind(settings: Settings, kind: Kind, measure: Measure, statistic: str) -> Metric:
    """What the projector tells (``chalicelib/functions/metrics.py``)."""
    return Metric(NAMESPACE, METRICS[measure].name, {STAGE: settings.base_name, KIND: kind.value}, statistic)


def of_stage(settings: Settings, name: str, statistic: str) -> Metric:
    """What is told of the whole stage: what failed, how all topics stand, which jobs are late."""
    return Metric(NAMESPACE, name, {STAGE: settings.base_name}, statistic)


def of_queue(queue: str, name: str) -> Metric:
    """Of an SQS queue: the largest within a span."""
    return Metric("AWS/SQS", name, {"QueueName": queue}, "Maximum")


def of_function(settings: Settings, function: Function, name: str, statistic: str) -> Metric:
    """Of a Lambda function of the installation."""
    return Metric("AWS/Lambda", name, {"FunctionName": function_name(settings, function)}, statistic)


def of_table(table: str, name: str, index: str | None = None) -> Metric:
    """Of a DynamoDB table, or of one of its indexes: the sum over a span."""
    dimensions = {"TableName": table} if index is None else {"TableName": table, "GlobalSecondaryIndexName": index}
    return Metric("AWS/DynamoDB", name, dimensions, "Sum")


def of_api(settings: Settings, name: str, statistic: str) -> Metric:
    """Of the REST API, which Chalice names after the installation."""
    return Metric("AWS/ApiGateway", name, {"ApiName": settings.base_name}, statistic)
