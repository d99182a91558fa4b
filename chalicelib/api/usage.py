"""What a job has used: ``/api/job/{id}/usage``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.scopes import READS, READS_ANY
from chalicelib.api.shapes import ShownId
from chalicelib.api.why import JobPath
from chalicelib.engine.usage import run_by, used
from chalicelib.http.access import require_scope
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id as job_id_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Usage", "What jobs have used, as their records have counted it.")
ROUTERS = (router,)


class UsageRecord(AnswerModel):
    """What a job has used so far, in all its lives: counted, not estimated."""

    attempts: int
    failures: int = Field(description="Since it was published or last retried by request")
    sends: int = Field(description="To SQS")
    polls: int = Field(description="Of a task that waits for something elsewhere")
    run_ms: int = Field(description="How long attempts ran; of a lost worker until its lease ended")
    payload_bytes: int = Field(description="Input, options and context as JSON")
    output_bytes: int = Field(description="0 where the output is kept beside the record (above some 300 bytes)")


class UsageAnswer(UsageRecord):
    """What a job has used, and who runs it."""

    id: ShownId = Field(examples=["42"])
    run_by: str = Field(description="worker, client (that polls it) or person", examples=["worker"])


@router.get("/api/job/{id}/usage", scope=READS_ANY, answers={404: "There is no such job"})
def what_it_used(yard: Yard, path: JobPath, caller: Caller) -> UsageAnswer:
    """Say what a job has used: attempts, sends, run time and bytes, as its record has counted them.

    One read. The key must hold a scope that reads jobs of its kind. `taskyard cost --job` says what it cost.
    """
    job, usage = used(yard, job_id_of(path.id, "job"))
    require_scope(caller.scopes, READS[job.kind])
    return UsageAnswer(id=str(job.id), run_by=run_by(yard, job), **asdict(usage))
