"""What the doctor finds at stacks, tables, bucket and queues; and what it says where it cannot see."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends

from chalicelib import aws, settings
from chalicelib.cli.doctor import doctor
from chalicelib.core.lanes import Band, Lane, sqs_name
from chalicelib.engine.handlers import registry
from chalicelib.engine.handlers.registry import Registry
from infra.deploy import stack
from infra.deploy.stages import config_of
from infra.doctor import api, installation, queues, sources, stacks
from infra.doctor.findings import Level
from infra.doctor.installation import Checkout
from infra.doctor.report import run_checks
from infra.template import template
from tests.support.patient import (
    ACCOUNT,
    BASE,
    ORDERS,
    ORDERS_LANE,
    REGION,
    ROUTES,
    SETTINGS,
    Patient,
)
from tests.support.yards import environment

BUCKET = f"{BASE}-{ACCOUNT}-{REGION}"
DEPLOY = "taskyard deploy --stage dev"


def url_of(name: str) -> str:
    return str(aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])


def refusing(code: str, message: str, operation: str) -> Any:
    def call(**_parameters: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    return call


def test_a_healthy_installation_has_no_problems(patient: Patient) -> None:
    report = patient.report(alive=True)
    assert report.problems == []
    assert report.healthy
    assert {finding.area for finding in report.findings} >= {
        *("stacks", "tables", "bucket", "queues", "functions", "roles", "event sources", "clock", "api", "logs", "live")
    }


def test_without_alive_nothing_is_asked_of_what_moves(patient: Patient) -> None:
    assert "live" not in {finding.area for finding in patient.report(alive=False).findings}


# -- stacks ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_clients")
def test_of_an_installation_that_is_not_there_only_the_stacks_are_told() -> None:
    with mock_aws():
        report = run_checks(Checkout(settings=SETTINGS, config=config_of(), consumed=ORDERS, routes=ROUTES))
    assert [(each.subject, each.found, each.remedy) for each in report.findings] == [
        (f"{BASE}-infra", "missing", DEPLOY),
        (f"{BASE}-events", "missing", DEPLOY),
    ]


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("UPDATE_ROLLBACK_COMPLETE", Level.WARN),
        ("UPDATE_IN_PROGRESS", Level.WARN),
        ("UPDATE_ROLLBACK_FAILED", Level.WRONG),
    ],
)
def test_a_stack_that_is_not_complete(patient: Patient, status: str, level: Level) -> None:
    cloudformation_backends[ACCOUNT][REGION].get_stack(f"{BASE}-infra").status = status
    found = patient.problem()
    assert (found.level, found.area, found.subject, found.found) == (level, "stacks", f"{BASE}-infra", status)


def test_a_stack_of_another_checkout(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = template(SETTINGS, ORDERS)
    newer["Resources"]["JobsTable"]["Metadata"] = {"Says": "what the deployed one does not"}
    monkeypatch.setattr(stacks, "template", lambda *_: newer)
    found = patient.problem()
    assert (found.level, found.found, found.remedy) == (Level.WARN, "differs in JobsTable", DEPLOY)


def test_a_resource_that_is_no_more_declared(patient: Patient) -> None:
    other = template(SETTINGS, ORDERS)
    other["Resources"]["Topic"] = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "old"}}
    stack.apply(SETTINGS, other)
    assert patient.problem().found == "differs in Topic"


def test_lanes_of_old_in_the_stack_are_no_difference(patient: Patient) -> None:
    stack.apply(SETTINGS, template(SETTINGS, {**ORDERS, "mail": (Band.LOW,)}))
    stack.apply(SETTINGS, template(SETTINGS, ORDERS))
    assert patient.problems() == []


def test_in_one_stack_there_may_be_more_than_infra_declares(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = template(SETTINGS, ORDERS)["Resources"]
    known = {key: each for key, each in declared.items() if each["Type"] != "AWS::CloudWatch::Alarm"}  # to moto
    more = {**known, "RestAPI": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "everything"}}}
    more["JobsTable"] = {**known["JobsTable"], "Metadata": {"Made": "by SAM"}}
    aws.client("cloudformation").delete_stack(StackName=f"{BASE}-infra")
    stack.apply(SETTINGS, {"Resources": more}, name=BASE)

    def seen() -> list[tuple[str, str, str]]:
        found = patient.report().findings
        return [(each.subject, each.what, each.level) for each in found if each.area in ("stacks", "api")][:3]

    state, existence = (BASE, "state", "ok"), (BASE, "existence", "ok")
    assert seen() == [state, (BASE, "template", "warn"), existence]  # it lacks functions and alarms
    assert f"{DEPLOY} --way stack" in {each.remedy for each in patient.problems()}
    monkeypatch.setattr(installation, "additions", lambda *_: {"Resources": known})
    assert seen() == [state, (BASE, "template", "ok"), existence]


def test_a_stack_that_was_destroyed_but_for_its_data_has_no_api(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.client("cloudformation").delete_stack(StackName=f"{BASE}-infra")
    stack.apply(SETTINGS, template(SETTINGS, ORDERS), name=BASE)
    gone = refusing("ValidationError", "Resource RestAPI does not exist for stack", "DescribeStackResource")
    monkeypatch.setattr(aws.client("cloudformation"), "describe_stack_resource", gone)
    found = next(each for each in patient.problems() if each.area == "api")
    assert (found.level, found.what, found.found) == (Level.WRONG, "existence", "missing")


# -- tables ---------------------------------------------------------------------------------------


def test_a_table_that_is_gone(patient: Patient) -> None:
    aws.client("dynamodb").delete_table(TableName=SETTINGS.insights_table)
    found = patient.problem()
    assert (found.level, found.subject, found.found) == (Level.WRONG, SETTINGS.insights_table, "missing")
    assert f"dynamodb list-backups --table-name {SETTINGS.insights_table}" in found.remedy
    assert found.remedy.endswith(
        "without one: taskyard destroy --stage dev --release, then taskyard deploy --stage dev"
    )


def test_a_table_with_other_keys(patient: Patient) -> None:
    dynamodb = aws.client("dynamodb")
    dynamodb.delete_table(TableName=SETTINGS.insights_table)
    dynamodb.create_table(
        TableName=SETTINGS.insights_table,
        AttributeDefinitions=[{"AttributeName": "view", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "view", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    found = {each.what: (each.expected, each.found) for each in patient.problems()}
    assert found == {
        "keys": ('["view (HASH)", "key (RANGE)"]', '["view (HASH)"]'),
        "key types": ('["key S", "view S"]', '["view N"]'),
        "expiry": ("on expires_at_s", "off"),
    }


def changed_jobs(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let DynamoDB describe the jobs table otherwise; an index is changed by its name."""
    dynamodb = aws.client("dynamodb")
    describe = dynamodb.describe_table

    def described(TableName: str) -> Any:  # noqa: N803  # AWS's own name
        answer = describe(TableName=TableName)
        if TableName == SETTINGS.jobs_table:
            for index in answer["Table"]["GlobalSecondaryIndexes"]:
                index.update(changes.get(index["IndexName"], {}))
            answer["Table"].update({name: value for name, value in changes.items() if name[0].isupper()})
        return answer

    monkeypatch.setattr(dynamodb, "describe_table", described)


