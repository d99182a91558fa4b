"""Who is told by a webhook, and writes down what came. It refuses now and then, or hangs up after it has heard."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.receiving import receiving

REFUSED = 0.005
HUNG_UP = 0.005


@dataclass(slots=True)
class Receiver:
    """What came: of each job the ids of its events, as they came first."""

    dice: Random
    url: str = ""
    came: dict[int, list[str]] = field(default_factory=dict)
    posts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block, at ``url``."""
        with receiving(self._answer) as self.url:
            yield

    def _answer(self, body: bytes) -> int | None:
        luck = self.luck()
        if luck < REFUSED:
            return 503
        self.note(json.loads(body))
        return None if luck < REFUSED + HUNG_UP else 204

    def luck(self) -> float:
        with self._lock:
            return self.dice.random()

    def note(self, told: dict[str, Any]) -> None:
        """An event that was heard."""
        with self._lock:
            self.posts += 1
            events = self.came.setdefault(int(told["job"]["id"]), [])
            if told["id"] not in events:
                events.append(told["id"])
