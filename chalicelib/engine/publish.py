"""Publishing: from what a client asked for to a job on its way.

A plain first publish is queue first, ledger second: two calls, and whichever of them is lost, the job is not.
Whatever needs the ledger's word first (an idempotency key, a parent, a start beyond 15 minutes, a bulk) is
recorded as unsent, then sent. A manual task is only recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.core.decisions import beyond_sqs, wake_for_child, wake_for_send
from chalicelib.core.errors import Conflict, Full, InvalidInput, TaskyardError, Unavailable
from chalicelib.core.ids import trace_id_of
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, Job
from chalicelib.core.lanes import PRIORITY_MAX, PRIORITY_MIN
from chalicelib.core.retry import MESSAGE_BACKOFF, Backoff, Named
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine.drafts import CHAIN_MAX_TASKS, Draft, follower_of
from chalicelib.engine.handlers import DEFAULT_POOL, Handler
from chalicelib.engine.sending import AWS_FAILURES, parcel_of, send_all, send_marked
from chalicelib.engine.yard import Yard, logger
from chalicelib.store.directory import IdempotencyKey, Outbox
from chalicelib.store.ledger import JobRefused
from chalicelib.store.payloads import to_json
from chalicelib.store.table import TransactionRefused

DEFAULT_TASK_ATTEMPTS = 3
NEW_ID_TRIES = 3
BULK_MAX_ACTIONS = 99  # a transaction holds 100, one of which is the outbox marker
BULK_MAX_BYTES = 3_500_000  # a transaction holds 4 MB
RECORD_BYTES = 1_500  # what a record takes in a transaction beside its body, generously
LATEST_START_MS = 366 * 86_400_000 * 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """A new job, and its body's text where that goes beside the record."""

    job: Job
    body: str | None

    @property
    def travelling(self) -> Job:
        """The job as its envelope carries it: with the body's text."""
        return self.job if self.body is None else replace(self.job, body=self.body)


def publish(yard: Yard, draft: Draft) -> Job:
    """Accept one job and answer its record.

    Raises ``InvalidInput`` for what can never run, ``TooLarge``, ``Conflict`` for an idempotency key used with
    another request, and ``Unavailable`` when AWS does not answer (the job may or may not be accepted).
    """
    handler = check(yard, draft)
    for _ in range(NEW_ID_TRIES):
        try:
            with _answering():
                return _start(yard, draft, prepare(yard, draft, handler))
        except _IdTaken as taken:
            logger.warning("job id is taken, taking another", extra={"job_id": taken.job_id})
    raise Unavailable("no free job id was found", remedy="look at the id block in the directory table")


def publish_many(yard: Yard, drafts: Sequence[Draft]) -> list[Job | TaskyardError]:
    """Accept many jobs in few calls; answers, in order, each job's record or why it was not accepted."""
    results: list[Job | TaskyardError | None] = [None] * len(drafts)
    bulk: list[tuple[int, Prepared]] = []
    for position, draft in enumerate(drafts):
        try:
            if _needs_own_transaction(yard, draft):
                results[position] = publish(yard, draft)
            else:
                handler = check(yard, draft)
                with _answering():
                    bulk.append((position, prepare(yard, draft, handler)))
        except TaskyardError as error:
            results[position] = error
    for group in _transactions(bulk):
        outcome = _start_together(yard, [prepared for _, prepared in group])
        for position, prepared in group:
            results[position] = outcome or prepared.job
    return [result for result in results if result is not None]


def check(yard: Yard, draft: Draft) -> Handler | None:
    """The handler that will run the draft, if one function alone does.

    Raises ``InvalidInput`` naming the first thing that can never work, in the draft or in the chain behind it.
    """
    handler = _check_one(yard, draft)
    follower = follower_of(draft, None)
    for _ in range(CHAIN_MAX_TASKS):
        if follower is None:
            return handler
        _check_one(yard, follower)
        follower = follower_of(follower, None)
    raise InvalidInput("this chain is too long", field="next", expected=f"at most {CHAIN_MAX_TASKS} tasks")


def _check_one(yard: Yard, draft: Draft) -> Handler | None:
    _expect(
        PRIORITY_MIN <= draft.priority <= PRIORITY_MAX, "priority", f"{PRIORITY_MIN} to {PRIORITY_MAX}", draft.priority
    )
    attempts = draft.max_attempts
    _expect(
        attempts is None or 1 <= attempts <= ATTEMPTS_MAX, "maxRetries", f"at most {ATTEMPTS_MAX} attempts", attempts
    )
    if isinstance(draft.backoff, Named):
        yard.handlers.backoff_function(draft.backoff.name)
    if draft.kind is Kind.MESSAGE or draft.runner == MANUAL:
        return None
    handler = yard.handlers.handler(draft.type, draft.script)
    if handler is None:
        raise _nothing_runs(yard, draft)
    if not draft.input_follows:
        handler.parse(draft.input)
    return handler


