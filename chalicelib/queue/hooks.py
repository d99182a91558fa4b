"""The FIFO queue of events: sent by whoever reads the ledger's changes, delivered to hooks and webhooks.

SQS keeps the order within a group, and holds a group back while its first message is received or hidden. A
event that is sent again within five minutes is dropped by SQS itself: what it is known by is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chalicelib.core.errors import Unavailable
from chalicelib.queue.sqs import packed


@dataclass(frozen=True, slots=True)
class Letter:
    """A text (ASCII) for one recipient: letters of a ``group`` arrive in order, of one ``id`` in five minutes once.

    Group and id are up to 128 letters, digits and signs of ASCII.
    """

    group: str
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class HooksQueue:
    """The queue of an installation, by its SQS name."""

    client: Any
    name: str

    def send(self, letters: Sequence[Letter]) -> None:
        """Send letters in batches of ten, those of each group in their order; raises ``Unavailable`` unless all went.

        SQS may take some messages of a batch and refuse others. So that nothing overtakes what was refused, no batch
        holds two letters of a group, and nothing is sent after a refusal.
        """
        for row in rows(letters):
            sizes = [len(letter.text) for letter in row]
            for batch in packed(range(len(row)), sizes.__getitem__):
                self._send_batch([row[position] for position in batch])

    def hide(self, receipt: str, hide_s: int) -> None:
        """Hide a locked message for ``hide_s`` seconds from now (0 to 43,200), and with it the rest of its group."""
        self.client.change_message_visibility(
            QueueUrl=_url(self.client, self.name), ReceiptHandle=receipt, VisibilityTimeout=hide_s
        )

    def _send_batch(self, letters: Sequence[Letter]) -> None:
        entries = [
            {
                "Id": str(number),
                "MessageBody": letter.text,
                "MessageGroupId": letter.group,
                "MessageDeduplicationId": letter.id,
            }
            for number, letter in enumerate(letters)
        ]
        answer = self.client.send_message_batch(QueueUrl=_url(self.client, self.name), Entries=entries)
        refused = answer.get("Failed", [])
        if refused:
            raise Unavailable(f"SQS did not take {len(refused)} events of {len(entries)}", got=refused[0]["Code"])


def rows(letters: Sequence[Letter]) -> Iterator[Sequence[Letter]]:
    """``letters`` in rows: the first of each group, then the second of each, and so on."""
    by_group: dict[str, list[Letter]] = {}
    for letter in letters:
        by_group.setdefault(letter.group, []).append(letter)
    for number in range(max(map(len, by_group.values()), default=0)):
        yield [of_group[number] for of_group in by_group.values() if number < len(of_group)]


@lru_cache(maxsize=4)
def _url(client: Any, name: str) -> str:
    """The URL of a queue, asked for once in the life of a client."""
    return str(client.get_queue_url(QueueName=name)["QueueUrl"])
