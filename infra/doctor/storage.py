"""The tables and the bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from infra.doctor.checks import missing
from infra.doctor.findings import Check, Observation, compared, ok
from infra.doctor.installation import Installation, as_json

TABLES = "tables"
BUCKET = "bucket"
AS_DECLARED = "infra/storage.py declares it"
PUBLIC_ACCESS_BLOCK = "PublicAccessBlockConfiguration"
ENCRYPTION_RULES = "ServerSideEncryptionConfiguration"

Properties = Mapping[str, Any]


def checks(installation: Installation) -> Iterator[Check]:
    """Three checks of each table and of the bucket."""
    for logical_id in installation.of_type("AWS::DynamoDB::Table"):
        name = installation.facts[logical_id]
        lost = (
            "restore the backup that DynamoDB made when it was deleted "
            f"({installation.aws('dynamodb', 'list-backups', table_name=name, backup_type='SYSTEM')}); "
            f"without one: {installation.deploy_anew}"
        )
        for question, remedy in ((_table, lost), (_expiry, None), (_recovery, None)):
            yield Check(
                area=TABLES,
                subject=name,
                question=partial(question, installation, logical_id),
                when_missing=remedy,
            )
    for logical_id in installation.of_type("AWS::S3::Bucket"):
        lost = installation.remake(logical_id, f"{_create_bucket(installation, logical_id)}, then look again")
        for question, remedy in ((_bucket, lost), (_public_access, None), (_encryption, None)):
            yield Check(
                area=BUCKET,
                subject=installation.facts[logical_id],
                question=partial(question, installation, logical_id),
                when_missing=remedy,
            )


# -- tables ---------------------------------------------------------------------------------------


def _table(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    found = aws.client("dynamodb").describe_table(TableName=expected["TableName"])["Table"]
    compare = partial(compared, emulated=installation.emulated)
    update = partial(installation.aws, "dynamodb", "update-table", table_name=expected["TableName"])
    unchangeable = f"a table's keys cannot be changed: copy its items into one that is as {AS_DECLARED}"
    yield compare("status", "ACTIVE", found.get("TableStatus"), "look again in a few minutes")
    yield compare("keys", _keys(expected), _keys(found), unchangeable)
    yield compare("key types", _types(expected, expected), _types(found, expected), unchangeable)
    yield compare(
        "billing mode",
        expected["BillingMode"],
        found.get("BillingModeSummary", {}).get("BillingMode"),
        update(billing_mode=expected["BillingMode"]),
    )
    yield from _indexes(installation, expected, found)
    if "StreamSpecification" in expected:
        yield from _stream(installation, logical_id, expected, found)


def _indexes(installation: Installation, expected: Properties, found: Properties) -> Iterator[Observation]:
    there = {index["IndexName"]: index for index in found.get("GlobalSecondaryIndexes", ())}
    for index in expected.get("GlobalSecondaryIndexes", ()):
        name = index["IndexName"]
        create = installation.aws(
            "dynamodb",
            "update-table",
            table_name=expected["TableName"],
            attribute_definitions=expected["AttributeDefinitions"],
            global_secondary_index_updates=[{"Create": index}],
        )
        if name not in there:
            yield compared(f"index {name}", "it exists", "missing", create)
            continue
        compare = partial(compared, emulated=installation.emulated)
        yield compare(f"index {name}: status", "ACTIVE", there[name].get("IndexStatus"), "wait until it is built")
        again = f"delete this index, then {create}"
        yield compare(f"index {name}: keys", _keys(index), _keys(there[name]), again)
        yield compare(
            f"index {name}: projection",
            index["Projection"]["ProjectionType"],
            there[name].get("Projection", {}).get("ProjectionType"),
            again,
        )


def _stream(
    installation: Installation, logical_id: str, expected: Properties, found: Properties
) -> Iterator[Observation]:
    view = expected["StreamSpecification"]["StreamViewType"]
    specification = f"StreamEnabled=true,StreamViewType={view}"
    yield compared(
        "stream view",
        view,
        found.get("StreamSpecification", {}).get("StreamViewType", "no stream"),
        installation.aws(
            "dynamodb", "update-table", table_name=expected["TableName"], stream_specification=specification
        ),
        emulated=installation.emulated,
    )
    yield compared(
        "stream",
        installation.facts[f"{logical_id}.StreamArn"],
        found.get("LatestStreamArn"),
        f"the stream was replaced, and the projector still reads the old one: {installation.deploy_anew}",
        emulated=installation.emulated,
    )


def _expiry(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    wanted = expected.get("TimeToLiveSpecification")
    if wanted is None:
        return
    found = aws.client("dynamodb").describe_time_to_live(TableName=expected["TableName"])["TimeToLiveDescription"]
    on = found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    yield compared(
        "expiry",
        f"on {wanted['AttributeName']}",
        f"on {found.get('AttributeName')}" if on else "off",
        installation.aws(
            "dynamodb",
            "update-time-to-live",
            table_name=expected["TableName"],
            time_to_live_specification=f"Enabled=true,AttributeName={wanted['AttributeName']}",
        ),
        emulated=installation.emulated,
    )


def _recovery(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    wanted = expected.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled", False)
    if not wanted:
        return
    described = aws.client("dynamodb").describe_continuous_backups(TableName=expected["TableName"])
    found = described["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    status = found.get("PointInTimeRecoveryStatus")
    dropped = installation.emulated and status != "ENABLED"  # no emulator's CloudFormation sets it
    yield compared(
        "point-in-time recovery",
        "ENABLED",
        None if dropped else status,
        installation.aws(
            "dynamodb",
            "update-continuous-backups",
            table_name=expected["TableName"],
            point_in_time_recovery_specification="PointInTimeRecoveryEnabled=true",
        ),
        emulated=installation.emulated,
    )


def _keys(described: Properties) -> list[str]:
    return [f"{key['AttributeName']} ({key['KeyType']})" for key in described.get("KeySchema", ())]


def _types(described: Properties, expected: Properties) -> list[str]:
    """The types of the attributes that ``expected`` names."""
    wanted = {each["AttributeName"] for each in expected["AttributeDefinitions"]}
    return sorted(
        f"{each['AttributeName']} {each['AttributeType']}"
        for each in described.get("AttributeDefinitions", ())
        if each["AttributeName"] in wanted
    )


# -- the bucket -----------------------------------------------------------------------------------


def _create_bucket(installation: Installation, logical_id: str) -> str:
    region = installation.facts["AWS::Region"]
    # Amazon S3 API Reference, "CreateBucket": the only region that must not be named.
    place = {} if region == "us-east-1" else {"create_bucket_configuration": f"LocationConstraint={region}"}
    return installation.aws("s3api", "create-bucket", bucket=installation.facts[logical_id], **place)


def _bucket(installation: Installation, logical_id: str) -> Iterator[Observation]:
    aws.client("s3").head_bucket(Bucket=installation.facts[logical_id])
    yield ok("existence", "it exists")


def _public_access(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    bucket, wanted = expected["BucketName"], expected[PUBLIC_ACCESS_BLOCK]
    found = _configured(lambda: aws.client("s3").get_public_access_block(Bucket=bucket)[PUBLIC_ACCESS_BLOCK])
    yield compared(
        "public access",
        wanted,
        found,
        installation.aws(
            "s3api",
            "put-public-access-block",
            bucket=bucket,
            public_access_block_configuration=",".join(f"{name}={as_json(value)}" for name, value in wanted.items()),
        ),
        emulated=installation.emulated,
    )


def _encryption(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    bucket, rules = expected["BucketName"], expected["BucketEncryption"][ENCRYPTION_RULES]
    found = _configured(lambda: aws.client("s3").get_bucket_encryption(Bucket=bucket)[ENCRYPTION_RULES]["Rules"])
    yield compared(
        "encryption",
        _algorithms(rules),
        None if found is None else _algorithms(found),
        installation.aws(
            "s3api",
            "put-bucket-encryption",
            bucket=bucket,
            server_side_encryption_configuration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": _by_default(rule)} for rule in rules]
            },
        ),
        emulated=installation.emulated,
    )


def _configured(ask: Callable[[], Any]) -> Any:
    """A configuration of the bucket, ``None`` where S3 says that it has none."""
    try:
        return ask()
    except ClientError as error:
        if not missing(error) or error.response["Error"]["Code"] == "NoSuchBucket":
            raise
        return None


def _algorithms(rules: list[dict[str, Any]]) -> list[str]:
    return [_by_default(rule)["SSEAlgorithm"] for rule in rules]


def _by_default(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as CloudFormation or as S3 writes it."""
    found: dict[str, Any] = rule.get("ServerSideEncryptionByDefault") or rule["ApplyServerSideEncryptionByDefault"]
    return found
