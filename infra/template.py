"""The one definition of every AWS resource of an installation, as a CloudFormation template.

``python -m infra.template`` prints it as JSON, ready for ``cfn-lint`` or ``aws cloudformation deploy``;
``chalicelib.local.stack`` applies the same dict. Concrete names come from ``Settings`` and ``core.lanes``, the
names the running service uses; logical ids follow from what they stand for, so they survive a changed order.

Tables and bucket outlive their stack, except in stage local. Names are fixed, so a change that AWS can only make
by replacing a resource fails instead of losing data.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib import settings as service_settings
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import DEFAULT_BANDS, Band, Lane, soonest_first, sqs_name
from chalicelib.engine.handlers import DEFAULT_POOL
from chalicelib.settings import Settings

TTL_ATTRIBUTE = "expires_at_s"

# The limits of SQS: Amazon SQS Developer Guide, "Amazon SQS message quotas".
RETENTION_S = 14 * 86_400
MESSAGE_MAX_BYTES = 1_048_576
# Far above the largest attempt budget (100): redrive catches only what never reaches a claim. SQS allows 1,000.
MAX_RECEIVE_COUNT = 1_000

UPLOAD_ABANDONED_AFTER_DAYS = 1

# The limits of one template: AWS CloudFormation User Guide, "Understand CloudFormation quotas".
RESOURCES_MAX = 500
OUTPUTS_MAX = 200

Fragment = dict[str, Any]
Keys = tuple[tuple[str, str], tuple[str, str]]  # partition and sort key, each as name and type (S or N)

# What each index answers: jobs of a state, of a type or of a trace in their order; what the clock must look at.
JOBS_INDEXES: Mapping[str, Keys] = {
    "by_state": (("state_key", "S"), ("position", "S")),
    "by_type": (("type_key", "S"), ("position", "S")),
    "by_trace": (("trace_key", "S"), ("position", "S")),
    "due": (("wake_key", "S"), ("wake_at_ms", "N")),
}


def template(settings: Settings, queues: Mapping[str, Sequence[Band]]) -> Fragment:
    """The CloudFormation template of the installation that ``settings`` describes.

    ``queues`` maps each consumed queue to its bands; the queue ``default`` is always there. Equal arguments give
    equal templates. Raises ``InvalidInput`` when the queues are too many for one template.
    """
    lanes = lanes_of(queues)
    resources = {
        **_tables(settings),
        "DeadLetterQueue": _dead_letter_queue(settings),
        **{lane_id(lane): _lane(settings, lane) for lane in lanes},
        "ObjectsBucket": _bucket(settings),
    }
    return _within_limits(
        {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": f"Taskyard {settings.base_name}: tables, queues and bucket",
            "Resources": resources,
            "Outputs": _outputs(resources),
        }
    )


def lanes_of(queues: Mapping[str, Sequence[Band]]) -> list[Lane]:
    """Every lane of ``queues``, in the order of queue names, the soonest band first.

    The queue ``default`` has at least the default bands, declared or not: its normal lane is the pattern whose
    attributes the service copies for topics that are only polled.
    """
    bands = {**queues, DEFAULT_POOL: (*DEFAULT_BANDS, *queues.get(DEFAULT_POOL, ()))}
    return [Lane(queue, band) for queue in sorted(bands) for band in soonest_first(bands[queue])]


def lane_id(lane: Lane) -> str:
    """The logical id of a lane's SQS queue: ``Lane``, then the parts of its SQS name without the prefix."""
    return "Lane" + "".join(part.capitalize() for part in re.findall("[A-Za-z0-9]+", sqs_name("", lane)))


def _tables(settings: Settings) -> Fragment:
    jobs = _table(settings.jobs_table, (("job", "N"), ("part", "S")), JOBS_INDEXES)
    jobs["Properties"]["StreamSpecification"] = {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    directory = _table(settings.directory_table, (("kind", "S"), ("name", "S")))
    insights = _table(settings.insights_table, (("view", "S"), ("key", "S")))
    if not settings.local:
        for table in (jobs, directory):  # insights can be made again from jobs, so it needs no backup
            table["Properties"]["PointInTimeRecoverySpecification"] = {"PointInTimeRecoveryEnabled": True}
    return {
        "JobsTable": _kept(settings, jobs),
        "DirectoryTable": _kept(settings, directory),
        "InsightsTable": _kept(settings, insights),
    }


def _table(name: str, keys: Keys, indexes: Mapping[str, Keys] | None = None) -> Fragment:
    every_key = {attribute for pair in (keys, *(indexes or {}).values()) for attribute in pair}
    properties: Fragment = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in sorted(every_key)
        ],
        "KeySchema": _key_schema(keys),
        "TimeToLiveSpecification": {"AttributeName": TTL_ATTRIBUTE, "Enabled": True},
    }
    if indexes:
        properties["GlobalSecondaryIndexes"] = [
            {"IndexName": index, "KeySchema": _key_schema(pair), "Projection": {"ProjectionType": "KEYS_ONLY"}}
            for index, pair in indexes.items()
        ]
    return {"Type": "AWS::DynamoDB::Table", "Properties": properties}


