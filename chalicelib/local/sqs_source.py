"""SQS as an event source: what Lambda's event source mapping does with ``ReportBatchItemFailures``.

Each execution environment has a thread that takes a batch, invokes the function with it and deletes what succeeded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.errors import Unavailable
from chalicelib.local.environments import Environment, InvocationFailed
from chalicelib.local.lambda_events import sqs_event
from chalicelib.local.queues import Batch, OrderedQueues

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
        """Whether every environment is being fed."""
        return all(thread.is_alive() for thread in self._threads)

    def _feed(self, environment: Environment) -> None:
        while not self._stopping.is_set():
            if not environment.await_ready(READY_PAUSE_S):
                continue
            batch = self._queues.next_batch()
            if batch is None:
                return
            if self._stopping.is_set():
                self._queues.give_back(batch)
            else:
                self._deliver(environment, batch)

    def _deliver(self, environment: Environment, batch: Batch) -> None:
        """One invocation. What succeeded is deleted."""
        try:
            answer = environment.invoke(sqs_event(batch.messages, batch.queue.arn))
            failed = failed_ids(answer, [message["MessageId"] for message in batch.messages])
            self._queues.delete(batch.without(failed))
        except InvocationFailed as error:
            logger.warning("%s failed on %s messages: %s", environment.name, len(batch.messages), error)
            if self._eager:
                self._queues.give_back(batch)
        except (BotoCoreError, ClientError, Unavailable) as error:
            logger.warning("settled messages of %s come back: %s", batch.queue.name, error)


def failed_ids(answer: Any, message_ids: Sequence[str]) -> set[str]:
    """Which messages come back, by the function's answer.

    An answer without ``batchItemFailures`` means success, and one that cannot be read means that all have failed
    (Lambda developer guide, "Implementing partial batch responses").
    """
    everything = set(message_ids)
    if answer is None:
        return set()
    try:
        failures = answer.get("batchItemFailures") or []
        failed = {failure["itemIdentifier"] for failure in failures}
    except (AttributeError, KeyError, TypeError):
        return everything
    return failed if failed <= everything else everything
