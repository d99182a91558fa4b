"""Applying infra's template: what AWS holds afterwards, whatever was there before."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib import aws
from chalicelib.core.errors import InvalidInput, Unavailable
from chalicelib.core.lanes import DEFAULT_BANDS, Band, Lane, sqs_name
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.yard import build
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from chalicelib.store.job_queries import JobQuery
from infra.deploy import stack
from infra.deploy.stack import Change, StackFailed
from infra.fragment import Fragment
from infra.queues import lane_id, lanes_of
from infra.storage import JOBS_INDEXES
from infra.template import template
from tests.support.ledger import job_of, place
from tests.support.yards import CREDENTIALS, environment, forget_clients

LOCAL = Settings()
ORDERS = {"orders": (Band.HIGH, Band.NORMAL)}


@contextmanager
def moto() -> Iterator[None]:
    with environment(CREDENTIALS), mock_aws():
        yield


@contextmanager
def ministack() -> Iterator[None]:
    with Emulator.start() as emulator, environment(emulator.environment()):
        yield


@pytest.fixture(params=[moto, ministack], ids=["moto", "ministack"])
def emulated(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty emulator behind the clients of ``chalicelib.aws``; returns its name."""
    with request.param():
        forget_clients()
        yield request.param.__name__
    forget_clients()


@pytest.fixture
def on_ministack() -> Iterator[None]:
    with ministack():
        forget_clients()
        yield
    forget_clients()


def with_failing_queue(built: Fragment) -> Fragment:
    """A template whose last resource AWS refuses."""
    broken = copy.deepcopy(built)
    broken["Resources"]["Impossible"] = {
        "Type": "AWS::SQS::Queue",
        "Properties": {"QueueName": "impossible", "VisibilityTimeout": 43_201},
    }
    return broken


def expiry(table: str) -> Any:
    described = aws.client("dynamodb").describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    return described["TimeToLiveStatus"], described.get("AttributeName")


def snapshot() -> Any:
    """Everything that another apply could disturb."""
    dynamodb, sqs = aws.client("dynamodb"), aws.client("sqs")
    tables = [dynamodb.describe_table(TableName=name)["Table"] for name in dynamodb.list_tables()["TableNames"]]
    queues = {
        url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in sqs.list_queues()["QueueUrls"]
    }
    return tables, queues, [expiry(table["TableName"]) for table in tables]