def _nothing_runs(yard: Yard, draft: Draft) -> InvalidInput:
    if draft.type not in yard.handlers.tasks:
        return InvalidInput(
            "no handler is registered for this task type",
            field="type",
            expected=" or ".join(sorted(yard.handlers.tasks)) or "a type declared with @task",
            got=draft.type,
            remedy="declare it with @task in chalicelib/tasks, or create it with runnerType manual",
        )
    known = sorted(script for kind, script in yard.handlers.scripts if kind == draft.type)
    return InvalidInput(
        f"{draft.type} has no such script", field="scriptName", expected=" or ".join(known), got=draft.script
    )


def prepare(yard: Yard, draft: Draft, handler: Handler | None) -> Prepared:
    """The new job of a checked draft, its body put where it belongs if that is the bucket."""
    now_ms = yard.now_ms()
    job_id, birth = yard.ids.new(), yard.token()
    content = {"input": draft.input, "options": draft.options, "context": draft.context, "next": draft.next}
    text = to_json({name: value for name, value in content.items() if value is not None}, "payload")
    body = yard.payloads.place_body(job_id, birth, text)
    asked_ms = _asked_ms(draft, now_ms)
    due_at_ms = _due_at_ms(draft, now_ms)
    max_attempts = draft.max_attempts or (handler and handler.max_attempts) or _declared_attempts(yard, draft)
    job = Job(
        id=job_id,
        birth=birth,
        kind=draft.kind,
        type=draft.type,
        queue=draft.type if draft.kind is Kind.MESSAGE else handler.queue if handler else DEFAULT_POOL,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        due_at_ms=due_at_ms,
        trace_id=draft.trace_id or trace_id_of(job_id, yard.random_bytes),
        priority=draft.priority,
        start_at_ms=asked_ms,
        max_attempts=max_attempts,
        attempt_limit=max_attempts,
        timeout_ms=draft.timeout_ms,
        backoff=draft.backoff or _chosen_backoff(yard, draft),
        body=body.text if body.place is None else None,
        body_at=body.place,
        target_id=draft.target_id,
        target_type=draft.target_type,
        runner=draft.runner,
        script=draft.script,
        parent_id=draft.parent_id,
        replay_of=draft.replay_of,
        created_by=draft.created_by,
        chained=draft.next is not None,
        remove_on_complete=draft.remove_on_complete,
        limited=_is_limited(yard, draft),
        trace=((draft.first_event or TraceEvent(Event.PUBLISHED, now_ms)).to_line(),),
    )
    return Prepared(job, body.text if body.place is not None else None)


def unsent(prepared: Prepared, now_ms: int) -> Prepared:
    """The job marked for the clock, in case its sender dies."""
    job = prepared.job
    return replace(prepared, job=replace(job, wake_at_ms=wake_for_send(job.due_at_ms, now_ms) if job.travels else None))


# -- one job ------------------------------------------------------------------------------------------


