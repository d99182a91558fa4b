"""The same for many jobs at once: ``/api/bulk``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.console.jobs import JobsQuery
from chalicelib.api.console.records import JobRow
from chalicelib.api.scopes import ACT, SEE
from chalicelib.api.shapes import ShownId, ShownTime, fields_of
from chalicelib.core.bulk import BulkAct, BulkState, Result, sentence
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import iso
from chalicelib.engine.commands import bulk
from chalicelib.engine.job_filters import JobFilters
from chalicelib.http.access import require_scope
from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.models import AnswerModel, ApiModel, Name
from chalicelib.http.routes import Router
from chalicelib.services.job_records import row_of
from chalicelib.store.bulk_acts import BulkItem

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

LISTED = 50
RESULT_STEPS = 20  # of an answer's page: up to 2,000 jobs
UNKNOWN = {404: "There is no such act"}

router = Router("Acts in bulk", "Cancel, retry, start, replay or delete all jobs that match a filter, step by step.")


class BulkBody(ApiModel):
    """What to do, and to which jobs."""

    act: BulkAct
    filter: JobsQuery = Field(description="Of the jobs that match, those in a state in which they can be acted on so")
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
    state: BulkState
    by: str = Field(description="Who began it")
    started_at: ShownTime
    ended_at: ShownTime | None
    matched: int | None = Field(description="How many matched when it began; null: more than are counted")
    done: int = Field(description="How many are as was asked for")
    refused: int = Field(description="How many could not be acted on so")
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
    """Begin to do the same to every job that matches a filter, or, as a dry run, say to how many.

    The set is what matches now: what is created later, or comes into one of the states later, is not in it. Nothing is
    done until a step is made: by `/api/bulk/{id}/step`, or by the clock, which goes on with what nobody has stepped for
    30 s. A dry run needs the scope `console`, a beginning `console:manage`.
    """
    if body.dry_run:
        require_scope(caller.scopes, SEE)
        return _preview(yard, body.act, bulk.preview(yard, body.act, body.filter.filters))
    require_scope(caller.scopes, ACT)
    started = bulk.start(yard, body.act, body.filter.filters, caller.name)
    record(yard, caller, f"bulk {body.act}", {"bulk": started.id}, matched=started.matched)
    return Answer(201, _bulk(started))


@router.get("/api/bulk", scope=SEE)
def list_bulk(yard: Yard) -> BulkList:
    """List the newest 50 acts in bulk of the last 90 days."""
    return BulkList(items=[_bulk(each) for each in yard.bulk_acts.newest(LISTED)])


@router.get("/api/bulk/{id}", scope=SEE, answers=UNKNOWN)
def show_bulk(yard: Yard, path: BulkPath) -> BulkRecord:
    """Show how an act in bulk stands."""
    return _bulk(bulk.find(yard, path.id))


@router.post("/api/bulk/{id}/step", scope=ACT, answers=UNKNOWN)
def step_bulk(yard: Yard, path: BulkPath) -> BulkRecord:
    """Do the next of it: at most a hundred jobs, and none more after five seconds.

    Nothing is done where it has ended, or somebody else is at it; so several may call this at once.
    """
    return _bulk(bulk.step(yard, path.id))


@router.post("/api/bulk/{id}/stop", scope=ACT, answers=UNKNOWN)
def stop_bulk(yard: Yard, path: BulkPath, caller: Caller) -> BulkRecord:
    """Do no more of it; a step that is being made is made to its end. One that has ended stays as it is."""
    stopped = bulk.stop(yard, path.id)
    record(yard, caller, "stop", {"bulk": path.id}, done=stopped.done)
    return _bulk(stopped)


@router.get("/api/bulk/{id}/result", scope=SEE, answers=UNKNOWN)
def bulk_result(yard: Yard, path: BulkPath, query: ResultQuery) -> ResultPage:
    """What became of each job, in the order in which they were acted on, up to 2,000 at a time."""
    bulk.find(yard, path.id)
    found, following = yard.bulk_acts.results(path.id, RESULT_STEPS, query.cursor)
    return ResultPage(
        items=[ResultRecord(id=str(each.job), ok=each.error is None, error=each.error) for each in found],
        next_cursor=following,
    )


def _preview(yard: Yard, act: BulkAct, found: bulk.Preview) -> Preview:
    by_type = [TypeCount(kind=kind, type=name, count=count) for (kind, name), count in found.by_type.most_common()]
    return Preview(
        matches=found.matches,
        exact=found.exact,
        by_type=by_type,
        sample=[JobRow.model_validate(row_of(job, yard.now_ms())) for job in found.sample],
        sentence=sentence(act, found.by_type, exact=found.exact),
    )


def _bulk(found: BulkItem) -> BulkRecord:
    acted = found.done + found.refused
    progress = None if found.matched is None else min(1.0, acted / found.matched) if found.matched else 1.0
    return BulkRecord(
        id=found.id,
        act=found.act,
        filter=_filter(JobFilters.from_text(found.filters)),
        state=found.state,
        by=found.by,
        started_at=iso(found.started_at_ms),
        ended_at=None if found.ended_at_ms is None else iso(found.ended_at_ms),
        matched=found.matched,
        done=found.done,
        refused=found.refused,
        progress=1.0 if found.state is BulkState.DONE else progress,
        newest_errors=[_error(each) for each in reversed(found.errors)],
    )


def _filter(found: JobFilters) -> FilterRecord:
    since = None if found.since_ms is None else iso(found.since_ms)
    until = None if found.until_ms is None else iso(found.until_ms)
    shown = {**fields_of(found), "state": list(found.states), "since": since, "until": until}
    return FilterRecord.model_validate(shown)


def _error(result: Result) -> BulkError:
    return BulkError(id=str(result.job), error=result.error or "")