def test_a_table_that_is_being_changed(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    changed_jobs(monkeypatch, TableStatus="UPDATING", by_state={"IndexStatus": "CREATING"})
    assert [(each.what, each.found) for each in patient.problems()] == [
        ("status", "UPDATING"),
        ("index by_state: status", "CREATING"),
    ]


def test_an_index_that_is_gone(patient: Patient) -> None:
    aws.client("dynamodb").update_table(
        TableName=SETTINGS.jobs_table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "due"}}]
    )
    problems = patient.problems()
    found = next(each for each in problems if each.what == "index due")
    assert (found.level, found.found) == (Level.WRONG, "missing")
    assert '"Create":{"IndexName":"due"' in found.remedy


def test_an_index_that_is_another(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {
        "KeySchema": [{"AttributeName": "wake_key", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    changed_jobs(monkeypatch, due=other)
    assert [(each.what, each.found) for each in patient.problems()] == [
        ("index due: keys", '["wake_key (HASH)"]'),
        ("index due: projection", "ALL"),
    ]


def test_a_table_with_provisioned_capacity(patient: Patient) -> None:
    aws.client("dynamodb").update_table(
        TableName=SETTINGS.insights_table,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    found = patient.problem()
    assert (found.what, found.found) == ("billing mode", "PROVISIONED")
    assert found.remedy == (
        f"aws dynamodb update-table --table-name {SETTINGS.insights_table} --billing-mode PAY_PER_REQUEST "
        "--region us-east-1"
    )


def test_a_stream_that_tells_too_little(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    changed_jobs(monkeypatch, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    found = patient.problem()
    assert (found.level, found.what, found.found) == (Level.WRONG, "stream view", "KEYS_ONLY")


def test_a_stream_that_was_switched_off_and_on_is_another(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    changed_jobs(monkeypatch, LatestStreamArn="arn:aws:dynamodb:us-east-1:1:table/jobs/stream/later")
    found = patient.problem()
    assert (found.level, found.what) == (Level.WRONG, "stream")
    assert "the stream was replaced" in found.remedy


def test_expiry_that_is_off(patient: Patient) -> None:
    aws.client("dynamodb").update_time_to_live(
        TableName=SETTINGS.directory_table,
        TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at_s"},
    )
    found = patient.problem()
    assert (found.subject, found.what, found.found) == (SETTINGS.directory_table, "expiry", "off")
    assert "Enabled=true,AttributeName=expires_at_s" in found.remedy


def test_recovery_that_is_off(patient: Patient) -> None:
    aws.client("dynamodb").update_continuous_backups(
        TableName=SETTINGS.jobs_table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
    )
    found = patient.problem()
    assert (found.level, found.what, found.found) == (Level.WRONG, "point-in-time recovery", "DISABLED")
    assert "PointInTimeRecoveryEnabled=true" in found.remedy


# -- the bucket -----------------------------------------------------------------------------------


def test_a_bucket_that_is_gone(patient: Patient) -> None:
    aws.client("s3").delete_bucket(Bucket=BUCKET)
    found = patient.problem()
    assert (found.level, found.area, found.subject, found.found) == (Level.WRONG, "bucket", BUCKET, "missing")
    assert found.remedy == f"aws s3api create-bucket --bucket {BUCKET} --region us-east-1, then look again"


def test_a_bucket_that_may_be_public(patient: Patient) -> None:
    aws.client("s3").delete_public_access_block(Bucket=BUCKET)
    found = patient.problem()
    assert (found.level, found.what, found.found) == (Level.WRONG, "public access", "nothing")
    assert found.remedy.startswith(f"aws s3api put-public-access-block --bucket {BUCKET} ")


def test_a_bucket_with_other_encryption(patient: Patient) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    aws.client("s3").put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    found = patient.problem()
    assert (found.what, found.expected, found.found) == ("encryption", '["AES256"]', '["aws:kms"]')
    assert '"SSEAlgorithm":"AES256"' in found.remedy


# -- queues ---------------------------------------------------------------------------------------


def test_a_queue_that_is_gone(patient: Patient) -> None:
    aws.client("sqs").delete_queue(QueueUrl=url_of(ORDERS_LANE))
    found = patient.problem()
    assert (found.level, found.area, found.subject, found.found) == (Level.WRONG, "queues", ORDERS_LANE, "missing")
    assert found.remedy.startswith(f"aws sqs create-queue --queue-name {ORDERS_LANE} ")
    assert '"VisibilityTimeout":"330"' in found.remedy


def test_a_queue_that_was_never_deployed(patient: Patient) -> None:
    checkout = replace(patient.checkout, consumed={**ORDERS, "bills": (Band.HIGH,)})
    problems = run_checks(checkout, alive=False).problems
    missing = {(found.area, found.remedy) for found in problems if found.found == "missing"}
    assert missing == {("queues", "taskyard deploy --stage dev")}


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("VisibilityTimeout", "330"),
        ("MessageRetentionPeriod", "1209600"),
        ("MaximumMessageSize", "1048576"),
    ],
)
def test_a_queue_with_another_attribute(patient: Patient, attribute: str, expected: str) -> None:
    url = url_of(ORDERS_LANE)
    aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={attribute: "2048"})
    found = patient.problem()
    assert (found.level, found.subject, found.what) == (Level.WRONG, ORDERS_LANE, attribute)
    assert (found.expected, found.found) == (expected, "2048")
    assert found.remedy == (
        f"""aws sqs set-queue-attributes --queue-url {url} --attributes '{{"{attribute}":"{expected}"}}' """
        "--region us-east-1"
    )


def test_a_queue_that_redrives_too_soon(patient: Patient) -> None:
    sqs, url = aws.client("sqs"), url_of(ORDERS_LANE)
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["RedrivePolicy"])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps({**policy, "maxReceiveCount": "3"})})
    found = patient.problem()
    assert (found.level, found.what) == (Level.WRONG, "RedrivePolicy")
    assert '"maxReceiveCount": 3' in found.found


def a_lane(topic: str, *, target: str | None) -> str:
    """The URL of a lane that nobody declares, with a message in it."""
    sqs = aws.client("sqs")
    policy = {"deadLetterTargetArn": target, "maxReceiveCount": 1_000}
    name = sqs_name(BASE, Lane(topic, Band.LOW))
    url = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)} if target else {})
    sqs.send_message(QueueUrl=url["QueueUrl"], MessageBody="{}")
    return name


