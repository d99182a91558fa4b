"""Applying the template of ``infra`` to AWS, or to an emulator: create or update the stack, then wait for it.

The endpoint is that of ``chalicelib.aws``. What an emulator's CloudFormation leaves out of a table (the expiry of
items) is set by API afterwards, read from the same template; on AWS there is then nothing left to set.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.core.errors import InvalidInput, TaskyardError, Unavailable
from chalicelib.settings import Settings

DEADLINE_S = 900.0
POLL_FIRST_S = 0.05
POLL_LONGEST_S = 5.0
QUEUE_TYPE = "AWS::SQS::Queue"
HOLDS_RESOURCES = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
# Of a template sent with the call itself: AWS CloudFormation User Guide, "Understand CloudFormation quotas".
TEMPLATE_BODY_MAX_BYTES = 51_200

# Roles with policies of their own; the transform of Chalice's template.
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

Template = Mapping[str, Any]
Upload = Callable[[str], str]  # takes a template's text, answers the URL that CloudFormation reads it from
Described = Mapping[str, Any]  # what a describe call answers for one resource


class StackFailed(TaskyardError):
    """CloudFormation refused the template, or undid it."""


class Change(StrEnum):
    """What applying a template did to its stack."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class StackReport:
    """How an ``apply`` ended."""

    name: str
    change: Change
    completed: tuple[str, ...]  # the tables whose expiry had to be set by API, as emulators need it
    outputs: Mapping[str, str]


def stack_name(settings: Settings) -> str:
    """The name of the stack that holds the tables, queues and bucket of an installation."""
    return f"{settings.base_name}-infra"


def events_stack_name(settings: Settings) -> str:
    """The name of the stack that holds event sources and the clock's rule, behind `chalice deploy`."""
    return f"{settings.base_name}-events"


def apply(
    settings: Settings,
    template: Template,
    *,
    name: str | None = None,
    upload: Upload | None = None,
    deadline_s: float = DEADLINE_S,
) -> StackReport:
    """Make AWS agree with ``template`` and wait until it does; a second time changes nothing.

    ``name`` is by default that of the stack of tables, queues and bucket. Queues that the stack has and ``template``
    has not stay in it: the messages in them are accepted jobs. A template that is too large for the call goes through
    ``upload``. A first try that fails leaves no stack behind. Raises ``StackFailed`` with the failing resource and
    AWS's reason, ``InvalidInput`` when the template is too large to send, ``Unavailable`` when ``deadline_s`` seconds
    pass.
    """
    cloudformation = aws.client("cloudformation")
    name = name or stack_name(settings)
    deadline = time.monotonic() + deadline_s
    before = deployed(name)
    template = _with_queues_of_old(before, template)
    try:
        if before == template:
            change, stack_id = Change.UNCHANGED, name
        elif (created := _created(cloudformation, name, sent(template, upload))) is not None:
            change, stack_id = Change.CREATED, created
        else:
            settled(name, deadline)  # another may have begun to make it just now
            template = _with_queues_of_old(deployed(name), template)
            change, stack_id = _updated(cloudformation, name, sent(template, upload))
    except ClientError as error:
        raise StackFailed(f"stack {name}: {error.response['Error']['Message']}") from error
    stack = settled(stack_id, deadline)
    # A stack that needs no change may still show how an earlier one ended.
    if change is not Change.UNCHANGED and stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise _failure(cloudformation, stack)
    return StackReport(name, change, tuple(_set_missing_expiry(template)), _outputs_of(stack))


def remove(name: str, *, deadline_s: float = DEADLINE_S) -> bool:
    """Delete a stack and wait until it is gone; returns whether there was one. What it retains stays.

    Raises ``StackFailed`` with the failing resource and AWS's reason, ``Unavailable`` when ``deadline_s`` pass.
    """
    cloudformation = aws.client("cloudformation")
    if (found := find(name)) is None:
        return False
    cloudformation.delete_stack(StackName=name)
    stack = settled(found["StackId"], time.monotonic() + deadline_s)
    if stack["StackStatus"] != "DELETE_COMPLETE":
        raise _failure(cloudformation, stack)
    return True


def find(name: str) -> Described | None:
    """A stack as CloudFormation describes it, or None when there is none of that name."""
    try:
        return _described(aws.client("cloudformation"), name)
    except ClientError as error:
        # CloudFormation has no code of its own for this one.
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        return None


def outputs(stack_name: str) -> dict[str, str]:
    """The outputs of a stack by their keys; raises botocore's ``ClientError`` when there is no such stack."""
    return _outputs_of(_described(aws.client("cloudformation"), stack_name))


