"""When the clock ticks: every interval, at once when asked, and only where it leads."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from chalicelib.local.clock_source import ClockSource
from chalicelib.local.environments import InvocationFailed
from tests.support.waiting import DEADLINE_S, until

RARELY_S = 3_600.0


class Clock:
    """Counts its ticks."""

    def __init__(self) -> None:
        self.ticks = 0
        self.broken = False

    def invoke(self, event: Any) -> None:
        assert event["detail-type"] == "Scheduled Event"
        self.ticks += 1
        if self.broken:
            raise InvocationFailed("not now")


def stopped(source: ClockSource) -> bool:
    return source.stop(0, time.monotonic() + DEADLINE_S)


def test_it_ticks_at_once_and_whenever_asked() -> None:
    clock: Any = Clock()
    source = ClockSource(clock, "rule", "us-east-1", RARELY_S)
    source.start()
    until(lambda: clock.ticks == 1)
    source.tick_now()
    until(lambda: clock.ticks == 2)
    assert stopped(source)


def test_it_ticks_again_after_one_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    clock: Any = Clock()
    clock.broken = True
    source = ClockSource(clock, "rule", "us-east-1", 0.01)
    source.start()
    until(lambda: clock.ticks > 2)
    assert stopped(source)
    assert "the clock failed; its next tick repeats what is left: not now" in caplog.text


def test_where_another_leads_it_does_not_tick_until_it_is_elected() -> None:
    clock: Any = Clock()
    elected, asked = threading.Event(), threading.Semaphore(0)

    def leads() -> bool:
        asked.release()
        return elected.is_set()

    source = ClockSource(clock, "rule", "us-east-1", RARELY_S, leads)
    source.start()
    asked.acquire()
    assert clock.ticks == 0
    elected.set()
    source.tick_now()
    until(lambda: clock.ticks == 1)
    assert stopped(source)