class _IdTaken(Exception):
    """Another job has the id."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id)
        self.job_id = job_id


@contextmanager
def _answering() -> Iterator[None]:
    """Say ``Unavailable`` where AWS does not answer."""
    try:
        yield
    except AWS_FAILURES as error:
        logger.warning("AWS does not answer a publisher", extra={"error": str(error)})
        raise Unavailable("AWS did not take the job", remedy="try again") from error


def _start(yard: Yard, draft: Draft, prepared: Prepared) -> Job:
    if draft.idempotency_key is not None or draft.parent_id is not None or prepared.job.limited:
        return _ledger_first(yard, draft, prepared)
    if prepared.job.runner == MANUAL or beyond_sqs(prepared.job.due_at_ms, yard.now_ms()):
        return _record(yard, unsent(prepared, yard.now_ms()))
    return _queue_first(yard, prepared)


def _queue_first(yard: Yard, prepared: Prepared) -> Job:
    """Send, then record. Once the message is sent the job is accepted: its claim makes a record that is lost."""
    try:
        yard.transport.send(parcel_of(yard, prepared.travelling, yard.now_ms()))
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
    if isinstance(refused.ledger, Job) and refused.ledger.birth == job.birth:
        return refused.ledger
    raise _IdTaken(job.id) from refused


def _ledger_first(yard: Yard, draft: Draft, prepared: Prepared, heir_of: int | None = None) -> Job:
    """Record, together with what else must hold; then send; then clear the mark.

    That is the idempotency key, the alias (which a removed job, ``heir_of``, may still have), the room in a limited
    type, and the parent's edge.
    """
    key = _idempotency_key(draft)
    prepared = _under_parent(yard, draft, prepared)
    job = prepared.job
    actions = yard.jobs.recording(job, prepared.body, yard.handlers.limit_of(job.type))
    count_position, key_position = len(actions) - 1, len(actions)
    if key is not None:
        actions.append(yard.directory.reserving(key, job.id, yard.now_ms() // 1_000, yard.settings.idempotency_ttl_s))
    alias_position = len(actions)
    if draft.alias is not None:
        actions.append(yard.directory.aliasing(job.type, draft.alias, job.id, heir_of))
    if job.held and job.parent_id is not None:
        actions += yard.jobs.adopting(job.parent_id, job.id)
    try:
        yard.jobs.together(actions)
    except JobRefused as refused:
        _own(job, refused)
    except TransactionRefused as refused:
        if key is not None and refused.refused[key_position]:
            return _first_of_its_key(yard, draft, key, refused.old[key_position] or {}, job)
        if job.limited and refused.refused[count_position]:
            raise _full(yard, job) from refused
        if draft.alias is not None and refused.refused[alias_position]:
            holder: int = (refused.old[alias_position] or {})["job"]
            if holder == heir_of or yard.jobs.find(holder) is not None:
                raise _alias_taken(draft) from refused
            return _ledger_first(yard, draft, prepared, heir_of=holder)
        return _ledger_first(yard, draft, replace(prepared, job=replace(job, held=False)), heir_of)  # the parent ended
    send_marked(yard, prepared.travelling)
    return job


def _full(yard: Yard, job: Job) -> Full:
    limit = yard.handlers.limit_of(job.type)
    return Full(
        f"as many tasks of the type {job.type} are unfinished as may be",
        expected=f"fewer than {limit.size}" if limit is not None else None,
        remedy="try again once one of them is done",
    )


def _alias_taken(draft: Draft) -> Conflict:
    return Conflict(
        f"another job of the type {draft.type} has this id",
        field="id",
        expected="a number that no job has",
        got=str(draft.alias),
        remedy="let event.next answer each number once",
    )


def _under_parent(yard: Yard, draft: Draft, prepared: Prepared) -> Prepared:
    """The job waiting for its parent, if that has not succeeded yet; otherwise ready to be sent."""
    now_ms = yard.now_ms()
    if draft.parent_id is None:
        return unsent(prepared, now_ms)
    parent = yard.jobs.find(draft.parent_id)
    if parent is None or parent.kind is not Kind.TASK:
        raise InvalidInput(
            "there is no such parent", field="parentTaskId", expected="the id of a task", got=draft.parent_id
        )
    if parent.state is State.SUCCESS:
        return unsent(replace(prepared, job=replace(prepared.job, held=False)), now_ms)
    return replace(prepared, job=replace(prepared.job, held=True, wake_at_ms=wake_for_child(now_ms, now_ms)))


def _first_of_its_key(yard: Yard, draft: Draft, key: IdempotencyKey, binding: dict[str, Any], job: Job) -> Job:
    """The job that an idempotency key stands for already."""
    if binding.get("fingerprint") != key.fingerprint and not draft.first_wins:
        raise Conflict(
            "this idempotency key was used with another request",
            field="idempotencyKey",
            expected="the same request as the first time",
            remedy="use a new key for a new request",
        )
    if binding["job"] == job.id:  # our own write, whose answer was lost
        return job
    found = yard.jobs.find(binding["job"])
    if found is None:
        raise Conflict(
            "what was made under this idempotency key was deleted since",
            field="idempotencyKey",
            expected="a key of something that is still there, or a new one",
            got=key.key,
            remedy="use a new key",
        )
    return found


def _idempotency_key(draft: Draft) -> IdempotencyKey | None:
    if draft.idempotency_key is None:
        return None
    wish = {name: getattr(draft, name) for name in Draft.__slots__ if name not in ("idempotency_key", "first_wins")}
    fingerprint = hashlib.sha256(json.dumps(wish, sort_keys=True, default=repr).encode()).hexdigest()[:32]
    return IdempotencyKey(draft.kind.value, draft.idempotency_key, fingerprint)


# -- many jobs ----------------------------------------------------------------------------------------


def _needs_own_transaction(yard: Yard, draft: Draft) -> bool:
    return (
        draft.idempotency_key is not None
        or draft.parent_id is not None
        or _is_limited(yard, draft)
        or draft.runner == MANUAL
        or beyond_sqs(_due_at_ms(draft, yard.now_ms()), yard.now_ms())
    )


def _transactions(bulk: Iterable[tuple[int, Prepared]]) -> Iterable[list[tuple[int, Prepared]]]:
    """``bulk`` in groups that one transaction holds, by count and by bytes."""
    group: list[tuple[int, Prepared]] = []
    actions = size = 0
    for position, prepared in bulk:
        needed = 1 if prepared.body is None else 2
        weight = RECORD_BYTES + len(prepared.body or "")
        if group and (actions + needed > BULK_MAX_ACTIONS or size + weight > BULK_MAX_BYTES):
            yield group
            group, actions, size = [], 0, 0
        group.append((position, prepared))
        actions, size = actions + needed, size + weight
    if group:
        yield group


def _start_together(yard: Yard, group: Sequence[Prepared]) -> Unavailable | None:
    """Record a group and its outbox marker, all or none; send; drop the marker. Answers why it was not accepted."""
    outbox = Outbox(f"{yard.now_ms():013d}-{yard.token()}", [prepared.job.id for prepared in group])
    actions = [action for prepared in group for action in yard.jobs.recording(prepared.job, prepared.body)]
    try:
        yard.jobs.together([*actions, yard.directory.opening_outbox(outbox)])
    except JobRefused as refused:
        if not (isinstance(refused.ledger, Job) and refused.ledger.birth == group[0].job.birth):
            return Unavailable("a job id is taken", remedy="try again")
    except (*AWS_FAILURES, TransactionRefused) as error:
        logger.warning("a bulk was not recorded", extra={"jobs": len(group), "error": str(error)})
        return Unavailable("DynamoDB did not take the jobs", remedy="try again")
    try:
        if not send_all(yard, [prepared.travelling for prepared in group]):
            yard.directory.close_outbox(outbox.name)
    except AWS_FAILURES:
        logger.warning("a bulk is recorded but not all sent; the clock will send it", extra={"outbox": outbox.name})
    return None


# -- small rules --------------------------------------------------------------------------------------


def _declared_attempts(yard: Yard, draft: Draft) -> int:
    """The most generous of what the topic's subscribers declare, or the default of the kind."""
    if draft.kind is Kind.TASK:
        return DEFAULT_TASK_ATTEMPTS
    declared = [h.max_attempts for h in yard.handlers.subscribers.get(draft.type, ()) if h.max_attempts is not None]
    return max(declared, default=yard.settings.mq_max_retries)


