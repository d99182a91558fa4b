"""The transport's contract (``queue/contract.py``), as SQS keeps it on each backend that has queues."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.core.errors import Unavailable
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.sqs import VISIBILITY_MAX_S
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.local.emulator import Emulator
from chalicelib.queue.contract import MESSAGE_MAX_BYTES, NoQueue, OutgoingMessage, Received
from chalicelib.queue.sqs import COPIED_ATTRIBUTES, SqsTransport, packed
from tests.support import backends
from tests.support.backends import Difference, Ground
from tests.support.waiting import DEADLINE_S, becomes, until

PATTERN = Lane(DEFAULT_POOL, Band.NORMAL)
BACKENDS = [name for name in backends.NAMES if name != "dynamodb_local" and backends.missing(name) is None]
HALF = MESSAGE_MAX_BYTES // 2
numbers = itertools.count()


@pytest.fixture(scope="module", params=BACKENDS)
def ground(request: pytest.FixtureRequest, embedded: Callable[[], Emulator]) -> Iterator[Ground]:
    """The resources of one installation on each backend that has queues."""
    with backends.ground(request.param, embedded) as made:
        yield made


@pytest.fixture
def transport(ground: Ground) -> SqsTransport:
    """The transport of an installation."""
    return SqsTransport(aws.client("sqs", read_timeout_s=30), ground.settings.base_name, PATTERN)


@pytest.fixture
def lane(transport: SqsTransport) -> Lane:
    """A lane that no other test uses."""
    made = Lane(f"topic.{next(numbers)}", Band.HIGH)
    transport.open_lane(made)
    return made


@pytest.fixture
def source(transport: SqsTransport, lane: Lane) -> str:
    """The name of the lane's queue."""
    return transport.source_of(lane)


def texts(messages: list[Received]) -> list[str]:
    return sorted(message.text for message in messages)


def drain(transport: SqsTransport, source: str) -> list[str]:
    """Everything a queue shows now, each message once."""
    found: list[str] = []
    while messages := transport.receive(source, 10, 60, 0):
        found += texts(messages)
    return found


def one(transport: SqsTransport, source: str, hide_s: int = 60) -> Received:
    """The next message, waited for."""
    (message,) = until(lambda: transport.receive(source, 1, hide_s, 1))
    return message


@contextmanager
def calls(transport: SqsTransport) -> Iterator[list[str]]:
    """The operations of SQS that are called in the block."""
    made: list[str] = []

    def note(model: Any, **_: Any) -> None:
        made.append(model.name)

    transport.client.meta.events.register("before-call.sqs", note)
    try:
        yield made
    finally:
        transport.client.meta.events.unregister("before-call.sqs", note)


