"""What the doctor finds at functions, roles, event sources, the clock's rule, the API, and what watches them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.awslambda.models import EventSourceMapping

from chalicelib import aws
from chalicelib.core.lanes import Band, Lane, sqs_name
from infra.doctor import installation
from infra.doctor.findings import Level
from infra.queues import lane_id
from tests.support.patient import (
    ACCOUNT,
    ARN,
    BASE,
    ORDERS_LANE,
    REGION,
    SETTINGS,
    Patient,
    make_function,
    rendered,
)
from tests.support.yards import environment

DEPLOY = "taskyard deploy --stage dev"
WORKER = f"{BASE}-worker"
PROJECTOR = f"{BASE}-projector"
CLOCK_RULE = f"{BASE}-clock"
ORDERS_SOURCE = f"WorkerFrom{lane_id(Lane('orders', Band.HIGH))}"
IN_REGION = "--region us-east-1"
LAG_ALARM = f"{BASE}-stream-lag"


# -- functions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected", "remedy"),
    [
        ({"Timeout": 30}, ("wrong", WORKER, "time-out in s", "30"), "--timeout 300"),
        ({"MemorySize": 128}, ("wrong", WORKER, "memory in MB", "128"), "--memory-size 512"),
    ],
)
def test_a_function_that_was_changed(
    patient: Patient, change: dict[str, Any], expected: tuple[str, ...], remedy: str
) -> None:
    aws.client("lambda").update_function_configuration(FunctionName=WORKER, **change)
    found = patient.problem()
    assert rendered(found) == expected
    assert found.remedy == f"aws lambda update-function-configuration --function-name {WORKER} {remedy} {IN_REGION}"


def test_a_function_with_the_role_of_another(patient: Patient) -> None:
    configuration = aws.client("lambda").get_function_configuration
    other = configuration(FunctionName=PROJECTOR)["Role"]
    own = configuration(FunctionName=WORKER)["Role"]
    aws.client("lambda").update_function_configuration(FunctionName=WORKER, Role=other)
    found = patient.problem()
    assert rendered(found) == ("wrong", WORKER, "role", other)
    assert f"--role {own}" in found.remedy


def test_a_function_of_another_python(patient: Patient) -> None:
    aws.client("lambda").update_function_configuration(FunctionName=WORKER, Runtime="python3.9")
    found = patient.problem()
    assert rendered(found) == ("warn", WORKER, "runtime", "python3.9")
    assert found.remedy == DEPLOY


def test_an_environment_is_told_by_names_only(patient: Patient) -> None:
    aws.client("lambda").update_function_configuration(
        FunctionName=WORKER,
        Environment={"Variables": {"TASKYARD_STAGE": "secret", "TASKYARD_LEASE_S": "secret", "MAIL_KEY": "secret"}},
    )
    environment, by_hand = patient.problems()
    assert rendered(environment) == ("wrong", WORKER, "environment", "differs in TASKYARD_BUCKET, TASKYARD_STAGE")
    assert rendered(by_hand) == ("warn", WORKER, "settings made by hand", "TASKYARD_LEASE_S")
    assert "secret" not in str(patient.report().findings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"State": "Pending", "StateReason": "is made"}, ("wrong", WORKER, "state", "Pending")),
        ({"LastUpdateStatus": "Failed"}, ("wrong", WORKER, "last update", "Failed")),
        ({"TracingConfig": {"Mode": "Active"}}, ("wrong", WORKER, "tracing", "Active")),
    ],
)
def test_a_function_that_is_told_otherwise(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], expected: tuple[str, ...]
) -> None:
    awslambda = aws.client("lambda")
    ask = awslambda.get_function_configuration
    monkeypatch.setattr(
        awslambda,
        "get_function_configuration",
        lambda FunctionName: {**ask(FunctionName=FunctionName), **(change if FunctionName == WORKER else {})},  # noqa: N803
    )
    assert rendered(patient.problem()) == expected


def test_an_idle_function_is_fine(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    awslambda = aws.client("lambda")
    ask = awslambda.get_function_configuration
    monkeypatch.setattr(
        awslambda,
        "get_function_configuration",
        lambda FunctionName: {**ask(FunctionName=FunctionName), "State": "Inactive"},  # noqa: N803
    )
    assert patient.problems() == []


def test_a_function_that_is_gone(patient: Patient) -> None:
    aws.client("lambda").delete_function(FunctionName=f"{BASE}-dead_letters")
    problems = {rendered(each): each.remedy for each in patient.problems()}
    assert problems[("wrong", f"{BASE}-dead_letters", "existence", "missing")] == DEPLOY


def test_a_function_that_may_not_run_as_often(patient: Patient) -> None:
    aws.client("lambda").put_function_concurrency(FunctionName=WORKER, ReservedConcurrentExecutions=1)
    found = patient.problem()
    assert rendered(found) == ("wrong", WORKER, "reserved concurrency", "1")
    assert found.remedy == f"aws lambda delete-function-concurrency --function-name {WORKER} {IN_REGION}"


def test_a_function_that_lacks_its_reserved_concurrency(patient: Patient) -> None:
    config = {**patient.checkout.config, "reserved_concurrency": 5}
    patient.checkout = installation.Checkout(
        settings=SETTINGS, config=config, consumed=patient.checkout.consumed, routes=patient.checkout.routes
    )
    problems = patient.problems()
    assert {(each.what, each.expected, each.found) for each in problems} == {("reserved concurrency", "5", "nothing")}
    assert "--reserved-concurrent-executions 5" in problems[0].remedy


def test_a_function_that_lambda_would_stop_as_a_loop(patient: Patient) -> None:
    patient.recursion[WORKER] = "Terminate"
    found = patient.problem()
    assert rendered(found) == ("wrong", WORKER, "recursive loop", "Terminate")
    assert found.remedy == (
        f"aws lambda put-function-recursion-config --function-name {WORKER} --recursive-loop Allow {IN_REGION}"
    )


# -- roles ----------------------------------------------------------------------------------------


def role_of(function: str) -> str:
    configuration = aws.client("lambda").get_function_configuration(FunctionName=function)
    return str(configuration["Role"].rpartition("/")[2])


def test_a_role_without_its_policy(patient: Patient) -> None:
    aws.client("iam").delete_role_policy(RoleName=role_of(WORKER), PolicyName="taskyard")
    found = patient.problem()
    assert rendered(found) == ("wrong", "WorkerRole", "policy taskyard", "missing")
    assert found.remedy.startswith(
        f"aws iam put-role-policy --role-name {role_of(WORKER)} --policy-name taskyard --policy-document "
    )
    assert f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{SETTINGS.jobs_table}" in found.remedy


def test_a_role_with_another_policy(patient: Patient) -> None:
    iam, where = aws.client("iam"), {"RoleName": role_of(WORKER), "PolicyName": "taskyard"}
    document = iam.get_role_policy(**where)["PolicyDocument"]
    jobs = next(statement for statement in document["Statement"] if statement["Sid"] == "Jobs")
    jobs["Action"].append("dynamodb:Scan")
    iam.put_role_policy(**where, PolicyDocument=json.dumps(document))
    assert rendered(patient.problem()) == ("wrong", "WorkerRole", "policy taskyard", "differs in Jobs")


def test_a_policy_in_another_order_is_the_same(patient: Patient) -> None:
    iam, where = aws.client("iam"), {"RoleName": role_of(WORKER), "PolicyName": "taskyard"}
    document = iam.get_role_policy(**where)["PolicyDocument"]
    document["Statement"].reverse()
    for statement in document["Statement"]:
        statement["Action"].reverse()
    iam.put_role_policy(**where, PolicyDocument=json.dumps(document))
    assert patient.problems() == []


def test_a_role_that_may_more(patient: Patient) -> None:
    iam, role = aws.client("iam"), role_of(WORKER)
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    )
    iam.put_role_policy(RoleName=role, PolicyName="more", PolicyDocument=document)
    arn = iam.create_policy(PolicyName="much-more", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    inline, attached = patient.problems()
    assert rendered(inline) == ("warn", "WorkerRole", "policy more", "attached")
    assert inline.remedy == f"aws iam delete-role-policy --role-name {role} --policy-name more {IN_REGION}"
    assert rendered(attached) == ("warn", "WorkerRole", "policy much-more", "attached")
    assert attached.remedy == f"aws iam detach-role-policy --role-name {role} --policy-arn {arn} {IN_REGION}"


def test_a_role_that_is_gone(patient: Patient) -> None:
    iam, role = aws.client("iam"), role_of(WORKER)
    iam.delete_role_policy(RoleName=role, PolicyName="taskyard")
    iam.delete_role(RoleName=role)
    found = patient.problem()
    assert rendered(found) == ("wrong", "WorkerRole", "existence", "missing")
    assert found.remedy == f"taskyard destroy --stage dev --release, then {DEPLOY}"


# -- event sources --------------------------------------------------------------------------------


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def mapping(source: str) -> str:
    """The id of the mapping from a source."""
    found = aws.client("lambda").list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"]
    return str(found[0]["UUID"])


def stream_mapping() -> str:
    found = aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return next(str(each["UUID"]) for each in found if "/stream/" in each["EventSourceArn"])


def test_a_mapping_that_is_disabled(patient: Patient) -> None:
    uuid = mapping(queue_arn(ORDERS_LANE))
    aws.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)
    found = patient.problem()
    assert rendered(found) == ("wrong", ORDERS_SOURCE, "state", "Disabled")
    assert found.remedy == f"aws lambda update-event-source-mapping --uuid {uuid} --enabled {IN_REGION}"


def test_a_mapping_that_is_being_enabled(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_of_stream_mapping(monkeypatch, State="Enabling")
    assert rendered(patient.problem()) == ("warn", "ProjectorFromStream", "state", "Enabling")


def test_a_mapping_that_is_gone(patient: Patient) -> None:
    aws.client("lambda").delete_event_source_mapping(UUID=mapping(queue_arn(ORDERS_LANE)))
    found = patient.problem()
    assert rendered(found) == ("wrong", ORDERS_SOURCE, "mapping", "none")
    command, document = found.remedy.removesuffix(f" {IN_REGION}").split(" --cli-input-json ")
    assert command == "aws lambda create-event-source-mapping"
    assert json.loads(document.strip("'")) == {
        "FunctionName": f"{ARN}{WORKER}",
        "EventSourceArn": queue_arn(ORDERS_LANE),
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 20},
        "MaximumBatchingWindowInSeconds": 0,
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"BatchSize": 1}, ("wrong", ORDERS_SOURCE, "BatchSize", "1")),
        ({"FunctionResponseTypes": []}, ("wrong", ORDERS_SOURCE, "FunctionResponseTypes", "[]")),
        (
            {"ScalingConfig": {"MaximumConcurrency": 2}},
            ("wrong", ORDERS_SOURCE, "ScalingConfig", '{"MaximumConcurrency": 2}'),
        ),
    ],
)
def test_a_mapping_that_was_changed(patient: Patient, change: dict[str, Any], expected: tuple[str, ...]) -> None:
    uuid = mapping(queue_arn(ORDERS_LANE))
    aws.client("lambda").update_event_source_mapping(UUID=uuid, **change)
    found = patient.problem()
    assert rendered(found) == expected
    assert found.remedy.startswith(f"aws lambda update-event-source-mapping --uuid {uuid} --cli-input-json ")


def test_a_limit_of_workers_that_nobody_asked_for(patient: Patient) -> None:
    uuid = mapping(queue_arn(f"{BASE}-dead-letters"))
    aws.client("lambda").update_event_source_mapping(UUID=uuid, ScalingConfig={"MaximumConcurrency": 2})
    found = patient.problem()
    assert rendered(found) == ("wrong", "DeadLettersFromQueue", "ScalingConfig", '{"MaximumConcurrency": 2}')
    assert "--cli-input-json '{\"ScalingConfig\":{}}'" in found.remedy


@pytest.mark.parametrize(
    ("name", "value"), [("TumblingWindowInSeconds", 0), ("ParallelizationFactor", 10), ("BatchSize", 1_000)]
)
def test_a_stream_mapping_that_was_changed(patient: Patient, name: str, value: int) -> None:
    aws.client("lambda").update_event_source_mapping(UUID=stream_mapping(), **{name: value})
    assert rendered(patient.problem()) == ("wrong", "ProjectorFromStream", name, str(value))


def tell_of_stream_mapping(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    configuration = EventSourceMapping.get_configuration

    def told_otherwise(self: EventSourceMapping) -> dict[str, Any]:
        of_stream = "/stream/" in self.event_source_arn
        return {**configuration(self), **(values if of_stream else {})}

    monkeypatch.setattr(EventSourceMapping, "get_configuration", told_otherwise)


def test_a_mapping_whose_last_batch_failed(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_of_stream_mapping(monkeypatch, LastProcessingResult="PROBLEM: Function call failed")
    found = patient.problem()
    assert rendered(found) == ("warn", "ProjectorFromStream", "last result", "PROBLEM: Function call failed")
    assert found.remedy == f"see why: aws logs tail /aws/lambda/{PROJECTOR} --since 1h {IN_REGION}"


def test_a_queue_with_two_consumers(patient: Patient) -> None:
    make_function("somebody", {"Role": f"arn:aws:iam::{ACCOUNT}:role/{role_of(WORKER)}"})
    made = aws.client("lambda").create_event_source_mapping(
        EventSourceArn=queue_arn(ORDERS_LANE), FunctionName="somebody"
    )
    found = patient.problem()
    assert rendered(found) == ("wrong", ORDERS_SOURCE, "consumers", "also somebody")
    assert found.remedy == f"aws lambda delete-event-source-mapping --uuid {made['UUID']} {IN_REGION}"


def test_an_undeclared_lane_that_feeds_the_worker(patient: Patient) -> None:
    lane = sqs_name(BASE, Lane("mail", Band.LOW))
    aws.client("sqs").create_queue(QueueName=lane)
    made = aws.client("lambda").create_event_source_mapping(EventSourceArn=queue_arn(lane), FunctionName=WORKER)
    found = patient.problem()
    assert rendered(found) == ("wrong", WORKER, "undeclared sources", f"fed from {lane}")
    assert found.remedy == f"aws lambda delete-event-source-mapping --uuid {made['UUID']} {IN_REGION}"


# -- the clock ------------------------------------------------------------------------------------


def test_a_clock_that_is_stopped(patient: Patient) -> None:
    aws.client("events").disable_rule(Name=CLOCK_RULE)
    found = patient.problem()
    assert rendered(found) == ("wrong", CLOCK_RULE, "state", "DISABLED")
    assert found.remedy == f"aws events enable-rule --name {CLOCK_RULE} {IN_REGION}"


def test_a_clock_that_is_slow(patient: Patient) -> None:
    aws.client("events").put_rule(Name=CLOCK_RULE, ScheduleExpression="rate(5 minutes)", State="ENABLED")
    found = patient.problem()
    assert rendered(found) == ("wrong", CLOCK_RULE, "schedule", "rate(5 minutes)")
    assert found.remedy == (
        f"aws events put-rule --name {CLOCK_RULE} --schedule-expression 'rate(1 minute)' --state ENABLED {IN_REGION}"
    )


def test_a_clock_that_calls_nobody(patient: Patient) -> None:
    aws.client("events").remove_targets(Rule=CLOCK_RULE, Ids=["clock"])
    found = patient.problem()
    assert rendered(found) == ("wrong", CLOCK_RULE, "target", "missing")
    target = f'[{{"Id":"clock","Arn":"{ARN}{BASE}-clock"}}]'
    assert found.remedy == f"aws events put-targets --rule {CLOCK_RULE} --targets '{target}' {IN_REGION}"


def test_a_clock_that_is_gone(patient: Patient) -> None:
    aws.client("events").remove_targets(Rule=CLOCK_RULE, Ids=["clock"])
    aws.client("events").delete_rule(Name=CLOCK_RULE)
    assert rendered(patient.problem()) == ("wrong", CLOCK_RULE, "existence", "missing")


def statement_ids(function: str) -> list[str]:
    policy = aws.client("lambda").get_policy(FunctionName=function)["Policy"]
    return [statement["Sid"] for statement in json.loads(policy)["Statement"]]


def test_a_clock_that_may_not_call(patient: Patient) -> None:
    [statement] = statement_ids(CLOCK_RULE)
    aws.client("lambda").remove_permission(FunctionName=CLOCK_RULE, StatementId=statement)
    found = patient.problem()
    assert rendered(found) == ("wrong", "ClockPermission", "leave to invoke", "missing")
    assert found.remedy == (
        f"aws lambda add-permission --function-name {ARN}{CLOCK_RULE} --statement-id ClockPermission "
        "--action lambda:InvokeFunction --principal events.amazonaws.com "
        f"--source-arn arn:aws:events:{REGION}:{ACCOUNT}:rule/{CLOCK_RULE} {IN_REGION}"
    )


# -- the API --------------------------------------------------------------------------------------


def api_id() -> str:
    return str(aws.client("apigateway").get_rest_apis()["items"][0]["id"])


def test_an_api_that_is_gone(patient: Patient) -> None:
    aws.client("apigateway").delete_rest_api(restApiId=api_id())
    found = patient.problem()
    assert rendered(found) == ("wrong", BASE, "existence", "missing")
    assert found.remedy == DEPLOY


def test_an_emulator_that_makes_no_api_gets_another_remedy(patient: Patient) -> None:
    aws.client("apigateway").delete_rest_api(restApiId=api_id())
    with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}):  # the clients are made: moto still answers
        assert patient.problem().remedy.endswith("this emulator makes routes with --way stack only")


def test_an_api_that_is_there_twice(patient: Patient) -> None:
    first = api_id()
    second = aws.client("apigateway").create_rest_api(name=BASE)["id"]
    found = patient.problem()
    assert rendered(found) == ("warn", BASE, "APIs of this name", f"{first} and {second}")
    assert f"aws apigateway delete-rest-api --rest-api-id {second}" in found.remedy


def test_an_api_that_lacks_a_route(patient: Patient) -> None:
    resources = aws.client("apigateway").get_resources(restApiId=api_id())["items"]
    jobs = next(resource["id"] for resource in resources if resource["path"] == "/jobs")
    aws.client("apigateway").delete_method(restApiId=api_id(), resourceId=jobs, httpMethod="POST")
    found = patient.problem()
    assert rendered(found) == ("wrong", BASE, "routes", "2; missing are POST /jobs")
    assert found.remedy == DEPLOY


def test_an_api_that_is_not_deployed(patient: Patient) -> None:
    aws.client("apigateway").delete_stage(restApiId=api_id(), stageName="api")
    assert rendered(patient.problem()) == ("wrong", BASE, "stage", "")


def test_an_api_that_may_not_call(patient: Patient) -> None:
    aws.client("lambda").remove_permission(FunctionName=BASE, StatementId="api")
    aws.client("lambda").add_permission(  # for another API
        FunctionName=BASE,
        StatementId="other",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:other/*",
    )
    found = patient.problem()
    assert rendered(found) == ("wrong", BASE, "leave to invoke", "missing")
    assert f"--source-arn 'arn:aws:execute-api:{REGION}:{ACCOUNT}:{api_id()}/*'" in found.remedy


# -- what watches ---------------------------------------------------------------------------------


def test_a_log_that_is_gone(patient: Patient) -> None:
    aws.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{WORKER}")
    found = patient.problem()
    assert rendered(found) == ("wrong", f"/aws/lambda/{WORKER}", "existence", "missing")
    assert found.remedy.startswith(f"aws logs create-log-group --log-group-name /aws/lambda/{WORKER} {IN_REGION}")


def test_a_log_that_is_kept_for_ever(patient: Patient) -> None:
    aws.client("logs").delete_retention_policy(logGroupName=f"/aws/lambda/{WORKER}")
    found = patient.problem()
    assert rendered(found) == ("wrong", f"/aws/lambda/{WORKER}", "retention in days", "kept for ever")
    assert found.remedy.endswith(f"--retention-in-days 30 {IN_REGION}")


def test_an_alarm_that_is_gone(patient: Patient) -> None:
    aws.client("cloudwatch").delete_alarms(AlarmNames=[LAG_ALARM])
    found = patient.problem()
    assert rendered(found) == ("wrong", LAG_ALARM, "existence", "missing")
    assert found.remedy.startswith("aws cloudwatch put-metric-alarm --cli-input-json ")
    assert f'"AlarmName":"{LAG_ALARM}"' in found.remedy


def test_an_alarm_that_tells_nobody(patient: Patient) -> None:
    aws.client("cloudwatch").disable_alarm_actions(AlarmNames=[LAG_ALARM])
    found = patient.problem()
    assert rendered(found) == ("warn", LAG_ALARM, "actions", "disabled")
    assert found.remedy == f"aws cloudwatch enable-alarm-actions --alarm-names {LAG_ALARM} {IN_REGION}"


def test_alarms_that_an_emulator_does_not_make_are_no_alarm(patient: Patient) -> None:
    aws.client("cloudwatch").delete_alarms(AlarmNames=[LAG_ALARM])
    with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}):  # the clients are made: moto still answers
        assert rendered(patient.problem())[:3] == ("unknown", LAG_ALARM, "existence")


def test_a_dashboard_that_is_gone(patient: Patient) -> None:
    aws.client("cloudwatch").delete_dashboards(DashboardNames=[BASE])
    found = patient.problem()
    assert (found.level, found.area, found.subject, found.found) == (Level.WRONG, "dashboards", BASE, "missing")
    assert found.remedy.startswith("the template holds its body")