def _chosen_backoff(yard: Yard, draft: Draft) -> Backoff | None:
    """The backoff that the settings choose for messages, unless a subscriber declares one or it is the default."""
    declared = any(handler.backoff is not None for handler in yard.handlers.subscribers.get(draft.type, ()))
    chosen = yard.settings.message_backoff
    return None if draft.kind is Kind.TASK or declared or chosen == MESSAGE_BACKOFF else chosen


def _is_limited(yard: Yard, draft: Draft) -> bool:
    """Whether the job counts in the occupancy of its type: one that a worker runs, of a type with a limit."""
    return draft.kind is Kind.TASK and draft.runner != MANUAL and yard.handlers.limit_of(draft.type) is not None


def _asked_ms(draft: Draft, now_ms: int) -> int | None:
    """The start that was asked for, in the past perhaps."""
    if draft.due_at_ms is not None:
        return draft.due_at_ms
    return None if draft.delay_ms is None else now_ms + draft.delay_ms


def _due_at_ms(draft: Draft, now_ms: int) -> int:
    asked_ms = _asked_ms(draft, now_ms)
    if asked_ms is not None and asked_ms - now_ms > LATEST_START_MS:
        told = _moment(draft.due_at_ms) if draft.due_at_ms is not None else f"a delay of {draft.delay_ms} ms"
        _expect(False, "executeAt", "a start within ten years", told)
    return max(asked_ms or now_ms, now_ms)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")


def _expect(holds: bool, field_name: str, expected: str, got: object) -> None:
    if not holds:
        raise InvalidInput("this value is out of range", field=field_name, expected=expected, got=got)
