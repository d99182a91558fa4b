"""The list of messages: ``/mq/message/list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chalicelib.api.models import AnswerModel, Name, Topic
from chalicelib.api.mq.records import STATES_OF, MessageRecord, listed, with_trace
from chalicelib.api.routes import Router
from chalicelib.api.shapes import Paging
from chalicelib.core.states import Kind
from chalicelib.store.job_lists import LABELS, JobPage, Wanted, label_of, labels_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Messages")  # a section of the documentation that messages.py describes


class MessageQuery(Paging):
    """Which messages to list."""

    topic: Topic | None = None
    status: Annotated[str, Field(pattern="^(PENDING|PROCESSING|COMPLETED|FAILED)$")] | None = None
    trace_id: Name | None = None


class MessagePage(AnswerModel):
    """A page of messages, newest first."""

    page_data: list[MessageRecord]
    total_count: int
    total_is_exact: bool = Field(description="false: only the newest 10,000 were counted")


@router.get("/mq/message/list", scope="message")
def list_messages(yard: Yard, query: MessageQuery) -> MessagePage:
    """List messages, newest first."""
    labels = labels_of(*STATES_OF[query.status]) if query.status else LABELS
    wanted = Wanted(Kind.MESSAGE, query.topic, labels)
    page = _traced(yard, wanted, query) if query.trace_id else yard.lists.page(wanted, query.offset, query.per_page)
    bodies = yard.payloads.bodies(page.jobs)
    records = [listed(job, bodies[job.id]) for job in page.jobs]
    return MessagePage(page_data=records, total_count=page.total, total_is_exact=page.exact)


def _traced(yard: Yard, wanted: Wanted, query: MessageQuery) -> JobPage:
    """The page of the few messages that share a trace id."""
    jobs = [
        job
        for job in reversed(with_trace(yard, query.trace_id or ""))
        if job.kind is wanted.kind and wanted.type in (None, job.type) and label_of(job) in wanted.labels
    ]
    return JobPage(jobs[query.offset : query.offset + query.per_page], len(jobs), True)
