"""Publishing many jobs in few calls.

Up to 99 records and one outbox marker are written in a transaction, all or none; then the messages are sent, ten a
call; then the marker goes. A job with an idempotency key takes one action more, which binds the key; the keys that are
bound already are read before, a hundred a call, and answered with their jobs. Those of records of Kafka, which come
twice only after a crash, are not looked up before a transaction was refused for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from chalicelib.core.errors import TaskyardError, Unavailable
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.waking import beyond_sqs
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import flow_of
from chalicelib.engine.publish.prepare import Prepared, due_at_ms, is_limited, prepare
from chalicelib.engine.publish.publish import (
    RECORDS,
    answering,
    first_of_its_key,
    idempotency_key_of,
    key_name_of,
    publish,
    reserving,
)
from chalicelib.engine.publish.send import AWS_FAILURES, send_all
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.concurrency import Action
from chalicelib.store.directory import IdempotencyKey, Outbox
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused

MAX_ACTIONS = 99  # a transaction holds 100, one of which is the outbox marker
MAX_BYTES = 3_500_000  # a transaction holds 4 MB
RECORD_BYTES = 1_500  # what a record takes in a transaction beside its body, generously
KEY_BYTES = 300  # and what its idempotency key takes


@dataclass(frozen=True, slots=True)
class _Entry:
    """A job of a bulk: its place, what was asked for, what is made of it, and the key that makes it one with others."""

    place: int
    new_job: NewJob
    prepared: Prepared
    key: IdempotencyKey | None

    @property
    def weight(self) -> tuple[int, int]:
        """How many actions of a transaction it takes, and about how many bytes."""
        actions, size = weight_of(self.prepared)
        keyed = self.key is not None
        return actions + keyed, size + keyed * KEY_BYTES


Outcome = Job | TaskyardError
Item = TypeVar("Item")


def publish_many(yard: Yard, new_jobs: Sequence[NewJob | TaskyardError]) -> list[Outcome]:
    """Accept many jobs in few calls; answers, in order, each job's record or why it was not accepted.

    An error in the place of a job, which could not be read, stays what became of it.
    """
    outcomes: dict[int, Outcome] = {}
    entries: list[_Entry] = []
    twins: list[tuple[int, NewJob]] = []
    keys: set[tuple[str, str] | None] = set()
    for place, new_job in enumerate(new_jobs):
        try:
            if isinstance(new_job, TaskyardError):
                outcomes[place] = new_job
            elif key_name_of(new_job) in keys:
                twins.append((place, new_job))
            elif _needs_own_transaction(yard, new_job):
                outcomes[place] = publish(yard, new_job)
            else:
                with answering():
                    entries.append(_Entry(place, new_job, prepare(yard, new_job), idempotency_key_of(new_job)))
                keys |= {key_name_of(new_job)} - {None}
        except TaskyardError as error:
            outcomes[place] = error
    outcomes |= _accepted_before(yard, [entry for entry in entries if entry.key and entry.key.scope != RECORDS])
    waiting = (entry for entry in entries if entry.place not in outcomes)
    for group in transactions(waiting, lambda entry: entry.weight):
        outcomes |= _start_together(yard, group)
    outcomes |= {place: _published(yard, twin) for place, twin in twins}
    return [outcomes[place] for place in range(len(new_jobs))]


def _needs_own_transaction(yard: Yard, new_job: NewJob) -> bool:
    return (
        new_job.parent_id is not None
        or is_limited(yard, new_job)
        or flow_of(yard, new_job).order is not None
        or flow_of(yard, new_job).collapses
        or new_job.runner == MANUAL
        or beyond_sqs(due_at_ms(new_job, yard.now_ms()), yard.now_ms())
    )


def _accepted_before(yard: Yard, keyed: Sequence[_Entry]) -> dict[int, Outcome]:
    """What became of the entries whose keys are bound already: the jobs that these stand for."""
    if not keyed:
        return {}
    try:
        with answering():
            bindings = yard.directory.bindings([entry.key for entry in keyed if entry.key], yard.now_ms() // 1_000)
            found = {job.id: job for job in yard.jobs.find_many([binding["job"] for binding in bindings.values()])}
    except Unavailable as error:
        return {entry.place: error for entry in keyed}
    outcomes: dict[int, Outcome] = {}
    for entry in keyed:
        if entry.key is None or (binding := bindings.get(entry.key)) is None:
            continue
        find = partial(found.get, binding["job"])
        try:
            outcomes[entry.place] = first_of_its_key(entry.new_job, entry.key, binding, entry.prepared, find)
        except TaskyardError as error:
            outcomes[entry.place] = error
    return outcomes


def transactions(
    entries: Iterable[Item], weight_of: Callable[[Item], tuple[int, int]], most: int = MAX_ACTIONS
) -> Iterator[list[Item]]:
    """``entries`` in groups that one transaction holds: of ``most`` actions, and by bytes, as ``weight_of`` says."""
    group: list[Item] = []
    actions = size = 0
    for entry in entries:
        needed, weight = weight_of(entry)
        if group and (actions + needed > most or size + weight > MAX_BYTES):
            yield group
            group, actions, size = [], 0, 0
        group.append(entry)
        actions, size = actions + needed, size + weight
    if group:
        yield group


def weight_of(prepared: Prepared) -> tuple[int, int]:
    """How many actions of a transaction a new job's record takes, and about how many bytes."""
    return 1 + (prepared.body is not None) + prepared.job.limited, RECORD_BYTES + len(prepared.body or "")


