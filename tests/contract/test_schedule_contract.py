"""The clock's rule, as infra defines it, is acted upon: by EventBridge, once a minute."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from chalicelib import aws
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.events import event_sources
from tests.support import backends
from tests.support.waiting import until

# The embedded emulator's clock is what the tests of `taskyard deploy` wait for; moto's never strikes.
STRIKING = ("localstack",)
FIRES_WITHIN_S = 90.0  # the rate's minute, and what an emulator may be late
LONG_POLL_S = 5


@pytest.fixture(params=STRIKING)
def settings(request: pytest.FixtureRequest, embedded: Callable[[], Emulator]) -> Iterator[Settings]:
    if reason := backends.missing(request.param):
        pytest.skip(reason)
    with backends.connected(request.param, embedded) as own:
        yield own


def test_the_clocks_rule_fires(settings: Settings) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=f"{settings.base_name}-struck")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    # A queue in place of the function, which not every emulator can run.
    rule = event_sources(settings, [], lambda _: arn, lambda _: arn, arn)["ClockRule"]
    name = f"{settings.base_name}-rule"
    stack.apply(settings, {"Resources": {"ClockRule": rule}}, name=name)

    def struck() -> list[str]:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=LONG_POLL_S)
        return [message["Body"] for message in answer.get("Messages", [])]

    (event,) = until(struck, FIRES_WITHIN_S)
    stack.remove(name)

    told = json.loads(event)
    assert told["source"] == "aws.events"
    assert told["detail-type"] == "Scheduled Event"
    assert [each.rpartition("/")[2] for each in told["resources"]] == [f"{settings.base_name}-clock"]
