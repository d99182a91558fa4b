"""Lanes: the priority bands of a queue, each an SQS queue of its own.

Five names with kue's vocabulary, larger numbers being sooner here:
low (< 0), normal (0-4), medium (5-9), high (10-14), critical (>= 15).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from chalicelib.core.errors import InvalidInput

PRIORITY_MIN = -1_000
PRIORITY_MAX = 1_000
QUEUE_NAME_MAX_CHARS = 80  # the SQS limit
TOPIC_MAX_CHARS = 400  # what the keys of the ledger's indexes hold, in any script
SLUG_CHARS = 24
DIGEST_CHARS = 12
PRIORITIES_A_BAND = 5  # of normal, medium and high


class Band(StrEnum):
    """A priority band, named as kue names its priorities."""

    LOW = "low"
    NORMAL = "normal"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


SOONEST_FIRST = (Band.CRITICAL, Band.HIGH, Band.MEDIUM, Band.NORMAL, Band.LOW)
DEFAULT_BANDS = (Band.HIGH, Band.NORMAL, Band.LOW)
PRIORITY_OF: Mapping[str, int] = {Band.LOW: -10, Band.NORMAL: 0, Band.MEDIUM: 5, Band.HIGH: 10, Band.CRITICAL: 15}
"""What the names of priorities stand for."""

PRIORITY_NAMES = "low, normal, medium, high or critical"
PRIORITY_EXPECTED = f"{PRIORITY_NAMES}, or a whole number, {PRIORITY_MIN} to {PRIORITY_MAX}"


@dataclass(frozen=True, slots=True)
class Lane:
    """One SQS queue: one priority band of one queue, or, of a topic that is only polled, one priority.

    ``step`` is how far that priority is above the band's lowest (see ``polled_lane``): 0 to 4.
    """

    queue: str
    band: Band
    step: int = 0

    @property
    def label(self) -> str:
        """What tells it from the others of its queue: the band, with the step if there is one (``normal_3``)."""
        return f"{self.band}_{self.step}" if self.step else str(self.band)

    @classmethod
    def labelled(cls, queue: str, label: str) -> Lane:
        """The lane of a label."""
        band, _, step = label.partition("_")
        return cls(queue, Band(band), int(step or 0))


LABELS = tuple(
    Lane("", band, step).label
    for band in SOONEST_FIRST
    for step in ((0,) if band in (Band.LOW, Band.CRITICAL) else range(PRIORITIES_A_BAND - 1, -1, -1))
)
"""All that the lanes of a polled topic may be called, the soonest first."""


def band_of(priority: int) -> Band:
    """The band of a priority: -1 -> low, 0 -> normal, 5 -> medium, 10 -> high, 15 -> critical."""
    if priority < 0:
        return Band.LOW
    return (Band.NORMAL, Band.MEDIUM, Band.HIGH, Band.CRITICAL)[min(priority // PRIORITIES_A_BAND, 3)]


def priority_of(given: int | str) -> int:
    """A priority that is given as a number, -1000 to 1000, or by its name. Raises ``InvalidInput``."""
    if isinstance(given, str) and given in PRIORITY_OF:
        return PRIORITY_OF[given]
    if type(given) is not int or not PRIORITY_MIN <= given <= PRIORITY_MAX:
        raise InvalidInput("this is no priority", field="priority", expected=PRIORITY_EXPECTED, got=given)
    return given


def nearest(band: Band, declared: Iterable[Band]) -> Band:
    """The declared band closest to ``band``; of two equally close ones, the sooner.

    Raises ``ValueError`` when nothing is declared.
    """
    rank = SOONEST_FIRST.index(band)
    return min(declared, key=lambda other: (abs(SOONEST_FIRST.index(other) - rank), SOONEST_FIRST.index(other)))


def lane_for(queue: str, priority: int, declared: Iterable[Band] = DEFAULT_BANDS) -> Lane:
    """The lane a job of ``priority`` travels on."""
    return Lane(queue, nearest(band_of(priority), declared))


def polled_lane(topic: str, priority: int) -> Lane:
    """The lane of a priority of a polled topic, which has one for each from 0 to 14, one for all below, one for above.

    So what waits is polled by priority, then roughly by age: 0 -> normal, 3 -> normal_3, 14 -> high_4, -7 -> low.
    """
    band = band_of(priority)
    return Lane(topic, band, 0 if band in (Band.LOW, Band.CRITICAL) else priority % PRIORITIES_A_BAND)


def lanes_soonest_first(lanes: Iterable[Lane]) -> list[Lane]:
    """``lanes`` of one topic in the order they are polled."""
    return sorted(set(lanes), key=lambda lane: (SOONEST_FIRST.index(lane.band), -lane.step))


def soonest_first(bands: Iterable[Band]) -> list[Band]:
    """``bands`` in the order they are drained."""
    return sorted(set(bands), key=SOONEST_FIRST.index)


@lru_cache(maxsize=1_024)  # asked for with every message
def sqs_name(prefix: str, lane: Lane) -> str:
    """The SQS name of a lane: at most 80 characters of ``[A-Za-z0-9_-]``, distinct for distinct lanes.

    A readable beginning of the queue's name, then a digest of the whole of it, because SQS names know
    neither dots nor Unicode. ``prefix`` has at most 30 characters.
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "-", lane.queue).strip("-")[:SLUG_CHARS] or "queue"
    digest = hashlib.sha256(lane.queue.encode()).hexdigest()[:DIGEST_CHARS]
    return f"{prefix}-{slug}-{digest}-{lane.label}"
