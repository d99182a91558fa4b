"""Whether the embedded emulator can keep its data, as other processes learn of it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from urllib.parse import urlencode, urlsplit

from chalicelib.core.errors import Unavailable
from chalicelib.local.background import Background
from chalicelib.local.emulator_saving import NEWS_WAIT_S, STATUS_PATH, Saving

LOOK_PAUSE_S = 1.0
ANSWER_LIMIT_S = 10.0  # an emulator that saves answers afterwards; beside the wait for news
SAVED_AGAIN = "the data is saved again; everything is accepted"
REFUSED = "nothing more is accepted until the data can be saved again"


def saving(endpoint_url: str, known: Saving | None = None) -> Saving:
    """How saving goes, by an embedded emulator with a data folder; waits for up to 20 s while that is as ``known``.

    Raises ``OSError`` or ``HTTPException``.
    """
    connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc, timeout=NEWS_WAIT_S + ANSWER_LIMIT_S)
    query = "" if known is None else f"?{urlencode({'known': json.dumps(asdict(known))})}"
    try:
        connection.request("GET", STATUS_PATH + query)
        answer = json.load(connection.getresponse())
        return Saving(answer["failure"], answer["refusing"])
    finally:
        connection.close()


def expect_saved(endpoint_url: str) -> str:
    """The dependency ``data`` of /health; raises ``Unavailable`` with the reason while the data cannot be saved."""
    if failure := saving(endpoint_url).failure:
        raise Unavailable(_failing(failure))
    return "saved"


class SaveWatch(Background):
    """Tells once when the data cannot be saved, when changes are refused for it, and when it is saved again."""

    def __init__(self, endpoint_url: str, report: Callable[[str], None]) -> None:
        self._endpoint_url = endpoint_url
        self._report = report
        self._told = SAVED_AGAIN
        self._stopping = threading.Event()
        super().__init__("save-watch")

    def stop(self) -> None:
        """Look no more; waits for nothing."""
        self._stopping.set()

    def _run(self) -> None:
        known: Saving | None = None
        while not self._stopping.wait(LOOK_PAUSE_S):
            try:
                known = self.look(known)
            except (OSError, http.client.HTTPException):  # it saves, or ends: who started it watches over that
                continue

    def look(self, known: Saving | None = None) -> Saving:
        """Look once, or wait for something else than what is ``known``. Raises ``OSError`` or ``HTTPException``."""
        found = saving(self._endpoint_url, known)
        said = SAVED_AGAIN if found.failure is None else REFUSED if found.refusing else _failing(found.failure)
        if said != self._told:
            self._report(said)
        self._told = said
        return found


def _failing(failure: str) -> str:
    return f"the data cannot be saved, what is accepted now is in memory only: {failure}"
