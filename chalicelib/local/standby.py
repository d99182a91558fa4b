"""A process that stands by: it has imported everything but the handlers, and loads those when it is told to.

Importing the service takes most of a second, importing a few modules of handlers a few milliseconds. So whoever waits
for a saved handler need only wait for the latter.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from chalicelib.engine.handlers.registry import Registry, registry
from chalicelib.engine.yard import build
from chalicelib.local import channel as channels
from chalicelib.local import functions
from chalicelib.local.channel import STANDBY, Channel
from chalicelib.settings import DEFAULTS

READY = {"ready": True}


def greeting(channel: Channel, name: str) -> dict[str, Any]:
    """What the process of a function, or another by its name, says once it can serve.

    One that stands by waits for ``LOAD`` first. Its greeting holds the ``queues`` that are declared now, with their
    bands, and the ``batches`` (size and seconds) that are gathered in some; if the handlers do not load, it says
    ``{"broken": the reason}`` and ends.
    """
    if STANDBY not in sys.argv:
        return READY
    _import_the_rest(name)
    try:
        channel.receive()
    except (EOFError, OSError):  # the parent has ended, or does not need it any more
        os._exit(channels.EXIT_CODE)
    try:
        declared = registry()
    except BaseException as error:  # user code; the parent tells it
        channel.send({"broken": str(error)})
        os._exit(channels.EXIT_CODE)
    batches = {queue: [batch.max_size, batch.max_wait_s] for queue, batch in declared.batches.items()}
    return {**READY, "queues": declared.queues, "batches": batches}


def _import_the_rest(name: str) -> None:
    if name == functions.API:
        _ = functions.routes()
    elif name in functions.limits(DEFAULTS):
        import_module(f"chalicelib.functions.{name}")
    build(Registry())  # the clients of AWS are kept
