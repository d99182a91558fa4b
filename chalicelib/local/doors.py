"""What is known of a queue that is read: whether there is work behind it, what makes a batch, and whose it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from chalicelib.core.batch import Batch
from chalicelib.local.batches import Message, Queue
from chalicelib.local.neighbors import Neighbors
from chalicelib.queue.contract import BATCH_MAX_MESSAGES

BATCH_S = 1.0  # what a batch may take: so long a worker may sit on work that another is free for
SHARED_BATCH_S = 0.01  # where messages name their tenants: so long one may wait behind a batch of another


@dataclass(slots=True, eq=False)
class Door:
    """A queue, as its readers see it."""

    queue: Queue
    holds_more: bool = False  # beyond what was brought
    brought: list[Message] = field(default_factory=list)
    brought_at_s: float = 0.0  # monotonic
    hidden_until_ms: int = 0  # what was brought, at least
    job_s: float | None = None  # what a job took lately
    batch_s: float = BATCH_S
    at_work: int = 0  # workers, on what came from here
    neighbors: Neighbors = field(default_factory=Neighbors)
    batch: Batch | None = None  # what is gathered of it
    gathers_until_s: float | None = None  # monotonic; while what was brought does not make a batch
    watcher: threading.Thread | None = None
    reserve: threading.Thread | None = None  # who watches it for tenants beside the noisy one

    @property
    def has_batch(self) -> bool:
        """Whether what was brought may be handed out."""
        return bool(self.brought) and self.gathers_until_s is None

    @property
    def is_open(self) -> bool:
        """Whether there is work behind it."""
        return self.holds_more or self.has_batch

    @property
    def gathers_s(self) -> int:
        """For how long its messages may be kept until they make a batch."""
        return 0 if self.batch is None else self.batch.max_wait_s

    def saw(self, tenants: list[str]) -> None:
        """Messages of these tenants were received; "": of none."""
        self.batch_s = SHARED_BATCH_S if any(tenants) else BATCH_S
        self.neighbors.saw(tenants, time.monotonic())

    def took(self, job_s: float) -> None:
        """A job of its latest batch took ``job_s`` on average."""
        self.job_s = job_s if self.job_s is None else (self.job_s + job_s) / 2

    def spares_one_of(self, workers: int) -> bool:
        """Whether the last one free of ``workers`` is kept for others than the noisy tenant."""
        return 1 < workers <= self.at_work + 1 and self.noisy is not None

    @property
    def noisy(self) -> str | None:
        """The tenant that has most of its messages, if others have had some lately, too."""
        return self.neighbors.noisy(time.monotonic())


def batch_size(job_s: float | None, most: int = BATCH_MAX_MESSAGES, batch_s: float = BATCH_S) -> int:
    """How many messages make a batch of ``batch_s``, a second, if each takes ``job_s``: 0.1 s or less: 10, 0.3 s: 3.

    One where that is not known.
    """
    if job_s is None:
        return 1
    return max(1, int(min(most, batch_s / job_s))) if job_s else most
