"""The template: what each resource is, and that CloudFormation's own rules hold for it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from cfnlint.api import lint
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.batch import Batch
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import DEFAULT_BANDS, QUEUE_NAME_MAX_CHARS, TOPIC_MAX_CHARS, Band, Lane, sqs_name
from chalicelib.local.functions import limits
from chalicelib.settings import Settings
from infra.deploy.stages import config_of, function_config
from infra.queues import HOOKS_RECEIVE_COUNT, HOOKS_TIMEOUT_S, lane_id, lanes_of
from infra.template import events_template, main, template

LOCAL = Settings()
DEV = Settings(stage="dev")
LONGEST = Settings(prefix="p" * 16, stage="s" * 12).checked()
ODD_TOPICS = (
    "orders.created",
    "订单/出库",
    "a" * TOPIC_MAX_CHARS,
    "a b",
    "a-b",
    "---",
    "🚀",
    "Ünïcode:*?",
    "dev/#",
    "",
)

KEYS = {"HASH": 0, "RANGE": 1}


def of_type(built: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Logical id to properties, of the resources of one type."""
    return {key: value["Properties"] for key, value in built["Resources"].items() if value["Type"] == kind}


def keys(table_or_index: dict[str, Any]) -> list[str]:
    return [key["AttributeName"] for key in sorted(table_or_index["KeySchema"], key=lambda key: KEYS[key["KeyType"]])]


def lane_properties(built: dict[str, Any], lane: Lane) -> dict[str, Any]:
    properties: dict[str, Any] = built["Resources"][lane_id(lane)]["Properties"]
    return properties


def test_tables_are_named_and_keyed_as_the_service_expects() -> None:
    tables = of_type(template(DEV, {}), "AWS::DynamoDB::Table")

    assert {table["TableName"]: keys(table) for table in tables.values()} == {
        DEV.jobs_table: ["job", "part"],
        DEV.directory_table: ["kind", "name"],
        DEV.insights_table: ["view", "key"],
    }


def test_every_table_is_paid_by_request_and_forgets_what_has_expired() -> None:
    for table in of_type(template(DEV, {}), "AWS::DynamoDB::Table").values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at_s", "Enabled": True}


