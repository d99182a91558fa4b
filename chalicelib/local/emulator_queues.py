"""The embedded emulator's queues: a receive and a delete cost what they touch, a long poll nothing while it waits, and
tenants take turns; a receive may pass one over (``batches.receive``).

MiniStack goes several times over all messages of a queue for each receive, and once for each message that is deleted,
so that a backlog of thousands took half of a job's time; and it looks ten times a second whether a long poll may end.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from chalicelib.local.batches import PASSING_OVER
from chalicelib.local.emulator_turns import Orders

FEW_MESSAGES = 100  # that are gone over for every receive, as ever
LOOK_PAUSE_S = 1.0  # between two times that all messages of a fuller queue are gone over: which are too old to keep
LOOKED_AT_A_PAUSE = 10_000  # messages; where there are more, the pauses are longer likewise
TICK_MIN_S, TICK_MAX_S = 0.1, 1.0  # between two looks of a long poll at a queue whose messages are hidden

Request = Mapping[str, Any]
Queue = dict[str, Any]

_passed_over: ContextVar[str | None] = ContextVar("_passed_over", default=None)  # the tenant, by the receive at hand


def install() -> None:
    """Let MiniStack's SQS, in this process, work so; once."""
    from ministack.services import sqs

    orders = Orders()
    sqs._expire_retained = _now_and_then(sqs._expire_retained, orders)
    sqs._dlq_sweep = _now_and_then(sqs._dlq_sweep, orders)
    sqs._collect_msgs = _collecting(sqs, orders)
    bell = Bell()
    sqs.esm_wake.set = bell.ringing(sqs.esm_wake.set)
    handlers = sqs._HANDLERS
    handlers["DeleteMessageBatch"] = _deleting(sqs, orders)
    handlers["ReceiveMessage"] = _waiting(sqs, bell)
    for name in ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch"):
        handlers[name] = bell.rung_after(handlers[name])


def _now_and_then(go_over: Callable[[Queue], None], orders: Orders) -> Callable[[Queue], None]:
    """Go over all messages of a queue: of a full one once a second, of 100,000 messages every ten."""
    done_at_s: dict[int, float] = {}  # by the queue's place in memory: one that takes another's is gone over soon

    def throttled(queue: Queue) -> None:
        now_s, number = time.monotonic(), len(queue["messages"])
        pause_s = LOOK_PAUSE_S * max(1.0, number / LOOKED_AT_A_PAUSE)
        if number <= FEW_MESSAGES or now_s - done_at_s.get(id(queue), 0.0) >= pause_s:
            done_at_s[id(queue)] = now_s
            with orders.lock:  # what it leaves on the list, it writes anew
                go_over(queue)

    return throttled


def _collecting(sqs: Any, orders: Orders) -> Callable[[Queue, int, int], list[Any]]:
    """The next visible messages of a queue, its tenants in turn, found without a look at those behind them."""
    collect = sqs._collect_msgs

    def collect_msgs(queue: Queue, most: int, hide_s: int) -> list[Any]:
        if queue["is_fifo"]:
            found: list[Any] = collect(queue, most, hide_s)
            return found
        now_s, attempts = time.time(), _attempts(queue["attributes"].get("RedrivePolicy"))

        def may_go(message: dict[str, Any]) -> bool:
            sqs._ensure_msg_fields(message)
            return message["visible_at"] <= now_s and not 0 < attempts <= message["receive_count"]

        with orders.following(queue) as turns:
            chosen = turns.next(most, may_go, _passed_over.get())
            before = [message["receipt_handle"] for message in chosen]
            taken: list[Any] = collect({**queue, "messages": chosen}, most, hide_s)
            turns.received(chosen, before)
        return taken

    return collect_msgs


@lru_cache(64)
def _attempts(redrive_policy: str | None) -> int:
    """How often a message is received before it goes to a dead-letter queue; 0: for ever."""
    try:
        return int(json.loads(redrive_policy or "{}").get("maxReceiveCount", 0))
    except (ValueError, TypeError, AttributeError):
        return 0


