"""Yao's task pools over HTTP: ``/pools/{name}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.shapes import TENANT_HEADERS, request_tenant_of
from chalicelib.engine.commands import pools
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, ApiModel, Name, Target, Tenant, Text
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

ARGS_MAX = 1_000

router = Router("Pools", "Yao's task pools: a limited number of workers, a queue of limited length, events.")
ROUTERS = (router,)


class PoolPath(ApiModel):
    """A pool by its name."""

    name: Name = Field(description="The pool, as its file is called", examples=["csv_summary"])


class JobPath(PoolPath):
    """A job of a pool."""

    id: Name = Field(description="The job's id", examples=["42"])


class AddBody(ApiModel):
    """A job to be added."""

    args: list[Any] = Field(
        default_factory=list, max_length=ARGS_MAX, description="What the process is called with, after the job's id"
    )
    tenant: Tenant | None = Field(default=None, description="On whose behalf: tenants share a lane", examples=["acme"])
    flow_key: Target | None = Field(default=None, description="What it has in common with others", examples=["c-7"])


class Added(AnswerModel):
    """The job that was added, or none."""

    id: int = Field(description="The job's id; 0: the pool is full, nothing was added", examples=[42])


class ProgressBody(ApiModel):
    """How far a running job is."""

    id: int | str = Field(description="The job's id", examples=[42])
    current: int | float
    total: int | float
    message: Text = ""


class PoolJob(AnswerModel):
    """A job of a pool."""

    id: int
    status: str = Field(description="WAITING, RUNNING, SUCCESS or FAILURE", examples=["RUNNING"])
    current: int | float = Field(description="How far it is, 0 before it says so")
    total: int | float = Field(description="Of how much, 0 before it says so")
    message: str
    response: Any = Field(description="What the process returned; the error's text after a failure; null before either")


@router.post(
    "/pools/{name}/add",
    scope="task",
    answers={404: "There is no such pool", 409: "event.next's id is taken"},
    headers=TENANT_HEADERS,
)
def add(yard: Yard, path: PoolPath, body: AddBody, caller: Caller) -> Added:
    """Add a job to a pool.

    Its process is called with the job's id and `args`, once one of the pool's workers is free. The answer's `id` is 0
    where as many jobs are unfinished as the pool's `size` allows.
    """
    tenant = request_tenant_of(body.tenant, caller.headers)
    return Added(id=pools.add(yard, path.name, body.args, tenant, body.flow_key))


@router.post("/pools/{name}/progress", scope="task", answers={404: "There is no such job", 409: "It is not running"})
def progress(yard: Yard, path: PoolPath, body: ProgressBody) -> None:
    """Tell how far a running job is; the pool's event.progress is told."""
    pools.report(yard, path.name, job_id(body.id, "job"), body.current, body.total, body.message)


@router.get("/pools/{name}/jobs/{id}", scope="task", answers={404: "There is no such job"})
def get_job(yard: Yard, path: JobPath) -> PoolJob:
    """A job of a pool as it stands."""
    return PoolJob.model_validate(pools.find(yard, path.name, job_id(path.id, "job")))
