"""JSON documents between a process and its child, over the socket that is the child's standard input.

The end of the channel is how either learns that the other is gone, whichever way it went: kill -9 closes it, too.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from multiprocessing.connection import Connection
from typing import Any

EXIT_CODE = 0  # of a child whose parent is gone: there is nobody to tell anything else
STANDBY = "--standby"  # the last argument of a process that waits for LOAD before it loads the handlers (`standby`)
LOAD = {"order": "load"}


class Channel:
    """One end, closed when nothing refers to it any more. Any thread may send; one at a time may receive."""

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)
        self._sending = threading.Lock()

    def send(self, document: Any) -> None:
        """Send one document; raises ``OSError`` when the other end is closed."""
        with self._sending:
            self._connection.send_bytes(json.dumps(document, separators=(",", ":")).encode())

    def receive(self, timeout_s: float | None = None) -> Any:
        """The next document; raises ``EOFError`` or ``OSError`` at the end, ``TimeoutError`` after ``timeout_s``."""
        if timeout_s is not None and not self._connection.poll(timeout_s):
            raise TimeoutError(f"nothing came within {timeout_s} s")
        return json.loads(self._connection.recv_bytes())


def pair() -> tuple[Channel, socket.socket]:
    """A channel's near end, and the socket to be given to a child as its standard input."""
    near, far = socket.socketpair()
    return Channel(near.detach()), far


def from_standard_input() -> Channel:
    """In a child: its end. From here on its standard input is empty.

    So neither a handler nor a program that it starts can read what its parent says.
    """
    channel = Channel(os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return channel


def exit_at_end(channel: Channel) -> None:
    """In a child that is told nothing more: end this process, whatever it does, when its parent has ended."""

    def watch() -> None:
        try:
            while True:
                channel.receive()
        except (EOFError, OSError):
            os._exit(EXIT_CODE)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