def _deleting(sqs: Any, orders: Orders) -> Callable[[Request, str], Any]:
    """DeleteMessageBatch, going over no messages but those that it deletes."""

    def delete_message_batch(data: Request, url: str) -> Any:
        queue = sqs._get_q(data.get("QueueUrl", url), "sqs:DeleteMessage")
        entries = data.get("Entries", [])
        sqs._validate_batch_entries(entries, "DeleteMessageBatchRequestEntry")
        deleted = _taken_off(queue, {entry.get("ReceiptHandle") for entry in entries}, orders)
        answer: dict[str, list[Any]] = {"Successful": [], "Failed": []}
        for entry in entries:
            if entry.get("ReceiptHandle") in deleted:
                deleted.discard(entry.get("ReceiptHandle"))
                answer["Successful"].append({"Id": entry.get("Id", "")})
            else:
                answer["Failed"].append(
                    {
                        "Id": entry.get("Id", ""),
                        "Code": "ReceiptHandleIsInvalid",
                        "Message": "The input receipt handle is invalid.",
                        "SenderFault": True,
                    }
                )
        return answer

    return delete_message_batch


def _taken_off(queue: Queue, receipts: set[Any], orders: Orders) -> set[Any]:
    """Take messages off a queue; returns the receipts under which there were some.

    Of a FIFO queue, whose messages go by their groups and are few, all are gone over.
    """
    if queue["is_fifo"]:
        received = {message["receipt_handle"] for message in queue["messages"] if message.get("receipt_handle")}
        deleted = receipts & received
        queue["messages"][:] = [each for each in queue["messages"] if each.get("receipt_handle") not in deleted]
        return deleted
    with orders.following(queue) as turns:
        gone = {receipt: message for receipt in receipts if (message := turns.found(receipt)) is not None}
        for position in sorted(turns.positions(queue["messages"], gone.values()), reverse=True):
            del queue["messages"][position]
        turns.forget(gone.values())
    return set(gone)


class Bell:
    """Wakes the long polls of queues that messages have come to. Whoever has work for a mapping of Lambda rings it."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, Queue] = {}
        self._is_to_look = False

    def ringing(self, ring: Callable[[], None]) -> Callable[[], None]:
        """``ring``, heard by long polls, too; from any thread."""

        def rings() -> None:
            ring()
            if self._waiting and not self._is_to_look:
                self._is_to_look = True
                if threading.get_ident() == self._thread:
                    self._loop.call_soon(self._look)
                else:
                    self._loop.call_soon_threadsafe(self._look)

        return rings

    def rung_after(self, act: Callable[[Request, str], Any]) -> Callable[[Request, str], Any]:
        """``act``, after which polls look when the next message of their queue will be there."""

        def acts(data: Request, url: str) -> Any:
            answer = act(data, url)
            self._look()
            return answer

        return acts

    def _look(self) -> None:
        self._is_to_look = False
        for woken, queue in self._waiting.items():
            if queue["messages"]:
                woken.set()

    async def wait(self, queue: Queue, longest_s: float, *, for_new: bool = False) -> None:
        """Wait until there may be a message, or ``for_new`` ones only, whatever is hidden now."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        if queue["messages"] and not for_new:
            next_s = min(message.get("visible_at", 0.0) for message in queue["messages"]) - time.time()
            longest_s = min(longest_s, max(TICK_MIN_S, min(next_s, TICK_MAX_S)))
        woken = asyncio.Event()
        self._waiting[woken] = queue
        try:
            async with asyncio.timeout(longest_s):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            del self._waiting[woken]


def _waiting(sqs: Any, bell: Bell) -> Callable[[Request, str], Any]:
    """ReceiveMessage, waiting without looking."""
    receive = sqs._act_receive_message

    async def receive_message(data: Request, url: str) -> Any:
        began_s, passed_over = time.time(), _to_be_passed_over(data)
        _passed_over.set(passed_over)
        while True:
            answer = await receive({**data, "WaitTimeSeconds": 0}, url)
            queue = sqs._get_q(data.get("QueueUrl", url), "sqs:ReceiveMessage")
            wait = data.get("WaitTimeSeconds")
            wait_s = int(queue["attributes"].get("ReceiveMessageWaitTimeSeconds", "0") if wait is None else wait)
            left_s = began_s + wait_s - time.time()
            if answer or left_s <= 0:
                return answer
            await bell.wait(queue, left_s, for_new=passed_over is not None)

    return receive_message


def _to_be_passed_over(data: Request) -> str | None:
    names = data.get("MessageAttributeNames") or []
    return next((each.removeprefix(PASSING_OVER) for each in map(str, names) if each.startswith(PASSING_OVER)), None)
