"""Several SQS queues in a strict order: what comes is handed to whoever is free, the first queue that holds any first.

A queue that is believed empty is watched by a long poll. What that brings is shared out among those who wait, or kept
for the next who asks. A queue that brought a full batch, or brought anything while nobody waited, is believed to hold
more: whoever asks next is told to receive from it, and the queue is watched again once that finds less than it asked
for. So a burst costs a receive for each batch, and an empty queue one request in ``wait_s``.

Of a queue whose handlers take batches, what polls bring is kept until it makes a batch, or the first of it has waited
for long enough.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.clocks import ledger_clock
from chalicelib.core.batch import Batch
from chalicelib.core.errors import Unavailable
from chalicelib.local.batches import Message, Queue, receive
from chalicelib.queue.contract import BATCH_MAX_MESSAGES, Received, Transport

LONG_WAIT_S = 20  # as long as SQS holds a receive
SHORT_WAIT_S = 1  # so long a stop may take where an abandoned poll would swallow messages
ERROR_PAUSE_S = 1.0
BATCH_S = 1.0  # what a batch may take: so long a worker may sit on work that another is free for
SHARED_BATCH_S = 0.01  # where messages name their tenants: so long one may wait behind a batch of another
KEPT_SHARE = 2  # of the hiding: messages are kept for half of it, then they go back to their queue

logger = logging.getLogger(__name__)

Batches = Mapping[str, Batch]  # what is gathered of a queue, by its name
NO_BATCHES: Batches = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Assignment:
    """Work for one who is free: messages of a queue, or, if there are none, to receive up to ``most`` from it."""

    queue: Queue
    most: int
    hide_s: int
    messages: Sequence[Message] = ()
    hidden_until_ms: int = 0  # those messages, at least; milliseconds since 1970

    def received(self) -> list[Received]:
        """The messages as the transport settles them."""
        return [
            Received(self.queue.name, message["MessageId"], message["ReceiptHandle"], message["Body"])
            for message in self.messages
        ]


@dataclass(slots=True, eq=False)
class _Door:
    """What is known of a queue."""

    queue: Queue
    holds_more: bool = False  # beyond what was brought
    brought: list[Message] = field(default_factory=list)
    brought_at_s: float = 0.0  # monotonic
    hidden_until_ms: int = 0  # what was brought, at least
    job_s: float | None = None  # what a job took lately
    batch_s: float = BATCH_S
    watcher: threading.Thread | None = None
    batch: Batch | None = None  # what is gathered of it
    gathers_until_s: float | None = None  # monotonic; while what was brought does not make a batch

    @property
    def is_open(self) -> bool:
        """Whether there is work behind it."""
        return self.holds_more or (bool(self.brought) and self.gathers_until_s is None)

    @property
    def gathers_s(self) -> int:
        """For how long its messages may be kept until they make a batch."""
        return 0 if self.batch is None else self.batch.max_wait_s


class OrderedQueues:
    """Queues in ranks, those of the first rank being read before those of the second.

    Queues of one rank take turns. A received message is hidden for ``hide_s`` seconds, a poll waits for up to
    ``wait_s``. Any number of threads may ask for work. With ``carried``, they are never told to receive themselves.
    ``batches``: of which queues batches are gathered.
    """

    def __init__(
        self,
        sqs: Any,
        transport: Transport,
        ranks: Sequence[Sequence[Queue]],
        hide_s: int,
        *,
        most: int = BATCH_MAX_MESSAGES,
        wait_s: int = LONG_WAIT_S,
        carried: bool = False,
        batches: Batches = NO_BATCHES,
    ) -> None:
        self._sqs = sqs
        self._transport = transport
        self._ranks = [[_Door(queue) for queue in rank] for rank in ranks]
        self._hide_s = hide_s
        self._most = most
        self._wait_s = wait_s
        self._carried = carried
        self._stopping = threading.Event()
        self._changed = threading.Condition()  # guards the doors, and what follows
        self._seekers = 0
        self._gather(batches)

    def start(self) -> None:
        """Begin to watch every queue."""
        with self._changed:
            for door in self._doors():
                if door.watcher is None:
                    name = f"{door.queue.name}-watcher"
                    door.watcher = threading.Thread(target=self._watch, args=(door,), name=name, daemon=True)
                    door.watcher.start()

    def extend(self, ranks: Sequence[Sequence[Queue]], batches: Batches = NO_BATCHES) -> None:
        """Read further queues, too: those of ``ranks``, of which there are as many as before, that are not read yet.

        From now on, these ``batches`` are gathered.
        """
        with self._changed:
            for known, more in zip(self._ranks, ranks, strict=True):
                there = {door.queue for door in known}
                known += [_Door(queue) for queue in more if queue not in there]
            self._gather(batches)
            self.start()

    def alive(self) -> bool:
        """Whether every queue is watched."""
        with self._changed:
            return all(door.watcher is not None and door.watcher.is_alive() for door in self._doors())

    def next_work(self) -> Assignment | None:
        """Work of the first queue that has any; waits for it. None once reading was stopped."""
        while True:
            with self._seeking():
                self._changed.wait_for(lambda: self._stopping.is_set() or any(door.is_open for door in self._doors()))
                if self._stopping.is_set():
                    return None
                door = next(door for door in self._doors() if door.is_open)
                if not self._is_stale(door):
                    return self._assigned(door)
                door.holds_more = not self._is_carried(door)
                stale = self._emptied(door)
            self.give_back(stale)

    def received(self, work: Assignment, count: int, *, is_shared: bool = False) -> None:
        """Whoever was told to receive found ``count`` messages: fewer than asked for mean that no more are there.

        ``is_shared``: some of them name a tenant.
        """
        with self._changed:
            door = self._door(work.queue)
            door.batch_s = SHARED_BATCH_S if is_shared else BATCH_S
            if count < work.most and not work.messages:
                door.holds_more = False
                self._changed.notify_all()

    def took(self, queue: Queue, job_s: float) -> None:
        """A job of the queue's latest batch took ``job_s`` on average."""
        with self._changed:
            door = self._door(queue)
            door.job_s = job_s if door.job_s is None else (door.job_s + job_s) / 2

    def give_back(self, work: Assignment) -> None:
        """Show messages again at once."""
        if work.messages:
            try:
                self._transport.hide(work.received(), 0)
            except (BotoCoreError, ClientError, Unavailable) as error:
                logger.warning("messages of %s come back in %s s only: %s", work.queue.name, self._hide_s, error)

    def stop(self) -> None:
        """Hand out nothing more, and give back what is kept.

        Long polls are left to themselves: what they still bring goes back. Short ones are waited for.
        """
        self._stopping.set()
        with self._changed:
            kept = [self._emptied(door) for door in self._doors()]
            self._changed.notify_all()
        for work in kept:
            self.give_back(work)
        if self._wait_s <= SHORT_WAIT_S:
            for door in self._doors():
                if door.watcher is not None:
                    door.watcher.join()

    # -- handing out --------------------------------------------------------------------------------

    @contextmanager
    def _seeking(self) -> Iterator[None]:
        with self._changed:
            self._seekers += 1
            try:
                yield
            finally:
                self._seekers -= 1

    def _is_stale(self, door: _Door) -> bool:
        kept_s = time.monotonic() - door.brought_at_s
        return bool(door.brought) and kept_s > self._hide_s / KEPT_SHARE

    def _gather(self, batches: Batches) -> None:
        for door in self._doors():
            door.batch = batches.get(door.queue.name)

    def _is_carried(self, door: _Door) -> bool:
        """Whether its messages are handed out, and nobody is told to receive them."""
        return self._carried or door.batch is not None

    def _most_of(self, door: _Door) -> int:
        return self._most if door.batch is None else door.batch.max_size

    def _hide_s_of(self, door: _Door) -> int:
        return self._hide_s + door.gathers_s

    def _assigned(self, door: _Door) -> Assignment:
        rank = next(rank for rank in self._ranks if door in rank)
        rank.remove(door)
        rank.append(door)
        most = batch_size(door.job_s, self._most, door.batch_s)
        if not door.brought:
            return Assignment(door.queue, most, self._hide_s)
        is_shared = not self._is_carried(door)
        share = min(most, -(-len(door.brought) // self._seekers)) if is_shared else self._most_of(door)
        messages, door.brought = door.brought[:share], door.brought[share:]
        self._changed.notify_all()
        return Assignment(door.queue, most, self._hide_s, messages, door.hidden_until_ms)

    def _emptied(self, door: _Door) -> Assignment:
        messages, door.brought, door.gathers_until_s = door.brought, [], None
        self._changed.notify_all()  # whoever watches it polls again
        return Assignment(door.queue, self._most, self._hide_s, messages)

    def _doors(self) -> Iterator[_Door]:
        return chain.from_iterable(self._ranks)

    def _door(self, queue: Queue) -> _Door:
        return next(door for door in self._doors() if door.queue == queue)

    # -- watching -----------------------------------------------------------------------------------

    def _watch(self, door: _Door) -> None:
        while self._is_to_be_polled(door):
            asked_at_ms = ledger_clock()
            messages = self._poll(door)
            if not self._kept(door, messages, asked_at_ms):
                self.give_back(Assignment(door.queue, self._most, self._hide_s, messages))

    def _is_to_be_polled(self, door: _Door) -> bool:
        """Wait until the queue is believed empty; false once reading was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or not door.is_open)
            return not self._stopping.is_set()

    def _poll(self, door: _Door) -> Sequence[Message]:
        most, wait_s = self._missing(door)
        try:
            return receive(self._sqs, door.queue, most, self._hide_s_of(door), wait_s)
        except (BotoCoreError, ClientError) as error:
            if not self._stopping.is_set():
                logger.warning("%s cannot be read: %s", door.queue.name, error)
                self._stopping.wait(ERROR_PAUSE_S)
            return []

    def _missing(self, door: _Door) -> tuple[int, int]:
        """How many messages the next poll asks for, and for how many seconds it waits: SQS counts whole ones."""
        with self._changed:
            most = min(BATCH_MAX_MESSAGES, self._most_of(door) - len(door.brought))
            if door.gathers_until_s is None:
                return most, self._wait_s
            left_s = max(1, math.ceil(door.gathers_until_s - time.monotonic()))
            return most, min(self._wait_s, left_s)

    def _kept(self, door: _Door, messages: Sequence[Message], asked_at_ms: int) -> bool:
        """Keep what a poll brought for those who wait, or for the next who asks; false once reading was stopped."""
        with self._changed:
            if self._stopping.is_set():
                return False
            if messages and not door.brought:
                door.gathers_until_s = time.monotonic() + door.gathers_s
                door.hidden_until_ms = asked_at_ms + self._hide_s_of(door) * 1_000
            if messages:
                door.brought, door.brought_at_s = [*door.brought, *messages], time.monotonic()
                is_told = not self._is_carried(door)
                door.holds_more = is_told and (len(messages) == self._most or not self._seekers)
            if door.brought and self._is_batch(door):
                door.gathers_until_s = None
                self._changed.notify_all()
            return True

    def _is_batch(self, door: _Door) -> bool:
        """Whether what was brought is as much as is gathered, or has been waiting for long enough."""
        is_over = door.gathers_until_s is None or time.monotonic() >= door.gathers_until_s
        return is_over or len(door.brought) >= self._most_of(door)


def batch_size(job_s: float | None, most: int = BATCH_MAX_MESSAGES, batch_s: float = BATCH_S) -> int:
    """How many messages make a batch of ``batch_s``, a second, if each takes ``job_s``: 0.1 s or less: 10, 0.3 s: 3.

    One where that is not known.
    """
    if job_s is None:
        return 1
    return max(1, int(min(most, batch_s / job_s))) if job_s else most
