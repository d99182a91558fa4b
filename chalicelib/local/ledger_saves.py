"""How far the ledger of this process is saved, where an embedded emulator with a data folder keeps it."""

from __future__ import annotations

import http.client
import json
import os
from urllib.parse import urlsplit

from chalicelib.core.errors import Unavailable
from chalicelib.engine.bridge.commits import DURABLE, Saved, Saves, durable
from chalicelib.local.emulator_saving import STATUS_PATH
from infra.deploy.target import ENDPOINT_VARIABLE, LOOPBACK

ANSWER_LIMIT_S = 3.0  # so that a process that is told to end has time for the rest


def saves_here() -> Saves:
    """How to ask. Any other ledger waits for no save: what is on this machine is asked once whether it does."""
    endpoint = urlsplit(os.environ.get(ENDPOINT_VARIABLE, ""))
    return EmulatorSaves(endpoint.netloc) if endpoint.hostname in LOOPBACK else durable


class EmulatorSaves:
    """Asks what listens at ``address`` (host:port), for as long as that is an embedded emulator with a data folder."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._is_durable = False

    def __call__(self, *, save_now: bool = False) -> Saved:
        """How far it is saved; see ``engine.bridge.commits.Saves``. Any thread may ask."""
        if self._is_durable:
            return DURABLE
        try:
            answer = self._answer("POST" if save_now else "GET")
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the emulator does not answer: {error}", remedy="it is asked again") from error
        found = _progress(answer)
        self._is_durable = found is DURABLE
        return found

    def _answer(self, method: str) -> bytes:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_LIMIT_S)
        try:
            connection.request(method, STATUS_PATH)
            return connection.getresponse().read()
        finally:
            connection.close()


def _progress(answer: bytes) -> Saved:
    """What was answered; by another program than an emulator that saves, nothing of the kind."""
    try:
        found = json.loads(answer)
        return Saved(found["run"], found["writes"], found["saved_writes"])
    except (ValueError, TypeError, KeyError):
        return DURABLE
