"""Who asks, and what they may do here: ``/api/me``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.scopes import ACT, SEE
from chalicelib.api.shapes import ShownTime
from chalicelib.core.access import allows
from chalicelib.core.trace import iso
from chalicelib.core.version import VERSION
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Console", "How this installation stands, and acts on what is found.")


class May(AnswerModel):
    """What a caller may do beyond looking."""

    act: bool = Field(description="Act on jobs, queues and flow")
    create: bool = Field(description="Create tasks")
    publish: bool = Field(description="Publish messages")
    schedules: bool = Field(description="Pause, resume and run schedules")
    make_schedules: bool = Field(description="Create, change and delete schedules")


class Prefixes(AnswerModel):
    """What paths begin with that a setting may move."""

    tasks: str = Field(examples=["/api/task"])
    messages: str = Field(examples=["/mq"])


class Me(AnswerModel):
    """Who asks, where, and what they may do."""

    name: str = Field(description="Of the access key; local where none is needed", examples=["ops"])
    scopes: list[str] = Field(examples=[["console", "console:manage"]])
    stage: str = Field(examples=["dev"])
    version: str = Field(description="Of Taskyard", examples=[VERSION])
    local: bool = Field(description="It runs on this machine, and no key is needed")
    now: ShownTime
    deployed_at: ShownTime | None = Field(description="When it was last deployed, or started here; null: not known")
    may: May
    prefixes: Prefixes


@router.get("/api/me", scope=SEE)
def who_am_i(yard: Yard, caller: Caller) -> Me:
    """Say who asks and what they may do, so that a page shows no button that would be refused. One read."""
    deployed_at_ms = yard.deployments.deployed_at_ms()
    return Me(
        name=caller.name,
        scopes=sorted(caller.scopes),
        stage=yard.settings.stage,
        version=VERSION,
        local=yard.settings.local,
        now=iso(yard.now_ms()),
        deployed_at=None if deployed_at_ms is None else iso(deployed_at_ms),
        may=May(
            act=allows(caller.scopes, ACT),
            create=allows(caller.scopes, "task"),
            publish=allows(caller.scopes, "message"),
            schedules=allows(caller.scopes, ("schedule", ACT)),
            make_schedules=allows(caller.scopes, "schedule"),
        ),
        prefixes=Prefixes(tasks=yard.settings.task_prefix, messages=yard.settings.mq_prefix),
    )
