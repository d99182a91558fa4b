"""Whether anything in the embedded emulator has changed, as its parent waits for it.

So nobody has to look again and again at a change stream in which nothing happens.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from chalicelib.local.emulator_changes import CHANGES_PATH, WAIT_S

ANSWER_LIMIT_S = WAIT_S + 10.0  # an emulator that saves answers afterwards
ERROR_PAUSE_S = 0.25


class ChangeWatch:
    """Waits for changes. One thread waits; any may close it."""

    def __init__(self, endpoint_url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc, timeout=ANSWER_LIMIT_S)
        self._seen = 0
        self._closed = threading.Event()

    def wait(self) -> None:
        """Return when something has changed since it returned last, at the latest after 20 s or when it is closed."""
        try:
            if self._connection.sock is None:
                self._connection.connect()
            if not self._closed.is_set():  # from here on, closing it ends the request
                self._connection.request("GET", f"{CHANGES_PATH}?after={self._seen}")
                self._seen = json.load(self._connection.getresponse())["writes"]
        except (OSError, http.client.HTTPException):  # who started the emulator watches over it
            self._connection.close()
            self._closed.wait(ERROR_PAUSE_S)

    def close(self) -> None:
        """Wait no more."""
        self._closed.set()
        if (connected := self._connection.sock) is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
