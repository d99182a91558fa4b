"""The process that brings records of Kafka in: `taskyard up` has one where a topic comes from there.

    python -m chalicelib.local.kafka_process [--standby]

It greets on its channel once it has loaded (see ``standby``) and ends at once with its parent. Told to end (SIGTERM),
it finishes the batch that it has, commits, and leaves its groups.
"""

from __future__ import annotations

import signal
import threading
import time

from chalicelib.core.errors import Unavailable
from chalicelib.engine.bridge.inward import inward_bridges, run_all
from chalicelib.engine.handlers.registry import registry
from chalicelib.engine.yard import build
from chalicelib.local import channel as channels
from chalicelib.local import standby
from chalicelib.local.child_logging import log_as_json
from chalicelib.local.ledger_saves import saves_here
from chalicelib.local.plan import KAFKA
from chalicelib.logger import logger

RESTART_PAUSE_S = 5.0


def main() -> None:
    """Bring records in until told to end."""
    channel = channels.from_standard_input()
    log_as_json()
    ready = standby.greeting(channel, KAFKA)
    channels.exit_at_end(channel)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    bridges = inward_bridges(build(registry()), saves_here())
    channel.send(ready)
    try:
        run_all(bridges, stopping)
    except Unavailable as error:
        logger.error("the bridge to Kafka ends", extra={"error": str(error)})
        time.sleep(RESTART_PAUSE_S)  # it is started again at once


if __name__ == "__main__":
    main()
