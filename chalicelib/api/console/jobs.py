"""Tasks and messages in one list: ``/api/jobs``, and how many there are: ``/api/job/count``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from chalicelib.api.console.records import JobRow
from chalicelib.api.scopes import SEE
from chalicelib.api.shapes import Moment, maybe_ms
from chalicelib.core.fingerprints import FINGERPRINT
from chalicelib.core.states import Kind, State
from chalicelib.engine.job_filters import JobFilters
from chalicelib.http.models import AnswerModel, ApiModel, Many, Name, Target, Tenant, Topic
from chalicelib.http.one_of import expect_forwards
from chalicelib.http.routes import Router
from chalicelib.services import jobs
from chalicelib.store.job_lists import PER_PAGE_MAX

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Jobs")  # a section of the documentation that why.py describes


class JobsQuery(ApiModel):
    """Which jobs; all conditions hold together. Indexes answer for kind, type, state and creation; for the others
    10,000 jobs are looked at."""

    kind: Kind | None = Field(default=None, description="Default both")
    state: Many[State] | None = Field(default=None, description="One or several; default all")
    type: Topic | None = Field(default=None, description="A task type or a topic")
    target_id: Target | None = None
    target_type: Name | None = None
    trace_id: Name | None = None
    flow_key: Target | None = None
    tenant: Tenant | None = None
    schedule: Name | None = Field(default=None, description="The schedule that made them")
    since: Moment | None = Field(default=None, description="Created then or later (ISO 8601)")
    until: Moment | None = Field(default=None, description="Created then or before")
    text: Name | None = Field(default=None, description="Words that are all in a task's input (docs/search.md)")
    fingerprint: str | None = Field(
        default=None, pattern=f"^{FINGERPRINT}$", description="Of a group of failures, as /api/failures names it"
    )

    @model_validator(mode="after")
    def _forwards(self) -> JobsQuery:
        expect_forwards("since", self.since, "until", self.until)
        return self

    @property
    def filters(self) -> JobFilters:
        """The same, as the engine has it."""
        return JobFilters(
            kind=self.kind,
            states=tuple(self.state or ()),
            type=self.type,
            target_id=self.target_id,
            target_type=self.target_type,
            trace_id=self.trace_id,
            flow_key=self.flow_key,
            tenant=self.tenant,
            schedule=self.schedule,
            since_ms=maybe_ms(self.since),
            until_ms=maybe_ms(self.until),
            text=self.text,
            fingerprint=self.fingerprint,
        )


class ListQuery(JobsQuery):
    """Which jobs, in which order, and which part of them."""

    order: Literal["createdAt", "updatedAt"] = Field(
        default="createdAt", description="By another than createdAt the newest 10,000 are sorted"
    )
    descending: bool = True
    per_page: int = Field(default=50, ge=1, le=PER_PAGE_MAX)
    cursor: str | None = Field(default=None, description="The nextCursor of the answer before")


class JobList(AnswerModel):
    """A part of a list of jobs, newest first unless another order was asked for."""

    items: list[JobRow]
    next_cursor: str | None = Field(description="Sent as cursor it gives what follows; null at the end")
    looked: int | None = Field(
        description="How many entries were looked at for what no index answers; null: an index answered all"
    )
    complete: bool = Field(description="false: those were the 10,000 that are looked at, and there are more")


class JobCount(AnswerModel):
    """How many jobs there are of a list."""

    count: int
    exact: bool = Field(description="false: only 10,000 were counted, or looked at")


@router.get("/api/jobs", scope=SEE)
def list_jobs(yard: Yard, query: ListQuery) -> JobList:
    """List tasks and messages in one list, by cursor: an index page, however many jobs there are."""
    found = jobs.page_of(yard, query.filters, query.order, query.per_page, query.cursor, descending=query.descending)
    return JobList.model_validate(found)


@router.get("/api/job/count", scope=SEE)
def count_jobs(yard: Yard, query: JobsQuery) -> JobCount:
    """Count the jobs of a list, up to 10,000."""
    count, exact = jobs.count_of(yard, query.filters)
    return JobCount(count=count, exact=exact)
