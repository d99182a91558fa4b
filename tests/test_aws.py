"""Calls to AWS: which failures are outages, and how long a request may wait for answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError, ParamValidationError
from moto import mock_aws

from chalicelib import aws
from chalicelib.local import gateway
from tests.support.yards import CREDENTIALS, environment, forget_clients


@pytest.fixture(autouse=True)
def _cloud() -> Iterator[None]:
    with environment(CREDENTIALS), mock_aws():
        forget_clients()
        yield
    forget_clients()


def test_no_call_begins_that_would_end_too_late() -> None:
    with aws.answering_within(aws.CONNECT_TIMEOUT_S + aws.READ_TIMEOUT_S - 1), pytest.raises(aws.OutOfTime) as late:
        aws.client("sqs").list_queues()
    assert aws.is_outage(late.value)
    with aws.answering_within(3_600):
        assert aws.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert aws.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_threads_have_the_time_of_who_made_them() -> None:
    with aws.answering_within(0), aws.threads(2) as workers, pytest.raises(aws.OutOfTime):
        workers.submit(aws.client("dynamodb").list_tables).result()
    with aws.threads(2) as workers:
        assert workers.submit(aws.client("dynamodb").list_tables).result()["TableNames"] == []


@pytest.mark.parametrize(
    ("error", "code", "outage"),
    [
        (ClientError({"Error": {"Code": "Throttling"}}, "Any"), "Throttling", True),
        (ClientError({"Error": {"Code": "ValidationException"}}, "Any"), "ValidationException", False),
        (ClientError({}, "Any"), "ClientError", True),
        (NoRegionError(), "NoRegionError", True),
        (BotoCoreError(), "BotoCoreError", True),
        (ParamValidationError(report="x"), "ParamValidationError", False),
        (TimeoutError(), "TimeoutError", False),
    ],
    ids=repr,
)
def test_what_an_outage_is(error: Exception, code: str, outage: bool) -> None:
    assert (aws.code_of(error), aws.is_outage(error)) == (code, outage)


def test_no_request_in_flight_is_without_a_connection_to_keep() -> None:
    assert aws.client("sqs").meta.config.max_pool_connections > gateway.THREADS
