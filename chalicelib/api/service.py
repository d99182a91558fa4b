"""Routes about the installation itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.engine.health import check
from chalicelib.http.exchange import Answer
from chalicelib.http.models import AnswerModel
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Service", "The state of this installation.")
ROUTERS = (router,)


class DependencyState(AnswerModel):
    """How one dependency answered."""

    status: str = Field(examples=["ok"])
    took_ms: int
    detail: str


class Health(AnswerModel):
    """The state of this installation and of each of its dependencies."""

    status: str = Field(description="ok, or degraded when a dependency does not answer well", examples=["ok"])
    stage: str
    prefix: str | None = Field(description="What the names of its AWS resources begin with; told in stage local only")
    endpoint: str | None = Field(description="Where AWS is emulated; told in stage local only")
    dependencies: dict[str, DependencyState]


@router.get("/health", scope=None, answers={503: Health})
def health(yard: Yard) -> Answer:
    """Ask every dependency whether it answers."""
    found = check(yard)
    ok = all(dependency.ok for dependency in found.values())
    report = Health(
        status="ok" if ok else "degraded",
        stage=yard.settings.stage,
        prefix=yard.settings.prefix if yard.settings.local else None,
        endpoint=os.environ.get("AWS_ENDPOINT_URL") if yard.settings.local else None,
        dependencies={
            name: DependencyState(status="ok" if seen.ok else "failing", took_ms=seen.took_ms, detail=seen.detail)
            for name, seen in found.items()
        },
    )
    return Answer(200 if ok else 503, report)