def dead_letters_arn(base: str = BASE) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{base}-dead-letters"


def test_messages_in_a_lane_of_old(patient: Patient) -> None:
    name = a_lane("mail", target=dead_letters_arn())
    found = patient.problem()
    assert (found.level, found.subject, found.what) == (Level.WARN, name, "undeclared lane")
    assert found.found == "1 messages that nobody consumes"
    assert found.remedy == f"declare its handler again and {DEPLOY}, or poll its topic"
    aws.client("sqs").purge_queue(QueueUrl=url_of(name))
    assert patient.problems() == []


def test_messages_in_the_lane_of_a_polled_topic_are_none_of_its_business(patient: Patient) -> None:
    patient.directory.add_lane(Lane("mail", Band.LOW))
    a_lane("mail", target=dead_letters_arn())
    assert patient.problems() == []


def test_more_lanes_of_old_than_are_looked_at(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "UNDECLARED_LOOKED_AT_MAX", 1)
    for topic in ("mail", "sms"):
        aws.client("sqs").purge_queue(QueueUrl=url_of(a_lane(topic, target=dead_letters_arn())))
    found = patient.problem()
    assert (found.level, found.expected, found.found) == (Level.UNKNOWN, "at most 1", "2")


def test_messages_of_another_installation_are_none_of_its_business(patient: Patient) -> None:
    aws.client("sqs").create_queue(QueueName=f"{BASE}-2-dead-letters")
    a_lane("2.mail", target=dead_letters_arn(f"{BASE}-2"))
    assert patient.problems() == []


