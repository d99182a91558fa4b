"""What follows from what happened: a record, an outcome and the time make a decision; the store persists it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.core.causes import Cause
from chalicelib.core.job import SILENT_LOCKS_MAX, Job, JobError, Tombstone
from chalicelib.core.retry import Backoff, Named, bounded_ms
from chalicelib.core.states import State
from chalicelib.core.trace import TRACE_MAX_EVENTS
from chalicelib.core.waking import MISSED_GRACE_MS, SQS_DELAY_MAX_MS

LEASE_MARGIN_MS = 1_000  # what a message of a leased job is hidden beyond the lease
REQUEUES_MAX = 5
SPARED_MAX = 20  # attempts not charged because what they need could not be read: three hours of them
LIGHT_EVENTS = 2  # that a light success adds to the trace: it has started, and succeeded
POLLS_A_MESSAGE = 100  # after so many polls a new message stands for the job, far below the queues' receive count

NEVER_STARTED = JobError("NeverStarted", f"came back from the dead-letter queue {REQUEUES_MAX} times without being run")
WAITED_TOO_LONG = JobError("Timeout", "nobody called back within the task's time-out")
ATTEMPTS_USED_UP = JobError("LeaseLost", "the worker of the last attempt vanished, and no attempt is left")
NEVER_HEARD_OF = JobError(
    "LockLost",
    f"{SILENT_LOCKS_MAX} polls took the message whose clients were not heard of again before the lock ran out",
)


# -- a delivery meets the ledger ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """The record is free: try the plain claim (again).

    ``crowded`` is the record if its trace must be shortened, or if its slot is taken over from a run that is gone.
    """

    crowded: Job | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """There is no record yet: make it from the envelope, already running."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The lease of the attempt before has run out: continue in its place."""

    job: Job


@dataclass(frozen=True, slots=True)
class InLine:
    """It runs in order, and it is not its turn: it waits for that."""

    job: Job


