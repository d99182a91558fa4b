"""The tables and the bucket: what an installation keeps.

Tables and bucket outlive their stack, except in stage local. Names are fixed, so a change that AWS can only make
by replacing a resource fails instead of losing data.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.settings import Settings
from infra.fragment import Fragment

TTL_ATTRIBUTE = "expires_at_s"
UPLOAD_ABANDONED_AFTER_DAYS = 1

Keys = tuple[tuple[str, str], tuple[str, str]]  # partition and sort key, each as name and type (S or N)

# What each index answers: jobs of a state, of a type, of a trace or about a target
# in their order; what the clock must look at.
JOBS_INDEXES: Mapping[str, Keys] = {
    "by_state": (("state_key", "S"), ("position", "S")),
    "by_type": (("type_key", "S"), ("position", "S")),
    "by_trace": (("trace_key", "S"), ("position", "S")),
    "by_target": (("target_id", "S"), ("position", "S")),
    "due": (("wake_key", "S"), ("wake_at_ms", "N")),
}


def storage(settings: Settings) -> Fragment:
    """The tables and the bucket, by their logical ids."""
    return {**_tables(settings), "ObjectsBucket": _bucket(settings)}


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


def private_bucket(name: str | Fragment) -> Fragment:
    """The properties of a bucket that nobody but this account reads, encrypted."""
    return {
        "BucketName": name,
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
    }


def _bucket(settings: Settings) -> Fragment:
    return _kept(settings, {"Type": "AWS::S3::Bucket", "Properties": private_bucket(bucket_name(settings))})


def bucket_name(settings: Settings) -> str | Fragment:
    """The name that was chosen, else one that nobody else in the world has: bucket names are common to all of AWS."""
    if settings.local or settings.bucket:
        return settings.objects_bucket
    return {"Fn::Sub": f"{settings.base_name}-${{AWS::AccountId}}-${{AWS::Region}}"}


def _kept(settings: Settings, resource: Fragment) -> Fragment:
    """``resource`` with the policies that let it outlive its stack, except in stage local.

    A first deployment that fails still takes its own empty resources away: their fixed names would stand in the
    way of the next try.
    """
    if settings.local:
        return {**resource, "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
    return {**resource, "DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