# -- what cannot be seen --------------------------------------------------------------------------


def test_a_missing_permission_names_the_action(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = "User: arn:aws:iam::1:user/a is not authorized to perform: dynamodb:DescribeTimeToLive on resource: x"
    denied = refusing("AccessDeniedException", rendered, "DescribeTimeToLive")
    monkeypatch.setattr(aws.client("dynamodb"), "describe_time_to_live", denied)
    report = patient.report()
    assert report.healthy
    assert {(each.level, each.found, each.remedy) for each in report.problems} == {
        (
            Level.UNKNOWN,
            "access denied",
            "allow the action dynamodb:DescribeTimeToLive to whoever runs this command",
        )
    }


def test_an_operation_that_is_not_there_is_told_with_its_message(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = refusing("InvalidAction", "no such operation", "GetBucketEncryption")
    monkeypatch.setattr(aws.client("s3"), "get_bucket_encryption", unknown)
    found = patient.problem()
    assert (found.level, found.what, found.found) == (
        Level.UNKNOWN,
        "GetBucketEncryption",
        "InvalidAction: no such operation",
    )


def test_an_answer_that_lacks_a_field_hides_nothing_else(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws.client("s3"), "get_bucket_encryption", lambda **_: {})
    aws.client("s3").delete_public_access_block(Bucket=BUCKET)
    assert [(each.level, each.found) for each in patient.problems()] == [
        (Level.WRONG, "nothing"),
        (Level.UNKNOWN, "KeyError: 'ServerSideEncryptionConfiguration'"),
    ]


def test_what_an_emulator_drops_is_no_alarm(patient: Patient) -> None:
    aws.client("s3").delete_public_access_block(Bucket=BUCKET)
    aws.client("dynamodb").update_continuous_backups(
        TableName=SETTINGS.jobs_table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
    )
    with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}):  # the clients are made: moto still answers
        problems = patient.problems()
    assert {(each.what, each.level) for each in problems} == {
        ("public access", Level.UNKNOWN),
        ("point-in-time recovery", Level.UNKNOWN),
    }


