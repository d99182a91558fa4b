"""Flow control in Python: the key of a job, what bounds types, topics and keys, and how they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import pytest

from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.core.flow import Debounce, Rate
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import idempotency_key_of
from chalicelib.services import flow, installation, messages, pauses, tasks
from chalicelib.services.messages import NewMessage
from chalicelib.services.records import moment_of
from chalicelib.services.task_orders import NextTask
from chalicelib.services.tasks import NewTask
from tests.support.dialect_handlers.bounded import bounded, news
from tests.support.yards import Bench, moto_bench

ABOUT: dict[str, Any] = {"target_id": "t", "target_type": "t"}


@pytest.mark.usefixtures("bench")
class TestTheKeyOfAJob:
    def test_is_told_and_shown(self, topic: str) -> None:
        assert messages.publish(topic, {}, flow_key="a").flow_key == "a"
        (message,) = messages.publish_many([NewMessage(topic=topic, payload={}, flow_key="b")])
        follows = NextTask(type="t", flow_key="d", runner_type="manual")
        task = tasks.create("t", **ABOUT, flow_key="c", next=follows)
        (many,) = tasks.create_many([NewTask(type="t", **ABOUT, flow_key="e")])
        assert isinstance(message, messages.Message)
        assert isinstance(many, tasks.Task)
        assert (message.flow_key, task.flow_key, task.next["flowKey"], many.flow_key) == ("b", "c", "d", "e")

    @pytest.mark.parametrize("key", ["", " ", "x" * 257, "two\nlines", 42, ["a"]])
    def test_is_refused_if_it_can_be_none(self, topic: str, key: Any) -> None:
        for ask in (
            lambda: messages.publish(topic, {}, flow_key=key),
            lambda: tasks.create("t", **ABOUT, flow_key=key),
        ):
            with pytest.raises(InvalidInput) as error:
                ask()
            assert error.value.field == "flow_key"


def test_a_request_without_a_key_is_what_it_was_before_there_were_keys() -> None:
    request = NewJob(kind=Kind.MESSAGE, type="t", idempotency_key="k")
    key = idempotency_key_of(request)
    assert key is not None
    assert key.fingerprint == "7ffcf10aa934d9e0726fa3b09a05ba4b"  # kept by installations since then


@pytest.fixture(scope="module")
def flowing() -> Iterator[Bench]:
    """An installation whose handlers declare controls."""
    with moto_bench([bounded, news]) as made, installation.using(made.yard):
        yield made


class TestWhileItRuns:
    def test_what_is_set(self, flowing: Bench) -> None:
        now, by = moment_of(flowing.clock.ms), flowing.yard.worker_name
        rate = Rate(1, per_s=600)
        of_key = flow.set("bounded", key="a", concurrency=2)
        of_topic = flow.set(topic="bounded.news", rate=rate)
        others: Any = {"order": None, "unique": None, "debounce": None, "since": now, "by": by, "version": ANY}
        assert of_key == flow.Setting(type="bounded", key="a", concurrency=2, rate=None, **others)
        assert of_topic == flow.Setting(topic="bounded.news", concurrency=None, rate=rate, **others)
        assert sorted(flow.list(), key=str) == sorted([of_key, of_topic], key=str)
        none = flow.Waiting(0, True)
        assert flow.standing("bounded", key="a") == flow.Standing(
            type="bounded",
            key="a",
            concurrency=2,
            rate=Rate(10, per_s=60, burst=10),
            running=0,
            holders=(),
            blocked_by=None,
            waiting={"slot": none, "token": none, "turn": none},
            next_start=now,
        )
        flow.unset("bounded", key="a")
        flow.unset(topic="bounded.news")
        assert flow.list() == []
        with pytest.raises(NotFound):
            flow.unset("bounded", key="a")

    def test_what_is_declared(self, flowing: Bench) -> None:  # noqa: ARG002
        of_topic, of_type = sorted(flow.declared(), key=lambda each: each.topic is None)
        assert (of_type.type, of_type.key, of_type.per_key.concurrency) == ("bounded", "input.k", 1)
        assert (of_topic.topic, of_topic.debounce) == ("bounded.news", Debounce(5, latest_s=12, by="input.k"))
        assert callable(of_topic.key)

    def test_a_key_is_paused(self, flowing: Bench) -> None:
        now = moment_of(flowing.clock.ms)
        flow.pause_key("bounded", "a")
        flow.pause_key(None, "b", topic="bounded.news")
        assert {(each.type, each.topic, each.key, each.since) for each in flow.paused_keys()} == {
            ("bounded", None, "a", now),
            (None, "bounded.news", "b", now),
        }
        found = {(each.type, each.key, each.queue) for each in pauses.paused()}
        assert found == {("bounded", "a", None), ("bounded.news", "b", None)}
        assert flow.resume_key("bounded", "a") == 0
        assert flow.resume_key(None, "b", topic="bounded.news") == 0
        assert pauses.paused() == []
        with pytest.raises(NotFound, match="got a"):
            flow.resume_key("bounded", "a")

    def test_nobody_waits_behind_what_did_not_fail(self, flowing: Bench) -> None:  # noqa: ARG002
        with pytest.raises(Conflict):
            flow.pass_over(tasks.create("bounded", **ABOUT, input={"k": "a"}))
        with pytest.raises(NotFound):
            flow.pass_over(999)

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"type": "t", "topic": "t", "concurrency": 1}, "type"),
            ({"concurrency": 1}, "type"),
            ({"type": "t"}, "concurrency"),
            ({"type": "t", "concurrency": 1_001}, "concurrency"),
            ({"type": "t", "concurrency": True}, "concurrency"),
            ({"type": "t", "rate": (1, 2)}, "rate"),
            ({"type": "t", "key": "", "rate": Rate(1)}, "key"),
            ({"type": 1, "rate": Rate(1)}, "type"),
        ],
    )
    def test_what_cannot_be_is_refused(self, flowing: Bench, given: dict[str, Any], field: str) -> None:  # noqa: ARG002
        with pytest.raises(InvalidInput) as error:
            flow.set(**given)
        assert error.value.field == field