def deployed(name: str) -> Template | None:
    """The template that a stack was last given, if it was carried out."""
    cloudformation = aws.client("cloudformation")
    stack = find(name)
    if stack is None or stack["StackStatus"] not in HOLDS_RESOURCES:
        return None
    body = cloudformation.get_template(StackName=name)["TemplateBody"]
    template: Template = json.loads(body) if isinstance(body, str) else body
    return template


def _with_queues_of_old(before: Template | None, template: Template) -> Template:
    """``template`` and the queues that are in the stack only, as they are defined there."""
    resources = before["Resources"] if before else {}
    declared = template["Resources"]
    kept = {key: found for key, found in resources.items() if found["Type"] == QUEUE_TYPE and key not in declared}
    return {**template, "Resources": {**declared, **kept}} if kept else template


def sent(template: Template, upload: Upload | None) -> dict[str, str]:
    """The parameters that hand over a template: itself, or where it was uploaded to. Raises ``InvalidInput``."""
    body = json.dumps(template, separators=(",", ":"))
    if len(body.encode()) <= TEMPLATE_BODY_MAX_BYTES:
        return {"TemplateBody": body}
    if upload is not None:
        return {"TemplateURL": upload(body)}
    raise InvalidInput(
        "the template is too large to be sent with the call",
        field="queues",
        expected=f"at most {TEMPLATE_BODY_MAX_BYTES} bytes",
        got=len(body.encode()),
        remedy="declare fewer queues, or deploy what `python -m infra.template` prints through a bucket "
        "(`aws cloudformation deploy --s3-bucket`)",
    )


def _created(cloudformation: Any, name: str, sent: Mapping[str, str]) -> str | None:
    """Ask for a new stack; returns its id, or None where there is one of that name."""
    try:
        created = cloudformation.create_stack(StackName=name, **sent, Capabilities=CAPABILITIES, OnFailure="DELETE")
    except cloudformation.exceptions.AlreadyExistsException:
        return None
    stack_id: str = created["StackId"]
    return stack_id


def _updated(cloudformation: Any, name: str, sent: Mapping[str, str]) -> tuple[Change, str]:
    """Ask for the stack as it shall be; returns what was asked for and the stack's id."""
    try:
        return Change.UPDATED, cloudformation.update_stack(StackName=name, **sent, Capabilities=CAPABILITIES)["StackId"]
    except ClientError as error:
        # CloudFormation has no code of its own for this one, and calls it an error.
        if "No updates are to be performed" not in error.response["Error"]["Message"]:
            raise
        return Change.UNCHANGED, name


def settled(stack_id: str, deadline: float) -> Described:
    """The stack once nothing is under way on it. Raises ``Unavailable`` at ``deadline``, a monotonic time."""
    cloudformation = aws.client("cloudformation")
    pause_s = POLL_FIRST_S
    while (stack := _described(cloudformation, stack_id))["StackStatus"].endswith("_IN_PROGRESS"):
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"stack {stack['StackName']} is still {stack['StackStatus']}",
                remedy="watch its events, and repeat the command once it has settled",
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, POLL_LONGEST_S)
    return stack


def _described(cloudformation: Any, stack: str) -> Described:
    described: Described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return described


def _outputs_of(stack: Described) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


def _failure(cloudformation: Any, stack: Described) -> StackFailed:
    """The error that names the resource which failed first; the failures after it follow from it."""
    failed = [
        event
        for event in _events_of_last_operation(cloudformation, stack)
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    message = f"stack {stack['StackName']} ended as {stack['StackStatus']}"
    if not failed:
        return StackFailed(message)
    first = failed[-1]
    reason = first.get("ResourceStatusReason", "no reason given")
    return StackFailed(f"{message}: {first['LogicalResourceId']} ({first['ResourceType']}): {reason}")


def _events_of_last_operation(cloudformation: Any, stack: Described) -> Iterator[Described]:
    """The newest event first, back to the one that began the operation."""
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack["StackId"]):
        for event in page["StackEvents"]:
            yield event
            began = event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")
            if began and event.get("PhysicalResourceId") == stack["StackId"]:
                return


def _set_missing_expiry(template: Template) -> Iterator[str]:
    """Set the expiry of each table that has none of those the template asks for; returns their names."""
    dynamodb = aws.client("dynamodb")
    for table, wanted in _expiries(template):
        set_already = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        if set_already["TimeToLiveStatus"] in ("ENABLED", "ENABLING"):
            continue
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)
        yield table


def _expiries(template: Template) -> Iterator[tuple[str, Described]]:
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::DynamoDB::Table" and "TimeToLiveSpecification" in properties:
            yield properties["TableName"], properties["TimeToLiveSpecification"]
