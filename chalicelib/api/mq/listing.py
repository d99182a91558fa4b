"""The list of messages: ``/mq/message/list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chalicelib.api.mq import records
from chalicelib.api.mq.records import STATES_OF, MessageRecord
from chalicelib.api.paging import ListAnswer, Paging, bodies_of, listed
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.states import Kind
from chalicelib.http.models import Name, Topic
from chalicelib.http.routes import Router
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery, index_keys_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Messages", style=FASTIFY)  # a section of the documentation that messages.py describes


class MessageQuery(Paging):
    """Which messages to list; all conditions hold together."""

    topic: Topic | None = None
    status: Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED"] | None = None
    trace_id: Name | None = None


class MessagePage(ListAnswer):
    """A page of messages, newest first."""

    page_data: list[MessageRecord]


@router.get("/mq/message/list", scope="message")
def list_messages(yard: Yard, query: MessageQuery) -> MessagePage:
    """List messages, newest first.

    Page numbers count from the newest, so what is published meanwhile moves the pages; nextCursor does not move,
    and a page by cursor costs the same however deep it is. Payloads above 256 KB, and those that an answer has no
    room for, are null.
    """
    index_keys = index_keys_of(*STATES_OF[query.status]) if query.status else INDEX_KEYS
    page = listed(yard.lists, JobQuery(Kind.MESSAGE, query.topic, index_keys, trace_id=query.trace_id), query)
    bodies = bodies_of(yard.payloads, page.jobs)
    return MessagePage(
        page_data=[records.listed(job, bodies[job.id]) for job in page.jobs],
        total_count=page.total,
        total_is_exact=page.exact,
        next_cursor=page.next_cursor,
    )
