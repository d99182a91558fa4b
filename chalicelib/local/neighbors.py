"""Whose messages a queue has brought lately, and who is a noisy neighbor to the others.

SQS names a tenant so that has more than its share of a queue (Amazon SQS developer guide, "Amazon SQS fair queues").
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

LATELY_S = 30.0  # whoever had a message within it may have another soon
LATEST = 100  # messages, by which it goes who has most of them


class Neighbors:
    """The tenants of one queue. "" is that of messages without one."""

    def __init__(self) -> None:
        self._seen_at_s: dict[str, float] = {}  # monotonic; whoever was seen last is last
        self._latest: deque[str] = deque(maxlen=LATEST)
        self._commonest = ""

    def saw(self, tenants: Iterable[str], now_s: float) -> None:
        """Messages of these were received."""
        for tenant in tenants:
            self._seen_at_s.pop(tenant, None)
            self._seen_at_s[tenant] = now_s
            self._latest.append(tenant)
        if self._latest:
            self._commonest = Counter(self._latest).most_common(1)[0][0]
        self._forget(now_s)

    def noisy(self, now_s: float) -> str | None:
        """Who has most of the messages, if others have had some lately, too."""
        self._forget(now_s)
        return self._commonest if len(self._seen_at_s) > 1 else None

    def _forget(self, now_s: float) -> None:
        """Those who had none lately. In the queue of hooks every job is one, and nobody asks who is noisy."""
        while self._seen_at_s and next(iter(self._seen_at_s.values())) < now_s - LATELY_S:
            del self._seen_at_s[next(iter(self._seen_at_s))]
