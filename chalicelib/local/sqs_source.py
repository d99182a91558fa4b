"""SQS as an event source: what Lambda's event source mapping does with ``ReportBatchItemFailures``.

Each execution environment has a thread that asks for work and lets the environment do it: the process receives the
batch, where that is not at hand, calls the function and deletes what succeeded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from chalicelib.local.environments import Environment, InvocationFailed
from chalicelib.local.lambda_events import sqs_event
from chalicelib.local.queues import Assignment, OrderedQueues

READY_PAUSE_S = 0.5  # between two looks at whether to stop, while the function's process is being replaced

logger = logging.getLogger(__name__)


class SqsSource:
    """Feeds the messages of queues to the environments of one function.

    What an invocation failed on comes back when its hiding ends, as with Lambda; with ``eager``, at once.
    """

    def __init__(self, queues: OrderedQueues, environments: Sequence[Environment], *, eager: bool = False) -> None:
        self._queues = queues
        self._environments = environments
        self._eager = eager
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._feed, args=(environment,), name=f"{environment.name}-feed", daemon=True)
            for environment in environments
        ]

    def start(self) -> None:
        """Begin to receive."""
        self._queues.start()
        for thread in self._threads:
            thread.start()

    def stop(self, interrupt_at_s: float, deadline_at_s: float) -> bool:
        """Receive nothing more, hand back what is not begun, and let what runs end; false if something has not.

        What still runs at ``interrupt_at_s`` is interrupted; it has until ``deadline_at_s`` (both monotonic seconds).
        """
        self._stopping.set()
        for environment in self._environments:
            environment.wind_up()
        self._queues.stop()
        if self._ended(interrupt_at_s):
            return True
        for environment, thread in zip(self._environments, self._threads, strict=True):
            if thread.is_alive():
                logger.warning("%s did not end in time and is interrupted; its job runs again", environment.name)
                environment.interrupt()
        return self._ended(deadline_at_s)

    def _ended(self, by_s: float) -> bool:
        """Whether all invocations end by then (monotonic seconds)."""
        for thread in self._threads:
            thread.join(max(0.0, by_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def alive(self) -> bool:
        """Whether every queue is watched and every environment is being fed."""
        return self._queues.alive() and all(thread.is_alive() for thread in self._threads)

    def _feed(self, environment: Environment) -> None:
        while not self._stopping.is_set():
            if not environment.await_ready(READY_PAUSE_S):
                continue
            work = self._queues.next_work()
            if work is None:
                return
            if self._stopping.is_set():
                self._queues.give_back(work)
            else:
                _Batch(self._queues, work).run(environment, self._eager)


class _Batch:
    """One invocation."""

    def __init__(self, queues: OrderedQueues, work: Assignment) -> None:
        self._queues = queues
        self._work = work
        self._count = 0
        self._begun_at_s = 0.0

    def run(self, environment: Environment, eager: bool) -> None:
        """Let the environment do it. What it has not begun comes back at once."""
        event = sqs_event(self._work.messages, self._work.queue.arn) if self._work.messages else None
        request = {
            "queue": asdict(self._work.queue),
            "most": self._work.most,
            "hide_s": self._work.hide_s,
            "hidden_until_ms": self._work.hidden_until_ms,
        }
        try:
            environment.work({**request, "event": event}, self._begin)
        except InvocationFailed as error:
            begun = f"failed on {self._count} messages" if self._count else "could not begin"
            logger.warning("%s %s: %s", environment.name, begun, error)
            if eager or not self._count:
                self._queues.give_back(self._work)
        job_s = (time.monotonic() - self._begun_at_s) / self._count if self._count else None
        self._queues.ended(self._work, job_s)

    def _begin(self, answer: Mapping[str, Any]) -> None:
        tenants = answer["begun"]
        self._count, self._begun_at_s = len(tenants), time.monotonic()
        self._queues.received(self._work, tenants)
