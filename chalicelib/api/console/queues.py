"""The queues, and pausing them: ``/api/queues``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.scopes import ACT, SEE
from chalicelib.api.shapes import ShownTime
from chalicelib.core.trace import iso
from chalicelib.engine.projections.queues import QueueStanding, queues_of
from chalicelib.engine.worker import pause
from chalicelib.engine.worker.pause import QUEUE, TYPE, queue_target, type_target
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, Topic
from chalicelib.http.one_of import OneOf
from chalicelib.http.routes import Router
from chalicelib.store.pauses import Pause

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Queues of jobs", "What travels where, who consumes it, and pausing it.")


class PauseBody(OneOf):
    """A task type, a topic, or a queue."""

    GROUPS = (("type",), ("topic",), ("queue",))

    type: Topic | None = Field(default=None, description="A task type", examples=["text.statistics"])
    topic: Topic | None = Field(default=None, description="Or a topic")
    queue: Topic | None = Field(default=None, description="Or a queue: a pool with all its types, or a topic")

    @property
    def target(self) -> str:
        """The same, as the engine names it: a task type and a topic are paused alike."""
        return queue_target(self.queue) if self.queue is not None else type_target(self.type or self.topic or "")

    @property
    def on(self) -> dict[str, str | None]:
        """The same for the record of acts."""
        return {"type": self.type, "topic": self.topic, "queue": self.queue}


class DepthRecord(AnswerModel):
    """About how many messages SQS holds."""

    visible: int = Field(description="To be received")
    in_flight: int = Field(description="Received, and not deleted yet")
    delayed: int = Field(description="Sent with a delay")


class LaneRecord(AnswerModel):
    """A lane: the SQS queue of one priority."""

    name: str = Field(examples=["normal"])
    depth: DepthRecord | None = Field(description="null: not asked for, or there is no such queue in SQS yet")


class PauseRecord(AnswerModel):
    """Something that is paused."""

    type: str | None = Field(description="A task type or topic; null where the whole queue is paused")
    since: ShownTime
    by: str | None = Field(description="Who paused it; null: nobody did, or it is not known")
    resuming: bool = Field(description="Its jobs are sent out again")
    unhandled: bool = Field(description="Nobody paused it: its jobs wait for a handler to be deployed")


class SlotsRecord(AnswerModel):
    """The slots of a task type that may not run more often at once."""

    type: str
    limit: int | None
    running: int
    waiting: int


class QueueRecord(AnswerModel):
    """A queue."""

    name: str
    kind: str = Field(description="topic or pool")
    types: list[str] = Field(description="The task types of a pool; of a topic itself")
    lanes: list[LaneRecord] = Field(description="The soonest first")
    consumers: list[str] = Field(description="Which handlers consume it; none: clients poll it")
    pending: int
    running: int
    oldest_ready_ms: int | None = Field(
        description="For how long a job could have been started; null: none of the five deepest types, or none is found"
    )
    paused: PauseRecord | None = Field(description="The pause of the whole queue, or else that of its only type")
    pauses: list[PauseRecord] = Field(description="Those of the queue and of its types, the oldest first")
    slots: list[SlotsRecord] = Field(description="Of its limited task types")


class QueuesAnswer(AnswerModel):
    """The queues, those with the most pending and running jobs first."""

    items: list[QueueRecord]
    left_out: int = Field(description="How many more there are: at most 500 are shown")
    dead_letter_queue: DepthRecord | None = Field(description="What SQS has given up, on its way back")


class Paused(AnswerModel):
    """What is paused now."""

    type: str | None
    topic: str | None
    queue: str | None


class Resumed(AnswerModel):
    """What became of the jobs that waited."""

    sent: int = Field(description="How many were sent that had waited")


@router.get("/api/queues", scope=SEE)
def list_queues(yard: Yard) -> QueuesAnswer:
    """List the queues with their lanes, consumers, pauses and slots.

    SQS is asked for the lanes of the 25 busiest, at most once in five seconds.
    """
    found = queues_of(yard)
    return QueuesAnswer(
        items=[_shown(each) for each in found.shown],
        left_out=found.left_out,
        dead_letter_queue=DepthRecord.model_validate(found.dead_letter_queue) if found.dead_letter_queue else None,
    )


@router.post("/api/queues/pause", scope=ACT)
def pause_queue(yard: Yard, body: PauseBody, caller: Caller) -> Paused:
    """Begin no more jobs of a task type, a topic or a queue; what runs goes on. Workers notice within 5 s."""
    pause.pause(yard, body.target)
    record(yard, caller, "pause", body.on)
    return Paused.model_validate(body)


@router.post("/api/queues/resume", scope=ACT, answers={404: "This is not paused"})
def resume_queue(yard: Yard, body: PauseBody, caller: Caller) -> Resumed:
    """Let the jobs of a task type, a topic or a queue begin again, those that waited first."""
    sent = pause.resume(yard, body.target)
    record(yard, caller, "resume", body.on, sent=sent)
    return Resumed(sent=sent)


def _shown(found: QueueStanding) -> QueueRecord:
    pauses = [_pause(each) for each in found.pauses]
    whole = next((each for each in pauses if each.type is None or len(found.types) == 1), None)
    return QueueRecord(
        name=found.name,
        kind=found.kind,
        types=list(found.types),
        lanes=[
            LaneRecord(name=lane.label, depth=DepthRecord.model_validate(lane.depth) if lane.depth else None)
            for lane in found.lanes
        ],
        consumers=list(found.consumers),
        pending=found.pending,
        running=found.running,
        oldest_ready_ms=found.oldest_ready_ms,
        paused=whole,
        pauses=pauses,
        slots=[
            SlotsRecord(type=name, limit=each.concurrency, running=each.running, waiting=each.waiting["slot"].before)
            for name, each in found.slots.items()
        ],
    )


def _pause(found: Pause) -> PauseRecord:
    return PauseRecord(
        type=None if found.target.startswith(QUEUE) else found.target.removeprefix(TYPE),
        since=iso(found.since_ms),
        by=found.by,
        resuming=found.resuming,
        unhandled=found.unhandled,
    )
