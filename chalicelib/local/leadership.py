"""Leading: of several instances on one endpoint, one ticks the clock and one counts, and another takes over.

A leader keeps its place by a lease on the directory, which it renews thrice in its time. When it dies, another leads
once the lease is over: within 7 s by default. When it ends in order, at once.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chalicelib import aws, settings
from chalicelib.clocks import ledger_clock
from chalicelib.core.errors import Unavailable
from chalicelib.local.background import Background
from chalicelib.store.leaders import Leaders
from chalicelib.store.table import Table

LEASE_S = 5.0
EMBEDDED_LEASE_S = 60.0  # whoever leads on an embedded emulator ends with it: nobody waits for that
RENEWALS = 3  # in the time of a lease
TURN_PAUSE_S = 0.1  # between two looks at whether it is one's turn

logger = logging.getLogger(__name__)


def leaders() -> Leaders:
    """Those of the installation that this process works on."""
    return Leaders(Table(aws.client("dynamodb"), settings.current().directory_table, ("kind", "name")))


class Leadership(Background):
    """Stands for a role, again and again, and keeps it. ``elected`` is called whenever it has just been won.

    With ``by_force``, it is taken from whoever had it before: who starts an emulator knows that nobody is there yet.
    """

    def __init__(
        self,
        leaders: Leaders,
        role: str,
        elected: Callable[[], None],
        *,
        lease_s: float = LEASE_S,
        by_force: bool = False,
    ) -> None:
        self._leaders = leaders
        self._role = role
        self._elected = elected
        self._lease_s = lease_s
        self._by_force = by_force
        self._candidate = uuid.uuid4().hex
        self._until_s = 0.0  # monotonic
        self._stopping = threading.Event()
        super().__init__(f"{role}-leadership")

    def leads(self) -> bool:
        """Whether the role is this process's now. A lease that cannot be renewed ends by itself."""
        return time.monotonic() < self._until_s

    def stop(self) -> None:
        """Stand for it no more, and let another lead at once."""
        self._stopping.set()
        self._thread.join()
        if self.leads():
            self._until_s = 0.0
            try:
                self._leaders.resign(self._role, self._candidate)
            except (*aws.FAILURES, Unavailable) as error:
                logger.warning("the next %s waits until the lease is over: %s", self._role, error)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stand()
            self._stopping.wait(self._lease_s / RENEWALS)

    def _stand(self) -> None:
        led, asked_at_s, now_ms = self.leads(), time.monotonic(), ledger_clock()
        until_ms = now_ms + round(self._lease_s * 1_000)
        try:
            won = self._leaders.lead(self._role, self._candidate, now_ms, until_ms, by_force=self._by_force)
        except (*aws.FAILURES, Unavailable) as error:
            if led:
                logger.warning("the lease of the %s cannot be renewed: %s", self._role, error)
            return
        self._by_force = False
        self._until_s = asked_at_s + self._lease_s if won else 0.0
        if won and not led:
            self._elected()


@contextmanager
def alone(leaders: Leaders, role: str, lease_s: float) -> Iterator[None]:
    """Wait until nobody else is in here for this role; one who has died, or takes longer, is waited for ``lease_s``."""
    candidate = uuid.uuid4().hex
    while not leaders.lead(role, candidate, now_ms := ledger_clock(), now_ms + round(lease_s * 1_000)):
        time.sleep(TURN_PAUSE_S)
    try:
        yield
    finally:
        leaders.resign(role, candidate)
