"""The API's process: the Chalice app behind `gateway`, on a socket that its parent listens on.

    python -m chalicelib.local.api_process FD [EMULATOR_URL] [--standby]

EMULATOR_URL is that of an embedded emulator with a data folder, which /health then asks whether it can keep the data.
It greets on its channel when it serves (see ``standby``) and ends at once with its parent. Told to end (SIGTERM), it
leaves new connections to whoever else listens on the socket, and answers what is under way or comes on open ones.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from chalicelib import settings
from chalicelib.engine import health
from chalicelib.local import channel as channels
from chalicelib.local import functions, standby
from chalicelib.local.channel import Channel
from chalicelib.local.child_logging import log_as_json
from chalicelib.local.gateway import Gateway
from chalicelib.local.lambda_context import LambdaContext
from chalicelib.local.save_watch import expect_saved

if TYPE_CHECKING:
    from hypercorn.config import Config

KEEP_ALIVE_S = 75.0
QUIET_S = 0.3  # a connection that was accepted last brings its request within that


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("listening_fd", type=int)
    parser.add_argument("emulator_url", nargs="?")
    parser.add_argument(channels.STANDBY, action="store_true")
    arguments = parser.parse_args()
    if arguments.emulator_url is not None:
        health.beside["data"] = partial(expect_saved, arguments.emulator_url)
    channel = channels.from_standard_input()
    log_as_json()
    ready = standby.greeting(channel, functions.API)
    channels.exit_at_end(channel)
    asyncio.run(_run(channel, arguments.listening_fd, ready))


async def _run(channel: Channel, listening_fd: int, ready: Mapping[str, Any]) -> None:
    timeout_s = functions.limits(settings.current())[functions.API].timeout_s
    gateway = Gateway(functions.load(functions.API), "api", timeout_s, partial(_context, timeout_s))
    config = _config(listening_fd)
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, _end, config, asked_to_end)
    serving = asyncio.create_task(_serve(gateway, config))
    channel.send(ready)
    await asyncio.wait({serving, asyncio.create_task(asked_to_end.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()  # raises: a server that nobody told to end has failed
    loop.remove_reader(listening_fd)
    await gateway.drain(QUIET_S)
    os._exit(0)  # idle connections are not waited for


def _end(config: Config, asked_to_end: asyncio.Event) -> None:
    config.keep_alive_max_requests = 0  # from now on answers say that their connection is closed
    asked_to_end.set()


def _config(listening_fd: int) -> Config:
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{listening_fd}"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.include_server_header = False
    config.errorlog = logging.getLogger(__name__)
    return config


async def _serve(gateway: Gateway, config: Config) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.typing import ASGIFramework

    await serve(cast(ASGIFramework, gateway), config, shutdown_trigger=asyncio.Event().wait, mode="asgi")


def _context(timeout_s: float, request_id: str) -> LambdaContext:
    return functions.context_of(functions.API, settings.current(), request_id, time.time() + timeout_s)


if __name__ == "__main__":
    main()
