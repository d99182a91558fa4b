"""A healthy installation on moto, for the doctor to find what a test then breaks."""

from __future__ import annotations

import ast
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto import mock_aws

from chalicelib import aws
from chalicelib.clocks import wall_clock_ms
from chalicelib.core.access import AccessKey
from chalicelib.core.lanes import Band, Lane, sqs_name
from chalicelib.settings import Settings
from chalicelib.store.directory import Directory
from chalicelib.store.table import Table
from infra.deploy import stack
from infra.deploy.stages import config_of
from infra.doctor.findings import Finding
from infra.doctor.installation import Checkout
from infra.doctor.report import Report, run_checks
from infra.functions import SENDING, Function, function_name, functions_of
from infra.roles import role_id
from infra.template import events_template, template
from tests.support.yards import CREDENTIALS, environment, forget_clients

SETTINGS = Settings(stage="dev", prefix="taskyard", index_shards=1, lane_concurrency="high=20", watch="dashboard")
BASE = SETTINGS.base_name
ORDERS = {"orders": (Band.HIGH,)}
ORDERS_LANE = sqs_name(BASE, Lane("orders", Band.HIGH))
ROUTES = frozenset({("GET", "/health"), ("POST", "/jobs"), ("OPTIONS", "/jobs")})
REGION = "us-east-1"
ACCOUNT = "123456789012"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
API_URI = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{ARN}{BASE}/invocations"


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("app.py", "")
    return content.getvalue()


ARCHIVE = archive()
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # what Chalice would choose here


@dataclass
class Patient:
    """An installation on moto, and the recursion settings of its functions, which moto does not know."""

    checkout: Checkout
    now_ms: int = field(default_factory=wall_clock_ms)
    recursion: dict[str, str] = field(default_factory=dict)

    def report(self, *, alive: bool = False) -> Report:
        return run_checks(self.checkout, alive=alive, now_ms=lambda: self.now_ms)

    def problems(self, *, alive: bool = False) -> list[Finding]:
        return self.report(alive=alive).problems

    def problem(self, *, alive: bool = False) -> Finding:
        """The one thing that is not as it should be."""
        problems = self.problems(alive=alive)
        assert len(problems) == 1, problems
        return problems[0]

    @property
    def directory(self) -> Directory:
        return Directory(Table(aws.client("dynamodb"), SETTINGS.directory_table, ("kind", "name")))


@contextmanager
def shared_clients() -> Iterator[None]:
    """Clients for a module of tests: moto answers them, and forgets after each installation what they did."""
    with environment({**CREDENTIALS, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}):
        forget_clients()
        yield
    forget_clients()


@contextmanager
def healthy() -> Iterator[Patient]:
    """A healthy installation, deployed as `taskyard deploy` does it by Chalice."""
    with mock_aws():
        made = Patient(Checkout(settings=SETTINGS, config=config_of(), consumed=ORDERS, routes=ROUTES))
        _deploy(made)
        yield made


def _deploy(patient: Patient) -> None:
    outputs = stack.apply(SETTINGS, template(SETTINGS, ORDERS)).outputs
    _mend_what_moto_drops(outputs)
    for function in functions_of(SETTINGS):
        _make_function(function, outputs)
    _stub_recursion(patient)
    _make_api()
    stack.apply(SETTINGS, events_template(SETTINGS, ORDERS, outputs), name=f"{BASE}-events")
    patient.directory.note_tick(patient.now_ms)
    patient.directory.put_access_key(
        AccessKey(name="ops", scopes=frozenset("*"), digest="d" * 64, created_at_ms=patient.now_ms)
    )


def _mend_what_moto_drops(outputs: Any) -> None:
    """Backups, the block of public access and alarms; a policy's document it keeps as Python writes it, not as JSON,
    and with the ARN of a log group that lacks its end.
    """
    for table in (SETTINGS.jobs_table, SETTINGS.directory_table):
        aws.client("dynamodb").update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    block = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    aws.client("s3").put_public_access_block(
        Bucket=outputs["ObjectsBucketName"], PublicAccessBlockConfiguration=dict.fromkeys(block, True)
    )
    for resource in template(SETTINGS, ORDERS)["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            aws.client("cloudwatch").put_metric_alarm(**resource["Properties"])
    iam = aws.client("iam")
    for role in (described["RoleName"] for described in iam.list_roles()["Roles"]):
        where = {"RoleName": role, "PolicyName": "taskyard"}
        document = ast.literal_eval(iam.get_role_policy(**where)["PolicyDocument"])
        logs = document["Statement"][-1]
        logs["Resource"] = [f"{arn.removesuffix(':*')}:*" for arn in logs["Resource"]]
        iam.put_role_policy(**where, PolicyDocument=json.dumps(document))


def _make_function(function: Function, outputs: Any) -> None:
    timeouts_s = {Function.API: 29, Function.WORKER: 300}
    make_function(
        function_name(SETTINGS, function),
        {
            "Role": outputs[f"{role_id(function)}Arn"],
            "Timeout": timeouts_s.get(function, 60),
            "MemorySize": 256 if function in (Function.CLOCK, Function.DEAD_LETTERS) else 512,
            "Environment": {"Variables": {"TASKYARD_STAGE": "dev", "TASKYARD_BUCKET": outputs["ObjectsBucketName"]}},
        },
    )


def make_function(name: str, configuration: Any) -> None:
    """A function that does nothing."""
    aws.client("lambda").create_function(
        FunctionName=name, Runtime=PYTHON, Handler="app.app", Code={"ZipFile": ARCHIVE}, **configuration
    )


def _stub_recursion(patient: Patient) -> None:
    patient.recursion.update({function_name(SETTINGS, function): "Allow" for function in SENDING})
    aws.client("lambda").get_function_recursion_config = lambda FunctionName: {  # noqa: N803  # AWS's own name
        "RecursiveLoop": patient.recursion[FunctionName]
    }


def _make_api() -> None:
    apigateway = aws.client("apigateway")
    api_id = apigateway.create_rest_api(name=BASE)["id"]
    root = apigateway.get_resources(restApiId=api_id)["items"][0]["id"]
    resources = {}
    for method, path in sorted(ROUTES):
        if path not in resources:
            resources[path] = apigateway.create_resource(restApiId=api_id, parentId=root, pathPart=path[1:])["id"]
        where = {"restApiId": api_id, "resourceId": resources[path], "httpMethod": method}
        apigateway.put_method(**where, authorizationType="NONE")
        apigateway.put_integration(**where, type="AWS_PROXY", integrationHttpMethod="POST", uri=API_URI)
    apigateway.create_deployment(restApiId=api_id, stageName="api")
    aws.client("lambda").add_permission(
        FunctionName=BASE,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api_id}/*",
    )


def rendered(finding: Finding) -> tuple[str, str, str, str]:
    """A finding, short of its remedy."""
    return finding.level, finding.subject, finding.what, finding.found
