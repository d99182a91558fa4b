"""What time it is: by this machine, and by the ledger."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from chalicelib.core.ledger_time import corrected_offset_ms

TIMEKEEPERS = ("dynamodb", "sqs")  # the services whose answers tell the ledger's time

_log = logging.getLogger(__name__)


def wall_clock_ms() -> int:
    """Now, by this machine's clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class LedgerClock:
    """This machine's clock, set by what AWS's answers tell (see ``core.ledger_time``); no call is made for it."""

    def __init__(self, own_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._own_ms = own_ms
        self._offset_ms = 0
        self._told: tuple[str, int] = ("", 0)  # the newest date, read; most answers of a second repeat it
        self._asking = threading.local()

    def __call__(self) -> int:
        """Now, in milliseconds since 1970."""
        return self._own_ms() + self._offset_ms

    def watch(self, events: Any, service: str) -> None:
        """Look at the answers to a client of a service, of which its ``events`` tell."""
        events.register_first(f"before-send.{service}", self.asks)
        events.register_first(f"response-received.{service}", self.hears)

    def asks(self, **_: Any) -> None:
        """A request is about to be sent by this thread."""
        self._asking.at_ms = self._own_ms()

    def hears(self, response_dict: Mapping[str, Any] | None = None, **_: Any) -> None:
        """The answer to this thread's newest request is there, if there is one."""
        asked_at_ms = self._asking.__dict__.pop("at_ms", None)
        date = (response_dict or {}).get("headers", {}).get("date")
        if asked_at_ms is None or date is None:
            return
        told = self._told
        if date != told[0]:
            try:
                told = self._told = (date, int(parsedate_to_datetime(date).timestamp()))
            except ValueError:  # no date: this answer tells nothing
                return
        offset_ms = corrected_offset_ms(self._offset_ms, asked_at_ms, self._own_ms(), told[1])
        if offset_ms != self._offset_ms:
            _log.warning("this machine's clock is off by %d ms; the ledger's time is used", -offset_ms)
            self._offset_ms = offset_ms


ledger_clock = LedgerClock()  # of this process, as the clients are