def _key_schema(keys: Keys) -> list[Fragment]:
    (partition, _), (sort, _) = keys
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


def _dead_letter_queue(settings: Settings) -> Fragment:
    return _queue(settings, settings.dead_letter_queue)


def _lane(settings: Settings, lane: Lane) -> Fragment:
    """A lane stays, with the messages in it, when code declares it no longer: they are accepted jobs."""
    queue = _queue(settings, sqs_name(settings.base_name, lane))
    queue |= {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
    queue["Properties"]["RedrivePolicy"] = {
        "deadLetterTargetArn": _attribute("DeadLetterQueue", "Arn"),
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    }
    return queue


def _queue(settings: Settings, name: str) -> Fragment:
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {
            "QueueName": name,
            "VisibilityTimeout": settings.visibility_s,
            "MessageRetentionPeriod": RETENTION_S,
            "MaximumMessageSize": MESSAGE_MAX_BYTES,
            "SqsManagedSseEnabled": True,
        },
    }


def _bucket(settings: Settings) -> Fragment:
    return _kept(
        settings,
        {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": settings.bucket,
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "abandoned-uploads",
                            "Status": "Enabled",
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_ABANDONED_AFTER_DAYS},
                        }
                    ]
                },
            },
        },
    )


def _kept(settings: Settings, resource: Fragment) -> Fragment:
    """``resource`` with the policies that let it outlive its stack, except in stage local.

    A first deployment that fails still takes its own empty resources away: their fixed names would stand in the
    way of the next try.
    """
    if settings.local:
        return {**resource, "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
    return {**resource, "DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}


def _outputs(resources: Mapping[str, Fragment]) -> Fragment:
    """Names of tables and bucket, URLs and ARNs of queues, and the ARN of the jobs table's stream."""
    outputs: Fragment = {"JobsStreamArn": _attribute("JobsTable", "StreamArn")}
    for logical_id, resource in resources.items():
        if resource["Type"] == "AWS::SQS::Queue":
            outputs[f"{logical_id}Url"] = {"Ref": logical_id}
            outputs[f"{logical_id}Arn"] = _attribute(logical_id, "Arn")
        else:
            outputs[f"{logical_id}Name"] = {"Ref": logical_id}
    return {name: {"Value": value} for name, value in outputs.items()}


def _attribute(logical_id: str, name: str) -> Fragment:
    return {"Fn::GetAtt": [logical_id, name]}


def _within_limits(built: Fragment) -> Fragment:
    for section, at_most in (("Resources", RESOURCES_MAX), ("Outputs", OUTPUTS_MAX)):
        if len(built[section]) > at_most:
            raise InvalidInput(
                "the declared queues do not fit into one CloudFormation template",
                field="queues",
                expected=f"at most {at_most} {section.lower()}",
                got=len(built[section]),
                remedy="declare fewer queues, or fewer bands for each",
            )
    return built


def _parsed_queue(text: str) -> tuple[str, tuple[Band, ...]]:
    """A queue written as ``orders:high,normal``; plain ``orders`` has the default bands."""
    name, _, bands = text.partition(":")
    try:
        return name, tuple(Band(band) for band in bands.split(",")) if bands else DEFAULT_BANDS
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; the bands are {', '.join(Band)}") from error


def _declared_queues() -> Mapping[str, Sequence[Band]]:
    # Imported late: with --queues the template needs none of the handlers that the registry collects.
    from chalicelib.engine.registry import declared_queues

    return declared_queues()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the template for the settings in the environment."""
    parser = argparse.ArgumentParser(prog="python -m infra.template", description="Print the CloudFormation template.")
    parser.add_argument(
        "--queues",
        nargs="*",
        type=_parsed_queue,
        metavar="NAME[:BAND,...]",
        help="the consumed queues, for example orders:high,normal; by default those declared in code",
    )
    given = parser.parse_args(arguments).queues
    queues = _declared_queues() if given is None else dict(given)
    sys.stdout.write(json.dumps(template(service_settings.current(), queues), indent=2) + "\n")


if __name__ == "__main__":
    main()
