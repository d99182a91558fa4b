"""Creating jobs: ``POST /job``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, WithJsonSchema

from chalicelib.api.entries import key_of, require_service
from chalicelib.api.kue.words import CREATING, KueError
from chalicelib.api.shapes import TENANT_HEADER, idempotency_key_of, request_tenant_of
from chalicelib.core.errors import TaskyardError, TooLarge, Unavailable
from chalicelib.core.job import Job
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.models import AnswerModel
from chalicelib.http.routes import Router
from chalicelib.services.kue_orders import new_job

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

BULK_MAX = 2_000

router = Router("kue", "kue's JSON API: a kue job is a task, shown in kue's words.", style=CREATING)


class KueCreated(AnswerModel):
    """The job is accepted."""

    message: str = Field(examples=["job created"])
    id: int = Field(examples=[1])


JOB_SCHEMA = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "examples": ["email"]},
        "data": {"description": "Any JSON"},
        "options": {
            "type": "object",
            "description": "attempts, priority, delay, ttl, backoff, removeOnComplete, searchKeys, tenant, flowKey",
        },
    },
}
Entries = list[KueCreated | KueError]
Jobs = Annotated[
    Any,
    WithJsonSchema({"anyOf": [JOB_SCHEMA, {"type": "array", "maxItems": BULK_MAX, "items": JOB_SCHEMA}]}),
]


@router.post(
    "/job",
    scope="task",
    answer=KueCreated | Entries,
    answers={
        204: "The body is empty: nothing was made",
        400: KueError | Entries,
        409: "The idempotency key was used with another request",
        413: "The data is too large",
        503: KueError | Entries,
        429: "As many jobs of the type are unfinished as may be",
    },
    headers={
        "Idempotency-Key": "Two requests with one key are one: the entries of a list have key#0, key#1, ...",
        TENANT_HEADER: "On whose behalf, where a job's options do not say",
    },
)
def create_jobs(yard: Yard, body: Jobs | None, caller: Caller) -> Answer:
    """Create a job, or those of a list in its order.

    A type without a handler is accepted: the job is inactive until a handler is deployed, or a program elsewhere takes
    it. Of a list, an entry that is wrong is told in its place and costs the others nothing. 503: AWS did not take
    some of them; send the same again, under the same Idempotency-Key.
    """
    if body is None or body in ({}, []):
        return Answer(204)
    key, tenant = idempotency_key_of(None, caller.headers), request_tenant_of(None, caller.headers)
    if not isinstance(body, list):
        return Answer(200, _created(publish(yard, new_job(yard, body, key, tenant))))
    if len(body) > BULK_MAX:
        raise TooLarge(f"these are too many at once: expected at most {BULK_MAX} jobs, got {len(body)}")
    outcomes = _created_all(yard, body, key, tenant)
    status = 503 if any(isinstance(outcome, Unavailable) for outcome in outcomes) else 400
    failed = any(isinstance(outcome, TaskyardError) for outcome in outcomes)
    answers = [
        {"error": str(outcome)} if isinstance(outcome, TaskyardError) else _created(outcome) for outcome in outcomes
    ]
    return Answer(status if failed else 200, answers)


def _created(job: Job) -> KueCreated:
    return KueCreated(message="job created", id=job.id)


def _created_all(yard: Yard, entries: Sequence[Any], key: str | None, tenant: str | None) -> list[Job | TaskyardError]:
    """What became of each entry, in order. Raises ``Unavailable`` where AWS took none."""
    new_jobs = [_new_job_or_error(yard, entry, key_of(None, key, place), tenant) for place, entry in enumerate(entries)]
    outcomes = publish_many(yard, new_jobs)
    require_service(outcomes)
    return outcomes


def _new_job_or_error(yard: Yard, entry: Any, key: str | None, tenant: str | None) -> NewJob | TaskyardError:
    try:
        return new_job(yard, entry, key, tenant)
    except TaskyardError as error:
        return error
