"""An execution environment: a process that holds one Lambda function and is asked to call it, again and again.

    python -m chalicelib.local.function_process NAME [--standby]

It greets on its channel once the app is imported (see ``standby``). Then each request
``{"request_id", "event", "timeout_ms"}`` is answered by ``{"result"}``, or by ``{"error": {"type", "message"}}``
when the function raises. The function runs in the main thread, because only there a signal can interrupt it; the
channel is read beside it, so that the process ends with its parent, at once.

A request with a ``queue`` in it is for a batch of SQS messages. Those of its event are hidden until ``hidden_until_ms``
at least; without an event, up to ``most`` are received first, hidden for ``hide_s``. Before its other answer comes
``{"begun"}``: the tenants of the messages, "" of those without one; where there are none, nothing else follows. What
succeeded is deleted.

A request with a ``stream`` in it, its ARN, is for the records behind a ``place`` (``stream_batches``), which are read
first. Before its other answer comes ``{"begun", "place", "at_end", "finished"}``: how many there are, and how far they
go; or ``{"begun": 0, "unread"}`` with the reason. Where there are none, nothing else follows.

Two more documents say that the process is to end, and are not answered: ``{"order": "wind up"}``, from which on it
begins no further job (see ``engine.shutting_down``), and ``{"order": "interrupt"}``, which ends the handler that runs.
SIGTERM ends an idle process at once, and a busy one when its invocation is over; it winds up until then.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

from chalicelib import aws, settings
from chalicelib.clocks import ledger_clock
from chalicelib.core.errors import Unavailable
from chalicelib.core.lanes import Band, Lane
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.engine.worker import shutdown, watchdog
from chalicelib.functions.events import received
from chalicelib.local import channel as channels
from chalicelib.local import functions, standby
from chalicelib.local.batches import Message, Queue, receive, succeeded
from chalicelib.local.channel import Channel
from chalicelib.local.child_logging import log_as_json
from chalicelib.local.lambda_events import Event, sqs_event, stream_event
from chalicelib.local.stream_batches import WINDOW_S, Place, gather, read_records_as_they_are
from chalicelib.queue.sqs import SqsTransport

Document = dict[str, Any]
WIND_UP = "wind up"
INTERRUPT = "interrupt"
EMPTY_BATCH = {"request_id": "none", "timeout_ms": 60_000, "event": {"Records": []}}
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
    busy.set()  # who is told to end meanwhile does so after it
    _warm_up(name, function)
    busy.clear()
    gc.freeze()  # what is loaded now stays: it need not be gone over whenever garbage is collected
    while not ending.is_set():
        request = requests.get()
        busy.set()
        if "queue" in request:
            _work(channel, partial(_answer, name, function), request)
        elif "stream" in request:
            _follow(channel, partial(_answer, name, function), request)
        else:
            channel.send(_answer(name, function, request))
        busy.clear()
    _end_with_all_it_started()


def _warm_up(name: str, function: functions.Function) -> None:
    """Load what batches of jobs, or of their changes, need, before the first one comes."""
    if name in (functions.WORKER, functions.PROJECTOR):
        _answer(name, function, EMPTY_BATCH)
    if name == functions.PROJECTOR:
        _streams()


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


def _work(channel: Channel, answer: Callable[[Document], Document], request: Document) -> None:
    """A batch. It is answered before what succeeded is deleted, so that meanwhile the next one is on its way."""
    queue = Queue(**request["queue"])
    hidden_until_ms = request["hidden_until_ms"] if request["event"] else ledger_clock() + request["hide_s"] * 1_000
    event = request["event"] or _received(queue, request)
    channel.send({"begun": [each["attributes"].get("MessageGroupId", "") for each in event["Records"]]})
    if event["Records"]:
        answered = answer({**request, "event": event, "hidden_until_ms": hidden_until_ms})
        channel.send(answered)
        if "result" in answered:
            _delete(queue, succeeded(event, answered["result"]))


def _follow(channel: Channel, answer: Callable[[Document], Document], request: Document) -> None:
    """A batch of a shard's records."""
    arn, place = request["stream"], Place(**request["place"])
    try:
        gathered = gather(_streams(), arn, place)
    except aws.FAILURES as error:
        channel.send({"begun": 0, "unread": str(error)})
        return
    told = {"place": asdict(gathered.place), "at_end": gathered.at_end, "finished": gathered.finished}
    channel.send({"begun": len(gathered.records), **told})
    if gathered.records:
        event = stream_event(gathered.records, arn, place.shard, WINDOW_S, time.time())
        channel.send(answer({**request, "event": event}))


@cache
def _streams() -> Any:
    return read_records_as_they_are(aws.client("dynamodbstreams"))


def _received(queue: Queue, request: Document) -> Event:
    """The event of what there is to receive; of nothing, where that fails or this process shall begin nothing more."""
    messages: Sequence[Message] = []
    if not shutdown.stopping.is_set():
        try:
            messages = receive(aws.client("sqs"), queue, request["most"], request["hide_s"])
        except aws.FAILURES as error:
            logger.warning("%s cannot be read: %s", queue.name, error)
    return sqs_event(messages, queue.arn)


def _delete(queue: Queue, event: Event) -> None:
    try:
        _transport().delete(received(event))
    except (*aws.FAILURES, Unavailable) as error:
        logger.warning("settled messages of %s come back: %s", queue.name, error)


@cache
def _transport() -> SqsTransport:
    return SqsTransport(aws.client("sqs"), settings.current().base_name, Lane(DEFAULT_POOL, Band.NORMAL))


def _answer(name: str, function: functions.Function, request: Document) -> Document:
    deadline_s = time.time() + request["timeout_ms"] / 1_000
    hidden_until_ms = request.get("hidden_until_ms")
    context = functions.context_of(name, settings.current(), request["request_id"], deadline_s, hidden_until_ms)
    try:
        return {"result": function(request["event"], context)}
    except BaseException as error:  # whatever it is, Lambda reports it and calls the function again
        logger.exception("function %s failed, request %s", name, request["request_id"])
        return {"error": {"type": type(error).__name__, "message": str(error)}}


if __name__ == "__main__":
    main()
