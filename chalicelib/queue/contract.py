"""What the engine asks of a transport.

A transport carries texts on lanes, at least once and in no promised order. A received message is hidden for a
time; if it is neither deleted nor hidden anew, it comes back. A source is the transport's own name of a queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chalicelib.core.errors import Unavailable
from chalicelib.core.lanes import Lane

MESSAGE_MAX_BYTES = 1_048_576  # the SQS limit of a message, and of a batch of ten together
BATCH_MAX_MESSAGES = 10


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A text to be sent on a lane, not to be received before ``delay_s`` seconds (0 to 900).

    A transport that knows how shares a lane out among the tenants that have messages on it.
    """

    lane: Lane
    text: str
    delay_s: int = 0
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A locked message: its text, where it came from and the handle by which it is settled.

    ``trace_header`` is X-Ray's tracing header of whoever sent it, if there was one.
    """

    source: str
    message_id: str
    receipt: str
    text: str
    receive_count: int = 1
    trace_header: str | None = None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """About how many messages a queue holds: to be received, received and not deleted yet, and sent with a delay."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.in_flight + self.delayed


class NoQueue(Unavailable):
    """The lane has no queue, or none any more."""


class Transport(Protocol):
    """The contract that ``tests/contract`` holds every transport to."""

    def source_of(self, lane: Lane) -> str:
        """The name of the queue behind a lane."""
        ...

    def open_lane(self, lane: Lane) -> None:
        """Make the queue of a lane that infra does not know, unless it is there."""
        ...

    def send(self, outgoing: OutgoingMessage) -> None:
        """Send one text. Once this returns the message is durable; if it raises, it may be all the same.

        This and all the others raise ``NoQueue`` where there is no such queue.
        """
        ...

    def send_to(self, source: str, text: str) -> None:
        """Send one text to a queue that is no lane."""
        ...

    def send_many(self, outgoing: Sequence[OutgoingMessage]) -> list[int]:
        """Send texts in as few calls as possible; returns the positions of those that were not accepted."""
        ...

    def receive(self, source: str, most: int, hide_s: int, wait_s: int) -> list[Received]:
        """Up to ``most`` (1 to 10) messages, hidden for ``hide_s`` seconds; waits ``wait_s`` (0 to 20) for a first."""
        ...

    def hide(self, messages: Sequence[Received], hide_s: int) -> None:
        """Hide messages for ``hide_s`` seconds from now (0: show them). A message already gone is passed over."""
        ...

    def delete(self, messages: Sequence[Received]) -> None:
        """Delete messages. One already gone, or held by a newer receiver, is passed over."""
        ...

    def depth(self, source: str) -> int:
        """About how many messages a queue holds, hidden and delayed ones included."""
        ...

    def depths(self, source: str) -> QueueDepth:
        """The same, each sort by itself."""
        ...
