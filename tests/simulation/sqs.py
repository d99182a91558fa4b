"""An SQS in memory: exactly what the queue room asks of it, with the liberties that the real one takes.

A message may be handed out again while it is hidden, or after it was deleted; messages come in any order, and a
receive finds some of those that could be found. A receipt is good for the newest receive only: an older one deletes or
hides what somebody else has, or is refused, or does nothing. Once a message has been received too often, it is moved to
the dead-letter queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.dynamodb import refusal

Answer = dict[str, Any]
URL = "https://sqs.test/"
ATTRIBUTES = {"VisibilityTimeout": "330", "MessageRetentionPeriod": "1209600"}


@dataclass(slots=True)
class Message:
    """One message of a queue."""

    id: str
    body: str
    visible_ms: int
    group: str | None = None
    receives: int = 0
    deleted: bool = False  # and yet it may come once more


@dataclass(slots=True)
class Queue:
    """A queue, and where what was received too often goes."""

    name: str
    messages: dict[str, Message] = field(default_factory=dict)


@dataclass(slots=True)
class Liberties:
    """How often SQS does what it may do."""

    dice: Random
    again_share: float = 0.0  # of receives: the message is not hidden; of deletes: it comes once more
    missed_share: float = 0.0  # of messages that a receive could find
    redriven_share: float = 0.0  # of receives: it was received too often
    refused_share: float = 0.0  # of entries of a batch
    late_ms: int = 0  # how long after its time a message may be shown


class Sqs:
    """The queues of one installation. ``shows`` is called with a queue and when it shows something."""

    def __init__(
        self,
        names: list[str],
        dead: str,
        now_ms: Callable[[], int],
        rules: Liberties,
        shows: Callable[[str, int], None],
    ) -> None:
        self.queues = {name: Queue(name) for name in names}
        self.rules = rules
        self._dead, self._now_ms, self._shows = dead, now_ms, shows
        self._number = 0

    # -- the API --------------------------------------------------------------------------------------

    def get_queue_url(self, QueueName: str) -> Answer:  # noqa: N803 - AWS's names
        self._queue(QueueName)
        return {"QueueUrl": URL + QueueName}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Answer:  # noqa: N803
        queue, now_ms = self._queue(QueueUrl), self._now_ms()
        if "All" in AttributeNames:
            return {"Attributes": ATTRIBUTES}
        there = [message for message in queue.messages.values() if not message.deleted]
        shown = sum(message.visible_ms <= now_ms for message in there)
        hidden = len(there) - shown
        return {"Attributes": dict(zip(AttributeNames, map(str, (shown, hidden, 0)), strict=True))}

    def create_queue(self, QueueName: str, Attributes: Mapping[str, str]) -> Answer:  # noqa: N803
        del Attributes
        self.queues.setdefault(QueueName, Queue(QueueName))
        return {"QueueUrl": URL + QueueName}

    def send_message(self, QueueUrl: str, **entry: Any) -> Answer:  # noqa: N803
        return {"MessageId": self._send(self._queue(QueueUrl), entry)}

    def send_message_batch(self, QueueUrl: str, Entries: list[Answer]) -> Answer:  # noqa: N803
        queue = self._queue(QueueUrl)
        return self._each(Entries, lambda entry: self._send(queue, entry))

    def receive_message(
        self,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int = 1,  # noqa: N803
        VisibilityTimeout: int = 330,  # noqa: N803
        **_: Any,
    ) -> Answer:
        return {"Messages": self.receive(self._queue(QueueUrl), MaxNumberOfMessages, VisibilityTimeout)}

    def delete_message_batch(self, QueueUrl: str, Entries: list[Answer]) -> Answer:  # noqa: N803
        queue = self._queue(QueueUrl)
        return self._each(Entries, lambda entry: self.delete(queue, entry["ReceiptHandle"]))

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[Answer]) -> Answer:  # noqa: N803
        queue = self._queue(QueueUrl)
        return self._each(Entries, lambda entry: self._hide(queue, entry["ReceiptHandle"], entry["VisibilityTimeout"]))

    def change_message_visibility(self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> Answer:  # noqa: N803
        self._hide(self._queue(QueueUrl), ReceiptHandle, VisibilityTimeout)
        return {}

    # -- what an event source mapping does, too ---------------------------------------------------------

    def receive(self, queue: Queue, most: int, hide_s: int) -> list[Answer]:
        """Some of the messages that a queue shows now, hidden for the next ``hide_s`` seconds."""
        now_ms, rules, dice = self._now_ms(), self.rules, self.rules.dice
        found = [each for each in queue.messages.values() if each.visible_ms <= now_ms]
        if len(found) > 1:
            dice.shuffle(found)
        received = []
        for message in found[:most]:
            if rules.missed_share and dice.random() < rules.missed_share:
                self._shows(queue.name, now_ms + 1 + dice.randrange(500))
                continue
            if rules.redriven_share and queue.name != self._dead and dice.random() < rules.redriven_share:
                self._redrive(queue, message)
                continue
            message.receives += 1
            if message.deleted:
                del queue.messages[message.id]
            elif rules.again_share and dice.random() < rules.again_share:
                self._show_at(queue, message, now_ms + dice.choice((0, 5, 1_000, 20_000)))
            else:
                self._show_at(queue, message, now_ms + hide_s * 1_000)
            received.append(
                {
                    "MessageId": message.id,
                    "ReceiptHandle": f"{message.id}/{message.receives}",
                    "Body": message.body,
                    "Attributes": {"ApproximateReceiveCount": str(message.receives)},
                }
            )
        return received

    def delete(self, queue: Queue, receipt: str) -> None:
        """Delete a message, if its receipt is the newest; an older one may delete it all the same."""
        message = self._received(queue, receipt)
        if message is None:
            return
        rules = self.rules
        if rules.again_share and rules.dice.random() < rules.again_share:
            message.deleted = True
            self._show_at(queue, message, self._now_ms() + rules.dice.choice((0, 1_000, 60_000)))
        else:
            del queue.messages[message.id]

    # -- what lies below ----------------------------------------------------------------------------------

    def _queue(self, name_or_url: str) -> Queue:
        queue = self.queues.get(name_or_url.removeprefix(URL))
        if queue is None:
            raise refusal("AWS.SimpleQueueService.NonExistentQueue", "Sqs")
        return queue

    def _send(self, queue: Queue, entry: Answer) -> str:
        self._number += 1
        visible_ms = self._now_ms() + entry.get("DelaySeconds", 0) * 1_000
        message = Message(f"m{self._number}", entry["MessageBody"], visible_ms, entry.get("MessageGroupId"))
        queue.messages[message.id] = message
        self._show_at(queue, message, visible_ms)
        return message.id

    def _received(self, queue: Queue, receipt: str) -> Message | None:
        """The message of a receipt; an old receipt is good by chance. ``None``: SQS does nothing, and says nothing."""
        identifier, _, number = receipt.partition("/")
        message = queue.messages.get(identifier)
        if message is None or message.deleted:
            if self.rules.dice.random() < 0.5:
                raise refusal("ReceiptHandleIsInvalid", "Sqs")
            return None
        if message.receives != int(number):
            luck = self.rules.dice.random()
            if luck < 0.3:
                raise refusal("ReceiptHandleIsInvalid", "Sqs")
            return message if luck < 0.6 else None
        return message

    def _hide(self, queue: Queue, receipt: str, hide_s: int) -> None:
        message = self._received(queue, receipt)
        if message is not None:
            self._show_at(queue, message, self._now_ms() + hide_s * 1_000)

    def _show_at(self, queue: Queue, message: Message, at_ms: int) -> None:
        late_ms = self.rules.dice.randrange(self.rules.late_ms + 1) if self.rules.late_ms else 0
        message.visible_ms = at_ms + late_ms
        self._shows(queue.name, message.visible_ms)

    def _redrive(self, queue: Queue, message: Message) -> None:
        del queue.messages[message.id]
        if not message.deleted:
            dead = self.queues[self._dead]
            dead.messages[message.id] = message
            message.receives = 0
            self._show_at(dead, message, self._now_ms())

    def _each(self, entries: list[Answer], act: Callable[[Answer], Any]) -> Answer:
        """Do something for each entry of a batch; some may be refused, the others are done."""
        answer: Answer = {"Successful": [], "Failed": []}
        for entry in entries:
            code = "InternalError" if self._refuses() else None
            if code is None:
                try:
                    act(entry)
                except Exception as error:
                    code = error.response["Error"]["Code"]  # type: ignore[attr-defined]
            if code is None:
                answer["Successful"].append({"Id": entry["Id"]})
            else:
                answer["Failed"].append({"Id": entry["Id"], "Code": code, "SenderFault": False})
        return answer

    def _refuses(self) -> bool:
        return bool(self.rules.refused_share) and self.rules.dice.random() < self.rules.refused_share
