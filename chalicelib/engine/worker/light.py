"""Light handlers: jobs that run without a claim, and whose successes are recorded together.

A batch's records are read in one call. Whoever is free to begin runs at once; a plain success, which sets nothing else
going, is recorded with those of the rest of the batch in one transaction. Everything else takes the usual way, only
later: a run that fails, parks, reports progress or has a large output claims its job then, and so does one whose
success the transaction refuses. A message that was received before does so at once: its worker may have died of it.

Given up: a duplicate delivery may run beside the first, and the state *running* is not seen. What was canceled once its
batch was read runs still. Kept: nothing is lost, one success counts, attempts are bounded (a crash of the first run is
not counted), and what is settled, canceled or not due runs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeGuard

from chalicelib.core.decisions import Ack, Disposition, Failed, Nack, Outcome, Succeeded, Unread, runs_unclaimed
from chalicelib.core.job import Job, changed
from chalicelib.engine.policy import handlers_of
from chalicelib.engine.publish.malformed import attempted
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.worker.begin import Opened, RemainingMs, context_of, lease
from chalicelib.engine.worker.claim import claim, with_body
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.gates import gates_of
from chalicelib.engine.worker.heartbeat import Heartbeat
from chalicelib.engine.worker.settle import settle_or_leave
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.store.payloads import INLINE_MAX_BYTES
from chalicelib.store.settled import StoredOutput
from chalicelib.store.table import TransactionRefused
from chalicelib.store.transitions.running import Lease
from chalicelib.store.transitions.settling import Unclaimed

RECORD_AFTER_MS = 200  # how long a success may wait for others while the batch goes on
RECORDED_MAX = 50  # in one transaction, of a hundred actions at most: where it is refused, the others are written anew


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A light run that has succeeded; ``job`` is the record as it was read, ``envelope`` what the message carried."""

    job: Job
    envelope: Job
    success: Succeeded
    started_at_ms: int
    ended_at_ms: int
    lease_until_ms: int


def unclaimed(yard: Yard, arrived: Sequence[tuple[Received, Job]]) -> dict[int, Job]:
    """The records of the jobs, among those that have ``arrived``, that may run without a claim; by their ids."""
    light = {
        envelope.id: envelope
        for message, envelope in arrived
        if message.receive_count == 1 and _is_light(yard, envelope)
    }
    if not light:
        return {}
    try:
        records = yard.jobs.find_many(list(light))
        return {job.id: job for job in records if _needs_no_claim(yard, job, light[job.id], yard.now_ms())}
    except AWS_FAILURES:  # each is claimed, then, and may fail by itself
        logger.warning("records not read; light jobs are claimed", exc_info=True)
        return {}


def _needs_no_claim(yard: Yard, job: Job, envelope: Job, now_ms: int) -> bool:
    """Whether a job runs without a claim, as it stands on the ledger: nothing bounds the runs of its key either."""
    return runs_unclaimed(job, envelope, now_ms) and (job.flow_key is None or not gates_of(yard, job))


def _is_light(yard: Yard, envelope: Job) -> bool:
    handlers = handlers_of(yard, envelope)
    return bool(handlers) and all(handler.light for handler in handlers)


@dataclass(slots=True)
class UnclaimedRun:
    """A light run on its way: its job is claimed as soon as its context needs that, and no sooner."""

    yard: Yard
    heartbeat: Heartbeat
    entry: Opened
    seen: Job
    context: Context
    started_at_ms: int
    refusal: Ack | Nack | None = None  # what its message is, where the job could not be claimed any more

    def ended(self, outcome: Outcome) -> Disposition | Unrecorded:
        """What becomes of its message. What is more than a plain success is settled like that of any other run."""
        context = self.context
        if context.claim is not None and can_wait(outcome):
            ended_at_ms, until_ms = self.yard.now_ms(), context.lease_until_ms
            return Unrecorded(self.seen, self.entry.envelope, outcome, self.started_at_ms, ended_at_ms, until_ms)
        context.ensure_claimed()
        return self.refusal or settle_or_leave(self.yard, context.job, outcome)

    def claim(self) -> Job | None:
        """The job, claimed now, or ``None``."""
        claimed = claim(self.yard, self.entry.envelope, lease(self.yard, self.heartbeat))
        if isinstance(claimed, Job):
            return claimed
        self.refusal = claimed
        return None