def test_remedies_name_the_endpoint(patient: Patient) -> None:
    aws.client("sqs").set_queue_attributes(QueueUrl=url_of(ORDERS_LANE), Attributes={"VisibilityTimeout": "1"})
    with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}):
        assert patient.problem().remedy.endswith("--region us-east-1 --endpoint-url http://127.0.0.1:4566")


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def _declared(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registry", lambda: Registry(queues=patient.checkout.consumed))
    monkeypatch.setattr(api, "application_routes", lambda: ROUTES)
    monkeypatch.setattr("chalicelib.cli.doctor.choose_deployed", lambda *_: None)
    monkeypatch.setattr(settings, "current", lambda: SETTINGS)


@pytest.mark.usefixtures("_declared", "patient")
def test_the_command_ends_well_when_nothing_is_wrong() -> None:
    result = CliRunner().invoke(doctor, ["--stage", "dev"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{BASE}: ")
    assert result.output.rstrip().endswith(" ok")


@pytest.mark.usefixtures("_declared", "patient")
def test_the_command_shows_what_is_wrong_and_its_remedy() -> None:
    aws.client("s3").delete_public_access_block(Bucket=BUCKET)
    result = CliRunner().invoke(doctor, ["--stage", "dev"])
    assert result.exit_code == 1
    heading, problem, remedy, counts = result.output.splitlines()
    assert heading == "bucket"
    assert problem.startswith(f"  wrong   {BUCKET}: public access: expected ")
    assert remedy.strip().startswith("aws s3api put-public-access-block")
    assert counts.startswith(f"{BASE}: 1 wrong, ")


@pytest.mark.usefixtures("_declared", "patient")
def test_the_command_shows_all_that_is_asked_for() -> None:
    result = CliRunner().invoke(doctor, ["--stage", "dev", "--all"])
    assert f"  ok      {ORDERS_LANE}: VisibilityTimeout: 330" in result.output.splitlines()


@pytest.mark.usefixtures("_declared", "patient")
def test_the_command_answers_programs() -> None:
    aws.client("s3").delete_public_access_block(Bucket=BUCKET)
    document = json.loads(CliRunner().invoke(doctor, ["--stage", "dev", "--json"]).output)
    assert (document["installation"], document["healthy"], document["counts"]["wrong"]) == (BASE, False, 1)
    assert [(each["area"], each["level"]) for each in document["findings"]] == [("bucket", "wrong")]


def test_the_command_refuses_a_stage_that_is_not_declared() -> None:
    result = CliRunner().invoke(doctor, ["--stage", "nowhere"])
    assert result.exit_code == 2
    assert "the stage nowhere is not declared" in result.output


def test_the_routes_are_those_of_the_application() -> None:
    assert {("GET", "/health"), ("POST", "/mq/message/publish")} <= api.application_routes()


@pytest.mark.parametrize(
    ("workers", "batch", "is_fair"), [(None, 1, True), (3, 10, True), (30, 1, True), (2, 10, False)]
)
def test_a_lane_with_too_few_messages_in_flight_for_a_fair_queue(
    workers: int | None, batch: int, is_fair: bool
) -> None:
    scaling = {} if workers is None else {"MaximumConcurrency": workers}
    found = sources.shares_out({"ScalingConfig": scaling, "BatchSize": batch})
    assert (found.level is Level.OK) is is_fair
    if not is_fair:
        assert (found.level, found.found) == (Level.WARN, "at most 20: 2 workers with 10 each")
