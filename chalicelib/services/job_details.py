"""A job with all that belongs to it, gathered for one page. Reads that need nothing of each other go side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from chalicelib.aws import threads
from chalicelib.core.errors import NotFound
from chalicelib.core.failures import group_of, is_dead_letter
from chalicelib.core.job import Job
from chalicelib.core.job_acts import allowed
from chalicelib.core.signature import without_secret, without_secrets
from chalicelib.core.states import Kind
from chalicelib.core.usage import usage_of
from chalicelib.engine import why as reasons
from chalicelib.engine.yard import Yard
from chalicelib.services.job_records import GraphPlace, JobDetail, JobRow, Similar, TimelineEvent, row_of
from chalicelib.services.reasons import why_of
from chalicelib.services.records import LogEntry, maybe_moment_of, moment_of
from chalicelib.services.task_records import console_of, log_of, poll_results
from chalicelib.store.ledger import OBJECT_PLACE
from chalicelib.store.payloads import PayloadLost

CHILDREN_MAX = 100
PARALLEL_READS = 6


@dataclass(slots=True)
class _Values:
    """What a job keeps beside its record, and what of it is there no more."""

    yard: Yard
    job: Job
    whole: bool
    lost: list[str] = field(default_factory=list)

    def read(self, name: str, place: str | None, value: Callable[[Job], Any]) -> Any:
        """A value; ``None`` for one in the bucket that was not asked for, and for one that is gone."""
        if self.left_out(place):
            return None
        try:
            return value(self.job)
        except PayloadLost:
            self.lost.append(name)
            return None

    def left_out(self, place: str | None) -> bool:
        """Whether what is kept at a place is not shown."""
        return not self.whole and (place or "").startswith(OBJECT_PLACE)

    def context(self, body: dict[str, Any]) -> Any:
        """The context as it is now, without its secret."""
        if self.job.context is None and self.job.context_at is None:
            return without_secret(body.get("context"))
        return without_secret(self.read("context", self.job.context_at, self.yard.payloads.context))


def detail_of(yard: Yard, job_id: int, *, whole: bool) -> JobDetail:
    """A job with all that belongs to it. Raises ``NotFound``, also for one that was deleted."""
    explained = reasons.why(yard, job_id)
    job = explained.record
    if not isinstance(job, Job):
        raise NotFound(f"job {job_id} was deleted", field="id", got=str(job_id))
    values = _Values(yard, job, whole)
    with threads(PARALLEL_READS) as readers:
        reading_body = readers.submit(values.read, "input", job.body_at, yard.payloads.body)
        reading_output = readers.submit(values.read, "output", job.output_at, yard.payloads.output)
        reading_log = readers.submit(_log, yard, job)
        reading_console = readers.submit(console_of, yard, job)
        reading_children = readers.submit(_children, yard, job)
        reading_parent = readers.submit(_parent, yard, job)
        reading_similar = readers.submit(_similar, yard, job)
        body = reading_body.result() or {}
        progress = job.progress
        return JobDetail(
            row=row_of(job, yard.now_ms()),
            why=why_of(job_id, explained),
            timeline=tuple(_timeline(job)),
            input=body.get("input"),
            input_bytes=usage_of(job).payload_bytes,
            input_is_left_out=values.left_out(job.body_at),
            output=reading_output.result(),
            output_is_left_out=values.left_out(job.output_at),
            error=None if job.error is None else job.error.message,
            error_type=None if job.error is None else job.error.type,
            error_where=None if job.error is None else job.error.where,
            message=job.msg if job.msg is not None else progress.message if progress else None,
            context=values.context(body),
            options=body.get("options"),
            next=without_secrets(body.get("next")),
            lost=tuple(values.lost),
            script=job.script,
            queue=job.queue,
            runner=job.runner,
            created_by=job.created_by,
            completed_by=job.completed_by,
            log=reading_log.result(),
            console=reading_console.result(),
            poll_results=poll_results(yard, job),
            usage=usage_of(job),
            children=reading_children.result(),
            parent=reading_parent.result(),
            graph=None if job.graph is None else GraphPlace(job.graph, job.node or ""),
            schedule=job.schedule,
            slot_time=maybe_moment_of(job.slot_at_ms),
            replayed_as=job.replayed_as,
            replay_of=job.replay_of,
            similar=reading_similar.result(),
            acts=allowed(job, yard.now_ms()),
        )


def _timeline(job: Job) -> Iterator[TimelineEvent]:
    events = job.events
    for before, event in pairwise([None, *events]):
        if event is not None:
            since_ms = None if before is None else event.at_ms - before.at_ms
            yield TimelineEvent(
                at=moment_of(event.at_ms), event=event.event, detail=dict(event.detail), since_previous_ms=since_ms
            )


def _log(yard: Yard, job: Job) -> tuple[LogEntry, ...]:
    return log_of(yard, job) if job.kind is Kind.TASK else ()


def _children(yard: Yard, job: Job) -> tuple[JobRow, ...]:
    if not job.has_children:
        return ()
    found = yard.jobs.find_many(yard.jobs.children(job.id)[:CHILDREN_MAX])
    return tuple(row_of(child, yard.now_ms()) for child in sorted(found, key=lambda child: child.id))


def _parent(yard: Yard, job: Job) -> JobRow | None:
    parent = None if job.parent_id is None else yard.jobs.find(job.parent_id)
    return None if parent is None else row_of(parent, yard.now_ms())


def _similar(yard: Yard, job: Job) -> Similar | None:
    """As the change stream has counted them; itself it is one of them in any case."""
    if not is_dead_letter(job):
        return None
    group = group_of(job)
    found = yard.insights.failures.read(group.kind, group.type).get(group)
    return Similar(group.fingerprint, max(1, 0 if found is None else found.failed))
