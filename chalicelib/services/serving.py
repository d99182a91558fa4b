"""Serving one topic: a thread that polls, and some that work."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from chalicelib.core.decisions import Failed, Outcome, Succeeded
from chalicelib.core.job import Job
from chalicelib.engine.failures import failure_of, log_failure
from chalicelib.engine.polling import poll
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.services.current import at_work
from chalicelib.services.locks import LockExtender
from chalicelib.services.records import Message, message_of

LOOK_S = 0.25  # between two looks at whether to stop
PAUSES_S = (2.0, 4.0, 8.0, 16.0, 30.0)  # before the next poll while AWS does not answer

Function: TypeAlias = Callable[[Message], Any]


def label_of(function: Function) -> str:
    """Which function this is, in words that survive a restart."""
    owner = function if hasattr(function, "__qualname__") else type(function)
    return f"{owner.__module__}.{owner.__qualname__}"


class TopicThreads:
    """The threads of one topic. They call what ``functions`` answers with each message, and settle it."""

    def __init__(
        self,
        yard: Yard,
        topic: str,
        extender: LockExtender,
        functions: Callable[[], tuple[Function, ...]],
        *,
        concurrency: int,
        wait_s: int,
    ) -> None:
        self._yard = yard
        self._topic = topic
        self._extender = extender
        self._functions = functions
        self._wait_s = wait_s
        self._idle = threading.Semaphore(concurrency)
        self._polled: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None: there will be no more
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name=f"poll {topic}", daemon=True)
        self._workers = [
            threading.Thread(target=self._work, name=f"work {number} {topic}", daemon=True)
            for number in range(concurrency)
        ]

    def start(self) -> None:
        """Start all threads."""
        for thread in (self._poller, *self._workers):
            thread.start()

    def stop_polling(self) -> None:
        """Receive no more messages than a poll under way brings."""
        self._stopping.set()

    def join(self, deadline_at_s: float) -> bool:
        """Wait for all threads to end; returns whether they did."""
        threads = [self._poller, *self._workers]
        for thread in threads:
            thread.join(max(0.0, deadline_at_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _poll(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            places = self._places()
            taken: list[Job] = []
            try:
                if places and not self._stopping.is_set():
                    taken = self._take(places)
                failures = 0
            except Exception:  # AWS does not answer; the next poll may succeed
                failures += 1
                logger.exception("poll failed", extra={"topic": self._topic})
                self._stopping.wait(PAUSES_S[min(failures, len(PAUSES_S)) - 1])
            for job in taken:
                self._polled.put(job)
            if places > len(taken):
                self._idle.release(places - len(taken))
        for _ in self._workers:
            self._polled.put(None)

    def _places(self) -> int:
        """How many idle workers the next poll is for; waits a moment for the first."""
        places = int(self._idle.acquire(timeout=LOOK_S))
        while 0 < places < self._yard.settings.mq_poll_limit and self._idle.acquire(blocking=False):
            places += 1
        return places

    def _take(self, most: int) -> list[Job]:
        jobs = poll.poll(self._yard, self._topic, most, self._extender.lock_ms, self._yard.worker_name, self._wait_s)
        for job in jobs:
            self._extender.add(job)
        if not jobs and self._wait_s == 0:
            self._stopping.wait(LOOK_S)
        return jobs

    def _work(self) -> None:
        while (job := self._polled.get()) is not None:
            try:
                self._consume(job)
            except Exception:  # its lock ends, and it is delivered again
                logger.exception("message comes back", extra={"job_id": job.id, "topic": self._topic})
            finally:
                self._extender.let_go(job)
                self._idle.release()

    def _consume(self, job: Job) -> None:
        with at_work(self._yard, job.id):
            outcome = self._outcome(job)
        self._extender.let_go(job)  # an extension that came after the end would put off the next delivery
        try:
            _, disposition = poll.settle_locked(self._yard, job, outcome)
        except poll.NotLocked as refused:
            logger.warning("end not recorded: the lock was lost", extra={"job_id": job.id, "reason": refused.message})
            return
        poll.settle_messages(self._yard, [(job, disposition)])

    def _outcome(self, job: Job) -> Outcome:
        """Call every function that has not succeeded yet; one that fails does not stop the others."""
        message = message_of(job, self._yard.payloads.body(job), locked=True)
        succeeded = list(job.succeeded_subscribers)
        failures: list[Failed] = []
        for function in self._functions():
            label = label_of(function)
            if label in succeeded:
                continue
            try:
                function(message)
                succeeded.append(label)
            except BaseException as error:  # whatever it is, it must not end this thread
                log_failure("consumer function failed", error, function=label, job_id=job.id)
                failures.append(failure_of(error))
        if not failures:
            return Succeeded()
        return Failed(failures[0].error, all(failure.final for failure in failures), tuple(succeeded))