def test_jobs_have_five_indexes_of_keys_only_and_a_stream_of_both_images() -> None:
    jobs = of_type(template(DEV, {}), "AWS::DynamoDB::Table")["JobsTable"]

    assert {index["IndexName"]: keys(index) for index in jobs["GlobalSecondaryIndexes"]} == {
        "by_state": ["state_key", "position"],
        "by_type": ["type_key", "position"],
        "by_trace": ["trace_key", "position"],
        "by_target": ["target_id", "position"],
        "due": ["wake_key", "wake_at_ms"],
    }
    assert {index["Projection"]["ProjectionType"] for index in jobs["GlobalSecondaryIndexes"]} == {"KEYS_ONLY"}
    assert jobs["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_declared_attributes_are_exactly_those_of_keys() -> None:
    for table in of_type(template(DEV, {}), "AWS::DynamoDB::Table").values():
        declared = {
            attribute["AttributeName"]: attribute["AttributeType"] for attribute in table["AttributeDefinitions"]
        }
        used = {key for part in (table, *table.get("GlobalSecondaryIndexes", ())) for key in keys(part)}
        assert set(declared) == used
        assert {name for name, kind in declared.items() if kind == "N"} <= {"job", "wake_at_ms"}


@pytest.mark.parametrize("kind", ["AWS::DynamoDB::Table", "AWS::S3::Bucket"])
def test_data_outlives_its_stack_except_on_one_machine(kind: str) -> None:
    def policies(settings: Settings) -> set[tuple[str, str]]:
        resources = template(settings, {})["Resources"].values()
        return {(each["DeletionPolicy"], each["UpdateReplacePolicy"]) for each in resources if each["Type"] == kind}

    assert policies(LOCAL) == {("Delete", "Delete")}
    assert policies(DEV) == {("RetainExceptOnCreate", "Retain")}


def test_what_cannot_be_made_again_is_backed_up_except_on_one_machine() -> None:
    def backed_up(settings: Settings) -> set[str]:
        tables = of_type(template(settings, {}), "AWS::DynamoDB::Table")
        return {key for key, table in tables.items() if "PointInTimeRecoverySpecification" in table}

    assert backed_up(LOCAL) == set()
    assert backed_up(DEV) == {"JobsTable", "DirectoryTable"}


def test_each_declared_band_is_a_queue_that_redrives_to_the_dead_letters() -> None:
    built = template(DEV, {"orders": (Band.CRITICAL, Band.LOW)})
    queues = of_type(built, "AWS::SQS::Queue")
    lanes = [
        Lane("orders", Band.CRITICAL),
        Lane("orders", Band.LOW),
        *(Lane("default", band) for band in DEFAULT_BANDS),
    ]

    assert set(queues) == {"DeadLetterQueue", "HooksQueue", "HooksDeadQueue", *map(lane_id, lanes)}
    for lane in lanes:
        properties = lane_properties(built, lane)
        assert properties["QueueName"] == sqs_name(DEV.base_name, lane)
        assert properties["RedrivePolicy"] == {
            "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
            "maxReceiveCount": 1_000,
        }
    assert queues["DeadLetterQueue"]["QueueName"] == DEV.dead_letter_queue
    assert "RedrivePolicy" not in queues["DeadLetterQueue"]


def test_every_queue_keeps_a_message_for_14_days_and_hides_it_as_long_as_a_worker_may_run() -> None:
    chosen = Settings(stage="dev", function_timeout_s=1_800)
    for name, queue in of_type(template(chosen, {"orders": DEFAULT_BANDS}), "AWS::SQS::Queue").items():
        assert queue["MessageRetentionPeriod"] == 1_209_600
        assert queue["VisibilityTimeout"] == (90 if name.startswith("Hooks") else 1_830)
        assert queue["MaximumMessageSize"] == 1_048_576
        assert queue["SqsManagedSseEnabled"] is True


def test_the_queue_of_hooks_is_fifo_and_read_only_where_hooks_are_on() -> None:
    queues = of_type(template(DEV, {}), "AWS::SQS::Queue")
    assert {name: queues["HooksQueue"][name] for name in ("QueueName", "FifoQueue", "RedrivePolicy")} == {
        "QueueName": "taskyard-dev-hooks.fifo",
        "FifoQueue": True,
        "RedrivePolicy": {
            "deadLetterTargetArn": {"Fn::GetAtt": ["HooksDeadQueue", "Arn"]},
            "maxReceiveCount": HOOKS_RECEIVE_COUNT,
        },
    }
    assert (queues["HooksDeadQueue"]["QueueName"], queues["HooksDeadQueue"]["FifoQueue"]) == (
        "taskyard-dev-hooks-dead.fifo",
        True,
    )
    outputs = {name: name for name in template(DEV, {})["Outputs"]}
    assert [
        "HooksFromQueue" in events_template(replace(DEV, hooks=hooks), {}, outputs)["Resources"]
        for hooks in ("on", "off", "auto")
    ] == [True, False, False]
    source = events_template(replace(DEV, hooks="on"), {}, outputs)["Resources"]["HooksFromQueue"]["Properties"]
    assert {**source, "FunctionName": None} == {
        "EventSourceArn": "HooksQueueArn",
        "FunctionName": None,
        "BatchSize": 1,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 20},
    }


def test_a_lane_waits_for_the_batches_of_its_handlers_and_others_for_nothing() -> None:
    consumed = {"mail": (Band.NORMAL,), "orders": (Band.NORMAL,)}
    outputs = {name: name for name in template(DEV, consumed)["Outputs"]}
    batches = {"mail": Batch(25, max_wait_s=5), "orders": Batch(5, max_wait_s=0)}
    resources = events_template(DEV, consumed, outputs, batches)["Resources"]
    assert {
        queue: (properties["BatchSize"], properties["MaximumBatchingWindowInSeconds"])
        for queue in ("mail", "orders", "default")
        for properties in [resources[f"WorkerFrom{lane_id(Lane(queue, Band.NORMAL))}"]["Properties"]]
    } == {"mail": (25, 5), "orders": (5, 0), "default": (10, 0)}


def test_a_batch_is_not_gathered_for_longer_than_its_messages_stay_hidden() -> None:
    chosen = replace(DEV, function_timeout_s=60)
    outputs = {name: name for name in template(chosen, {})["Outputs"]}
    with pytest.raises(InvalidInput, match="expected max_wait_s up to TASKYARD_FUNCTION_TIMEOUT_S, 60; got 61"):
        events_template(chosen, {}, outputs, {"default": Batch(25, max_wait_s=61)})


