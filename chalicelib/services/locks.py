"""The locks of received messages, extended as long as somebody works on them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from chalicelib.core.errors import Conflict
from chalicelib.core.job import Job
from chalicelib.engine.polling import poll
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger

EXTENSIONS_PER_LOCK = 3
LOOK_S = 0.25  # between two looks at whether locks are to be extended


@dataclass(slots=True)
class _LockedMessage:
    """A locked message: when its lock was last extended, and from when on it is not any more (monotonic ms)."""

    job: Job
    extended_at_ms: float
    until_ms: float
    lock: threading.RLock = field(default_factory=threading.RLock)  # held while the lock is extended


class LockExtender:
    """Extends the locks of what it holds, every third of a lock, until it is let go or ``timeout_ms`` are over.

    ``lock_ms``: how long a lock is, in milliseconds. A ``timeout_ms`` of 0 is for ever.
    """

    def __init__(self, yard: Yard, lock_ms: int, timeout_ms: int) -> None:
        self.lock_ms = lock_ms
        self._yard = yard
        self._timeout_ms = timeout_ms or float("inf")
        self._entries: dict[str, _LockedMessage] = {}  # by lease: a lost message may come back to this very process
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="locks", daemon=True)

    def start(self) -> None:
        """Begin to extend."""
        self._thread.start()

    def stop(self, deadline_at_s: float) -> None:
        """Begin no further extension; wait for one under way until ``deadline_at_s`` (monotonic seconds)."""
        self._stopping.set()
        self._thread.join(max(0.0, deadline_at_s - time.monotonic()))

    def add(self, job: Job) -> None:
        """Keep the lock of a message that was just received."""
        now_ms = time.monotonic() * 1_000
        with self._lock:
            self._entries[job.lease or ""] = _LockedMessage(job, now_ms, now_ms + self._timeout_ms)

    def held_jobs(self) -> list[Job]:
        """The locked messages."""
        with self._lock:
            return [entry.job for entry in self._entries.values()]

    def let_go(self, job: Job) -> None:
        """Extend the lock of a message no more; an extension under way is waited for."""
        with self._lock:
            entry = self._entries.pop(job.lease or "", None)
        if entry is not None:
            with entry.lock:
                return

    def _keep(self) -> None:
        beat_ms = self.lock_ms / EXTENSIONS_PER_LOCK
        while not self._stopping.wait(min(LOOK_S, beat_ms / 1_000)):
            now_ms = time.monotonic() * 1_000
            with self._lock:
                due = [entry for entry in self._entries.values() if now_ms - entry.extended_at_ms >= beat_ms]
            for entry in due:
                with entry.lock:
                    if (entry.job.lease or "") in self._entries:
                        self._extend(entry, now_ms)

    def _extend(self, entry: _LockedMessage, now_ms: float) -> None:
        job = entry.job
        if now_ms >= entry.until_ms:
            logger.warning("a function takes too long; its lock is left to end", extra={"job_id": job.id})
            self.let_go(job)
            return
        try:
            poll.extend(self._yard, job.id, job.lease or "", self.lock_ms)
            entry.extended_at_ms = now_ms
        except Conflict:  # settled meanwhile, or another consumer has it
            self.let_go(job)
        except Exception:  # the next look may succeed; if none does, the lock ends
            logger.exception("lock not extended", extra={"job_id": job.id})
