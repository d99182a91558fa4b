"""Taking over data that outlived its stack: tables, queues and the bucket, imported into a new one.

It is there when somebody deleted the stack, when the installation is to be deployed the other way, when tables were
restored from a backup; and a topic that was only polled has lanes already when code first subscribes to it.
CloudFormation takes what is imported to be as the template says, so what a restore has left out must be there before:
docs/operations.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from infra.deploy import stack
from infra.deploy.account import Account
from infra.deploy.intrinsics import resolved
from infra.fragment import Fragment
from infra.queues import DEAD_LETTER_QUEUE

CHANGE_SET = "adopt"
POLL_S = 0.5
DEADLINE_S = 300.0
MISSING = (404, 400)  # what asking for a missing bucket, table or queue answers


def adopt(template: Fragment, name: str, account: Account, upload: stack.Upload | None) -> list[str]:
    """Import into the stack ``name`` what exists of the data in ``template`` and is not in the stack, made if need be.

    Returns the names of what was taken over. Raises ``StackFailed`` when CloudFormation refuses.
    """
    deployed = stack.deployed(name)
    if deployed is None and stack.find(name) is not None:
        return []  # it is under way, or failed: deploying tells
    present = deployed["Resources"] if deployed else {}
    found = _existing({key: value for key, value in template["Resources"].items() if key not in present}, account)
    if not found:
        return []
    _import(name, _with_imported(template, deployed, found), template, found, upload)
    return sorted(identifier.rsplit("/", 1)[-1] for identifier in found.values())


def _existing(resources: Mapping[str, Fragment], account: Account) -> dict[str, str]:
    """The resources that are there and can be imported: logical id to what identifies them."""
    found = {}
    for logical_id, resource in resources.items():
        look = CHECKS.get(resource["Type"])
        if look is None:
            continue
        _, identified = look
        try:
            found[logical_id] = identified(resource["Properties"], account)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in MISSING:
                raise
    return found


def _table(properties: Mapping[str, Any], _account: Account) -> str:
    described = aws.client("dynamodb").describe_table(TableName=properties["TableName"])
    return str(described["Table"]["TableName"])


def _queue(properties: Mapping[str, Any], _account: Account) -> str:
    return str(aws.client("sqs").get_queue_url(QueueName=properties["QueueName"])["QueueUrl"])


def _bucket(properties: Mapping[str, Any], account: Account) -> str:
    name = str(resolved(properties["BucketName"], account.place))
    aws.client("s3").head_bucket(Bucket=name)
    return name


# By type: what identifies such a resource, and how it is found (AWS CloudFormation User Guide, "Resource import").
CHECKS = {
    "AWS::DynamoDB::Table": ("TableName", _table),
    "AWS::SQS::Queue": ("QueueUrl", _queue),
    "AWS::S3::Bucket": ("BucketName", _bucket),
}


def _with_imported(template: Fragment, deployed: stack.Template | None, found: Mapping[str, str]) -> Fragment:
    """What is deployed, and what is imported: an import may neither make or change anything else nor add outputs."""
    resources = {key: value for key, value in template["Resources"].items() if key in found}
    whole = dict(deployed) if deployed else {"AWSTemplateFormatVersion": template["AWSTemplateFormatVersion"]}
    present = whole.get("Resources", {})
    if DEAD_LETTER_QUEUE not in {**present, **found}:  # the lanes cannot refer to it before the deployment has made it
        resources = {key: _without_redrive(value) for key, value in resources.items()}
    return {**whole, "Resources": {**present, **resources}}


def _without_redrive(resource: Fragment) -> Fragment:
    properties = {key: value for key, value in resource["Properties"].items() if key != "RedrivePolicy"}
    return {**resource, "Properties": properties}


def _import(
    name: str, body: Fragment, template: Fragment, found: Mapping[str, str], upload: stack.Upload | None
) -> None:
    cloudformation = aws.client("cloudformation")
    resources = [
        {
            "ResourceType": (kind := template["Resources"][logical_id]["Type"]),
            "LogicalResourceId": logical_id,
            "ResourceIdentifier": {CHECKS[kind][0]: identifier},
        }
        for logical_id, identifier in found.items()
    ]
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=CHANGE_SET,
        ChangeSetType="IMPORT",
        ResourcesToImport=resources,
        Capabilities=stack.CAPABILITIES,
        **stack.sent(body, upload),
    )
    deadline = time.monotonic() + DEADLINE_S
    _await_change_set(cloudformation, name, deadline)
    cloudformation.execute_change_set(StackName=name, ChangeSetName=CHANGE_SET)
    ended = stack.settled(name, deadline)
    if ended["StackStatus"] != "IMPORT_COMPLETE":
        raise stack.StackFailed(f"stack {name} ended as {ended['StackStatus']} instead of taking over what is there")


def _await_change_set(cloudformation: Any, name: str, deadline: float) -> None:
    while True:
        described = cloudformation.describe_change_set(StackName=name, ChangeSetName=CHANGE_SET)
        if described["Status"] == "CREATE_COMPLETE":
            return
        if described["Status"] == "FAILED" or time.monotonic() > deadline:
            cloudformation.delete_change_set(StackName=name, ChangeSetName=CHANGE_SET)
            if (found := stack.find(name)) is not None and found["StackStatus"] == "REVIEW_IN_PROGRESS":
                cloudformation.delete_stack(StackName=name)  # it is empty: nothing but the change set stood in it
            raise stack.StackFailed(
                f"stack {name} cannot take over what is there: {described.get('StatusReason', described['Status'])}"
            )
        time.sleep(POLL_S)
