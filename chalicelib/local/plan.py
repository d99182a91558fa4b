"""What an instance runs, and which lanes its workers serve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import Band, Lane
from chalicelib.local.functions import CLOCK, DEAD_LETTERS, HOOKS, PROJECTOR
from chalicelib.settings import Settings

BESIDE = frozenset({CLOCK, DEAD_LETTERS, HOOKS, PROJECTOR})
"""The functions that an installation needs beside its API and its workers."""

KAFKA = "kafka"  # what brings its records in; no function
SHUTDOWN_TIMEOUT_S = 10.0  # for running handlers to end, by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run."""

    workers: int  # 0: no lane is read
    embedded: bool = False  # whether an emulator is started
    data_dir: Path | None = None  # what it keeps its data in; None: it keeps nothing
    beside: frozenset[str] = BESIDE  # the functions that are run beside the workers
    kafka: bool = False  # whether records of Kafka are brought in
    lanes: frozenset[Lane] | None = None  # that the workers serve; None: all
    clock_interval_s: float = 60.0
    reload: bool = False  # whether saved handlers take over at once
    shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S  # how long running handlers may go on before they are interrupted


def chosen_lanes(wanted: Iterable[str], queues: Mapping[str, Sequence[Band]]) -> frozenset[Lane]:
    """The lanes of ``queues`` that are named: all of a queue (``image``), or one (``image:high``); by default all.

    Raises ``InvalidInput`` for what is not declared.
    """
    there = {queue: [Lane(queue, band) for band in bands] for queue, bands in queues.items()}
    names = {**there, **{f"{lane.queue}:{lane.band}": [lane] for lanes in there.values() for lane in lanes}}
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise InvalidInput(
            "the handlers declare no such queue",
            field="queue",
            expected=f"one of {', '.join(sorted(there))}, or a lane of it, as in QUEUE:high",
            got=unknown[0],
        )
    return frozenset(lane for name in [*wanted] or there for lane in names[name])


def comes_from_kafka(chosen: Settings) -> bool:
    """Whether a topic does. Raises ``InvalidInput``, and ``NoLibrary`` where one is bridged without the extra."""
    if not chosen.kafka_topics:
        return False
    from chalicelib.engine.handlers.bridged import bridged  # imported late, as pydantic is: few installations bridge
    from chalicelib.queue.kafka import expect_library, expect_taken, properties

    expect_library()
    expect_taken(properties(chosen.kafka))
    return bool(bridged(chosen).inward)
