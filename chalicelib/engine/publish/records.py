"""Records of Kafka as messages: each is one job, however often it is delivered, and one that is unreadable a dead
letter with its bytes, from which a replay reads it again.

Whoever brings records in, be it the member of a group or an event source of Lambda, calls ``accept`` for each topic of
``engine.handlers.bridged.bridged(yard.settings).inward`` with the records of its ``source``, and lets the offsets move
on once that has returned. Where it raises, the whole batch may be delivered again: what is a message already, stays it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, Full, InvalidInput, TaskyardError, Unavailable
from chalicelib.core.job import Job, JobError
from chalicelib.core.kafka import Inward, Record, identity
from chalicelib.core.kafka_reading import METADATA, from_bytes, metadata, read, with_bytes
from chalicelib.core.states import Kind
from chalicelib.engine.failures import MESSAGE_MAX_CHARS
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import flow_of
from chalicelib.engine.publish.bulk import Outcome, publish_many
from chalicelib.engine.publish.dead_on_arrival import as_dead_letter
from chalicelib.engine.publish.malformed import BESIDE_BYTES
from chalicelib.engine.publish.prepare import prepare_unchecked
from chalicelib.engine.publish.publish import RECORDS, answering, reserving
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.directory import IdempotencyKey
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused

AT_ONCE = 98  # what two transactions hold: a record and its key are two actions of 99
UNREADABLE = "UnreadableRecord"
NOT_TRIED = Unavailable("a record before it was not accepted", remedy="deliver both again")


def accept(yard: Yard, bridged: Inward, records: Sequence[Record]) -> None:
    """Make a message of each record of a topic, in their order, unless it is one already.

    Raises ``Unavailable`` where one of them was not accepted; then all may be delivered again.
    """
    for outcome in accept_each(yard, bridged, records):
        if outcome is not None:
            raise outcome


def accept_each(yard: Yard, bridged: Inward, records: Sequence[Record]) -> list[TaskyardError | None]:
    """The same, for each record: ``None`` if it is accepted, or why it has to be delivered again.

    What comes after one that was not accepted is perhaps not tried; of messages that run in order, never.
    """
    outcomes: list[TaskyardError | None] = []
    for chunk in _chunks(yard, bridged, records):
        outcomes += _accepted(yard, bridged, chunk)
        if any(outcomes):
            break
    return outcomes + [NOT_TRIED] * (len(records) - len(outcomes))


def new_job_of(bridged: Inward, record: Record) -> NewJob | None:
    """What a record asks for; ``None`` for a tombstone that is skipped. Raises ``InvalidInput``."""
    content = read(bridged.reading, record)
    if content is None:
        return None
    return NewJob(
        kind=Kind.MESSAGE,
        type=bridged.topic,
        input=content.input,
        options={METADATA: metadata(bridged.cluster, record)},
        priority=content.priority,
        due_at_ms=content.due_at_ms,
        trace_id=content.trace_id,
        idempotency_key=content.idempotency_key,
        first_wins=True,  # there is nobody to be told of a conflict
        flow_key=content.flow_key,
        tenant=content.tenant,
        record=identity(bridged.cluster, record),
    )


def _chunks(yard: Yard, bridged: Inward, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    in_order = flow_of(yard, NewJob(kind=Kind.MESSAGE, type=bridged.topic)).order is not None
    size = 1 if in_order else AT_ONCE
    return (records[start : start + size] for start in range(0, len(records), size))


def _accepted(yard: Yard, bridged: Inward, records: Sequence[Record]) -> list[TaskyardError | None]:
    asked = [_asked(bridged, record) for record in records]
    published = iter(publish_many(yard, [each for each in asked if each is not None]))
    return [
        None if request is None else _concluded(yard, bridged, record, next(published))
        for record, request in zip(records, asked, strict=True)
    ]


def _asked(bridged: Inward, record: Record) -> NewJob | TaskyardError | None:
    try:
        return new_job_of(bridged, record)
    except TaskyardError as error:
        return error


def _concluded(yard: Yard, bridged: Inward, record: Record, outcome: Outcome) -> TaskyardError | None:
    if isinstance(outcome, Job):
        return None
    if isinstance(outcome, Unavailable | Full):
        return outcome
    try:
        with answering():
            _dead_letter(yard, bridged, record, outcome)
    except TaskyardError as error:
        return error
    return None


# -- what cannot be read ------------------------------------------------------------------------------


def _dead_letter(yard: Yard, bridged: Inward, record: Record, error: TaskyardError) -> None:
    """Record an unreadable record as a dead letter of its topic; once, however often it is delivered."""
    text = error.without_value()[:MESSAGE_MAX_CHARS]
    told = {"record": record.place, "topic": bridged.topic, "error": text}
    logger.warning("unreadable record %s of %s", record.place, bridged.topic, extra=told)
    kept = with_bytes(bridged.cluster, record, yard.settings.payload_max_bytes - BESIDE_BYTES)
    new_job = NewJob(kind=Kind.MESSAGE, type=bridged.topic, options={METADATA: kept}, max_attempts=1)
    prepared = prepare_unchecked(yard, new_job)
    out_of_order = replace(prepared.job, order=None, order_seq=None)  # nobody waits for it
    job = as_dead_letter(out_of_order, JobError(UNREADABLE, text), Cause.MALFORMED, yard.now_ms())
    key = IdempotencyKey(RECORDS, identity(bridged.cluster, record), "")
    try:
        yard.jobs.together([*yard.jobs.recording(job, prepared.body), reserving(yard, key, job)])
    except TransactionRefused as refused:
        if not refused.refused[-1]:
            raise Unavailable("the dead letter of a record was not written", remedy="try again") from refused
    except JobRefused as refused:
        if not (isinstance(refused.ledger, Job) and refused.ledger.uid == job.uid):
            raise Unavailable("a job id is taken", remedy="try again") from refused


def is_unreadable(job: Job) -> bool:
    """Whether a job is the dead letter of a record that could not be read."""
    return job.cause is Cause.MALFORMED and job.error is not None and job.error.type == UNREADABLE


def read_again(yard: Yard, request: NewJob) -> NewJob:
    """What the record asks for of which ``request`` is the dead letter, as its topic is read now.

    Raises ``Conflict`` where it still cannot be read, or was not kept whole.
    """
    from chalicelib.engine.handlers.bridged import bridged as bridged_topics  # imported late: few replays need it

    bridged = bridged_topics(yard.settings).source_of(request.type)
    try:
        record = from_bytes(request.options[METADATA])
    except InvalidInput as error:
        raise Conflict(error.message, field="id", remedy=error.remedy) from error
    try:
        made = None if bridged is None else new_job_of(bridged, record)
    except InvalidInput as error:
        told = f"the record cannot be read yet: {error.without_value()}"
        raise Conflict(told, field="id", remedy="mend its mapping first") from error
    if made is None:
        expected = "a topic that comes from Kafka, with a mapping that takes the record"
        raise Conflict("nothing reads this record any more", field="id", expected=expected)
    return replace(made, record=None, idempotency_key=None)
