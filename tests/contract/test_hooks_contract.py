"""What the delivery of events relies on: the order of a FIFO queue, its groups, its memory of what was sent."""

from __future__ import annotations

import pytest

from chalicelib import aws
from chalicelib.queue.contract import Received
from chalicelib.queue.hooks import HooksQueue, Letter
from chalicelib.queue.sqs import SqsTransport
from tests.support.backends import Ground
from tests.support.waiting import until

HIDDEN_S = 60


@pytest.fixture
def source(ground: Ground) -> str:
    return ground.settings.hooks_queue


def test_groups_keep_their_order_and_hold_back_only_themselves(ground: Ground, source: str) -> None:
    transport: SqsTransport = ground.bench().yard.transport  # type: ignore[assignment]
    queue = HooksQueue(aws.client("sqs"), source)

    def take() -> Received | None:
        return next(iter(transport.receive(source, 1, HIDDEN_S, wait_s=0)), None)

    letters = [Letter(group, f"{group}{number}", f"{group}{number}") for number in range(12) for group in "ab"]
    queue.send(letters)
    queue.send(letters[:4])  # sent already
    assert transport.depth(source) == len(letters)
    first, other = take(), take()
    assert first is not None
    assert other is not None
    assert [first.text, other.text] == ["a0", "b0"]
    assert take() is None  # both groups are in hand
    queue.hide(first.receipt, 1)
    transport.delete([other])
    again = until(take)
    seen = [again]
    while "a0" not in [message.text for message in seen]:
        transport.delete(seen[-1:])
        seen.append(until(take))
    assert seen[-1].receive_count == 2
    transport.delete(seen[-1:])
    while (message := take()) is not None:
        transport.delete([message])
        seen.append(message)
    for group in "ab":
        texts = [message.text for message in seen if message.text.startswith(group)]
        assert texts == [f"{group}{number}" for number in range(0 if group == "a" else 1, 12)]
    assert transport.depth(source) == 0
