"""An execution environment: a process that holds one Lambda function and is asked to call it, again and again.

    python -m chalicelib.local.function_process NAME [--standby]

It greets on its channel once the app is imported (see ``standby``). Then each request
``{"request_id", "event", "timeout_ms"}`` is answered by ``{"result"}``, or by ``{"error": {"type", "message"}}``
when the function raises. The function runs in the main thread, because only there a signal can interrupt it; the
channel is read beside it, so that the process ends with its parent, at once.

Two more documents say that the process is to end, and are not answered: ``{"order": "wind up"}``, from which on it
begins no further job (see ``engine.shutting_down``), and ``{"order": "interrupt"}``, which ends the handler that runs.
SIGTERM ends an idle process at once, and a busy one when its invocation is over; it winds up until then.
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
from chalicelib.engine.worker import shutdown, watchdog
from chalicelib.local import channel as channels
from chalicelib.local import functions, standby
from chalicelib.local.channel import Channel
from chalicelib.local.child_logging import log_as_json

Document = dict[str, Any]
WIND_UP = "wind up"
INTERRUPT = "interrupt"
INTERRUPT_SIGNAL = signal.SIGUSR1  # from the thread that reads the channel to the main thread

logger = logging.getLogger(__name__)


def main() -> None:
    """Serve invocations until the channel ends."""
    channel = channels.from_standard_input()
    log_as_json()
    name = sys.argv[1]
    function = functions.load(name)
    if name == functions.WORKER:
        watchdog.watch_this_process()
    ready = standby.greeting(channel, name)
    requests: queue.SimpleQueue[Document] = queue.SimpleQueue()
    busy, ending = threading.Event(), threading.Event()
    signal.signal(INTERRUPT_SIGNAL, lambda *_: shutdown.interrupt())
    signal.signal(signal.SIGTERM, lambda *_: _terminate(busy, ending))
    threading.Thread(target=_read, args=(channel, requests), name="channel", daemon=True).start()
    channel.send(ready)
    while not ending.is_set():
        request = requests.get()
        busy.set()
        channel.send(_answer(name, function, request))
        busy.clear()
    _end_with_all_it_started()


def _read(channel: Channel, requests: queue.SimpleQueue[Document]) -> None:
    try:
        while True:
            document = channel.receive()
            if "order" in document:
                _obey(document["order"])
            else:
                requests.put(document)
    except (EOFError, OSError):
        _end_with_all_it_started()


def _obey(order: str) -> None:
    shutdown.stopping.set()
    main_thread = threading.main_thread().ident
    if order == INTERRUPT and main_thread is not None:
        signal.pthread_kill(main_thread, INTERRUPT_SIGNAL)  # to that thread: only so does it end a sleep


def _terminate(busy: threading.Event, ending: threading.Event) -> None:
    shutdown.stopping.set()
    ending.set()
    if not busy.is_set():
        sys.exit(channels.EXIT_CODE)


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