def _start_together(yard: Yard, group: Sequence[_Entry]) -> dict[int, Outcome]:
    """Record a group and its outbox marker, all or none; send; drop the marker. Returns what became of each entry."""
    jobs = [entry.prepared.job for entry in group]
    outbox = new_outbox(yard, jobs)
    actions = [action for entry in group for action in yard.jobs.recording(entry.prepared.job, entry.prepared.body)]
    try:
        yard.jobs.together([*actions, *_reservations(yard, group), yard.directory.opening_outbox(outbox)])
    except JobRefused as refused:
        if not (isinstance(refused.ledger, Job) and refused.ledger.uid == jobs[0].uid):
            return dict.fromkeys((e.place for e in group), Unavailable("a job id is taken", remedy="try again"))
    except TransactionRefused as refused:
        if any(refused.refused[len(actions) : -1]):
            return _start_the_new(yard, group)
        return _not_taken(group, refused)
    except AWS_FAILURES as error:
        return _not_taken(group, error)
    empty_outbox(yard, outbox, [entry.prepared.travelling for entry in group])
    return {entry.place: entry.prepared.job for entry in group}


def _start_the_new(yard: Yard, group: Sequence[_Entry]) -> dict[int, Outcome]:
    """A group whose transaction was refused for keys that are bound: those are answered, the others start together."""
    bound = _accepted_before(yard, [entry for entry in group if entry.key is not None])
    new = [entry for entry in group if entry.place not in bound]
    if bound:
        return bound | (_start_together(yard, new) if new else {})
    return {entry.place: _published(yard, entry.new_job) for entry in group}  # bound a moment ago, and not seen yet


def new_outbox(yard: Yard, jobs: Sequence[Job]) -> Outbox:
    """The marker of jobs that are recorded together, and not sent yet."""
    return Outbox(f"{yard.now_ms():013d}-{yard.token()}", [job.id for job in jobs])


def empty_outbox(yard: Yard, outbox: Outbox, travelling: Sequence[Job]) -> None:
    """Send what was recorded together; what AWS does not take now, the clock sends."""
    try:
        if not send_all(yard, travelling):
            yard.directory.close_outbox(outbox.name)
    except AWS_FAILURES:
        logger.warning("a bulk is sent but not noted as sent; the clock will look", extra={"outbox": outbox.name})


def _reservations(yard: Yard, group: Sequence[_Entry]) -> list[Action]:
    return [reserving(yard, entry.key, entry.prepared.job) for entry in group if entry.key]


def _published(yard: Yard, new_job: NewJob) -> Outcome:
    try:
        return publish(yard, new_job)
    except TaskyardError as error:
        return error


def _not_taken(group: Sequence[_Entry], error: Exception) -> dict[int, Outcome]:
    logger.warning("a bulk was not recorded", extra={"jobs": len(group), "error": str(error)})
    return dict.fromkeys((e.place for e in group), Unavailable("DynamoDB did not take the jobs", remedy="try again"))
