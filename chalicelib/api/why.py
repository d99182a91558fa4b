"""Why a job is not running: ``/api/job/{id}/why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.scopes import READS, READS_ANY
from chalicelib.api.shapes import ShownId, ShownTime
from chalicelib.core.reasons import Code
from chalicelib.engine.why import why
from chalicelib.http.access import require_scope
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, ApiModel, Name
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id as job_id_of
from chalicelib.services.reasons import why_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Jobs", "Jobs of either kind: tasks and messages.")
ROUTERS = (router,)


class JobPath(ApiModel):
    """A job by its id."""

    id: Name = Field(description="The id of a task or a message", examples=["42"])


class WhyAnswer(AnswerModel):
    """Why a job is not running, or what has become of it."""

    id: ShownId = Field(examples=["42"])
    state: str = Field(description="pending, running, waiting, success, failed, canceled or deleted")
    reason: Code = Field(description="For programs; docs/why.md has a line for each", examples=["limit_reached"])
    sentence: str = Field(description="For people, on one line", examples=["All 2 slots of the type t are taken."])
    expected_start: ShownTime | None = Field(description="When it starts (ISO 8601), where that can be known")
    since: ShownTime | None = Field(description="Since when it is so (ISO 8601)")
    details: dict[str, Any] = Field(description="What the sentence says, and more, for programs")
    remedy: str | None = Field(description="What people can do; null where nothing is to be done")


@router.get("/api/job/{id}/why", scope=READS_ANY, answers={404: "There is no such job"})
def why_not_running(yard: Yard, path: JobPath, caller: Caller) -> WhyAnswer:
    """Say why a job is not running, or what has become of it.

    Of a task or a message in any state, at most three reads. The key must hold a scope that reads jobs of its kind.
    """
    job_id = job_id_of(path.id, "job")
    found = why(yard, job_id)
    require_scope(caller.scopes, READS[found.kind])
    return WhyAnswer.model_validate(why_of(job_id, found))
