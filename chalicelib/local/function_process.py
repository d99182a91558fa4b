"""An execution environment: a process that holds one Lambda function and is asked to call it, again and again.

    python -m chalicelib.local.function_process NAME

It says ``{"ready": true}`` on its channel once the app is imported. Then each request
``{"request_id", "event", "timeout_ms"}`` is answered by ``{"result"}``, or by ``{"error": {"type", "message"}}``
when the function raises. The function runs in the main thread, because only there a signal can interrupt it; the
channel is read beside it, so that the process ends with its parent, at once.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import Any

from chalicelib import settings
from chalicelib.local import channel as channels
from chalicelib.local import functions
from chalicelib.local.channel import Channel
from chalicelib.local.child_logging import log_as_json

Document = dict[str, Any]

logger = logging.getLogger(__name__)


def main() -> None:
    """Serve invocations until the channel ends."""
    channel = channels.from_standard_input()
    log_as_json()
    name = sys.argv[1]
    function = functions.load(name)
    requests: queue.SimpleQueue[Document] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(channel, requests), name="channel", daemon=True).start()
    channel.send({"ready": True})
    while True:
        channel.send(_answer(name, function, requests.get()))


def _read(channel: Channel, requests: queue.SimpleQueue[Document]) -> None:
    try:
        while True:
            requests.put(channel.receive())
    except (EOFError, OSError):
        _end_with_all_it_started()


def _end_with_all_it_started() -> None:
    """End this process and whatever a handler left running: its group, if it leads one."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(channels.EXIT_CODE)


def _answer(name: str, function: functions.Function, request: Document) -> Document:
    deadline_s = time.time() + request["timeout_ms"] / 1_000
    context = functions.context_of(name, settings.current(), request["request_id"], deadline_s)
    try:
        return {"result": function(request["event"], context)}
    except BaseException as error:  # whatever it is, Lambda reports it and calls the function again
        logger.exception("function %s failed, request %s", name, request["request_id"])
        return {"error": {"type": type(error).__name__, "message": str(error)}}


if __name__ == "__main__":
    main()
