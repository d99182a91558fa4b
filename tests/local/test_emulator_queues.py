"""The emulator's queues hand out and delete as MiniStack does without the shortcuts."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ministack.services import sqs

from chalicelib.local import emulator_queues
from chalicelib.local.batches import PASSING_OVER
from tests.support.waiting import DEADLINE_S

REPLACED = ("_expire_retained", "_dlq_sweep", "_collect_msgs")
ATTEMPTS = 2
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 4)),
        st.tuples(st.just("receive"), st.integers(1, 10)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 12), min_size=1, max_size=4)),
        st.tuples(st.just("show"), st.integers(0, 12)),
    ),
    max_size=30,
)

Act = Callable[..., Any]


def acting(handlers: dict[str, Act]) -> Act:
    """What does an action of SQS."""

    def act(action: str, **request: Any) -> Any:
        answer = handlers[action](request, "")
        return asyncio.run(answer) if inspect.iscoroutine(answer) else answer

    return act


@pytest.fixture(scope="module")
def plain() -> Iterator[Act]:
    """MiniStack's own SQS; within the module, the shortcuts are installed."""
    handlers = {**sqs._HANDLERS}
    own = {name: getattr(sqs, name) for name in REPLACED}
    with patch.multiple(sqs, **own), patch.dict(sqs._HANDLERS), patch.object(sqs.esm_wake, "set", sqs.esm_wake.set):
        emulator_queues.install()
        quick = {name: getattr(sqs, name) for name in REPLACED}

        def act(action: str, **request: Any) -> Any:
            with patch.multiple(sqs, **own):
                return acting(handlers)(action, **request)

        yield act
        assert quick == {name: getattr(sqs, name) for name in REPLACED}
    sqs.reset()


@pytest.fixture
def url(plain: Act) -> str:
    del plain
    sqs.reset()
    made: str = quickly("CreateQueue", QueueName="q")["QueueUrl"]
    return made


def quickly(action: str, **request: Any) -> Any:
    return acting(sqs._HANDLERS)(action, **request)