class TestSendAndReceive:
    def test_a_text_arrives_once_and_as_it_was(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        text = json.dumps({"v": 1, "text": 'ünï "quoted" \\ <&> \u2028 \U0001f4e6'})
        transport.send(OutgoingMessage(lane, text))
        (message,) = transport.receive(source, 10, 60, 0)
        assert (message.source, message.text, message.receive_count) == (source, text, 1)
        assert message.message_id
        assert message.receipt
        assert transport.receive(source, 10, 60, 0) == []

    def test_a_tenant_travels_as_the_group(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        outgoing = [OutgoingMessage(lane, text, tenant=tenant) for text, tenant in (("a", "acme"), ("b", None))]
        transport.send(OutgoingMessage(lane, "c", tenant="!~" * 64))
        assert transport.send_many(outgoing) == []
        url = transport.client.get_queue_url(QueueName=source)["QueueUrl"]
        answer = transport.client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
        )
        found = {each["Body"]: each.get("Attributes", {}).get("MessageGroupId") for each in answer["Messages"]}
        assert found == {"a": "acme", "b": None, "c": "!~" * 64}

    def test_the_largest_text(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send(OutgoingMessage(lane, "x" * MESSAGE_MAX_BYTES))
        assert len(one(transport, source).text) == MESSAGE_MAX_BYTES
        with pytest.raises(ClientError):
            transport.send(OutgoingMessage(lane, "x" * (MESSAGE_MAX_BYTES + 1)))
        assert transport.depth(source) == 1

    def test_no_more_than_asked_for(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        sent = [f"text {number}" for number in range(12)]
        assert transport.send_many([OutgoingMessage(lane, text) for text in sent]) == []
        received = [transport.receive(source, most, 60, 0) for most in (1, 10, 10)]
        assert [len(messages) for messages in received] == [1, 10, 1]
        messages = list(itertools.chain(*received))
        assert texts(messages) == sorted(sent)
        assert len({message.message_id for message in messages}) == 12

    def test_lanes_stay_apart(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        other = replace(lane, band=Band.LOW)
        transport.open_lane(other)
        outgoing = [OutgoingMessage(lane if number % 2 else other, str(number)) for number in range(6)]
        assert transport.send_many(outgoing) == []
        assert drain(transport, source) == ["1", "3", "5"]
        assert drain(transport, transport.source_of(other)) == ["0", "2", "4"]

    def test_a_receive_waits_for_the_first(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(transport.receive, source, 10, 60, 20)
            transport.send(OutgoingMessage(lane, "at last"))
            assert texts(waiting.result(DEADLINE_S)) == ["at last"]


class TestDelays:
    def test_a_delayed_text_is_there_but_comes_later(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        assert (
            transport.send_many(
                [OutgoingMessage(lane, "soon", 1), OutgoingMessage(lane, "now"), OutgoingMessage(lane, "late", 900)]
            )
            == []
        )
        transport.send(OutgoingMessage(lane, "late too", 900))
        assert drain(transport, source) == ["now"]
        assert transport.depth(source) == 4
        assert one(transport, source).text == "soon"
        assert transport.receive(source, 10, 60, 0) == []


class TestHiding:
    def test_a_message_in_hand_is_hidden_and_shown_at_will(
        self, transport: SqsTransport, lane: Lane, source: str
    ) -> None:
        transport.send(OutgoingMessage(lane, "text"))
        first = one(transport, source, hide_s=600)
        assert transport.receive(source, 10, 60, 0) == []
        transport.hide([first], 0)
        second = one(transport, source)
        assert (second.message_id, second.receive_count) == (first.message_id, 2)
        transport.hide([second], 0)
        assert one(transport, source).receive_count == 3

    def test_it_comes_back_when_its_time_is_over(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send(OutgoingMessage(lane, "text"))
        first = one(transport, source, hide_s=1)
        assert one(transport, source).message_id == first.message_id

    def test_hiding_anew_counts_from_now(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send(OutgoingMessage(lane, "text"))
        message = one(transport, source, hide_s=1)
        transport.hide([message], 600)
        assert transport.receive(source, 10, 60, 2) == []  # beyond the first time
        transport.hide([message], 1)
        assert one(transport, source).receive_count == 2

    def test_more_than_sqs_allows_is_cut(
        self, ground: Ground, transport: SqsTransport, lane: Lane, source: str
    ) -> None:
        transport.send(OutgoingMessage(lane, "text"))
        message = one(transport, source)
        if ground.differs(Difference.LONG_HIDE):
            with pytest.raises(ClientError, match="beyond the limit"):
                transport.hide([message], 10 * VISIBILITY_MAX_S)
        else:
            transport.hide([message], 10 * VISIBILITY_MAX_S)
        assert transport.receive(source, 10, 60, 0) == []

    def test_many_at_once(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send_many([OutgoingMessage(lane, str(number)) for number in range(12)])
        messages = [*transport.receive(source, 10, 60, 0), *transport.receive(source, 10, 60, 0)]
        assert len(messages) == 12
        with calls(transport) as made:
            transport.hide(messages, 0)
        assert made == ["ChangeMessageVisibilityBatch"] * 2
        assert len(drain(transport, source)) == 12


class TestDeleting:
    def test_it_is_gone(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send_many([OutgoingMessage(lane, str(number)) for number in range(12)])
        messages = [*transport.receive(source, 10, 1, 0), *transport.receive(source, 10, 1, 0)]
        with calls(transport) as made:
            transport.delete(messages)
        assert made == ["DeleteMessageBatch"] * 2
        assert transport.depth(source) == 0
        assert transport.receive(source, 10, 60, 2) == []  # beyond the time they were hidden for

    def test_nothing_to_do_is_no_call(self, transport: SqsTransport) -> None:
        with calls(transport) as made:
            transport.delete([])
            transport.hide([], 5)
            assert transport.send_many([]) == []
        assert made == []

    def test_messages_of_several_lanes(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        other = replace(lane, band=Band.LOW)
        transport.open_lane(other)
        transport.send_many([OutgoingMessage(lane, "a"), OutgoingMessage(other, "b")])
        transport.delete([one(transport, source), one(transport, transport.source_of(other))])
        assert transport.depth(source) == transport.depth(transport.source_of(other)) == 0


class TestWhatIsAlreadyGone:
    def test_a_deleted_message_is_passed_over(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send_many([OutgoingMessage(lane, "a"), OutgoingMessage(lane, "b")])
        first, second = one(transport, source), one(transport, source)
        transport.delete([first])
        transport.delete([first])
        transport.hide([first, second], 0)
        assert drain(transport, source) == [second.text]

    def test_a_handle_that_sqs_never_gave_is_passed_over(
        self, transport: SqsTransport, lane: Lane, source: str
    ) -> None:
        transport.send(OutgoingMessage(lane, "a"))
        real = one(transport, source)
        forged = replace(real, receipt="no-such-handle")
        transport.hide([forged, real], 0)
        again = one(transport, source)
        transport.delete([forged, again])
        assert transport.depth(source) == 0

    def test_a_stale_handle_is_passed_over(
        self, ground: Ground, transport: SqsTransport, lane: Lane, source: str
    ) -> None:
        transport.send(OutgoingMessage(lane, "a"))
        stale = one(transport, source, hide_s=600)
        transport.hide([stale], 0)
        newer = one(transport, source, hide_s=600)

        transport.delete([stale])

        deleted = ground.differs(Difference.STALE_DELETE)
        assert transport.depth(source) == (0 if deleted else 1)
        if not deleted:
            transport.hide([newer], 0)
            assert drain(transport, source) == ["a"]

    def test_hiding_with_a_stale_handle_breaks_nothing(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send(OutgoingMessage(lane, "a"))
        stale = one(transport, source, hide_s=600)
        transport.hide([stale], 0)
        newer = one(transport, source, hide_s=600)
        transport.hide([stale], 600)
        transport.hide([newer], 0)
        assert one(transport, source).text == "a"

    def test_hiding_what_is_shown_already_breaks_nothing(
        self, transport: SqsTransport, lane: Lane, source: str
    ) -> None:
        transport.send(OutgoingMessage(lane, "a"))
        message = one(transport, source)
        transport.hide([message], 0)
        transport.hide([message], 1)
        assert one(transport, source).text == "a"


class TestPacking:
    @pytest.mark.parametrize(
        ("sizes", "batches"),
        [
            ([10] * 10, 1),
            ([10] * 11, 2),
            ([10] * 25, 3),
            ([HALF, HALF], 1),
            ([HALF, HALF + 1], 2),
            ([10, MESSAGE_MAX_BYTES, 10], 3),
            ([600_000] * 3, 3),
        ],
    )
    def test_by_count_and_by_bytes(
        self, transport: SqsTransport, lane: Lane, source: str, sizes: list[int], batches: int
    ) -> None:
        transport.depth(source)  # so that the queue's URL is known
        with calls(transport) as made:
            assert transport.send_many([OutgoingMessage(lane, "x" * size) for size in sizes]) == []
        assert made == ["SendMessageBatch"] * batches
        assert transport.depth(source) == len(sizes)

    @given(st.lists(st.integers(1, MESSAGE_MAX_BYTES) | st.integers(1, 100), max_size=60))
    def test_every_batch_is_one_that_sqs_takes_and_none_is_needless(self, sizes: list[int]) -> None:
        batches = list(packed(range(len(sizes)), lambda i: sizes[i]))
        assert [position for batch in batches for position in batch] == list(range(len(sizes)))
        weights = [sum(sizes[i] for i in batch) for batch in batches]
        assert all(1 <= len(batch) <= 10 for batch in batches)
        assert all(weight <= MESSAGE_MAX_BYTES for weight in weights)
        for batch, weight, following in zip(batches, weights, batches[1:], strict=False):
            assert len(batch) == 10 or weight + sizes[following[0]] > MESSAGE_MAX_BYTES


class TestMissingQueues:
    def test_each_operation_says_which(self, transport: SqsTransport) -> None:
        lane = Lane("nowhere", Band.LOW)
        name = transport.source_of(lane)
        message = Received(name, "id", "receipt", "text")
        for operation in (
            lambda: transport.send(OutgoingMessage(lane, "x")),
            lambda: transport.send_many([OutgoingMessage(lane, "x")]),
            lambda: transport.receive(name, 1, 1, 0),
            lambda: transport.hide([message], 1),
            lambda: transport.delete([message]),
            lambda: transport.depth(name),
        ):
            with pytest.raises(NoQueue, match=f"there is no queue {name}"):
                operation()


class TestOpeningLanes:
    def test_it_has_what_infra_gave_the_pattern(self, ground: Ground, transport: SqsTransport) -> None:
        lane = Lane(f"opened.{next(numbers)}", Band.CRITICAL)
        transport.open_lane(lane)

        pattern, opened = attributes(transport, PATTERN), attributes(transport, lane)
        assert set(COPIED_ATTRIBUTES) <= pattern.keys()
        assert {name: opened[name] for name in COPIED_ATTRIBUTES} == {name: pattern[name] for name in COPIED_ATTRIBUTES}
        assert opened["VisibilityTimeout"] == str(ground.settings.visibility_s)
        policy = json.loads(opened["RedrivePolicy"])
        assert policy["deadLetterTargetArn"].endswith(f":{ground.settings.dead_letter_queue}")
        assert int(policy["maxReceiveCount"]) == 1_000

    def test_twice_is_harmless(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        transport.send(OutgoingMessage(lane, "kept"))
        transport.open_lane(lane)
        another_process = SqsTransport(transport.client, transport.base_name, PATTERN)
        another_process.open_lane(lane)
        assert drain(another_process, source) == ["kept"]

    def test_one_that_an_earlier_deployment_made_with_other_attributes_is_used(
        self, transport: SqsTransport, lane: Lane, source: str
    ) -> None:
        url = transport.client.get_queue_url(QueueName=source)["QueueUrl"]
        transport.client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
        another_process = SqsTransport(transport.client, transport.base_name, PATTERN)
        another_process.open_lane(lane)
        another_process.send(OutgoingMessage(lane, "kept"))
        assert drain(another_process, source) == ["kept"]

    @pytest.mark.parametrize("topic", ["заказ.создан", "订单/创建", "a b\tc", "x" * 400, "...", "order.created"])
    def test_any_topic_has_a_lane_of_its_own(self, transport: SqsTransport, topic: str) -> None:
        lanes = [Lane(topic, Band.NORMAL), Lane(topic, Band.HIGH), Lane(f"{topic}-", Band.NORMAL)]
        for lane in lanes:
            transport.open_lane(lane)
        transport.send_many([OutgoingMessage(lane, str(number)) for number, lane in enumerate(lanes)])
        assert [drain(transport, transport.source_of(lane)) for lane in lanes] == [["0"], ["1"], ["2"]]


class TestRedrive:
    def test_what_is_received_too_often_moves_to_the_dead_letter_queue(
        self, ground: Ground, transport: SqsTransport
    ) -> None:
        name = f"{ground.settings.base_name}-impatient"
        policy = json.loads(attributes(transport, PATTERN)["RedrivePolicy"])
        transport.client.create_queue(
            QueueName=name, Attributes={"RedrivePolicy": json.dumps({**policy, "maxReceiveCount": 2})}
        )
        url = transport.client.get_queue_url(QueueName=name)["QueueUrl"]
        transport.client.send_message(QueueUrl=url, MessageBody="poison")
        for count in (1, 2):
            message = one(transport, name)
            assert message.receive_count == count
            transport.hide([message], 0)

        assert transport.receive(name, 10, 60, 0) == []

        dead = one(transport, ground.settings.dead_letter_queue)
        assert dead.text == "poison"
        becomes(0, lambda: transport.depth(name))


class TestDepth:
    def test_hidden_and_delayed_messages_count(self, transport: SqsTransport, lane: Lane, source: str) -> None:
        assert transport.depth(source) == 0
        transport.send_many([OutgoingMessage(lane, str(number), 900 if number < 2 else 0) for number in range(7)])
        assert len(transport.receive(source, 3, 60, 0)) == 3
        becomes(7, lambda: transport.depth(source))
        transport.delete(transport.receive(source, 2, 60, 0))
        becomes(5, lambda: transport.depth(source))


class TestWhatSqsRefuses:
    """What no emulator does of itself."""

    def test_the_positions_of_refused_texts_are_told(self) -> None:
        transport = SqsTransport(Refusing({"0", "11"}), "base", PATTERN)
        lane, other = Lane("a", Band.HIGH), Lane("b", Band.HIGH)
        outgoing = [OutgoingMessage(other if number == 5 else lane, "x") for number in range(12)]
        assert sorted(transport.send_many(outgoing)) == [0, 11]

    @pytest.mark.parametrize("code", ["InternalError", "RequestThrottled"])
    def test_a_message_that_was_not_settled_is_an_error(self, code: str) -> None:
        transport = SqsTransport(Refusing({"0"}, code), "base", PATTERN)
        for operation in (transport.delete, lambda messages: transport.hide(messages, 5)):
            with pytest.raises(Unavailable) as error:
                operation([Received("base-x", "id", "receipt", "text")])
            assert error.value.got == code


@dataclass
class Refusing:
    """An SQS that refuses the entries with the given ids of every batch."""

    ids: set[str]
    code: str = "InternalError"

    def get_queue_url(self, QueueName: str) -> dict[str, str]:  # noqa: N803  # as boto has it
        return {"QueueUrl": QueueName}

    def _batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl
        return {"Failed": [{"Id": entry["Id"], "Code": self.code} for entry in Entries if entry["Id"] in self.ids]}

    send_message_batch = delete_message_batch = change_message_visibility_batch = _batch


def attributes(transport: SqsTransport, lane: Lane) -> dict[str, str]:
    """What SQS says of a lane's queue."""
    url = transport.client.get_queue_url(QueueName=transport.source_of(lane))["QueueUrl"]
    found: dict[str, str] = transport.client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found
