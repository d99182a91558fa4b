"""Messages that used up their deliveries, and their replay: ``/mq/dlq``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.mq.records import MessageRecord, whole_record
from chalicelib.api.paging import ListAnswer, Paging, bodies_of, listed
from chalicelib.api.shapes import FASTIFY, ShownId, ShownTime
from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, TaskyardError
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from chalicelib.http.exchange import Caller
from chalicelib.http.models import IF_SET, AnswerModel, ApiModel, Id, Topic
from chalicelib.http.one_of import OneOf
from chalicelib.http.problems import BadRequest
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id as job_id_of
from chalicelib.services.dead_letters import INDEX_KEYS_OF
from chalicelib.services.records import dead_letter_of
from chalicelib.store.job_queries import JobQuery

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

REPLAYS_MAX = 100
NOT_REPLAYED = {400: "It was replayed already, or cannot be", 404: "There is no such dead letter"}

router = Router("Dead letters", "List messages that used up their deliveries, and replay them.", style=FASTIFY)


class DeadLetterQuery(Paging):
    """Which dead letters to list."""

    topic: Topic | None = None
    replayed: bool | None = None


class ReplayBody(OneOf):
    """One dead letter, several, or those of a topic."""

    GROUPS = (("id",), ("ids",), ("topic",))

    id: Id | None = None
    ids: list[Id] | None = Field(default=None, min_length=1, max_length=REPLAYS_MAX)
    topic: Topic | None = Field(default=None, description="The oldest 100 of the topic that were not replayed yet")


class ReplayPath(ApiModel):
    """A dead letter by its id."""

    id: str


class DeadLetter(AnswerModel):
    """A message that used up its deliveries."""

    id: ShownId
    original_id: ShownId
    topic: str
    payload: Any
    error_message: str | None
    cause: Cause | None = Field(description="What made that failure the last")
    retry_count: int
    trace_id: str
    replayed: bool
    replayed_at: ShownTime | None
    replayed_as: ShownId | None = Field(description="The message that the replay made")
    created_at: ShownTime = Field(description="When it became a dead letter")
    updated_at: ShownTime


class DeadLetterPage(ListAnswer):
    """A page of dead letters, newest message first."""

    page_data: list[DeadLetter]


class ReplayedMessage(MessageRecord):
    """The message that a replay made."""

    dead_letter_id: str = Field(description="The dead letter that was replayed", examples=["1023"])


class ReplayResult(AnswerModel):
    """What became of one of several dead letters: ``messageId`` of one that was replayed, of another the ``error``."""

    id: str
    success: bool
    message_id: Annotated[str | None, IF_SET] = Field(default=None, description="The new message")
    error: Annotated[str | None, IF_SET] = Field(default=None, description="Why it was not replayed")


class TopicReplay(AnswerModel):
    """What became of a topic's dead letters."""

    replayed: int
    failed: int = Field(description="How many could not be replayed; the results say why")
    has_more: bool = Field(description="More are left: repeat the request, unless nothing was replayed")
    results: list[ReplayResult]


@router.get("/mq/dlq/list", scope="dlq")
def list_dead_letters(yard: Yard, query: DeadLetterQuery) -> DeadLetterPage:
    """List dead letters, the newest message first."""
    page = listed(yard.lists, JobQuery(Kind.MESSAGE, query.topic, INDEX_KEYS_OF[query.replayed]), query)
    bodies = bodies_of(yard.payloads, page.jobs)
    letters = [DeadLetter.model_validate(dead_letter_of(job, bodies[job.id])) for job in page.jobs]
    return DeadLetterPage(
        page_data=letters, total_count=page.total, total_is_exact=page.exact, next_cursor=page.next_cursor
    )


@router.post("/mq/dlq/replay", scope="dlq:manage", answers=NOT_REPLAYED)
def replay(yard: Yard, body: ReplayBody, caller: Caller) -> ReplayedMessage | list[ReplayResult] | TopicReplay:
    """Replay one dead letter, several, or those of a topic: each becomes a new message with a trace of its own.

    For one the answer is the new message. For several it lists, in order, what became of each. Of a topic the oldest
    100 that were not replayed yet are; the answer counts them, and says whether to repeat the request.
    """
    if body.ids is None and body.topic is None:
        return _replayed(yard, str(body.id), caller)
    if body.topic is not None:
        of_topic = _replay_topic(yard, body.topic)
        record(yard, caller, "replay", {"kind": Kind.MESSAGE, "topic": body.topic}, replayed=of_topic.replayed)
        return of_topic
    results = [_replay_result(yard, str(text)) for text in body.ids or ()]
    replayed = [result.id for result in results if result.success]
    record(yard, caller, "replay", {"kind": Kind.MESSAGE}, ids=replayed)
    return results


@router.post("/mq/dlq/replay/{id}", scope="dlq:manage", answers=NOT_REPLAYED)
def replay_by_path(yard: Yard, path: ReplayPath, caller: Caller) -> ReplayedMessage:
    """Replay one dead letter; the answer is the new message."""
    return _replayed(yard, path.id, caller)


def _replayed(yard: Yard, text: str, caller: Caller) -> ReplayedMessage:
    job = _replay(yard, text)
    dead_letter_id = str(job_id_of(text, "dead letter"))
    on: dict[str, str | None] = {"kind": job.kind, "topic": job.type, "id": dead_letter_id}
    record(yard, caller, "replay", on, replayedAs=str(job.id))
    return ReplayedMessage(**dict(whole_record(yard, job)), dead_letter_id=dead_letter_id)


def _replay(yard: Yard, text: str) -> Job:
    """The message that a replay made. Raises ``NotFound``, and ``BadRequest`` for what was replayed or cannot be."""
    job_id = job_id_of(text, "dead letter")
    try:
        return lifecycle.replay(yard, job_id)
    except lifecycle.Replayed as replayed:
        dead = yard.jobs.find(job_id)
        successor = dead.replayed_as if dead is not None else None
        raise BadRequest(
            f"dead letter {job_id} was replayed already" + (f", as message {successor}" if successor else ""),
            field="id",
            expected="a dead letter that was not replayed yet",
            got=text,
            remedy="if the new message failed as well, replay that one",
        ) from replayed
    except Conflict as conflict:
        raise BadRequest(
            f"dead letter {job_id} is not replayed: {conflict.message}", field="id", got=text, remedy=conflict.remedy
        ) from conflict


def _replay_result(yard: Yard, text: str) -> ReplayResult:
    try:
        return ReplayResult(id=text, success=True, message_id=str(_replay(yard, text).id))
    except TaskyardError as error:
        return ReplayResult(id=text, success=False, error=error.message)


def _replay_topic(yard: Yard, topic: str) -> TopicReplay:
    wanted = JobQuery(Kind.MESSAGE, topic, INDEX_KEYS_OF[False], descending=False)
    letters = yard.lists.cursor_page(wanted, REPLAYS_MAX)
    results = [_replay_result(yard, str(job.id)) for job in letters.jobs]
    replayed = sum(result.success for result in results)
    return TopicReplay(
        replayed=replayed, failed=len(results) - replayed, has_more=letters.next is not None, results=results
    )
