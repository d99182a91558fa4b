"""One attempt on its way: the lease by which it may settle, and what has ended it before its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chalicelib.core.job import Job, Tombstone
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.worker.running_at import running_at
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused

if TYPE_CHECKING:
    from chalicelib.engine.coroutines import RunningCoroutine


class JobCanceled(Exception):
    """The job was canceled while it ran; raised by ``progress`` and ``heartbeat`` so that the handler ends."""


class LeaseLost(Exception):
    """Another worker has taken the job over; whatever this one still does is not recorded."""


@dataclass(slots=True)
class Attempt:
    """A run of a job that was claimed, or of a light one that may be claimed late.

    ``job`` is the record as it was claimed.
    """

    yard: Yard
    job: Job
    body: dict[str, Any]
    lease_until_ms: int
    deadline_ms: int | None
    extend_visibility: Callable[[], int]  # keeps the message hidden and returns until when
    ended_because: type[JobCanceled] | type[LeaseLost] | None = field(default=None)
    interruption: Interruption | None = field(default=None, init=False)  # what has ended the run from outside
    coroutine: RunningCoroutine | None = field(default=None, init=False)  # of a handler that is one, while it runs
    claim: Callable[[], Job | None] | None = None  # of a light run until it needs its job's lease; None: it is lost
    in_batch: bool = field(default=False, init=False)  # one call runs it together with others
    thread: int = field(default_factory=threading.get_ident, init=False)  # which one runs the handler

    @property
    def cancelled(self) -> bool:
        """Whether the run is void: the job was canceled or taken over. As of the last heartbeat."""
        return self.ended_because is not None

    def remaining_ms(self) -> int | None:
        """Milliseconds until the attempt is interrupted; ``None`` if it has all the time in the world."""
        return None if self.deadline_ms is None else max(0, self.deadline_ms - self.yard.now_ms())

    def ensure_claimed(self) -> None:
        """A light run claims its job now, if it has not yet; notes when the run is void, as another has the job."""
        if self.claim is None:
            return
        claim, self.claim = self.claim, None
        job = claim()
        if job is None:
            self.ended_because = LeaseLost
        else:
            self.job = job

    def extend(self) -> None:
        """Extend the message's hiding, then the lease on the ledger; notes when the run is void."""
        self.extend_until(self.extend_visibility())

    def extend_until(self, until_ms: int) -> None:
        """Extend the lease on the ledger, the message being hidden until then; notes when the run is void."""
        if self.claim is not None:
            return
        try:
            where = None if self.job.application is None else running_at(self.thread, self.coroutine)
            self.yard.jobs.extend_lease(self.job.id, self.job.lease or "", until_ms, where)
            self.lease_until_ms = until_ms
        except JobRefused as refused:
            self.note_refusal(refused)

    def keep_slot(self, until_ms: int) -> None:
        """The job was ended by somebody else and this run goes on: keep its slot in a limited type meanwhile."""
        if self.job.has_slot:
            with suppress(JobRefused):  # freed, or another run's, by now
                self.yard.jobs.keep_slot(self.job.id, self.job.lease or "", until_ms)

    def raise_if_void(self) -> None:
        """Raise ``JobCanceled`` or ``LeaseLost`` when the run is void."""
        if self.ended_because is not None:
            raise self.ended_because(f"job {self.job.id} is no longer this worker's")

    def interrupted_by(self, interruption: Interruption) -> Interruption:
        """What ends the run, to be raised: it is remembered, so whatever the handler does with it, the run ends so."""
        self.interruption = interruption
        return interruption

    def interrupt(self, interruption: Interruption) -> None:
        """End the run from outside, by a signal in its thread: raises ``interruption``, or cancels what is awaited."""
        if self.coroutine is None:
            raise self.interrupted_by(interruption)
        self.coroutine.interrupt(self.interrupted_by(interruption))

    def raise_if_interrupted(self) -> None:
        """Raise what has ended the run, where the handler has swallowed or wrapped it."""
        if self.interruption is not None:
            raise self.interruption

    def note_refusal(self, refused: JobRefused) -> None:
        """Remember why the ledger no longer listens to this run."""
        ledger = refused.ledger
        canceled = isinstance(ledger, Tombstone) or (ledger is not None and ledger.lease == self.job.lease)
        self.ended_because = JobCanceled if canceled else LeaseLost
        coroutine = self.coroutine
        if coroutine is not None:
            coroutine.cancel_from_beside()

    def _fenced(self, write: Callable[[], None]) -> None:
        self.ensure_claimed()
        self.raise_if_void()
        try:
            write()
        except JobRefused as refused:
            self.note_refusal(refused)
        self.raise_if_void()
