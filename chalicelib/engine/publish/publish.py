"""Publishing: from what a client asked for to a job on its way.

A plain first publish is queue first, ledger second: two calls. It is accepted once both are done, so that whoever has
an id finds its job. Whatever needs the ledger's word first (an idempotency key, a parent, a start beyond 15 minutes) is
recorded as unsent, then sent; so are many at once (``bulk.py``). A manual task is only recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from time import sleep
from typing import Any

from chalicelib.core.errors import Conflict, Full, InvalidInput, Unavailable
from chalicelib.core.job import MANUAL, Job, changed
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import beyond_sqs, wake_for_wait
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import limit_of
from chalicelib.engine.publish.flow import Kept, marked
from chalicelib.engine.publish.prepare import Prepared, prepare
from chalicelib.engine.publish.send import AWS_FAILURES, send
from chalicelib.engine.publish.wait_list import in_line, lined_up, start
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.concurrency import Action
from chalicelib.store.directory import IdempotencyKey
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused

NEW_ID_TRIES = 3
LEDGER_TRIES = 24
FIRST_WAIT_S = 0.0025
NOT_OF_THE_REQUEST = frozenset({"idempotency_key", "record", "first_wins", "id", "graph", "node", "edges"})
RECORDS = "record"  # the scope of the keys of records; no client's
# To requests since idempotency keys were first kept: without them, a request is what it was then.
ADDED = frozenset({"tenant", "flow_key", "attempts_made"})


def publish(yard: Yard, new_job: NewJob) -> Job:
    """Accept one job and answer its record, as it was accepted, even where a worker has begun it since.

    Raises ``InvalidInput`` for what can never run, ``TooLarge``, ``Conflict`` for an idempotency key used with
    another request, and ``Unavailable`` when AWS does not answer (the job may or may not be accepted).
    """
    for _ in range(NEW_ID_TRIES):
        try:
            with answering():
                return _start(yard, new_job, prepare(yard, new_job))
        except _IdTaken as taken:
            logger.warning("job id is taken, taking another", extra={"job_id": taken.job_id})
    raise Unavailable("no free job id was found", remedy="look at the id block in the directory table")


# -- one job ------------------------------------------------------------------------------------------


class _IdTaken(Exception):
    """Another job has the id."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id)
        self.job_id = job_id


class AliasTaken(Conflict):
    """The job ``holder`` has the alias."""

    def __init__(self, holder: int, message: str, **explanation: Any) -> None:
        super().__init__(message, **explanation)
        self.holder = holder


@contextmanager
def answering() -> Iterator[None]:
    """Say ``Unavailable`` where AWS does not answer."""
    try:
        yield
    except AWS_FAILURES as error:
        logger.warning("AWS does not answer a publisher", extra={"error": str(error)})
        raise Unavailable("AWS did not take the job", remedy="try again") from error


def _start(yard: Yard, new_job: NewJob, prepared: Prepared) -> Job:
    has_key = key_name_of(new_job) is not None or new_job.alias is not None
    job = prepared.job
    if has_key or new_job.parent_id is not None or job.limited or job.order or job.unique_as:
        return _ledger_first(yard, new_job, prepared)
    if prepared.job.runner == MANUAL or beyond_sqs(prepared.job.due_at_ms, yard.now_ms()):
        return _record(yard, prepared.unsent(yard.now_ms()))
    return _record_first(yard, prepared) if yard.ledger_failed.is_set() else _queue_first(yard, prepared)


def _queue_first(yard: Yard, prepared: Prepared) -> Job:
    """Send, then record. A message whose record is lost makes it at its claim; its client was not told of an id, then.

    From then on this process records first, until it can: whoever repeats a request during an outage would otherwise
    leave a message each time.
    """
    try:
        send(yard, prepared.travelling, yard.now_ms())
    except AWS_FAILURES as error:
        raise Unavailable("SQS did not take the message", remedy="try again") from error
    try:
        return _record(yard, prepared)
    except AWS_FAILURES as error:
        yard.ledger_failed.set()
        told = {"job_id": prepared.job.id, "error": str(error)}
        logger.warning("the record was not written; the claim will write it", extra=told)
        raise Unavailable(
            f"job {prepared.job.id} may be on its way: it was sent, and DynamoDB did not take its record",
            remedy="look for it before you try again, or give each request an idempotency key",
        ) from error


def _record_first(yard: Yard, prepared: Prepared) -> Job:
    """Record, then send, as where the last record could not be written."""
    unsent = prepared.unsent(yard.now_ms())
    _record(yard, unsent)
    yard.ledger_failed.clear()
    start(yard, unsent)
    return unsent.job


