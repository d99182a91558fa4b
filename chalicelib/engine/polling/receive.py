"""Receiving messages: taken from a lane, claimed for a consumer, put back where there is no room for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chalicelib.core.decisions import Ack, Nack
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.job_documents import to_envelope
from chalicelib.core.lanes import Lane
from chalicelib.core.sqs import VISIBILITY_MAX_S
from chalicelib.engine.publish.malformed import dead_letter_malformed
from chalicelib.engine.worker.claim import claim, opened
from chalicelib.engine.worker.pause import defer_if_paused
from chalicelib.engine.yard import Yard
from chalicelib.queue.contract import BATCH_MAX_MESSAGES, NoQueue, Received
from chalicelib.store.ledger import OBJECT_PLACE
from chalicelib.store.payloads import answered_bytes
from chalicelib.store.transitions.running import Lease

ANSWER_ROOM_BYTES = 5_242_880  # of the 6 MB that Lambda can answer, what is left for the messages' contents
WAIT_MARGIN_S = 1  # what a message is hidden beyond its lease when nobody knows at which moment of a wait it came


def soonest(job: Job) -> tuple[int, int, int]:
    """The order in which a client gets messages: larger priorities first, then older ones."""
    return (-job.priority, job.created_at_ms, job.id)


def always() -> bool:
    """The client waits for ever: behind API Gateway nobody can tell."""
    return True


@dataclass(slots=True)
class PolledBatch:
    """What one poll has taken so far: at most ``limit`` messages, leased for ``lease_ms`` to ``consumer``.

    Nothing more is taken from ``ends_ms`` on (milliseconds since 1970), nor once the answer has no room for more, nor
    when nobody waits for it.
    """

    yard: Yard
    limit: int
    lease_ms: int
    consumer: str
    ends_ms: int
    awaited: Callable[[], bool] = always  # whether the client still waits for what is taken
    received: list[Job] = field(default_factory=list)
    _room_bytes: int = field(init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._room_bytes = ANSWER_ROOM_BYTES

    @property
    def full(self) -> bool:
        """Whether nothing more is to be taken."""
        over = self._closed or len(self.received) >= self.limit or self.yard.now_ms() >= self.ends_ms
        return over or not self.awaited()

    def receive_from(self, lane: Lane, wait_s: int = 0) -> bool:
        """Claim what a lane shows until the batch is full; a receive that brings nothing ends it.

        The first receive waits up to ``wait_s`` (0 to 20) for a message. Returns whether the lane has a queue.
        """
        source = self.yard.transport.source_of(lane)
        while not self.full:
            try:
                messages, until_ms = self._received(source, wait_s)
            except NoQueue:  # SQS does not show the new queue yet
                return False
            if not messages:
                break
            self._claim_all(messages, until_ms)
            wait_s = 0
        return True

    def _received(self, source: str, wait_s: int) -> tuple[list[Received], int]:
        """Messages of a queue, and when their leases end.

        A lease ends no later than the hiding. Without a wait both are counted from the asking. Within a wait a
        message may come at any moment, so the lease is counted from the answer and the hiding lasts a little longer.
        """
        most = min(self.limit - len(self.received), BATCH_MAX_MESSAGES)
        hide_s = -(-self.lease_ms // 1_000) + (WAIT_MARGIN_S if wait_s else 0)
        asked_at_ms = self.yard.now_ms()
        messages = self.yard.transport.receive(source, most, min(hide_s, VISIBILITY_MAX_S), wait_s)
        return messages, (self.yard.now_ms() if wait_s else asked_at_ms) + self.lease_ms

    def _claim_all(self, messages: list[Received], until_ms: int) -> None:
        """Claim messages, the soonest first; those for which there is no room are shown again to the next poll."""
        waiting = self._readable(messages)
        while waiting:
            message, envelope = waiting[0]
            size_bytes = self._size_bytes(message.text, envelope)
            if self.full or (self.received and size_bytes > self._room_bytes):
                self._closed = True
                self.yard.transport.hide([message for message, _ in waiting], 0)
                return
            waiting.pop(0)
            lease = Lease(self.yard.token(), until_ms, self.consumer, message.source, message.receipt)
            job = self._claim(message, envelope, lease)
            if job is not None:
                self.received.append(job)
                self._room_bytes -= self._size_bytes(to_envelope(job), job)

    def _readable(self, messages: Iterable[Received]) -> list[tuple[Received, Job]]:
        """Messages with the jobs that travel in them, the soonest first; a foreign text becomes a dead letter."""
        readable: list[tuple[Received, Job]] = []
        for message in messages:
            try:
                readable.append((message, opened(message.text)))
            except InvalidInput:
                dead_letter_malformed(self.yard, message)
                self.yard.transport.delete([message])
        return sorted(readable, key=lambda entry: soonest(entry[1]))

    def _claim(self, message: Received, envelope: Job, lease: Lease) -> Job | None:
        """The running job; ``None`` when the message was void, or is not to be had now."""
        paused = defer_if_paused(self.yard, envelope)  # by its key: a topic that is paused is not polled
        verdict = Ack("paused") if paused else claim(self.yard, envelope, lease)
        match verdict:
            case Ack():
                self.yard.transport.delete([message])
                return None
            case Nack() as later:
                self.yard.transport.hide([message], later.delay_s or 0)
                return None
        return verdict

    def _size_bytes(self, text: str, job: Job) -> int:
        """What a message takes in an answer: as much as its envelope, and what is in the bucket on top."""
        if not (job.body_at or "").startswith(OBJECT_PLACE):
            return answered_bytes(text)
        return answered_bytes(text) + (job.body_bytes or self.yard.settings.payload_max_bytes)
