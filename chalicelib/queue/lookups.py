"""Looking up the addresses of a name in a bounded time, which ``getaddrinfo`` itself does not know.

A look-up that takes longer is left to itself, and its answer is lost; few are under way at a time.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

PENDING_MAX = 8  # in a process, those that nobody waits for any more included

Resolve = Callable[..., list[Any]]  # socket.getaddrinfo


class Lookups:
    """The look-ups of a process. For several threads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """There are none: after a fork, the parent has the threads."""
        self._free = threading.Semaphore(PENDING_MAX)

    def addresses(self, resolve: Resolve, host: str, port: int, ends_s: float) -> list[str]:
        """The addresses of a host. Raises what ``resolve`` does, and ``TimeoutError`` at ``ends_s`` (monotonic)."""
        free, answer = self._free, Future[list[Any]]()

        def look_up() -> None:
            try:
                answer.set_result(resolve(host, port, type=socket.SOCK_STREAM))
            except Exception as error:  # raised to whoever waits
                answer.set_exception(error)
            finally:
                free.release()

        if not free.acquire(timeout=max(0.0, ends_s - time.monotonic())):
            raise TimeoutError(f"{PENDING_MAX} names are being looked up")
        try:  # a thread of its own: a pool's would keep the process from ending
            threading.Thread(target=look_up, name="name-lookup", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            free.release()
            raise
        return [str(entry[4][0]) for entry in answer.result(max(0.0, ends_s - time.monotonic()))]


lookups = Lookups()
if sys.platform != "win32":  # which has no fork
    os.register_at_fork(after_in_child=lookups.forget)
