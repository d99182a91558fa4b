"""Whose message a queue of the embedded emulator hands out next: the tenants that wait in it take turns.

SQS is fair between the groups that the messages of a standard queue name; MiniStack keeps the names and goes by age
alone. Here each tenant has its messages in the order in which they came, whoever was served longest ago comes first,
and one that had none waiting before all others. Messages without a group are one tenant's. A receive costs what it
takes and how many tenants there are, however many messages wait.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

Message = dict[str, Any]


class Turns:
    """The messages of one queue, by tenant. It follows the queue's own list, to which others add at the end."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._tenants: OrderedDict[str | None, dict[str, Message]] = OrderedDict()  # the next to be served first
        self._places: dict[str, int] = {}  # of each message, by its id: rising from the first of the list to the last
        self._receipts: dict[str, Message] = {}
        self._newest = 0

    def follow(self, messages: Sequence[Message]) -> None:
        """Take in what was sent since; where messages have gone by another way than ``forget``, all anew."""
        new = list(takewhile(lambda message: message["id"] not in self._places, reversed(messages)))
        self._add(reversed(new))
        if len(self._places) != len(messages):
            self._forget()
            self._add(messages)

    def _add(self, messages: Iterable[Message]) -> None:
        for message in messages:
            tenant = message.get("group_id")
            if tenant not in self._tenants:
                self._tenants[tenant] = {}
                self._tenants.move_to_end(tenant, last=False)
            self._tenants[tenant][message["id"]] = message
            self._newest += 1
            self._places[message["id"]] = self._newest
            if message.get("receipt_handle"):
                self._receipts[message["receipt_handle"]] = message

    def next(self, most: int, may_go: Callable[[Message], bool], passed_over: str | None = None) -> list[Message]:
        """Up to ``most`` messages that ``may_go``: one of each tenant in turn, but none of who is ``passed_over``.

        "" passes over those without a tenant.
        """
        served = (each for each in self._tenants.items() if passed_over is None or (each[0] or "") != passed_over)
        waiting = deque((tenant, filter(may_go, own.values())) for tenant, own in served)
        found: list[Message] = []
        while waiting and len(found) < most:
            tenant, messages = waiting.popleft()
            message = next(messages, None)
            if message is not None:
                found.append(message)
                self._tenants.move_to_end(tenant)
                waiting.append((tenant, messages))
        return found

    def received(self, messages: Iterable[Message], before: Iterable[str | None]) -> None:
        """Messages have new receipts, in place of those that they had ``before``."""
        for message, receipt in zip(messages, before, strict=True):
            self._receipts.pop(receipt or "", None)
            self._receipts[message["receipt_handle"]] = message

    def found(self, receipt: str | None) -> Message | None:
        """The message that was received under a receipt, if that is its newest."""
        return self._receipts.get(receipt or "")

    def positions(self, messages: Sequence[Message], wanted: Iterable[Message]) -> Iterator[int]:
        """Where messages stand in the list that is followed."""
        for message in wanted:
            yield bisect_left(messages, self._places[message["id"]], key=lambda each: self._places[each["id"]])

    def forget(self, messages: Iterable[Message]) -> None:
        """Messages are taken off the list, too."""
        for message in messages:
            del self._places[message["id"]]
            self._receipts.pop(message["receipt_handle"], None)
            own = self._tenants[message.get("group_id")]
            del own[message["id"]]
            if not own:
                del self._tenants[message.get("group_id")]


class Orders:
    """The turns of every queue; of one at a time by one thread."""

    def __init__(self) -> None:
        self._turns: dict[str, tuple[Any, Turns]] = {}  # by the queue's URL, with the queue that has it
        self.lock = threading.Lock()  # held by whoever goes over a queue, or takes messages off it

    @contextmanager
    def following(self, queue: dict[str, Any]) -> Iterator[Turns]:
        """The turns of a queue, which know all its messages."""
        with self.lock:
            known, turns = self._turns.get(queue["url"], (None, None))
            if turns is None or known is not queue:
                turns = Turns()
                self._turns[queue["url"]] = (queue, turns)
            turns.follow(queue["messages"])
            yield turns