@dataclass(frozen=True, slots=True)
class Own:
    """The claim had succeeded already; only its answer was lost."""

    job: Job


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The lease of the last attempt has run out: a dead letter, without running again."""

    job: Job
    error: JobError = ATTEMPTS_USED_UP


@dataclass(frozen=True, slots=True)
class Ack:
    """The message has served, or is void (``reason`` says why): delete it."""

    reason: str = "settled"


@dataclass(frozen=True, slots=True)
class Nack:
    """The message comes back after ``delay_ms``; ``None``: it is no longer this worker's to delay."""

    delay_ms: int | None
    reason: str = ""

    @property
    def delay_s(self) -> int | None:
        """The delay as SQS counts it, in whole seconds, rounded up."""
        return None if self.delay_ms is None else -(-self.delay_ms // 1_000)


Disposition = Ack | Nack
"""What becomes of a message."""

Verdict = Claim | InLine | Record | TakeOver | Own | Abandoned | Ack | Nack


def on_delivery(ledger: Job | Tombstone | None, envelope: Job, now_ms: int, lease: str) -> Verdict:
    """What to do with a message whose job stands on the ledger as ``ledger``.

    ``lease`` is the token the claim was tried with, by which a claim recognises its own success.
    """
    if isinstance(ledger, Tombstone):
        return Ack("deleted")
    if ledger is None:
        early_ms = envelope.due_at_ms - now_ms
        return Nack(early_ms, "not due") if early_ms > 0 else Record()
    if ledger.uid != envelope.uid:
        return Ack("another job has this id")
    if ledger.state is State.RUNNING and ledger.lease == lease:
        return Own(ledger)
    if envelope.delivery < ledger.delivery:
        return Ack("superseded by a newer delivery")
    if envelope.delivery > ledger.delivery:
        return Nack(MISSED_GRACE_MS, "ahead of the ledger")
    if ledger.state.terminal:
        return Ack(f"already {ledger.state}")
    if ledger.state is State.WAITING:
        return Ack("parked until it is called back")
    if ledger.state is State.RUNNING:
        if not ledger.lease_expired(now_ms):
            return Nack((ledger.lease_until_ms or now_ms) - now_ms + LEASE_MARGIN_MS, "leased")
        return on_lost_lease(ledger)
    if not ledger.travels:
        return Ack("waits for its parent, or for a person")
    if ledger.due_at_ms > now_ms:
        return Nack(ledger.due_at_ms - now_ms, "not due")
    if ledger.attempts_used_up:
        return Abandoned(ledger)
    if ledger.run_goes_on and (ledger.lease_until_ms or 0) >= now_ms:
        return Nack((ledger.lease_until_ms or now_ms) - now_ms + LEASE_MARGIN_MS, "its run before goes on")
    if ledger.order is not None and not ledger.turn:
        return InLine(ledger)
    return Claim(crowded=ledger if len(ledger.trace) >= TRACE_MAX_EVENTS or ledger.run_goes_on else None)


def runs_unclaimed(job: Job, envelope: Job, now_ms: int) -> bool:
    """Whether a light handler may run a job as it stands on the ledger without a claim.

    It is free, this is its newest delivery, and a success would set nothing else going. Whether the runs of its flow
    key are bounded, the record does not say.
    """
    is_free = job.state is State.PENDING and job.travels and job.due_at_ms <= now_ms and not job.attempts_used_up
    is_newest = (job.uid, job.delivery) == (envelope.uid, envelope.delivery)
    sets_going = job.chained or job.has_children or job.remove_on_complete or job.finishing or job.graph is not None
    is_counted = job.limited or job.slot_at_ms is not None or job.application is not None
    is_marked = job.order is not None or job.unique_as is not None  # as its handler declared when it was asked for
    has_room = len(job.trace) <= TRACE_MAX_EVENTS - LIGHT_EVENTS
    return is_free and is_newest and has_room and not (sets_going or is_counted or is_marked)


def on_lost_lease(job: Job) -> TakeOver | Abandoned:
    """What becomes of a running job whose lease ran out.

    A worker that vanished may have died of its job, so it is charged the attempt. A client that polled and gave no sign
    may never have got the answer, so it is not; but the 20th such lock is the last.
    """
    if job.silent:
        return Abandoned(job, NEVER_HEARD_OF) if job.silences + 1 >= SILENT_LOCKS_MAX else TakeOver(job)
    return Abandoned(job) if job.attempts_used_up else TakeOver(job)


# -- an attempt ends ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler returned; ``output`` is JSON text, or ``None`` for nothing."""

    output: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, overran its time or was stopped; ``final`` when another attempt cannot help.

    ``output``: what there is to be kept all the same. ``cause``: of the dead letter that it may come to, where that is
    neither that it was final nor that attempts are used up.
    """

    error: JobError
    final: bool = False
    succeeded_subscribers: tuple[str, ...] = ()
    output: str | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker is shutting down and the handler did not end in time: it runs again at once, elsewhere."""

    error: JobError


@dataclass(frozen=True, slots=True)
class Unread:
    """What the attempt needs could not be read now, so no handler was called: later, not charged, up to 20 times."""

    error: JobError


@dataclass(frozen=True, slots=True)
class Parked:
    """The handler waits for a callback; ``context`` (JSON text) replaces the job's, if it is given."""

    context: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The handler has looked and is not done: it looks again after ``wait_ms``."""

    wait_ms: int


Outcome = Succeeded | Failed | Interrupted | Unread | Parked | Again


@dataclass(frozen=True, slots=True)
class Finish:
    """Record success."""

    output: str | None


@dataclass(frozen=True, slots=True)
class Retry:
    """Record the failure and run again at ``due_at_ms``.

    ``resend``: the wait is beyond what the message may be hidden, so the clock will send a new one. ``charged``:
    whether the attempt counts against the job's budget.
    """

    error: JobError
    due_at_ms: int
    resend: bool
    succeeded_subscribers: tuple[str, ...] = ()
    charged: bool = True


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Record the failure as the last: a dead letter."""

    cause: Cause
    error: JobError
    output: str | None = None


@dataclass(frozen=True, slots=True)
class PollLater:
    """Run again at ``due_at_ms``; ``resend`` as of a ``Retry``."""

    due_at_ms: int
    resend: bool


@dataclass(frozen=True, slots=True)
class Park:
    """Wait for a callback."""

    context: str | None


Settlement = Finish | Retry | DeadLetter | PollLater | Park


def after_attempt(job: Job, outcome: Outcome, now_ms: int, wait_ms: Callable[[int], int]) -> Settlement:
    """How an attempt is settled; ``wait_ms(n)`` is the backoff before retry ``n`` in milliseconds.

    With ``max_attempts`` 3 the third failure is the last (fastify-mq: maxRetries counts deliveries).
    """
    match outcome:
        case Succeeded(output):
            return Finish(output)
        case Failed(error, final, subscribers, output, cause):
            if final or job.attempts_used_up:
                return DeadLetter(cause or (Cause.REJECTED if final else Cause.ATTEMPTS_USED_UP), error, output)
            wait = wait_ms(job.tries)
            return Retry(error, now_ms + wait, wait > SQS_DELAY_MAX_MS, subscribers)
        case Interrupted(error):
            return Retry(error, now_ms, resend=False, succeeded_subscribers=job.succeeded_subscribers, charged=False)
        case Unread(error) if job.spared >= SPARED_MAX:
            return after_attempt(job, Failed(error, succeeded_subscribers=job.succeeded_subscribers), now_ms, wait_ms)
        case Unread(error):
            due_at_ms = now_ms + unread_wait_ms(job.spared)
            return Retry(error, due_at_ms, False, job.succeeded_subscribers, charged=False)
        case Again(poll_wait_ms):
            worn_out = (job.polled + 1) % POLLS_A_MESSAGE == 0
            return PollLater(now_ms + poll_wait_ms, resend=worn_out or poll_wait_ms > SQS_DELAY_MAX_MS)
        case Parked(context):
            return Park(context)


def unread_wait_ms(spared: int) -> int:
    """How long a job waits whose payload could not be read, ``spared`` times before: 5, 10, 20, ... 640, 900 s."""
    return min(5_000 << min(spared, 8), SQS_DELAY_MAX_MS)


def wait_before(backoff: Backoff, functions: Callable[[str], Callable[[int], float]]) -> Callable[[int], int]:
    """``backoff`` as a function from a retry's number to milliseconds; ``functions`` finds registered ones."""
    if isinstance(backoff, Named):
        function = functions(backoff.name)
        return lambda retry: bounded_ms(function(retry))
    return backoff.wait_ms
