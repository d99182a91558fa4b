"""The same for many jobs at once: ``/api/bulk``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.console.jobs import JobsQuery
from chalicelib.api.console.records import JobRow
from chalicelib.api.scopes import ACT, SEE
from chalicelib.api.shapes import ShownId, ShownTime, fields_of
from chalicelib.core.bulk import BulkAct, BulkState
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import bulk
from chalicelib.engine.commands.bulk import NAMED_MAX, JobSet
from chalicelib.engine.job_filters import JobFilters
from chalicelib.http.access import require_scope
from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.models import AnswerModel, ApiModel, Id, Name
from chalicelib.http.one_of import OneOf
from chalicelib.http.routes import Router
from chalicelib.services import bulk as services
from chalicelib.services.records import maybe_moment_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

UNKNOWN = {404: "There is no such act"}

router = Router("Acts in bulk", "Cancel, retry, start, replay or delete all jobs that match a filter, step by step.")


class BulkBody(OneOf):
    """What to do, and to which jobs."""

    GROUPS = (("filter",), ("ids",))

    act: BulkAct
    filter: JobsQuery | None = Field(
        default=None, description="Of the jobs that match, those in a state in which they can be acted on so"
    )
    ids: list[Id] | None = Field(
        default=None,
        min_length=1,
        max_length=NAMED_MAX,
        description="Instead of a filter: these jobs, as far as they are in such a state",
        examples=[["42", "43"]],
    )
    dry_run: bool = Field(default=False, description="Only say what it would be done to")


class BulkPath(ApiModel):
    """An act in bulk."""

    id: Name = Field(examples=["1767225600000-0123456789abcdef"])


class ResultQuery(ApiModel):
    """Which part of the results."""

    cursor: str | None = Field(default=None, pattern="^[0-9]{8}$", description="The nextCursor of the answer before")


class TypeCount(AnswerModel):
    """How many jobs of a type."""

    kind: Kind
    type: str
    count: int


class Preview(AnswerModel):
    """What an act would be done to, if it began now."""

    matches: int
    exact: bool = Field(description="false: more than so many match; 10,000 of a type are counted, or looked at in all")
    by_type: list[TypeCount] = Field(description="The most first")
    sample: list[JobRow] = Field(description="The newest, at most 20")
    unsuited: int = Field(description="How many of those that are named are in no state for it, or gone")
    sentence: str = Field(examples=["This will retry 312 jobs of 3 types."])


class BulkError(AnswerModel):
    """Why one job was refused."""

    id: ShownId
    error: str


class FilterRecord(AnswerModel):
    """A filter as it was asked for; null, or no state, is no condition."""

    kind: Kind | None
    state: list[State]
    type: str | None
    target_id: str | None
    target_type: str | None
    trace_id: str | None
    flow_key: str | None
    tenant: str | None
    schedule: str | None
    since: ShownTime | None
    until: ShownTime | None
    text: str | None
    fingerprint: str | None


class BulkRecord(AnswerModel):
    """An act in bulk as it stands."""

    id: str
    act: BulkAct
    filter: FilterRecord
    named: int | None = Field(description="How many jobs were named by id; null: it is for what the filter matches")
    state: BulkState
    by: str = Field(description="Who began it")
    started_at: ShownTime
    ended_at: ShownTime | None
    matched: int | None = Field(description="How many matched when it began; null: more than are counted")
    done: int = Field(description="How many are as was asked for")
    refused: int = Field(description="How many could not be acted on so")
    changed: int | None = Field(
        description="How many of those that matched others had changed or deleted before their turn came; "
        "null until it is done, and where it is not known how many matched"
    )
    progress: float | None = Field(description="0 to 1; null where it is not known how many there are")
    newest_errors: list[BulkError] = Field(description="At most 10")


class BulkList(AnswerModel):
    """Acts in bulk, the newest first."""

    items: list[BulkRecord]


class ResultRecord(AnswerModel):
    """What became of one job."""

    id: ShownId
    ok: bool
    error: str | None


class ResultPage(AnswerModel):
    """What became of jobs, in the order in which they were acted on."""

    items: list[ResultRecord]
    next_cursor: str | None = Field(description="Sent as cursor it gives what follows; null at the end, or so far")


@router.post("/api/bulk", scope=(SEE, ACT), answers={201: BulkRecord, 429: "Twenty are running"})
def start_bulk(yard: Yard, body: BulkBody, caller: Caller) -> Preview | Answer:
    """Begin to do the same to every job that matches a filter, or is named; or, as a dry run, say to how many.

    The set is what matches now: what is created later, or comes into one of the states later, is not in it. Nothing is
    done until a step is made: by `/api/bulk/{id}/step`, or by the clock, which goes on with what nobody has stepped for
    30 s. A dry run needs the scope `console`, a beginning `console:manage`.
    """
    if body.dry_run:
        require_scope(caller.scopes, SEE)
        return Preview.model_validate(services.preview_of(yard, body.act, _wanted(body)))
    require_scope(caller.scopes, ACT)
    started = bulk.start(yard, body.act, _wanted(body), caller.name)
    record(yard, caller, f"bulk {body.act}", {"bulk": started.id}, matched=started.matched)
    return Answer(201, _record(services.shown(yard, started)))


@router.get("/api/bulk", scope=SEE)
def list_bulk(yard: Yard) -> BulkList:
    """List the newest 50 acts in bulk of the last 90 days."""
    return BulkList(items=[_record(services.shown(yard, each)) for each in yard.bulk_acts.newest(services.LISTED)])


@router.get("/api/bulk/{id}", scope=SEE, answers=UNKNOWN)
def show_bulk(yard: Yard, path: BulkPath) -> BulkRecord:
    """Show how an act in bulk stands."""
    return _record(services.shown(yard, bulk.find(yard, path.id)))


@router.post("/api/bulk/{id}/step", scope=ACT, answers=UNKNOWN)
def step_bulk(yard: Yard, path: BulkPath) -> BulkRecord:
    """Do the next of it: at most a hundred jobs, and none more after five seconds.

    Nothing is done where it has ended, or somebody else is at it; so several may call this at once.
    """
    return _record(services.shown(yard, bulk.step(yard, path.id)))


@router.post("/api/bulk/{id}/stop", scope=ACT, answers=UNKNOWN)
def stop_bulk(yard: Yard, path: BulkPath, caller: Caller) -> BulkRecord:
    """Do no more of it; a step that is being made is made to its end, until when it is `stopping`.

    One that has ended stays as it is.
    """
    stopped = bulk.stop(yard, path.id)
    record(yard, caller, "stop", {"bulk": path.id}, done=stopped.done)
    return _record(services.shown(yard, stopped))


@router.get("/api/bulk/{id}/result", scope=SEE, answers=UNKNOWN)
def bulk_result(yard: Yard, path: BulkPath, query: ResultQuery) -> ResultPage:
    """What became of each job, in the order in which they were acted on, up to 2,000 at a time."""
    bulk.find(yard, path.id)
    items, following = services.results_of(yard, path.id, query.cursor)
    return ResultPage.model_validate({"items": items, "next_cursor": following})


def _wanted(body: BulkBody) -> JobSet:
    if body.filter is not None:
        return body.filter.filters
    return services.named([str(each) for each in body.ids or ()])


def _record(found: services.Bulk) -> BulkRecord:
    return BulkRecord.model_validate({**fields_of(found), "filter": _filter(found.filter)})


def _filter(found: JobFilters) -> dict[str, Any]:
    since, until = maybe_moment_of(found.since_ms), maybe_moment_of(found.until_ms)
    return {**fields_of(found), "state": list(found.states), "since": since, "until": until}
