"""A worker driven by hand: it takes what SQS shows, runs it, and does what the event source mapping does after it.

SQS keeps its own time on a running emulator, so a message that was hidden is shown again when the test says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chalicelib.core.job import Job
from chalicelib.core.lanes import Lane
from chalicelib.functions import worker
from chalicelib.queue.contract import Received
from tests.support.lambda_shapes import Time, sqs_event
from tests.support.waiting import until
from tests.support.yards import Bench

HIDE_S = 330  # the lanes' own visibility time-out


@dataclass(slots=True)
class Hands:
    """Works on one lane of a bench."""

    bench: Bench
    lane: Lane
    hidden: list[Received] = field(default_factory=list)  # what came back and waits

    @property
    def source(self) -> str:
        """The name of the lane's queue."""
        return self.bench.yard.transport.source_of(self.lane)

    def look(self) -> list[Received]:
        """What the queue shows at this moment, at most ten."""
        return self.bench.yard.transport.receive(self.source, 10, HIDE_S, 0)

    def take(self, count: int = 1) -> list[Received]:
        """So many messages, waited for."""
        taken: list[Received] = []

        def enough() -> bool:
            taken.extend(self.bench.yard.transport.receive(self.source, min(10, count - len(taken)), HIDE_S, 1))
            return len(taken) == count

        until(enough)
        return taken

    def run(self, messages: Sequence[Received]) -> list[str]:
        """One invocation of the worker function; returns the ids of the messages that came back."""
        response = worker.handle(self.bench.yard, sqs_event(messages), Time())
        back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        self.bench.yard.transport.delete([message for message in messages if message.message_id not in back])
        self.hidden = [message for message in messages if message.message_id in back]
        return back

    def work(self, count: int = 1) -> list[str]:
        """Take so many messages and run them."""
        return self.run(self.take(count))

    def again(self, after_ms: int = 0) -> list[str]:
        """Move the clock, show what came back and run it."""
        self.bench.clock.move(after_ms)
        self.show()
        return self.work(len(self.hidden))

    def show(self) -> None:
        """Let everything that came back be received at once, as if its time had passed."""
        self.bench.yard.transport.hide(self.hidden, 0)

    def depth(self) -> int:
        """How many messages the queue holds, hidden and delayed ones included."""
        return self.bench.yard.transport.depth(self.source)

    def job(self, job: Job) -> Job:
        """The job as it stands."""
        return self.bench.job(job.id)