def test_the_time_of_hooks_is_that_of_the_configuration() -> None:
    assert function_config(config_of(), "dev", "hooks", "lambda_timeout") == HOOKS_TIMEOUT_S
    assert limits(DEV)["hooks"].timeout_s == HOOKS_TIMEOUT_S


def test_the_default_queue_keeps_its_bands_and_gains_those_declared_for_it() -> None:
    assert lanes_of({"default": (Band.CRITICAL,)}) == [
        Lane("default", band) for band in (Band.CRITICAL, Band.HIGH, Band.NORMAL, Band.LOW)
    ]


def test_the_bucket_is_private_and_drops_unfinished_uploads() -> None:
    bucket = of_type(template(DEV, {}), "AWS::S3::Bucket")["ObjectsBucket"]

    assert bucket["BucketName"] == {"Fn::Sub": "taskyard-dev-${AWS::AccountId}-${AWS::Region}"}
    for chosen, name in ((replace(DEV, bucket="our-own"), "our-own"), (LOCAL, "taskyard-local-objects")):
        assert of_type(template(chosen, {}), "AWS::S3::Bucket")["ObjectsBucket"]["BucketName"] == name
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert "BucketEncryption" in bucket
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert "AbortIncompleteMultipartUpload" in rule
    assert not {"Prefix", "ExpirationInDays"} & set(rule)


def test_outputs_name_every_table_queue_and_bucket() -> None:
    built = template(DEV, {"orders": (Band.NORMAL,)})
    lane = lane_id(Lane("orders", Band.NORMAL))

    assert built["Outputs"]["JobsTableName"] == {"Value": {"Ref": "JobsTable"}}
    assert built["Outputs"]["JobsStreamArn"] == {"Value": {"Fn::GetAtt": ["JobsTable", "StreamArn"]}}
    assert built["Outputs"][f"{lane}Url"] == {"Value": {"Ref": lane}}
    assert built["Outputs"][f"{lane}Arn"] == {"Value": {"Fn::GetAtt": [lane, "Arn"]}}
    named = {re.sub("(Name|Url|Arn)$", "", key) for key in built["Outputs"]} - {"JobsStream"}
    unnamed = ("AWS::Logs::", "AWS::CloudWatch::")
    assert named == {key for key, value in built["Resources"].items() if not value["Type"].startswith(unnamed)}


@given(st.sets(st.one_of(st.sampled_from(ODD_TOPICS), st.text(max_size=TOPIC_MAX_CHARS)), max_size=30))
def test_odd_topics_get_names_that_sqs_and_cloudformation_take(topics: set[str]) -> None:
    lanes = lanes_of(dict.fromkeys(topics, tuple(Band)))
    names = [sqs_name(LONGEST.base_name, lane) for lane in lanes]

    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and len(name) <= QUEUE_NAME_MAX_CHARS for name in names)
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,255}", lane_id(lane)) for lane in lanes)
    assert len(set(names)) == len({lane_id(lane) for lane in lanes}) == len(lanes)


def test_one_topic_more_leaves_the_other_logical_ids_as_they_are() -> None:
    few, more = (set(template(DEV, dict.fromkeys(topics, DEFAULT_BANDS))["Resources"]) for topics in ("bd", "abcd"))

    assert few < more


def test_too_many_queues_are_refused_with_the_limit() -> None:
    with pytest.raises(InvalidInput, match="at most 200 outputs"):
        template(DEV, {f"topic-{number}": tuple(Band) for number in range(20)})


@pytest.mark.parametrize("settings", [LOCAL, LONGEST], ids=["local", "longest names"])
def test_cfn_lint_finds_nothing(settings: Settings) -> None:
    assert lint(json.dumps(template(settings, dict.fromkeys(ODD_TOPICS[:3], tuple(Band))))) == []


def test_cfn_lint_would_find_a_wrong_value() -> None:
    wrong = template(LOCAL, {})
    wrong["Resources"]["DeadLetterQueue"]["Properties"]["MaximumMessageSize"] += 1

    assert [match.rule.id for match in lint(json.dumps(wrong))] == ["E3034"]


def test_the_command_prints_the_template_of_the_named_queues(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--queues", "orders:high,low", "mail"])

    queues = {"orders": (Band.HIGH, Band.LOW), "mail": DEFAULT_BANDS}
    assert json.loads(capsys.readouterr().out) == template(LOCAL, queues)


def test_the_command_names_the_bands_when_one_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--queues", "orders:urgent"])

    assert "'urgent' is not a valid Band; the bands are low, normal" in capsys.readouterr().err
