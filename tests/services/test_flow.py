"""Flow control in Python: the key of a job, what bounds types, topics and keys, and how they stand."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.core.errors import InvalidInput
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import idempotency_key_of
from chalicelib.services import messages, tasks
from chalicelib.services.messages import NewMessage
from chalicelib.services.task_orders import NextTask
from chalicelib.services.tasks import NewTask

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
