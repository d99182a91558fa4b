"""Looking at tasks: ``/api/task/detail``, ``/api/task/list``, and their logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from chalicelib.api.paging import ListAnswer, Paging, bodies_of, listed
from chalicelib.api.shapes import FASTIFY, Moment, to_ms
from chalicelib.api.tasks.records import (
    NO_TASK,
    LogRecord,
    TaskDetail,
    TaskQuery,
    TaskRecord,
    detail_record,
    listed_record,
    log_records,
)
from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.ids import parse_job_id
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.http.models import AnswerModel, ApiModel, Name
from chalicelib.http.one_of import expect_forwards
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id as job_id_of
from chalicelib.services.lists import Listed
from chalicelib.services.task_lists import EVER, NEWEST_FIRST, SORT_KEYS, Span, TaskFilters, page_of_one, task_query
from chalicelib.services.task_records import log_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Tasks", style=FASTIFY)  # a section of the documentation that creating.py describes


class TimeSpan(ApiModel):
    """A span of time, both ends included."""

    start_time: Moment | None = None
    end_time: Moment | None = None

    @model_validator(mode="after")
    def _forwards(self) -> TimeSpan:
        expect_forwards("startTime", self.start_time, "endTime", self.end_time)
        return self

    @property
    def in_ms(self) -> Span:
        """The same in milliseconds."""
        return Span(
            to_ms(self.start_time) if self.start_time else None, to_ms(self.end_time) if self.end_time else None
        )


class TaskFilter(ApiModel):
    """Which tasks; all conditions hold together."""

    id: str | None = None
    target_id: Name | None = None
    target_type: Name | None = None
    target_name: Name | None = Field(default=None, description="Part of input.name, upper and lower case alike")
    type: Name | None = None
    status: State | None = None
    runner_type: Literal["manual", "system"] | None = None
    search: Name | None = Field(default=None, description="Words that are all in the input; where search is on")
    created_at: TimeSpan | None = None
    completed_at: TimeSpan | None = None


Direction = Annotated[
    Literal["ASC", "DESC"], BeforeValidator(lambda given: given.upper() if isinstance(given, str) else given)
]


class ListQuery(Paging):
    """Which tasks to list, and in what order."""

    filter: TaskFilter = Field(default_factory=TaskFilter)
    sort: dict[str, Direction] = Field(
        default_factory=dict,
        max_length=len(SORT_KEYS),
        description=f"By which of {', '.join(SORT_KEYS)}: ASC or DESC; the first counts most",
    )


class TaskPage(ListAnswer):
    """A page of tasks."""

    page_data: list[TaskRecord]


class TaskLog(AnswerModel):
    """What was logged of a task."""

    log: list[LogRecord] = Field(description="The 100 newest entries, newest first")


@router.get("/api/task/detail", scope="task", answers=NO_TASK)
def task_detail(yard: Yard, query: TaskQuery) -> TaskDetail:
    """Show one task, with its log and what its polls found."""
    return detail_record(yard, lifecycle.find(yard, job_id_of(query.id, "task"), Kind.TASK))


@router.get("/api/task/list", scope="task")
def list_tasks(yard: Yard, query: ListQuery) -> TaskPage:
    """List tasks, newest first unless another order is asked for.

    An index answers for id, type, status, target id and creation time, for a target id by itself; other filters and
    orders look at the newest 10,000, with a target id at those about it.
    """
    page = _page(yard, query)
    bodies = bodies_of(yard.payloads, page.jobs)
    records = [listed_record(yard, job, bodies[job.id]) for job in page.jobs]
    return TaskPage(page_data=records, total_count=page.total, total_is_exact=page.exact, next_cursor=page.next_cursor)


@router.get("/api/task/log", scope="task", answers=NO_TASK)
def task_log(yard: Yard, query: TaskQuery) -> TaskLog:
    """Show what was logged of one task."""
    job = lifecycle.find(yard, job_id_of(query.id, "task"), Kind.TASK)
    return TaskLog(log=log_records(log_of(yard, job)))


def _page(yard: Yard, query: ListQuery) -> Listed:
    order = _order(query.sort)
    with within("filter"):
        wanted = task_query(yard, _filters(query.filter), order)
    if query.filter.id is None or query.cursor is not None:  # a list of one has no cursor: any is told to be foreign
        return listed(yard.lists, wanted, query)
    found = page_of_one(yard, parse_job_id(query.filter.id), wanted, query.offset)
    return Listed(found.jobs, found.total, found.exact, None)


def _filters(chosen: TaskFilter) -> TaskFilters:
    return TaskFilters(
        target_id=chosen.target_id,
        target_type=chosen.target_type,
        target_name=chosen.target_name,
        type=chosen.type,
        status=chosen.status,
        runner=chosen.runner_type,
        search=chosen.search,
        created=EVER if chosen.created_at is None else chosen.created_at.in_ms,
        completed=None if chosen.completed_at is None else chosen.completed_at.in_ms,
    )


def _order(sort: Mapping[str, str]) -> list[tuple[str, bool]]:
    for key in sort:
        if key not in SORT_KEYS:
            raise InvalidInput("this is no sort key", field="sort", expected=" or ".join(SORT_KEYS), got=key)
    return [(key, direction == "DESC") for key, direction in sort.items()] or list(NEWEST_FIRST)
