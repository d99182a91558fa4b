"""Waiting on SQS in no time: a transport whose waits move the clock, and let happen what is to happen meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.core.lanes import Lane
from chalicelib.engine.yard import Yard
from chalicelib.queue.contract import NoQueue, Received
from chalicelib.queue.sqs import SqsTransport
from tests.support.yards import MovableClock

STEP_MS = 250  # how often a wait looks for what has become visible
REQUEST_MS = 3  # what a request takes beside its wait


@dataclass(slots=True)
class SlowSqs:
    """SQS as ``inner`` has it, where a request takes time. ``plans``: when (ms since 1970) what happens."""

    inner: SqsTransport
    clock: MovableClock
    plans: list[tuple[int, Callable[[], Any]]] = field(default_factory=list)
    waits_s: list[int] = field(default_factory=list)  # of every receive so far
    missing: int = 0  # how many receives found no queue

    def receive(self, source: str, most: int, hide_s: int, wait_s: int) -> list[Received]:
        """As SQS does it: the first message ends the wait."""
        self.waits_s.append(wait_s)
        ends_ms = self.clock.ms + REQUEST_MS + wait_s * 1_000
        while True:
            try:
                messages = self.inner.receive(source, most, hide_s, 0)
            except NoQueue:
                self.missing += 1
                raise
            if messages or self.clock.ms >= ends_ms:
                return messages
            self.pass_until(min([ends_ms, self.clock.ms + STEP_MS, *(at_ms for at_ms, _ in self.plans)]))

    def sleep(self, seconds: float) -> None:
        """Let time pass without a request."""
        ends_ms = self.clock.ms + round(seconds * 1_000)
        while self.clock.ms < ends_ms:
            self.pass_until(min([ends_ms, *(at_ms for at_ms, _ in self.plans)]))

    def pass_until(self, at_ms: int) -> None:
        """Move the clock, and do what was planned for then."""
        self.clock.ms = max(self.clock.ms, at_ms)
        due = [plan for plan in self.plans if plan[0] <= self.clock.ms]
        self.plans = [plan for plan in self.plans if plan not in due]
        for _, happen in due:
            happen()

    def source_of(self, lane: Lane) -> str:
        return self.inner.source_of(lane)

    def hide(self, messages: list[Received], hide_s: int) -> None:
        self.inner.hide(messages, hide_s)

    def delete(self, messages: list[Received]) -> None:
        self.inner.delete(messages)


def slowed(yard: Yard, sqs: SlowSqs) -> Yard:
    """``yard`` on a slow SQS."""
    return replace(yard, transport=sqs)
