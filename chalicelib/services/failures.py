"""Jobs that failed for good, those that failed alike together.

from chalicelib.services import bulk, failures
from chalicelib.services.jobs import Filter

for group in failures.list(type="image.resize").groups:
    bulk.run(bulk.start("replay", Filter(type=group.type, fingerprint=group.fingerprint)))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.core import failures as core
from chalicelib.core.states import Kind
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.records import moment_of

SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest failure of a group."""

    id: int
    error: str  # as it was told: its first line, at most 200 characters
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Jobs of a type that failed alike."""

    fingerprint: str  # for the filter of lists and of acts in bulk
    kind: Kind
    type: str
    cause: str | None  # what made the failure the last
    error: str  # what their errors have in common
    sample: Sample
    count: int  # how many are failed now, and neither replayed nor deleted
    total: int  # how often a job of the group has failed for good, since ever
    first_seen_at: datetime
    last_seen_at: datetime
    since_deploy: bool  # the first was after the newest deployment; false where that is not known


@dataclass(frozen=True, slots=True)
class FailureGroups:
    """Groups of failures, the newest last failure first. ``left_out``: how many more there are than 200."""

    groups: Sequence[FailureGroup]
    left_out: int


def list(  # noqa: A001  # as in services.tasks
    *,
    kind: Kind | str | None = None,
    type: str | None = None,  # noqa: A002  # every dialect's word for it
    since: datetime | None = None,
) -> FailureGroups:
    """The groups of failures, of a ``kind`` or a ``type``, of which one failed at ``since`` or later.

    They are counted from the change stream, about a second late. Raises ``InvalidInput``.
    """
    asked = None if kind is None else checks.word("kind", kind, Kind)
    since_ms = 0 if since is None else checks.at_ms("since", since)
    return groups_of(installation.yard(), asked, checks.maybe_topic(type), since_ms)


def groups_of(yard: Yard, kind: Kind | None, type: str | None, since_ms: int) -> FailureGroups:  # noqa: A002  # as above
    """The groups of failures."""
    known = yard.insights.failures.read(kind, type)
    found = [each for each in core.shown_of(known) if each[2].at_ms >= since_ms]
    deployed_ms = yard.deployments.deployed_at_ms()
    groups = [_shown(*each, deployed_ms) for each in found[:SHOWN_MAX]]
    return FailureGroups(groups, len(found) - len(groups))


def _shown(
    group: core.FailureGroup, found: core.Failures, sample: core.Sample, deployed_ms: int | None
) -> FailureGroup:
    first_ms = sample.at_ms if found.first_at_ms is None else found.first_at_ms
    return FailureGroup(
        fingerprint=group.fingerprint,
        kind=Kind(group.kind),
        type=group.type,
        cause=found.cause,
        error=found.error,
        sample=Sample(sample.job, sample.error, moment_of(sample.at_ms)),
        count=max(0, found.failed),
        total=found.total,
        first_seen_at=moment_of(first_ms),
        last_seen_at=moment_of(sample.at_ms),
        since_deploy=deployed_ms is not None and first_ms >= deployed_ms,
    )
