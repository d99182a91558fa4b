"""How much waits, and removing what is done: ``/mq/queue``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from chalicelib.api.mq.records import STATES_OF
from chalicelib.api.paging import cursor_in
from chalicelib.api.shapes import FASTIFY, Moment, to_ms
from chalicelib.core.cursors import Cursor
from chalicelib.engine.clock.retention import Bounds, messages_to_remove, remove_matching, unreplayed
from chalicelib.engine.projections.depth import depth_of
from chalicelib.http.models import AnswerModel, ApiModel, Topic
from chalicelib.http.routes import Router
from chalicelib.store.job_queries import POSITION

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

REMOVALS_MAX = 1_000
CLEANUP_BUDGET_MS = 20_000  # API Gateway waits 29 s for an answer

router = Router("Queues", "How much waits in queues, and removing what is done.", style=FASTIFY)


class DepthQuery(ApiModel):
    """Which topic to look at."""

    topic: Topic | None = Field(default=None, description="Default all topics")


class Depth(AnswerModel):
    """How many messages wait."""

    depth: int = Field(description="Messages that are PENDING, delayed ones included")
    is_exact: bool = Field(description="false above 10,000: then from the counters, which are a moment behind")
    by_topic: dict[str, int] | None = Field(
        description="The topics where messages wait, from the counters; null where one topic was asked for"
    )


class CleanupBody(ApiModel):
    """What to remove."""

    status: Literal["COMPLETED", "FAILED"] = Field(
        default="COMPLETED", description="FAILED: dead letters that were replayed, and canceled messages"
    )
    include_unreplayed: bool = Field(
        default=False, description="With FAILED: dead letters that were not replayed, too; nothing brings them back"
    )
    older_than: Moment | None = Field(
        default=None, description="Only what last changed before this time; default everything of the status"
    )
    topic: Topic | None = None
    cursor: str | None = Field(
        default=None, description="The nextCursor of the answer before, to pass over what it looked at in vain"
    )

    @property
    def filters(self) -> str:
        """What the body asks for beside its place."""
        return f"{type(self).__name__} {self.model_dump_json(exclude={'cursor'})}"


class Cleaned(AnswerModel):
    """What was removed."""

    deleted: int
    kept: int = Field(
        description="With FAILED: dead letters of any age that were not replayed, and therefore stay; counted up to "
        "10,000"
    )
    has_more: bool = Field(description="There may be more to remove: repeat the request")
    next_cursor: str | None = Field(description="Where the next request may go on; it need not")


@router.get("/mq/queue/depth", scope="dashboard")
def queue_depth(yard: Yard, query: DepthQuery) -> Depth:
    """How many messages wait, of one topic or of all.

    Counted on the ledger's index up to 10,000; beyond that the counters answer, which the change stream moves.
    """
    return Depth.model_validate(depth_of(yard, query.topic))


@router.post("/mq/queue/cleanup", scope="dlq:manage")
def clean_up(yard: Yard, body: CleanupBody) -> Cleaned:
    """Remove messages that are done, the oldest first, with their payloads.

    One request removes about 1,000 or works for 20 seconds, whichever ends first; hasMore says whether to repeat
    it. A removed message is gone from lists at once and cannot come back; its trace is shown for 15 days more.
    A dead letter that was not replayed stays unless `includeUnreplayed` is true.
    """
    started_ms = yard.now_ms()
    removed = remove_matching(
        yard,
        messages_to_remove(body.topic, STATES_OF[body.status], include_unreplayed=body.include_unreplayed),
        to_ms(body.older_than) if body.older_than is not None else None,
        Bounds(REMOVALS_MAX, lambda: yard.now_ms() - started_ms < CLEANUP_BUDGET_MS),
        cursor_in(body.cursor, body.filters, POSITION).position if body.cursor is not None else None,
    )
    position = removed.place
    following = None if position is None else Cursor(position, 0, exact=False).to_text(body.filters)
    kept = unreplayed(yard, body.topic) if body.status == "FAILED" and not body.include_unreplayed else 0
    return Cleaned(deleted=removed.count, kept=kept, has_more=position is not None, next_cursor=following)
