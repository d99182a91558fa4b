"""Dead letters that failed alike, together: ``/api/failures``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.scopes import SEE
from chalicelib.api.shapes import Moment, ShownId, ShownTime, maybe_ms
from chalicelib.core.failures import FailureGroup, Failures, Sample, shown_of
from chalicelib.core.states import Kind
from chalicelib.core.trace import iso
from chalicelib.http.models import AnswerModel, ApiModel, Topic
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

SHOWN_MAX = 200

router = Router("Failures", "Jobs that failed for good, by what they have in common.")


class FailuresQuery(ApiModel):
    """Which groups."""

    kind: Kind | None = Field(default=None, description="task or message; default: both")
    type: Topic | None = Field(default=None, description="A task type or a topic")
    since: Moment | None = Field(default=None, description="Groups of which one failed then or later")


class SampleRecord(AnswerModel):
    """The newest failure of a group."""

    id: ShownId
    error: str = Field(description="As it was told: its first line, at most 200 characters")
    at: ShownTime


class FailureGroupRecord(AnswerModel):
    """Jobs of a type that failed alike."""

    fingerprint: str = Field(description="For the filter of lists and of acts in bulk", examples=["012d413bc0b7"])
    kind: Kind
    type: str
    cause: str | None = Field(description="What made the failure the last")
    error: str = Field(description="What their errors have in common", examples=['KeyError: order # of "…"'])
    sample: SampleRecord
    count: int = Field(description="How many are failed now, and neither replayed nor deleted")
    total: int = Field(description="How often a job of the group has failed for good, since ever")
    first_seen_at: ShownTime
    last_seen_at: ShownTime
    since_deploy: bool = Field(description="The first was after the newest deployment; false where that is not known")


class FailuresAnswer(AnswerModel):
    """Groups of failures, the newest last failure first."""

    groups: list[FailureGroupRecord]
    left_out: int = Field(description="How many more there are: at most 200 are shown")


@router.get("/api/failures", scope=SEE)
def list_failures(yard: Yard, query: FailuresQuery) -> FailuresAnswer:
    """List the groups of failures, by kind, type, cause and error without what is of one job alone.

    They are counted from the change stream, about a second late. Groups of which none is left are shown as well.
    """
    known = yard.insights.failures.read(query.kind, query.type)
    since_ms = maybe_ms(query.since) or 0
    found = [each for each in shown_of(known) if each[2].at_ms >= since_ms]
    deployed_ms = yard.directory.deployed_at_ms()
    groups = [_shown(*each, deployed_ms) for each in found[:SHOWN_MAX]]
    return FailuresAnswer(groups=groups, left_out=len(found) - len(groups))


def _shown(group: FailureGroup, found: Failures, sample: Sample, deployed_ms: int | None) -> FailureGroupRecord:
    first_ms = sample.at_ms if found.first_at_ms is None else found.first_at_ms
    return FailureGroupRecord(
        fingerprint=group.fingerprint,
        kind=Kind(group.kind),
        type=group.type,
        cause=found.cause,
        error=found.error,
        sample=SampleRecord(id=str(sample.job), error=sample.error, at=iso(sample.at_ms)),
        count=max(0, found.failed),
        total=found.total,
        first_seen_at=iso(first_ms),
        last_seen_at=iso(sample.at_ms),
        since_deploy=deployed_ms is not None and first_ms >= deployed_ms,
    )