def play(act: Act, name: str, steps: list[tuple[str, Any]]) -> list[Any]:
    """What a queue answers to the steps, and what is in its dead-letter queue in the end."""
    dead = act("CreateQueue", QueueName=f"{name}-dead")["QueueUrl"]
    arn = act("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"maxReceiveCount": ATTEMPTS, "deadLetterTargetArn": arn})
    url = act("CreateQueue", QueueName=name, Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    told: list[Any] = []
    receipts = ["never given"]
    sent = 0
    for step, given_ in steps:
        match step:
            case "send":
                for _ in range(given_):
                    sent += 1
                    act("SendMessage", QueueUrl=url, MessageBody=str(sent))
            case "receive":
                answer = act("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=given_, AttributeNames=["All"])
                found = answer.get("Messages", [])
                receipts += [message["ReceiptHandle"] for message in found]
                told.append([(m["Body"], m["Attributes"]["ApproximateReceiveCount"]) for m in found])
            case "delete":
                entries = [
                    {"Id": str(n), "ReceiptHandle": receipts[which % len(receipts)]} for n, which in enumerate(given_)
                ]
                told.append(act("DeleteMessageBatch", QueueUrl=url, Entries=entries))
            case "show":
                entry = {"Id": "1", "ReceiptHandle": receipts[given_ % len(receipts)], "VisibilityTimeout": 0}
                told.append(act("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=[entry]))
    told.append(act("ReceiveMessage", QueueUrl=dead, MaxNumberOfMessages=10).get("Messages", []))
    told[-1] = [message["Body"] for message in told[-1]]
    return told


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_everything_is_answered_as_without_them(plain: Act, steps: list[tuple[str, Any]]) -> None:
    sqs.reset()
    assert play(quickly, "quick", steps) == play(plain, "plain", steps)


def test_a_receive_looks_at_no_message_behind_those_it_takes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(500):
        quickly("SendMessage", QueueUrl=url, MessageBody=str(n))
    quickly("ReceiveMessage", QueueUrl=url)  # goes over all, as it does once a second
    looked_at: list[str] = []
    ensure = sqs._ensure_msg_fields
    monkeypatch.setattr(sqs, "_ensure_msg_fields", lambda message: (looked_at.append(message["body"]), ensure(message)))
    monkeypatch.setattr(emulator_queues, "LOOK_PAUSE_S", DEADLINE_S)
    found = quickly("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in found] == [str(n) for n in range(1, 11)]
    assert set(looked_at) == {str(n) for n in range(11)}


def test_a_message_that_has_used_up_its_attempts_is_not_received_from_a_full_queue(
    plain: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator_queues, "FEW_MESSAGES", 0)
    monkeypatch.setattr(emulator_queues, "LOOK_PAUSE_S", DEADLINE_S)
    steps: list[tuple[str, Any]] = [("send", 1)]
    for receipt in (1, 2):
        steps += [("receive", 1), ("show", receipt)]
    sqs.reset()
    assert (
        play(quickly, "quick", [*steps, ("receive", 1)])[4] == play(plain, "plain", [*steps, ("receive", 1)])[4] == []
    )


class TestLongPolls:
    """One that waits looks at its queue when something has come to it, and not before."""

    @staticmethod
    def waiting_for(
        url: str, come: Callable[[], object], monkeypatch: pytest.MonkeyPatch, **asked: Any
    ) -> tuple[Any, int]:
        """What a poll of 20 s brings when ``come`` happens, in a thread; and how often it looked."""
        looks = 0
        collect = sqs._collect_msgs

        def counted(*given_: Any) -> Any:
            nonlocal looks
            looks += 1
            return collect(*given_)

        async def played() -> Any:
            request = {"QueueUrl": url, "WaitTimeSeconds": 20, **asked}
            poll = asyncio.create_task(sqs._HANDLERS["ReceiveMessage"](request, ""))
            while not looks:
                await asyncio.sleep(0)
            await asyncio.to_thread(come)
            return await asyncio.wait_for(poll, DEADLINE_S / 6)

        monkeypatch.setattr(sqs, "_collect_msgs", counted)
        return asyncio.run(played()).get("Messages", []), looks

    def test_a_message_that_is_sent_ends_it(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def send() -> None:
            sqs._act_send_message({"QueueUrl": url, "MessageBody": "come"}, url)  # as an event source of Lambda's does

        found, looks = self.waiting_for(url, send, monkeypatch)
        assert ([message["Body"] for message in found], looks) == (["come"], 2)

    def test_one_that_is_shown_again_ends_it(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        quickly("SendMessage", QueueUrl=url, MessageBody="hidden")
        (hidden,) = quickly("ReceiveMessage", QueueUrl=url, VisibilityTimeout=600)["Messages"]

        def show() -> None:
            receipt = hidden["ReceiptHandle"]
            sqs._act_change_visibility({"QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": 0}, url)

        found, _ = self.waiting_for(url, show, monkeypatch)
        assert [message["Body"] for message in found] == ["hidden"]

    def test_a_message_to_another_queue_does_not_wake_it(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        other = quickly("CreateQueue", QueueName="other")["QueueUrl"]

        def send_both() -> None:
            for n in range(20):
                sqs._act_send_message({"QueueUrl": other, "MessageBody": str(n)}, other)
            sqs._act_send_message({"QueueUrl": url, "MessageBody": "come"}, url)

        found, looks = self.waiting_for(url, send_both, monkeypatch)
        assert ([message["Body"] for message in found], looks) == (["come"], 2)

    def test_one_that_passes_a_tenant_over_is_ended_by_anothers_message(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def send(tenant: str) -> None:
            sqs._act_send_message({"QueueUrl": url, "MessageBody": tenant, "MessageGroupId": tenant}, url)

        def send_both() -> None:
            send("noisy")
            send("quiet")

        send("noisy")
        names = ["All", f"{PASSING_OVER}noisy"]
        found, looks = self.waiting_for(url, send_both, monkeypatch, MessageAttributeNames=names)
        assert [message["Body"] for message in found] == ["quiet"]
        assert looks <= 3  # once for each message that comes, however many of those that it may not have are there

    def test_the_wait_of_the_queue_holds_where_a_request_names_none(self, url: str) -> None:
        quickly("SetQueueAttributes", QueueUrl=url, Attributes={"ReceiveMessageWaitTimeSeconds": "1"})
        threading.Timer(0.05, lambda: sqs._act_send_message({"QueueUrl": url, "MessageBody": "come"}, url)).start()
        (found,) = quickly("ReceiveMessage", QueueUrl=url)["Messages"]
        assert found["Body"] == "come"

    def test_it_ends_empty_when_its_time_is_over(self, url: str) -> None:
        assert quickly("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=1) == {}


class TestTenants:
    def received(self, url: str, most: int = 10, passed_over: str | None = None) -> list[str]:
        asked = [] if passed_over is None else [PASSING_OVER + passed_over]
        answer = quickly("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=most, MessageAttributeNames=asked)
        self.receipts = [message["ReceiptHandle"] for message in answer.get("Messages", [])]
        return [message["Body"] for message in answer.get("Messages", [])]

    def delete(self, url: str) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(self.receipts)]
        assert quickly("DeleteMessageBatch", QueueUrl=url, Entries=entries)["Failed"] == []

    def send(self, url: str, tenant: str | None, *bodies: str) -> None:
        for body in bodies:
            quickly("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=tenant)

    def test_a_quiet_one_is_served_next_however_many_messages_of_another_wait(self, url: str) -> None:
        self.send(url, "noisy", *(f"noisy {n}" for n in range(500)))
        assert self.received(url, 2) == ["noisy 0", "noisy 1"]
        self.send(url, "quiet", "quiet 0")
        assert self.received(url, 3) == ["quiet 0", "noisy 2", "noisy 3"]
        self.delete(url)
        self.send(url, "quiet", *(f"quiet {n}" for n in range(1, 4)))
        assert self.received(url, 4) == ["quiet 1", "noisy 4", "quiet 2", "noisy 5"]
        assert self.received(url, 1) == ["quiet 3"]
        assert self.received(url, 2) == ["noisy 6", "noisy 7"]

    def test_a_receive_may_pass_one_over(self, url: str) -> None:
        self.send(url, "noisy", *(f"noisy {n}" for n in range(3)))
        self.send(url, "quiet", "quiet 0")
        self.send(url, None, "1")
        assert sorted(self.received(url, passed_over="noisy")) == ["1", "quiet 0"]
        assert self.received(url, passed_over="noisy") == []
        self.send(url, None, "2")
        assert self.received(url, passed_over="") == ["noisy 0", "noisy 1", "noisy 2"]
        assert self.received(url) == ["2"]

    def test_messages_without_one_are_one_tenants(self, url: str) -> None:
        self.send(url, None, "1", "2", "3")
        self.send(url, "acme", "a", "b")
        assert self.received(url) == ["a", "1", "b", "2", "3"]

    def test_it_knows_what_has_gone_by_other_ways(self, url: str) -> None:
        self.send(url, "a", "a1", "a2", "a3")
        self.send(url, "b", "b1")
        assert self.received(url, 2) == ["b1", "a1"]
        quickly("DeleteMessage", QueueUrl=url, ReceiptHandle=self.receipts[0])
        assert self.received(url, 1) == ["a2"]
        self.delete(url)
        quickly("PurgeQueue", QueueUrl=url)
        assert self.received(url) == []
        self.send(url, "a", "a4")
        assert self.received(url) == ["a4"]
        quickly("DeleteQueue", QueueUrl=url)
        quickly("CreateQueue", QueueName="q")
        self.send(url, "a", "a5")
        assert self.received(url) == ["a5"]
        self.delete(url)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(
        tenants=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=25),
        sizes=st.lists(st.tuples(st.integers(1, 10), st.booleans()), min_size=1, max_size=5),
    )
    def test_each_message_comes_once_and_in_its_tenants_order(
        self, plain: Act, tenants: list[str | None], sizes: list[tuple[int, bool]]
    ) -> None:
        del plain
        sqs.reset()
        url = quickly("CreateQueue", QueueName="q")["QueueUrl"]
        for number, tenant in enumerate(tenants):
            self.send(url, tenant, f"{number}")
        found: list[int] = []
        for most, is_deleted in sizes * 25:
            found += map(int, self.received(url, most))
            if is_deleted and self.receipts:
                self.delete(url)
        assert sorted(found) == list(range(len(tenants)))
        for tenant in set(tenants):
            own = [number for number in found if tenants[number] == tenant]
            assert own == sorted(own)
