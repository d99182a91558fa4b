"""Members of a group that die of kill -9, one after the other, each at another step; the last one lives.

    python -m tests.support.kafka_deaths POINT...

Each is a process of its own, so that nothing of it is left but what it has told Kafka and the ledger. A line on
standard output names each that has died; then the last one brings records in until SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from chalicelib.engine.bridge import inward
from chalicelib.engine.bridge.inward import inward_bridges, run_all
from chalicelib.engine.handlers.registry import registry
from chalicelib.engine.publish import bulk
from chalicelib.engine.yard import build
from chalicelib.queue.kafka_group import KafkaGroup

POINTS: dict[str, tuple[Any, str, bool]] = {  # whose function, its name, and whether it dies before or after
    "after the poll": (inward.InwardBridge, "take", False),
    "after the record, before its message is sent": (bulk, "empty_outbox", False),
    "after the ledger has accepted": (inward, "accept_each", True),
    "before the commit": (KafkaGroup, "commit", False),
    "after the commit": (KafkaGroup, "commit", True),
}

LIMIT_S = 180


def main() -> None:
    """Die at each of the points, then live."""
    for point in sys.argv[1:]:
        child = os.fork()
        if child == 0:
            signal.alarm(LIMIT_S)  # one that never comes there ends, too, and the test with it
            _die_at(point)
            _bring_in()
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, f"{point}: it ended with {status}"
        print(point, flush=True)  # noqa: T201  # the test reads it
    _bring_in()


def _die_at(point: str) -> None:
    holder, name, lives_through_it = POINTS[point]
    real: Callable[..., Any] = getattr(holder, name)

    def deadly(*given: Any) -> Any:
        if lives_through_it:
            real(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, name, deadly)


def _bring_in() -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    run_all(inward_bridges(build(registry())), stopping)


if __name__ == "__main__":
    main()