def _record(yard: Yard, prepared: Prepared) -> Job:
    try:
        yard.jobs.record(prepared.job, prepared.body)
    except JobRefused as refused:
        _unless_own(prepared.job, refused)
    return prepared.job


def _unless_own(job: Job, refused: JobRefused) -> None:
    """Raise ``_IdTaken`` unless the ledger has this job: then a consumer, or our own first try, was faster."""
    if not (isinstance(refused.ledger, Job) and refused.ledger.uid == job.uid):
        raise _IdTaken(job.id) from refused


def _ledger_first(yard: Yard, new_job: NewJob, prepared: Prepared) -> Job:
    """Record, together with what else must hold; then send; then clear the mark.

    That is the room in a limited type, the idempotency key, the alias (which a removed job may still have), the
    parent's edge, the mark of jobs that are alike, and the place among those that run in order.
    """
    key, heir_of = idempotency_key_of(new_job), None
    for tries in range(LEDGER_TRIES):
        _make_way(yard, tries)
        try:
            job, alike = marked(yard, new_job, prepared.job)
        except Kept as kept:
            binding = {"job": kept.mark.job_id, "created_at_ms": kept.mark.first_at_ms}
            found = kept.job or _as_accepted(new_job, binding, prepared)
            return found if key is None else _bound(yard, new_job, key, found, prepared)
        ready = lined_up(yard, _under_parent(yard, new_job, replace(prepared, job=job)))
        parts = _parts(yard, new_job, ready, key, heir_of)
        try:
            yard.jobs.together([*chain(*parts.values()), *alike])
        except JobRefused as refused:
            _unless_own(ready.job, refused)
        except TransactionRefused as refused:
            part, old = _refused_part(parts, refused)
            match part:
                case "room":
                    raise _full(yard, ready.job) from refused
                case "key" if key is not None:
                    binding = old or {}
                    return first_of_its_key(new_job, key, binding, ready, partial(yard.jobs.find, binding["job"]))
                case "alias":
                    heir_of = _heir_of(yard, new_job, (old or {})["job"], heir_of)
            continue  # or the parent ended, or somebody else was asked for a job like this
        start(yard, ready)
        return ready.job
    raise Unavailable(f"much changes around this job of {new_job.type}", remedy="try again")


def _make_way(yard: Yard, tries: int) -> None:
    """Wait before asking again, each for another time: somebody else has changed what this depends on."""
    if tries:
        sleep(FIRST_WAIT_S * 2 ** min(tries, 6) * (1 + yard.random_bytes(1)[0] / 256))


def _bound(yard: Yard, new_job: NewJob, key: IdempotencyKey, job: Job, prepared: Prepared) -> Job:
    """A job that was there, to which an idempotency key is bound from now on; or the one to which it was before."""
    try:
        yard.directory.table.transact([reserving(yard, key, job)])
    except TransactionRefused as refused:
        binding = refused.old[0] or {}
        if binding["job"] != job.id:
            return first_of_its_key(new_job, key, binding, prepared, partial(yard.jobs.find, binding["job"]))
    return job


def _parts(
    yard: Yard, new_job: NewJob, ready: Prepared, key: IdempotencyKey | None, heir_of: int | None
) -> dict[str, list[Action]]:
    """The actions of a transaction that records a new job, by what a refusal of them tells."""
    job = ready.job
    record = yard.jobs.recording(job, ready.body, limit_of(yard, job))
    parts: dict[str, list[Action]] = {"record": record[:-1] if job.limited else record}
    if key is not None:
        parts["key"] = [reserving(yard, key, job)]
    parts["room"] = record[-1:] if job.limited else []
    if new_job.alias is not None:
        parts["alias"] = [yard.directory.aliasing(job.alias_scope, new_job.alias, job.id, heir_of)]
    if job.blocked and job.parent_id is not None:
        parts["parent"] = [*yard.jobs.adopting(job.parent_id, job.id)]
    parts["line"] = in_line(yard, ready)
    return parts


def _refused_part(
    parts: Mapping[str, Sequence[Action]], refused: TransactionRefused
) -> tuple[str | None, dict[str, Any] | None]:
    """The first part that a transaction was refused for, and the item that it met."""
    names = [name for name, actions in parts.items() for _ in actions]
    outcomes = zip(names, refused.refused, refused.old, strict=False)  # what follows the parts has no name
    return next(((name, old) for name, was_refused, old in outcomes if was_refused), (None, None))


def _heir_of(yard: Yard, new_job: NewJob, holder: int, heir_of: int | None) -> int:
    """The removed job whose alias the new one takes over; raises ``Conflict`` where it is another job's."""
    if holder == heir_of or yard.jobs.find(holder) is not None:
        raise _alias_taken(new_job, holder)
    return holder


