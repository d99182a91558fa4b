"""Who did what, and when: ``/api/acts``; and how the handlers of other routes have it recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.scopes import SEE
from chalicelib.api.shapes import ShownTime
from chalicelib.core.trace import iso
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, ApiModel
from chalicelib.http.routes import Router
from chalicelib.logger import logger
from chalicelib.store.acts import POSITION, Act

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

PAGE = 50

router = Router("Acts", "Who did what by hand, and when.")


class ActsQuery(ApiModel):
    """Which part of the record."""

    cursor: str | None = Field(
        default=None, pattern=f"^{POSITION}$", description="The nextCursor of the answer before: what follows it"
    )


class ActRecord(AnswerModel):
    """Something that somebody did by hand."""

    at: ShownTime
    by: str = Field(description="The name of the access key or user; local where none is needed")
    act: str = Field(description="What was done", examples=["pause"])
    on: dict[str, str] = Field(
        description="What it was done to, by name: kind, type, topic, queue, id, key, schedule, graph, bulk"
    )
    detail: dict[str, Any] = Field(description="How, where there is more to say")


class ActList(AnswerModel):
    """Acts, the newest first."""

    items: list[ActRecord]
    next_cursor: str | None = Field(description="Sent as cursor it gives what follows; null at the end of the record")


@router.get("/api/acts", scope=SEE)
def list_acts(yard: Yard, query: ActsQuery) -> ActList:
    """List what people did by hand in the last 90 days, the newest first, fifty at a time.

    Acts on single jobs from the console, on graphs, acts in bulk, pausing and resuming, limits, schedules, and replays.
    """
    found = yard.acts.newest(PAGE + 1, query.cursor)
    page = found[:PAGE]
    following = page[-1].position if len(found) > PAGE else None
    return ActList(
        items=[
            ActRecord(at=iso(each.at_ms), by=each.by, act=each.act, on=dict(each.on), detail=dict(each.detail))
            for each in page
        ],
        next_cursor=following,
    )


def note_use(yard: Yard, digest: str) -> None:
    """Remember that an access key was used; where AWS does not take it, the log says so, and the request goes on."""
    try:
        yard.directory.note_key_use(digest, yard.now_ms())
    except AWS_FAILURES as error:
        logger.warning("the use of an access key is not noted", extra={"error": str(error)})


def record(yard: Yard, caller: Caller, act: str, on: dict[str, str | None], **detail: Any) -> None:
    """Remember that ``caller`` did ``act`` to what ``on`` names, by name; a ``None`` names nothing.

    Names of ``detail`` are those of an answer's fields.

    It is called when the act is done, with one write. What AWS does not take is in the log instead, as an error: the
    act is done all the same, and its answer must say so.
    """
    position = f"{yard.now_ms():013d}-{yard.token()}"
    named = {name: value for name, value in on.items() if value is not None}
    try:
        yard.acts.record(Act(position, caller.name, act, named, detail))
    except AWS_FAILURES:
        told = {"act": act, "by": caller.name, "on": named, "detail": detail}
        logger.exception("an act is not in the record", extra=told)
