"""Dead letters that failed alike, together: ``/api/failures``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.scopes import SEE
from chalicelib.api.shapes import Moment, ShownId, ShownTime, maybe_ms
from chalicelib.core.states import Kind
from chalicelib.http.models import AnswerModel, ApiModel, Topic
from chalicelib.http.routes import Router
from chalicelib.services import failures

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

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
    since_ms = maybe_ms(query.since) or 0
    return FailuresAnswer.model_validate(failures.groups_of(yard, query.kind, query.type, since_ms))
