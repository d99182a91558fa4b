"""EventBridge's rule as an event source: one invocation every minute, and one when handlers have changed.

Of several instances on one endpoint, one ticks at a time (see ``leadership``).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable

from chalicelib.local.background import Background
from chalicelib.local.environments import Environment, InvocationFailed
from chalicelib.local.lambda_events import scheduled_event

logger = logging.getLogger(__name__)


class ClockSource(Background):
    """Invokes one environment at once and then every ``interval_s`` seconds, while it ``leads``."""

    def __init__(
        self,
        environment: Environment,
        rule: str,
        region: str,
        interval_s: float,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._environment = environment
        self._rule = rule
        self._region = region
        self._interval_s = interval_s
        self._leads = leads
        self._stopping = threading.Event()
        self._due = threading.Event()
        super().__init__("clock-feed")

    def tick_now(self) -> None:
        """Tick at once, beside the regular ticks: what the code declares has changed, or it leads from now on."""
        self._due.set()

    def stop(self, interrupt_at_s: float, deadline_at_s: float) -> bool:
        """Tick no more and let a running tick end; false if it has not by ``deadline_at_s`` (monotonic seconds)."""
        del interrupt_at_s  # a tick is short, and nothing is lost when it is killed
        self._stopping.set()
        self._due.set()
        self._thread.join(max(0.0, deadline_at_s - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        next_s = time.monotonic()
        while True:
            asked = self._due.wait(max(0.0, next_s - time.monotonic()))
            if self._stopping.is_set():
                return
            self._due.clear()
            if not asked:
                next_s = max(next_s + self._interval_s, time.monotonic())
            if self._leads():
                self._tick()

    def _tick(self) -> None:
        event = scheduled_event(self._rule, str(uuid.uuid4()), self._region, time.time())
        try:
            self._environment.invoke(event)
        except InvocationFailed as error:
            logger.warning("the clock failed; its next tick repeats what is left: %s", error)