def begin_unclaimed(
    yard: Yard, heartbeat: Heartbeat, entry: Opened, seen: Job, remaining_ms: RemainingMs
) -> UnclaimedRun | None:
    """The light run of a job that was ``seen`` free; ``None``: its input cannot be read, which is to be recorded."""
    body = attempted(partial(yard.payloads.body, with_body(seen, entry.envelope)))
    if isinstance(body, Failed | Unread):
        return None
    job = changed(seen, attempts=seen.attempts + 1)
    context = context_of(yard, heartbeat, job, body, heartbeat.renewed_until_ms(), remaining_ms)
    run = UnclaimedRun(yard, heartbeat, entry, seen, context, yard.now_ms())
    context.claim = run.claim
    return run


def can_wait(outcome: Outcome) -> TypeGuard[Succeeded]:
    """Whether an outcome is a success that is recorded with others."""
    return isinstance(outcome, Succeeded) and len(outcome.output or "") <= INLINE_MAX_BYTES


class Successes:
    """Successes of a batch that wait to be recorded together; the heartbeat does it, too, while a run takes long."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._lock = threading.Lock()
        self._waiting: list[tuple[Received, Unrecorded]] = []
        self._settled: list[tuple[Received, Disposition]] = []

    def add(self, message: Received, run: Unrecorded) -> None:
        """Keep a success until it is recorded."""
        with self._lock:
            self._waiting.append((message, run))

    @property
    def are_old(self) -> bool:
        """Whether the first of them has waited for long enough."""
        with self._lock:
            waiting = self._waiting
            return bool(waiting) and self._yard.now_ms() - waiting[0][1].ended_at_ms >= RECORD_AFTER_MS

    def record(self) -> None:
        """Record those that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for start in range(0, len(waiting), RECORDED_MAX):
                messages, runs = zip(*waiting[start : start + RECORDED_MAX], strict=True)
                self._settled += zip(messages, record_together(self._yard, runs), strict=True)

    def settled(self) -> list[tuple[Received, Disposition]]:
        """What becomes of the messages whose successes were recorded since the last call."""
        with self._lock:
            settled, self._settled = self._settled, []
            return settled


def record_together(yard: Yard, ended: Sequence[Unrecorded]) -> list[Disposition]:
    """Record successes in one transaction, those that it refuses one by one; what becomes of each message."""
    try:
        yard.jobs.succeed_unclaimed([_written(run, yard.worker_name) for run in ended], yard.now_ms())
    except TransactionRefused as refused:
        if len(ended) == 1 or all(refused.refused):
            return [_record_alone(yard, run) for run in ended]
        late = dict(zip(ended, refused.refused, strict=True))
        others = iter(record_together(yard, [run for run in ended if not late[run]]))
        return [_record_alone(yard, run) if late[run] else next(others) for run in ended]
    except AWS_FAILURES:
        logger.warning("successes not recorded together; they are recorded one by one", exc_info=True)
        return [_record_alone(yard, run) for run in ended]
    return [Ack()] * len(ended)


def _written(run: Unrecorded, worker: str) -> Unclaimed:
    return Unclaimed(run.job, worker, StoredOutput(run.success.output), run.started_at_ms, run.ended_at_ms)


def _record_alone(yard: Yard, run: Unrecorded) -> Disposition:
    """Claim a job that has run, and record its success like any other's."""
    try:
        job = claim(yard, run.envelope, Lease(yard.token(), run.lease_until_ms, yard.worker_name))
        if isinstance(job, Ack | Nack):
            return job
        return settle_or_leave(yard, job, run.success)
    except Exception:  # it costs this message a redelivery and the others nothing
        logger.exception("success not recorded", extra={"job_id": run.job.id})
        return Nack(None)