def _full(yard: Yard, job: Job) -> Full:
    limit = limit_of(yard, job)
    return Full(
        f"as many tasks of the type {job.type} are unfinished as may be",
        expected=f"fewer than {limit.size}" if limit is not None else None,
        remedy="try again once one of them is done",
    )


def _alias_taken(new_job: NewJob, holder: int) -> Conflict:
    if new_job.application is not None:
        return AliasTaken(holder, f"task {holder} has this number", field="alias", got=new_job.alias)
    return AliasTaken(
        holder,
        f"another job of the type {new_job.type} has this id",
        field="id",
        expected="a number that no job has",
        got=str(new_job.alias),
        remedy="let event.next answer each number once",
    )


def _under_parent(yard: Yard, new_job: NewJob, prepared: Prepared) -> Prepared:
    """The job waiting for its parent, if that has not succeeded yet; otherwise ready to be sent.

    It is done on behalf of whom its parent is, if it does not say.
    """
    now_ms = yard.now_ms()
    if new_job.parent_id is None:
        return prepared.unsent(now_ms)
    parent = yard.jobs.find(new_job.parent_id)
    if parent is None or parent.kind is not Kind.TASK:
        raise InvalidInput(
            "there is no such parent", field="parent", expected="the id of a task", got=new_job.parent_id
        )
    job = changed(prepared.job, tenant=new_job.tenant or parent.tenant)
    if parent.state is State.SUCCESS:
        return replace(prepared, job=changed(job, blocked=False)).unsent(now_ms)
    return replace(prepared, job=changed(job, blocked=True, wake_at_ms=wake_for_wait(now_ms, now_ms)))


def first_of_its_key(
    new_job: NewJob, key: IdempotencyKey, binding: dict[str, Any], again: Prepared, find: Callable[[], Job | None]
) -> Job:
    """The job that an idempotency key stands for already; one that was removed since, as it was accepted.

    ``binding`` is what the ledger keeps of the key, ``again`` what the request would make now, ``find`` reads the job.
    Raises ``Conflict`` for a key that was used with another request.
    """
    if binding.get("fingerprint") != key.fingerprint and not new_job.first_wins:
        raise Conflict(
            "this idempotency key was used with another request",
            field="idempotency_key",
            expected="the same request as the first time",
            remedy="use a new key for a new request",
        )
    if binding["job"] == again.job.id:  # our own write, whose answer was lost
        return again.job
    return find() or _as_accepted(new_job, binding, again)


def _as_accepted(new_job: NewJob, binding: dict[str, Any], again: Prepared) -> Job:
    """The record of a removed job at its acceptance: what the same request makes now, with what its key remembers."""
    job = again.job
    at_ms = binding.get("created_at_ms", job.created_at_ms)
    start_at_ms = job.start_at_ms if new_job.delay_ms is None else at_ms + new_job.delay_ms
    return replace(
        job,
        id=binding["job"],
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        start_at_ms=start_at_ms,
        due_at_ms=max(start_at_ms or at_ms, at_ms),
        trace_id=binding.get("trace_id", job.trace_id),
        body=again.body or job.body,
        body_at=job.body_at if again.body is None else None,
    )


def reserving(yard: Yard, key: IdempotencyKey, job: Job) -> AttributeValues:
    """The action that binds a key to a job. A record's is remembered for as long as the tombstone of a deleted job."""
    ttl_s = yard.settings.tombstone_ttl_s if key.scope == RECORDS else yard.settings.idempotency_ttl_s
    return yard.directory.reserving(key, job, yard.now_ms() // 1_000, ttl_s)


def idempotency_key_of(new_job: NewJob) -> IdempotencyKey | None:
    """The key under which a request is one with others, if it has one: its own, or that of the record it is made of."""
    name = key_name_of(new_job)
    if name is None:
        return None
    if name[0] == RECORDS:
        return IdempotencyKey(*name, "")
    told = {name: getattr(new_job, name) for name in NewJob.__slots__ if name not in NOT_OF_THE_REQUEST}
    request = {name: value for name, value in told.items() if value is not None or name not in ADDED}
    return IdempotencyKey(*name, fingerprint_of(request))


def key_name_of(new_job: NewJob) -> tuple[str, str] | None:
    """The scope and the text of that key. Whatever is made of a record, without a key of its own, is one job."""
    if new_job.idempotency_key is not None:
        return new_job.kind.value, new_job.idempotency_key
    return None if new_job.record is None else (RECORDS, new_job.record)


def fingerprint_of(request: Mapping[str, Any]) -> str:
    """What tells a request from another one under the same key."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=repr).encode()).hexdigest()[:32]
