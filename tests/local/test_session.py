"""`taskyard up` listens to signals, whichever of its threads the system interrupts for them."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from chalicelib.local import arenas
from chalicelib.local.session import KILLED_EXIT_CODE, STOP_SIGNALS, Session
from chalicelib.local.supervisor import Supervisor

PATIENCE_S = 30.0


class Interrupted:
    """A supervisor whose threads get the signals: one while it starts, one while it stops, which only a kill ends."""

    def __init__(self) -> None:
        self.killed = threading.Event()

    def start(self) -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def failure(self) -> str | None:
        return None

    def stop(self) -> bool:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        self.killed.wait(PATIENCE_S)
        return True

    def kill(self) -> None:
        self.killed.set()


class Bounded(queue.SimpleQueue[int | None]):
    """A queue on which nobody waits for ever: a signal that interrupts another thread does not end the wait."""

    def get(self, block: bool = True, timeout: float | None = None) -> int | None:
        assert timeout is not None
        return super().get(block, timeout)


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(arenas.VARIABLE, str(arenas.ARENAS_MAX))
    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_a_second_signal_kills_everything_though_another_thread_was_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    session = Session(cast(Supervisor, cast(Any, Interrupted())), lambda: None, PATIENCE_S)
    session._signals = Bounded()
    with pytest.raises(SystemExit) as ended:
        session.run()
    assert ended.value.code == KILLED_EXIT_CODE