@pytest.mark.usefixtures("emulated")
def test_the_tables_are_what_the_template_says() -> None:
    stack.apply(LOCAL, template(LOCAL, {}))

    jobs = aws.client("dynamodb").describe_table(TableName=LOCAL.jobs_table)["Table"]
    assert jobs["KeySchema"] == [
        {"AttributeName": "job", "KeyType": "HASH"},
        {"AttributeName": "part", "KeyType": "RANGE"},
    ]
    assert {index["IndexName"] for index in jobs["GlobalSecondaryIndexes"]} == set(JOBS_INDEXES)
    assert jobs["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert jobs["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    for table in (LOCAL.jobs_table, LOCAL.directory_table, LOCAL.insights_table):
        assert expiry(table) == ("ENABLED", "expires_at_s")


@pytest.mark.usefixtures("on_ministack")
def test_an_index_that_is_new_shows_what_was_stored_before_it() -> None:
    before = template(LOCAL, {})
    jobs = before["Resources"]["JobsTable"]["Properties"]
    jobs["GlobalSecondaryIndexes"] = [i for i in jobs["GlobalSecondaryIndexes"] if i["IndexName"] != "by_target"]
    jobs["AttributeDefinitions"] = [a for a in jobs["AttributeDefinitions"] if a["AttributeName"] != "target_id"]
    stack.apply(LOCAL, before)
    yard = build(Registry.of([]), LOCAL)
    job = place(yard, job_of(yard, kind=Kind.TASK, target_id="7"))

    stack.apply(LOCAL, template(LOCAL, {}))

    assert list(yard.lists.ids(JobQuery(Kind.TASK, target_id="7"))) == [job.id]


@pytest.mark.usefixtures("emulated")
def test_every_lane_redrives_to_the_dead_letter_queue() -> None:
    report = stack.apply(LOCAL, template(LOCAL, ORDERS))

    sqs = aws.client("sqs")
    for lane in (Lane("orders", Band.HIGH), Lane("orders", Band.NORMAL), *(Lane("default", b) for b in DEFAULT_BANDS)):
        url = sqs.get_queue_url(QueueName=sqs_name(LOCAL.base_name, lane))["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert url == report.outputs[f"{lane_id(lane)}Url"]
        assert json.loads(attributes["RedrivePolicy"]) == {
            "deadLetterTargetArn": report.outputs["DeadLetterQueueArn"],
            "maxReceiveCount": 1_000,
        }
        assert attributes["VisibilityTimeout"] == str(LOCAL.visibility_s)
        assert attributes["MessageRetentionPeriod"] == "1209600"
        assert attributes["MaximumMessageSize"] == "1048576"


@pytest.mark.usefixtures("on_ministack")
def test_the_bucket_is_private() -> None:
    report = stack.apply(LOCAL, template(LOCAL, {}))

    blocked = aws.client("s3").get_public_access_block(Bucket=report.outputs["ObjectsBucketName"])
    assert set(blocked["PublicAccessBlockConfiguration"].values()) == {True}


def test_the_first_apply_creates_and_the_second_changes_nothing(emulated: str) -> None:
    first = stack.apply(LOCAL, template(LOCAL, ORDERS))
    before = snapshot()
    second = stack.apply(LOCAL, template(LOCAL, ORDERS))

    assert first.change is Change.CREATED
    assert second.completed == ()
    assert second.outputs == first.outputs == stack.outputs(stack.stack_name(LOCAL))
    assert snapshot() == before
    if emulated != "moto":  # which calls every update an update
        assert second.change is Change.UNCHANGED


@pytest.mark.usefixtures("emulated")
def test_a_newly_declared_band_becomes_a_queue() -> None:
    stack.apply(LOCAL, template(LOCAL, ORDERS))
    report = stack.apply(LOCAL, template(LOCAL, {"orders": (Band.HIGH, Band.NORMAL, Band.LOW)}))

    assert report.change is Change.UPDATED
    assert f"{lane_id(Lane('orders', Band.LOW))}Url" in report.outputs


@pytest.mark.usefixtures("on_ministack")
def test_a_lane_and_its_messages_outlive_the_declaration_and_are_there_when_it_comes_back() -> None:
    name = sqs_name(LOCAL.base_name, Lane("orders", Band.HIGH))
    sqs = aws.client("sqs")
    stack.apply(LOCAL, template(LOCAL, ORDERS))
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="accepted")
    for queues in ({}, ORDERS):
        stack.apply(LOCAL, template(LOCAL, queues))
        found = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages", [])
        assert [message["Body"] for message in found] == ["accepted"]


@pytest.mark.usefixtures("on_ministack")
def test_a_first_apply_that_fails_names_the_resource_and_can_be_repeated() -> None:
    kept = Settings(stage="dev")
    with pytest.raises(StackFailed, match=r"Impossible \(AWS::SQS::Queue\): .*VisibilityTimeout"):
        stack.apply(kept, with_failing_queue(template(kept, {})))

    assert aws.client("dynamodb").list_tables()["TableNames"] == []
    assert stack.apply(kept, template(kept, {})).change is Change.CREATED


@pytest.mark.usefixtures("on_ministack")
def test_a_change_that_fails_is_undone_and_can_be_followed_by_another() -> None:
    stack.apply(LOCAL, template(LOCAL, {}))
    before = snapshot()
    with pytest.raises(StackFailed, match="ended as UPDATE_ROLLBACK_COMPLETE: Impossible"):
        stack.apply(LOCAL, with_failing_queue(template(LOCAL, {})))

    assert snapshot() == before
    assert stack.apply(LOCAL, template(LOCAL, {})).change is Change.UNCHANGED


def test_the_deadline_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    cloudformation = Mock()
    cloudformation.create_stack.return_value = {"StackId": "arn:of-a-stack"}
    cloudformation.describe_stacks.return_value = {
        "Stacks": [{"StackName": "slow", "StackStatus": "CREATE_IN_PROGRESS"}]
    }
    monkeypatch.setattr(aws, "client", {"cloudformation": cloudformation}.__getitem__)

    with pytest.raises(Unavailable, match="slow is still CREATE_IN_PROGRESS"):
        stack.apply(LOCAL, template(LOCAL, {}), deadline_s=0)


@pytest.mark.usefixtures("on_ministack")
def test_what_cloudformation_refuses_outright_is_told_in_its_words() -> None:
    with pytest.raises(StackFailed, match=r"taskyard-local-infra: .*AWS::SQS::Queeu"):
        stack.apply(LOCAL, {"Resources": {"Misspelt": {"Type": "AWS::SQS::Queeu"}}})


@pytest.mark.usefixtures("emulated")
def test_a_template_too_large_for_the_call_is_refused_before_it() -> None:
    longest = Settings(prefix="p" * 16, stage="s" * 12)
    topics = (f"{number}-with-a-long-name-after-it" for number in range(17))

    with pytest.raises(InvalidInput, match="at most 51200 bytes"):
        stack.apply(longest, template(longest, dict.fromkeys(topics, tuple(Band))))


@pytest.mark.usefixtures("emulated")
def test_there_are_no_outputs_without_a_stack() -> None:
    with pytest.raises(ClientError, match="does not exist"):
        stack.outputs("taskyard-never-infra")


@pytest.mark.usefixtures("on_ministack")
def test_two_that_make_the_same_stack_at_the_same_time_have_it_with_the_queues_of_both() -> None:
    other = {"parcels": (Band.LOW,)}
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda queues: stack.apply(LOCAL, template(LOCAL, queues)), (ORDERS, other)))
    assert sorted(report.change for report in done) == [Change.CREATED, Change.UPDATED]
    lanes = {lane_id(lane) for lane in (*lanes_of(ORDERS), *lanes_of(other))}
    deployed = stack.deployed(stack.stack_name(LOCAL))
    assert deployed is not None
    assert lanes <= set(deployed["Resources"])
