"""Several SQS queues in a strict order: what comes is handed to whoever is free, the first queue that holds any first.

A queue that is believed empty is watched by a long poll. What that brings is shared out among those who wait, or kept
for the next who asks. A queue that brought a full batch, or brought anything while nobody waited, is believed to hold
more: whoever asks next is told to receive from it, and the queue is watched again once that finds less than it asked
for. So a burst costs a receive for each batch, and an empty queue one request in ``wait_s``.

Where several tenants have messages in a queue, one worker is kept for others than the noisy one: it is given no work
that may be the noisy one's, and a poll that passes that over watches the queue for it.

Of a queue whose handlers take batches, what polls bring is kept until it makes a batch, or the first of it has waited
for long enough.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.clocks import ledger_clock
from chalicelib.core.batch import Batch
from chalicelib.core.errors import Unavailable
from chalicelib.local.batches import Message, Queue, receive
from chalicelib.local.doors import Door, batch_size
from chalicelib.queue.contract import BATCH_MAX_MESSAGES, Received, Transport

LONG_WAIT_S = 20  # as long as SQS holds a receive
SHORT_WAIT_S = 1  # so long a stop may take where an abandoned poll would swallow messages
ERROR_PAUSE_S = 1.0
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


class OrderedQueues:
    """Queues in ranks, those of the first rank being read before those of the second.

    Queues of one rank take turns. A received message is hidden for ``hide_s`` seconds, a poll waits for up to
    ``wait_s``. Any number of threads may ask for work. With ``carried``, they are never told to receive themselves.
    ``batches``: of which queues batches are gathered. ``workers``: of so many one is kept from a noisy tenant; 1, the
    default, where the queues cannot pass one over (``emulator_queues``).
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
        workers: int = 1,
    ) -> None:
        self._sqs = sqs
        self._transport = transport
        self._ranks = [[Door(queue) for queue in rank] for rank in ranks]
        self._hide_s = hide_s
        self._most = most
        self._wait_s = wait_s
        self._carried = carried
        self._workers = workers
        self._stopping = threading.Event()
        self._changed = threading.Condition()  # guards the doors, and what follows
        self._seekers = 0
        self._gather(batches)

    def start(self) -> None:
        """Begin to watch every queue."""
        with self._changed:
            for door in self._doors():
                if door.watcher is None:
                    door.watcher = self._started(door, self._watch, "watcher")

    def extend(self, ranks: Sequence[Sequence[Queue]], batches: Batches = NO_BATCHES) -> None:
        """Read further queues, too: those of ``ranks``, of which there are as many as before, that are not read yet.

        From now on, these ``batches`` are gathered.
        """
        with self._changed:
            for known, more in zip(self._ranks, ranks, strict=True):
                there = {door.queue for door in known}
                known += [Door(queue) for queue in more if queue not in there]
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
                self._changed.wait_for(lambda: self._stopping.is_set() or self._first_with_work() is not None)
                door = self._first_with_work()
                if self._stopping.is_set() or door is None:
                    return None
                if not self._is_stale(door):
                    return self._assigned(door)
                door.holds_more = not self._is_carried(door)
                stale = self._emptied(door)
            self.give_back(stale)

    def received(self, work: Assignment, tenants: list[str]) -> None:
        """Whose messages somebody has, each one's tenant or "": fewer than asked for mean that no more are there."""
        with self._changed:
            door = self._door(work.queue)
            door.saw(tenants)
            if len(tenants) < work.most and not work.messages:
                door.holds_more = False
                self._changed.notify_all()
            if door.reserve is None and self._workers > 1 and not self._is_carried(door) and door.noisy is not None:
                door.reserve = self._started(door, self._watch_for_others, "reserve")

    def ended(self, work: Assignment, job_s: float | None) -> None:
        """Somebody is free again; a job took ``job_s`` on average, None: there was none."""
        with self._changed:
            door = self._door(work.queue)
            door.at_work -= 1
            if job_s is not None:
                door.took(job_s)
            self._changed.notify_all()

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
            self._changed.notify_all()  # a queue may be watched for others than the noisy tenant now
            try:
                yield
            finally:
                self._seekers -= 1

    def _first_with_work(self) -> Door | None:
        """Which queue has work for one more worker: none of a later rank while an earlier one holds any."""
        for rank in self._ranks:
            for door in rank:
                if door.has_batch or (door.holds_more and not door.spares_one_of(self._workers)):
                    return door
            if any(door.is_open for door in rank):
                break
        return None

    def _is_stale(self, door: Door) -> bool:
        kept_s = time.monotonic() - door.brought_at_s
        return bool(door.brought) and kept_s > self._hide_s / KEPT_SHARE

    def _gather(self, batches: Batches) -> None:
        for door in self._doors():
            door.batch = batches.get(door.queue.name)

    def _is_carried(self, door: Door) -> bool:
        """Whether its messages are handed out, and nobody is told to receive them."""
        return self._carried or door.batch is not None

    def _most_of(self, door: Door) -> int:
        return self._most if door.batch is None else door.batch.max_size

    def _hide_s_of(self, door: Door) -> int:
        return self._hide_s + door.gathers_s

    def _assigned(self, door: Door) -> Assignment:
        rank = next(rank for rank in self._ranks if door in rank)
        rank.remove(door)
        rank.append(door)
        door.at_work += 1
        most = batch_size(door.job_s, self._most, door.batch_s)
        if not door.brought:
            return Assignment(door.queue, most, self._hide_s)
        is_shared = not self._is_carried(door)
        share = min(most, -(-len(door.brought) // self._seekers)) if is_shared else self._most_of(door)
        messages, door.brought = door.brought[:share], door.brought[share:]
        self._changed.notify_all()
        return Assignment(door.queue, most, self._hide_s, messages, door.hidden_until_ms)

    def _emptied(self, door: Door) -> Assignment:
        messages, door.brought, door.gathers_until_s = door.brought, [], None
        self._changed.notify_all()  # whoever watches it polls again
        return Assignment(door.queue, self._most, self._hide_s, messages)

    def _doors(self) -> Iterator[Door]:
        return chain.from_iterable(self._ranks)

    def _door(self, queue: Queue) -> Door:
        return next(door for door in self._doors() if door.queue == queue)

    # -- watching -----------------------------------------------------------------------------------

    def _started(self, door: Door, watch: Callable[[Door], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=watch, args=(door,), name=f"{door.queue.name}-{name}", daemon=True)
        thread.start()
        return thread

    def _watch(self, door: Door) -> None:
        while self._is_to_be_polled(door):
            self._poll(door, *self._missing(door))

    def _watch_for_others(self, door: Door) -> None:
        while (noisy := self._passed_over(door)) is not None:
            self._poll(door, 1, SHORT_WAIT_S, noisy)

    def _passed_over(self, door: Door) -> str | None:
        """Wait until a worker is kept from a tenant, and say from which; None once reading was stopped."""
        with self._changed:
            noisy = None
            while noisy is None and not self._stopping.is_set():
                self._changed.wait_for(lambda: self._stopping.is_set() or self._is_kept_for_others(door))
                noisy = door.noisy
            return None if self._stopping.is_set() else noisy

    def _is_kept_for_others(self, door: Door) -> bool:
        return bool(self._seekers) and not door.has_batch and door.holds_more and door.spares_one_of(self._workers)

    def _is_to_be_polled(self, door: Door) -> bool:
        """Wait until the queue is believed empty; false once reading was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or not door.is_open)
            return not self._stopping.is_set()

    def _poll(self, door: Door, most: int, wait_s: int, passed_over: str | None = None) -> None:
        asked_at_ms = ledger_clock()
        messages = self._polled(door, most, wait_s, passed_over)
        if not self._kept(door, messages, asked_at_ms):
            self.give_back(Assignment(door.queue, self._most, self._hide_s, messages))

    def _polled(self, door: Door, most: int, wait_s: int, passed_over: str | None) -> Sequence[Message]:
        try:
            return receive(self._sqs, door.queue, most, self._hide_s_of(door), wait_s, passed_over)
        except (BotoCoreError, ClientError) as error:
            if not self._stopping.is_set():
                logger.warning("%s cannot be read: %s", door.queue.name, error)
                self._stopping.wait(ERROR_PAUSE_S)
            return []

    def _missing(self, door: Door) -> tuple[int, int]:
        """How many messages the next poll asks for, and for how many seconds it waits: SQS counts whole ones."""
        with self._changed:
            most = min(BATCH_MAX_MESSAGES, self._most_of(door) - len(door.brought))
            if door.gathers_until_s is None:
                return most, self._wait_s
            left_s = max(1, math.ceil(door.gathers_until_s - time.monotonic()))
            return most, min(self._wait_s, left_s)

    def _kept(self, door: Door, messages: Sequence[Message], asked_at_ms: int) -> bool:
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
                is_full = len(messages) == self._most or not self._seekers
                door.holds_more = is_told and (door.holds_more or is_full)
            if door.brought and self._is_batch(door):
                door.gathers_until_s = None
                self._changed.notify_all()
            return True

    def _is_batch(self, door: Door) -> bool:
        """Whether what was brought is as much as is gathered, or has been waiting for long enough."""
        is_over = door.gathers_until_s is None or time.monotonic() >= door.gathers_until_s
        return is_over or len(door.brought) >= self._most_of(door)
