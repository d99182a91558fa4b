"""What each emulator's CloudFormation does not make of the templates, and how that shows.

The table is exact: what an emulator has learned since fails the test until its entry goes, here and in
docs/emulators.md, which tells the same in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.infra.readback import Part


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that the templates ask for and an emulator does not have afterwards."""

    found: str  # instead, in the words of ``readback.differences``
    told: str  # to people


_EXPIRY = Lack("nothing", "left out silently; Taskyard sets it by API afterwards, so items do expire")
_BACKUPS = Lack("nothing", "left out silently: DescribeContinuousBackups returns `DISABLED`")
_LIFECYCLE = Lack("NoSuchLifecycleConfiguration", "left out silently: S3 returns `NoSuchLifecycleConfiguration`")
NOT_MADE: Mapping[str, Mapping[Part, Lack]] = {
    "moto": {
        Part.EXPIRY: _EXPIRY,
        Part.BACKUPS: _BACKUPS,
        Part.PRIVACY: Lack(
            "NoSuchPublicAccessBlockConfiguration",
            "left out silently: S3 returns `NoSuchPublicAccessBlockConfiguration`",
        ),
        Part.OWNERSHIP: Lack(
            "OwnershipControlsNotFoundError",
            "left out silently: S3 returns `OwnershipControlsNotFoundError`",
        ),
        Part.LIFECYCLE: _LIFECYCLE,
        Part.POLICIES: Lack("Resource", "the ARN of a log group lacks the `:*` at its end"),
        Part.ALARMS: Lack(
            "nothing", "left out with a warning: `No Moto CloudFormation support for AWS::CloudWatch::Alarm`"
        ),
    },
    "ministack": {
        Part.EXPIRY: _EXPIRY,
        Part.BACKUPS: _BACKUPS,
        Part.LIFECYCLE: _LIFECYCLE,
        Part.WINDOW: Lack("nothing", "left out silently"),
    },
    "localstack": {
        Part.BACKUPS: _BACKUPS,
        Part.LIFECYCLE: _LIFECYCLE,
        Part.LOG_RETENTION: Lack("nothing", "left out silently: a log group has no `retentionInDays`"),
        Part.DASHBOARD: Lack(
            "InvalidParameterValue",
            'left out with a warning: `No resource provider found for "AWS::CloudWatch::Dashboard"`',
        ),
    },
}
