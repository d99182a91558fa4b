"""One job with all that belongs to it, and acts on it: ``/api/job/{id}/detail`` and ``/api/job/{id}/act``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.console.records import JobDetail, JobRow, polls_shown
from chalicelib.api.scopes import ACT, SEE
from chalicelib.api.shapes import ShownId
from chalicelib.api.why import JobPath
from chalicelib.core.job_acts import Act
from chalicelib.engine.commands.acting import SAME, Given
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, ApiModel
from chalicelib.http.routes import Router
from chalicelib.services import jobs
from chalicelib.services.checks import job_id as job_id_of
from chalicelib.services.job_details import detail_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Jobs")  # a section of the documentation that why.py describes
NO_JOB = {404: "There is no such job"}


class DetailQuery(ApiModel):
    """How much of a job."""

    whole: bool = Field(default=False, description="Also what is kept in the bucket: input and output above 256 KB")


class ActBody(ApiModel):
    """What to do about a job."""

    act: Act = Field(
        description="rerun makes a new job like it, replay one of a dead letter that remembers it", examples=["retry"]
    )
    input: Any = Field(default=None, description="Of rerun: another input; default the same")
    status: Literal["success", "failed"] = Field(default="success", description="Of complete: how the task went")
    output: Any = Field(default=None, description="Of complete: what it came to, or why it failed")


class ActAnswer(AnswerModel):
    """What was done."""

    id: ShownId
    act: Act
    row: JobRow | None = Field(description="The job as it stands then; null of a deleted one")
    made: ShownId | None = Field(description="The job that replay or rerun made")


@router.get("/api/job/{id}/detail", scope=SEE, answers=NO_JOB)
def show_job(yard: Yard, path: JobPath, query: DetailQuery) -> JobDetail:
    """Show a job with all that belongs to it: its life, why it is not running, input, output, log, relatives.

    At most a dozen reads. Secrets are left out.
    """
    found = detail_of(yard, job_id_of(path.id, "job"), whole=query.whole)
    return JobDetail.model_validate(replace(found, poll_results=tuple(map(polls_shown, found.poll_results))))


@router.post(
    "/api/job/{id}/act", scope=ACT, answers={**NO_JOB, 409: "Its state does not allow this", 429: "Its type is full"}
)
def act_on_job(yard: Yard, path: JobPath, body: ActBody, caller: Caller) -> ActAnswer:
    """Cancel, retry, promote, complete, replay, delete or rerun a job.

    An act that its state does not allow is a 409, which says what it is and what to do instead.
    """
    given = Given(
        by=caller.name,
        completion=jobs.completion_of(body.status, body.output, caller.name),
        input=body.input if "input" in body.model_fields_set else SAME,
    )
    done = jobs.acted(yard, job_id_of(path.id, "job"), body.act, given)
    detail = {} if done.made is None else {"made": str(done.made)}
    record(yard, caller, done.act, {"kind": done.kind, "type": done.type, "id": str(done.id)}, **detail)
    return ActAnswer.model_validate(done)
