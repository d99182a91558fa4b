"""Reading several SQS queues in a strict order: the first that holds messages is the one that is read.

While a worker is free and all queues are empty, every queue is asked to wait for a message (a long poll each), so
that a new one is there within a tenth of a second and an idle machine stays idle. What such a poll brings when no
worker is free any more goes back to its queue at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.errors import Unavailable
from chalicelib.queue.contract import BATCH_MAX_MESSAGES, Received, Transport

WAIT_S = 1  # of a long poll: stopping takes up to this long
ERROR_PAUSE_S = 1.0
POLLERS_MAX = 1_000  # threads for long polls; there are as many as queues

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]  # as ReceiveMessage answers it


@dataclass(frozen=True, slots=True)
class Queue:
    """An SQS queue."""

    name: str
    arn: str
    url: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one queue."""

    queue: Queue
    messages: Sequence[Message]

    def without(self, message_ids: Container[str]) -> Batch:
        """The batch without the messages of these ids."""
        return Batch(self.queue, [message for message in self.messages if message["MessageId"] not in message_ids])

    def received(self) -> list[Received]:
        """The messages as the transport settles them."""
        return [
            Received(self.queue.name, message["MessageId"], message["ReceiptHandle"], message["Body"])
            for message in self.messages
        ]


class OrderedQueues:
    """Queues in ranks, those of the first rank being read before those of the second.

    Queues of one rank take turns. A received message is hidden for ``hide_s`` seconds. Any number of threads may ask
    for batches of up to ``most`` messages; a batch is shared out among those that wait for one.
    """

    def __init__(
        self,
        sqs: Any,
        transport: Transport,
        ranks: Sequence[Sequence[Queue]],
        hide_s: int,
        most: int = BATCH_MAX_MESSAGES,
    ) -> None:
        self._sqs = sqs
        self._transport = transport
        self._ranks = [list(rank) for rank in ranks]
        self._hide_s = hide_s
        self._most = most
        self._stopping = threading.Event()
        self._turn = threading.Lock()  # one thread at a time looks for messages
        self._changed = threading.Condition()  # guards what follows
        self._seekers = 0
        self._polled: set[Queue] = set()
        self._arrived: dict[Queue, list[Message]] = {}
        self._pollers = ThreadPoolExecutor(POLLERS_MAX, thread_name_prefix="long-poll")

    def extend(self, ranks: Sequence[Sequence[Queue]]) -> None:
        """Read further queues, too: those of ``ranks``, of which there are as many as before, that are not read yet."""
        with self._changed:
            self._ranks = [
                [*known, *(queue for queue in more if queue not in known)]
                for known, more in zip(self._ranks, ranks, strict=True)
            ]
            self._changed.notify_all()

    def next_batch(self) -> Batch | None:
        """Messages of the first queue that holds any; waits for them. None once reading was stopped."""
        with self._seeking(), self._turn:
            while not self._stopping.is_set():
                if self._sweep() or self._arrival():
                    return self._share()
        return None

    def delete(self, batch: Batch) -> None:
        """Delete messages; raises what the transport raises."""
        self._transport.delete(batch.received())

    def give_back(self, batch: Batch) -> None:
        """Show messages again at once."""
        try:
            self._transport.hide(batch.received(), 0)
        except (BotoCoreError, ClientError, Unavailable) as error:
            logger.warning("messages of %s come back in %s s only: %s", batch.queue.name, self._hide_s, error)

    def stop(self) -> None:
        """Receive nothing more; returns when no receive is under way."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._pollers.shutdown()

    @contextmanager
    def _seeking(self) -> Iterator[None]:
        """Count a thread that wants messages; the last to leave gives back what nobody took."""
        with self._changed:
            self._seekers += 1
        try:
            yield
        finally:
            with self._changed:
                self._seekers -= 1
                unwanted, self._arrived = ({}, self._arrived) if self._seekers else (self._arrived, {})
            for queue, messages in unwanted.items():
                self.give_back(Batch(queue, messages))

    def _sweep(self) -> bool:
        """Ask one queue after the other, without waiting; true at the first that holds messages."""
        for rank in self._ranks:
            rank[:] = [*rank[1:], *rank[:1]]
            for queue in rank:
                if queue in self._arrived or self._keep(queue, self._receive(queue, wait_s=0)):
                    return True
        return False

    def _arrival(self) -> bool:
        """Let all queues wait for messages; true when any have come, false when reading was stopped."""
        with self._changed:
            while not self._arrived and not self._stopping.is_set():
                for queue in chain.from_iterable(self._ranks):
                    if queue not in self._polled:
                        self._polled.add(queue)
                        self._pollers.submit(self._long_poll, queue)
                self._changed.wait()
            return bool(self._arrived)

    def _share(self) -> Batch:
        """This thread's share of the messages at hand, of the first queue in order."""
        with self._changed:
            queue = next(queue for queue in chain.from_iterable(self._ranks) if queue in self._arrived)
            messages = self._arrived.pop(queue)
            share = min(self._most, -(-len(messages) // self._seekers))
            if share < len(messages):
                self._arrived[queue] = messages[share:]
            return Batch(queue, messages[:share])

    def _long_poll(self, queue: Queue) -> None:
        messages = self._receive(queue, WAIT_S)
        with self._changed:
            self._polled.discard(queue)
            wanted = self._seekers > 0 and not self._stopping.is_set()
            if wanted:
                self._buffer(queue, messages)
            self._changed.notify_all()
        if messages and not wanted:
            self.give_back(Batch(queue, messages))

    def _keep(self, queue: Queue, messages: Sequence[Message]) -> bool:
        with self._changed:
            return self._buffer(queue, messages)

    def _buffer(self, queue: Queue, messages: Sequence[Message]) -> bool:
        if messages:
            self._arrived.setdefault(queue, []).extend(messages)
        return bool(messages)

    def _receive(self, queue: Queue, wait_s: int) -> Sequence[Message]:
        try:
            answer = self._sqs.receive_message(
                QueueUrl=queue.url,
                MaxNumberOfMessages=self._most,
                VisibilityTimeout=self._hide_s,
                WaitTimeSeconds=wait_s,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except (BotoCoreError, ClientError) as error:
            logger.warning("%s cannot be read: %s", queue.name, error)
            self._stopping.wait(ERROR_PAUSE_S)
            return []
        messages: Sequence[Message] = answer.get("Messages", [])
        return messages
