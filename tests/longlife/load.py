"""A steady load of every kind on a running installation, as its clients make it: one act at a time, at a fixed pace."""

from __future__ import annotations

import itertools
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.client import Client
from tests.support.receiving import receiving
from tests.support.waiting import DEADLINE_S

HANDLERS = "chalicelib.tasks,tests.support.dialect_handlers"
POLLED, SUBSCRIBED, TASK = "longlife.polled", "scripted.topic", "scripted"
POLL_EVERY_S = 1.0
READ_EVERY_S = 3.0
DELAY_S = 30
CANCELED_DELAY_S = 3_600
READS = (
    "/api/overview",
    "/api/task/list",
    "/mq/dashboard",
    "/mq/message/list",
    "/api/jobs?state=failed",
    "/mq/dlq/list",
    "/api/task/statistics",
    "/api/failures",
    "/api/task/list?filter.status=success&filter.search=half",
    "/mq/queue/depth",
    "/api/queues",
    "/health",
)


@dataclass(slots=True)
class Load:
    """What clients do to ``service``: ``acts`` counts what they did, ``troubles`` what met with no success."""

    service: Client
    dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311
    acts: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    _reads: Iterator[str] = field(default_factory=lambda: itertools.cycle(READS))

    def prepare(self) -> None:
        """Two schedules that have a slot each minute."""
        made = {"task": {"type": TASK, "input": {"slot": "{{slot}}"}}, "message": {"topic": SUBSCRIBED, "payload": {}}}
        for what, body in made.items():
            self._ask(
                f"schedule a {what}", "POST", "/api/schedule/save", {"name": what, "cron": "* * * * *", what: body}
            )

    def keep_on(self, seconds: float, rate: float) -> None:
        """Act ``rate`` times a second for so long; a moment that was missed is not made up for."""
        now_s = time.monotonic
        ends_s, poll_s, read_s, next_s = now_s() + seconds, 0.0, 0.0, now_s()
        choices, weights = zip(*self._choices(), strict=True)
        while now_s() < ends_s:
            self.dice.choices(choices, weights)[0]()
            if now_s() >= poll_s:
                poll_s = now_s() + POLL_EVERY_S
                self.consume()
            if now_s() >= read_s:
                read_s = now_s() + READ_EVERY_S
                self._ask("read", "GET", next(self._reads))
                self.scrape()
            next_s = max(next_s + 1 / rate, now_s() - 1 / rate)
            time.sleep(max(0.0, min(next_s, ends_s) - now_s()))

    def _choices(self) -> tuple[tuple[Callable[[], Any], int], ...]:
        return (
            (lambda: self.create("task", {"n": 1, "progress": [1, 2, "half"]}), 30),
            (lambda: self.create("retried task", {"fail": "at first", "until": 1}), 6),
            (lambda: self.create("failing task", {"reject": "for good"}), 4),
            (lambda: self.create("large task", {"grow": 20_000}), 2),
            (lambda: self.create("delayed task", {"n": 2}, delay=DELAY_S), 8),
            (self.cancel, 4),
            (self.graph, 2),
            (lambda: self.publish("subscribed message", SUBSCRIBED, {"n": 3}), 20),
            (lambda: self.publish("failing message", SUBSCRIBED, {"reject": "for good"}), 2),
            (lambda: self.publish("polled message", POLLED, {"n": 4}), 20),
            (self.look, 2),
        )

    def create(self, what: str, given: Any, **more: Any) -> Any:
        """A task."""
        body = {"type": TASK, "targetId": "t", "targetType": "longlife", "runnerType": "system", "input": given, **more}
        return self._ask(what, "POST", "/api/task/create", body)

    def cancel(self) -> None:
        """A task that is canceled before its time."""
        made = self.create("canceled task", {"n": 5}, delay=CANCELED_DELAY_S)
        if made is not None:
            self._ask("cancel", "POST", "/api/task/cancel", {"id": made["id"]})

    def graph(self) -> None:
        """Two tasks, one after the other."""
        nodes = [{"name": "first", "type": TASK, "input": 1}, {"name": "second", "type": TASK, "after": ["first"]}]
        self._ask("graph", "POST", "/api/task/graph", {"nodes": nodes})

    def publish(self, what: str, topic: str, payload: Any) -> None:
        """A message."""
        self._ask(what, "POST", "/mq/message/publish", {"topic": topic, "payload": payload})

    def consume(self) -> None:
        """Poll; of what comes one in ten fails once, the rest is completed."""
        for message in self._ask("poll", "GET", f"/mq/message/poll?topic={POLLED}&limit=10") or ():
            given = {"id": message["id"], "lockToken": message["lockToken"]}
            if message["retryCount"] == 0 and self.dice.random() < 0.1:
                self._ask("fail", "POST", "/mq/message/fail", {**given, "error": "not yet"})
            else:
                self._ask("complete", "POST", "/mq/message/complete", given)

    def look(self) -> None:
        """A task, and all that is told of it."""
        made = self.create("watched task", {"n": 6})
        if made is not None:
            for path in (
                f"/api/task/detail?id={made['id']}",
                f"/api/job/{made['id']}/why",
                f"/api/job/{made['id']}/detail",
            ):
                self._ask("look", "GET", path)

    def scrape(self) -> None:
        """The metrics, as Prometheus asks for them."""
        self.acts["scrape"] += 1
        try:
            urllib.request.urlopen(f"{self.service.url}/mq/metrics", timeout=DEADLINE_S).close()  # noqa: S310
        except OSError as error:
            self.troubles[f"scrape: {error}"] += 1

    def _ask(self, what: str, method: str, path: str, body: Any = None) -> Any:
        """The body of what was answered; ``None`` where it was no success, which is noted."""
        self.acts[what] += 1
        try:
            status, found = self.service.call(method, path, body)
        except (OSError, ValueError) as error:  # no answer, or none in JSON
            self.troubles[f"{what}: {type(error).__name__}"] += 1
            return None
        if status >= 300:
            self.troubles[f"{what}: {status} {found.get('message', '')}"[:120]] += 1
            return None
        return found


@contextmanager
def sink() -> Iterator[tuple[str, Counter[str]]]:
    """The URL of a server that takes every webhook, and how many came."""
    came: Counter[str] = Counter()

    def counted(_: bytes) -> int:
        came["posts"] += 1
        return 204

    with receiving(counted) as url:
        yield url, came
