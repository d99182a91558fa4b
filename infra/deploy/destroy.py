"""`taskyard destroy`: what costs something while nothing happens goes; the data goes only when asked to.

Without its data, an installation is its tables, queues and objects, in a stack that the next deployment goes on
from. Deleting those, too, is final, except for the tables' backups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.settings import Settings
from infra.deploy import Say, one_stack, stack
from infra.deploy.account import Account
from infra.deploy.by_chalice import delete_functions
from infra.deploy.code import CodeBucket, code_stack_name
from infra.deploy.deploy import Way, given_by, way_deployed
from infra.template import Queues, template

QUEUES_PER_CALL = 1_000
DELETED_PER_CALL = 1_000  # objects; the limit of S3's DeleteObjects


class Data(StrEnum):
    """What becomes of tables, queues and objects."""

    KEPT = "kept"  # in the stack that the next deployment goes on from
    RELEASED = "released"  # without a stack; the next deployment, by either way, takes it over
    DELETED = "deleted"


def destroy(project: Path, settings: Settings, consumed: Queues, data: Data, say: Say) -> None:
    """Take the installation of ``settings`` away, and with ``data`` DELETED all that it keeps. May be repeated.

    ``consumed`` are the declared queues. Raises ``StackFailed``, ``ChaliceFailed``, and what botocore raises.
    """
    kept: str | None = None
    match way_deployed(settings):
        case Way.CHALICE:
            _without_functions(project, settings, say)
            kept = stack.stack_name(settings)
        case Way.STACK:
            kept = one_stack.stack_name(settings)
            if data is Data.KEPT:
                upload = CodeBucket.prepared(settings).put_template
                stack.apply(settings, template(settings, consumed), name=kept, upload=upload)
                say(f"stack {kept}: only what holds data is left")
        case None:
            say(f"{settings.base_name} is not deployed")
    retained = list(_retained(kept)) if kept and data is Data.DELETED else []
    if kept and data is not Data.KEPT and stack.remove(kept):
        say(f"stack {kept}: deleted")
    if data is Data.DELETED:
        _without_data(settings, retained, say)


def _without_functions(project: Path, settings: Settings, say: Say) -> None:
    events = stack.events_stack_name(settings)
    if stack.remove(events):
        say(f"stack {events}: deleted")
    given = given_by(stack.outputs(stack.stack_name(settings)))
    if delete_functions(project, settings, given, CodeBucket.prepared(settings), Account.current(settings)):
        say("functions and API: deleted")


def _without_data(settings: Settings, retained: Iterable[tuple[str, str]], say: Say) -> None:
    """Delete what the stack retained, the lanes made on first use, and the code bucket."""
    for kind, name in retained:
        if DELETE[kind](name):
            say(f"{_name(name)}: deleted")
    for url in _queues(settings):
        _delete_queue(url)
        say(f"{_name(url)}: deleted")
    code = code_stack_name(settings)
    if stack.find(code) is not None:
        _empty_bucket(stack.outputs(code)["CodeBucketName"])
        stack.remove(code)
        say(f"stack {code}: deleted")


def _retained(name: str) -> Iterator[tuple[str, str]]:
    """Type and name of the resources that a stack leaves behind when it is deleted."""
    pages = aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    for page in pages:
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] in DELETE:
                yield resource["ResourceType"], resource["PhysicalResourceId"]


def _queues(settings: Settings) -> list[str]:
    """The URLs of the lanes, those made on first use included, by where their dead letters go; and of that queue."""
    # Without a page size, SQS stops after 1,000 without saying so.
    pages = (
        aws.client("sqs")
        .get_paginator("list_queues")
        .paginate(QueueNamePrefix=f"{settings.base_name}-", PaginationConfig={"PageSize": QUEUES_PER_CALL})
    )
    urls = [url for page in pages for url in page.get("QueueUrls", ())]
    return [url for url in urls if settings.dead_letter_queue in (_name(url), _dead_letter_queue_of(url))]


def _name(url_or_arn: str) -> str:
    return url_or_arn.replace("/", ":").rsplit(":", 1)[-1]


def _dead_letter_queue_of(url: str) -> str | None:
    answer = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = answer.get("Attributes", {}).get("RedrivePolicy")
    return _name(json.loads(policy)["deadLetterTargetArn"]) if policy else None


def _delete_table(name: str) -> bool:
    dynamodb = aws.client("dynamodb")
    try:
        dynamodb.delete_table(TableName=name)
    except dynamodb.exceptions.ResourceNotFoundException:
        return False
    dynamodb.get_waiter("table_not_exists").wait(TableName=name)
    return True


def _delete_bucket(name: str) -> bool:
    try:
        _empty_bucket(name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return False
    aws.client("s3").delete_bucket(Bucket=name)
    return True


def _delete_queue(url: str) -> bool:
    sqs = aws.client("sqs")
    try:
        sqs.delete_queue(QueueUrl=url)
    except sqs.exceptions.QueueDoesNotExist:
        return False
    return True


def _empty_bucket(name: str) -> None:
    s3 = aws.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=name, PaginationConfig={"PageSize": DELETED_PER_CALL}
    ):
        objects = [{"Key": entry["Key"]} for entry in page.get("Contents", ())]
        if objects:
            s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})


DELETE: Mapping[str, Callable[[str], Any]] = {
    "AWS::DynamoDB::Table": _delete_table,
    "AWS::S3::Bucket": _delete_bucket,
    "AWS::SQS::Queue": _delete_queue,
}
