"""Publishing: from what a client asked for to a job on its way.

A plain first publish is queue first, ledger second: two calls, and whichever of them is lost, the job is not.
Whatever needs the ledger's word first (an idempotency key, a parent, a start beyond 15 minutes) is recorded as
unsent, then sent; so are many at once (``bulk.py``). A manual task is only recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from chalicelib.core.decisions import beyond_sqs, wake_for_wait
from chalicelib.core.errors import Conflict, Full, InvalidInput, Unavailable
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import limit_of
from chalicelib.engine.publish.prepare import Prepared, prepare
from chalicelib.engine.publish.send import AWS_FAILURES, send, send_marked
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.directory import IdempotencyKey
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused

NEW_ID_TRIES = 3
NOT_OF_THE_REQUEST = frozenset({"idempotency_key", "first_wins", "id", "graph", "node", "edges"})
ADDED = frozenset({"tenant"})  # to requests since keys were first kept: without one, a request is what it was then


def publish(yard: Yard, new_job: NewJob) -> Job:
    """Accept one job and answer its record.

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
    has_key = new_job.idempotency_key is not None or new_job.alias is not None
    if has_key or new_job.parent_id is not None or prepared.job.limited:
        return _ledger_first(yard, new_job, prepared)
    if prepared.job.runner == MANUAL or beyond_sqs(prepared.job.due_at_ms, yard.now_ms()):
        return _record(yard, prepared.unsent(yard.now_ms()))
    return _queue_first(yard, prepared)


def _queue_first(yard: Yard, prepared: Prepared) -> Job:
    """Send, then record. Once the message is sent the job is accepted: its claim makes a record that is lost."""
    try:
        send(yard, prepared.travelling, yard.now_ms())
    except AWS_FAILURES as error:
        raise Unavailable("SQS did not take the message", remedy="try again") from error
    try:
        return _record(yard, prepared)
    except AWS_FAILURES:
        logger.warning("the record was not written; the claim will write it", extra={"job_id": prepared.job.id})
        return prepared.job


def _record(yard: Yard, prepared: Prepared) -> Job:
    try:
        yard.jobs.record(prepared.job, prepared.body)
    except JobRefused as refused:
        return _own(prepared.job, refused)
    return prepared.job


def _own(job: Job, refused: JobRefused) -> Job:
    """The ledger's record, if it is this job: a consumer, or our own first try, was faster."""
    if isinstance(refused.ledger, Job) and refused.ledger.uid == job.uid:
        return refused.ledger
    raise _IdTaken(job.id) from refused


def _ledger_first(yard: Yard, new_job: NewJob, prepared: Prepared, heir_of: int | None = None) -> Job:
    """Record, together with what else must hold; then send; then clear the mark.

    That is the idempotency key, the alias (which a removed job, ``heir_of``, may still have), the room in a limited
    type, and the parent's edge.
    """
    key = idempotency_key_of(new_job)
    prepared = _under_parent(yard, new_job, prepared)
    job = prepared.job
    actions = yard.jobs.recording(job, prepared.body, limit_of(yard, job))
    count_position, key_position = len(actions) - 1, len(actions)
    if key is not None:
        actions.append(yard.directory.reserving(key, job, yard.now_ms() // 1_000, yard.settings.idempotency_ttl_s))
    alias_position = len(actions)
    if new_job.alias is not None:
        actions.append(yard.directory.aliasing(job.alias_scope, new_job.alias, job.id, heir_of))
    if job.blocked and job.parent_id is not None:
        actions += yard.jobs.adopting(job.parent_id, job.id)
    try:
        yard.jobs.together(actions)
    except JobRefused as refused:
        _own(job, refused)
    except TransactionRefused as refused:
        if key is not None and refused.refused[key_position]:
            binding = refused.old[key_position] or {}
            return first_of_its_key(new_job, key, binding, prepared, lambda: yard.jobs.find(binding["job"]))
        if job.limited and refused.refused[count_position]:
            raise _full(yard, job) from refused
        if new_job.alias is not None and refused.refused[alias_position]:
            holder: int = (refused.old[alias_position] or {})["job"]
            if holder == heir_of or yard.jobs.find(holder) is not None:
                raise _alias_taken(new_job, holder) from refused
            return _ledger_first(yard, new_job, prepared, heir_of=holder)
        return _ledger_first(
            yard, new_job, replace(prepared, job=replace(job, blocked=False)), heir_of
        )  # the parent ended
    send_marked(yard, prepared.travelling)
    return job


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
    job = replace(prepared.job, tenant=new_job.tenant or parent.tenant)
    if parent.state is State.SUCCESS:
        return replace(prepared, job=replace(job, blocked=False)).unsent(now_ms)
    return replace(prepared, job=replace(job, blocked=True, wake_at_ms=wake_for_wait(now_ms, now_ms)))


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


def idempotency_key_of(new_job: NewJob) -> IdempotencyKey | None:
    """The key under which a request is one with others, if it has one."""
    if new_job.idempotency_key is None:
        return None
    told = {name: getattr(new_job, name) for name in NewJob.__slots__ if name not in NOT_OF_THE_REQUEST}
    request = {name: value for name, value in told.items() if value is not None or name not in ADDED}
    return IdempotencyKey(new_job.kind.value, new_job.idempotency_key, fingerprint_of(request))


def fingerprint_of(request: Mapping[str, Any]) -> str:
    """What tells a request from another one under the same key."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=repr).encode()).hexdigest()[:32]
