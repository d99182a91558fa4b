"""What the settings choose for messages, and that the worker function tells its handlers where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.services import dead_letters, installation, messages
from chalicelib.services.records import moment_of
from tests.services.handlers.publishers import published
from tests.support.service import service
from tests.support.yards import SETTINGS, Bench, moto_bench

CHOSEN = replace(SETTINGS, mq_max_retries=4, mq_poll_limit=2, mq_retry_base_ms=5_000, mq_retry_max_ms=12_000)


@subscribe("own.backoff", backoff=Fixed(7_000))
def own(_: Any) -> None:
    """A subscriber whose retries wait as it declares."""


@subscribe("plain")
def plain(_: Any) -> None:
    """A subscriber that declares nothing."""


@pytest.fixture(scope="module")
def chosen() -> Iterator[Bench]:
    with (
        moto_bench([own, plain], CHOSEN) as made,
        patch("moto.sqs.models.unix_time_millis", lambda: float(made.clock.ms)),
        patch("moto.sqs.models.unix_time", lambda: made.clock.ms / 1_000),
        installation.using(made.yard),
    ):
        yield made


def test_retries_wait_as_chosen_and_end_with_the_chosen_delivery(chosen: Bench, topic: str) -> None:
    messages.publish(topic, {})
    waits = []
    for _ in range(3):
        failed = messages.fail(messages.poll(topic)[0])
        assert failed.next_retry_at is not None
        waits.append(failed.next_retry_at - moment_of(chosen.clock.ms))
        chosen.clock.move(13_000)
    assert waits == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=12)]
    assert messages.fail(messages.poll(topic)[0]).status == "FAILED"
    again = dead_letters.replay(dead_letters.list(topic=topic).items[0])
    assert again.max_retries == 4
    failed = messages.fail(messages.poll(topic)[0])
    assert failed.next_retry_at == moment_of(chosen.clock.ms) + timedelta(seconds=5)


def test_what_a_subscriber_declares_goes_before_the_settings(chosen: Bench) -> None:
    backoffs = [
        publish(chosen.yard, NewJob(kind=kind, type=name, input={}, runner=runner)).backoff
        for kind, name, runner in (
            (Kind.MESSAGE, "own.backoff", "system"),
            (Kind.MESSAGE, "plain", "system"),
            (Kind.TASK, "somebody", "manual"),
        )
    ]
    assert backoffs == [None, CHOSEN.message_backoff, None]


def test_the_default_backoff_takes_no_room_in_the_record(ground: Bench, topic: str) -> None:
    assert publish(ground.yard, NewJob(kind=Kind.MESSAGE, type=topic, input={})).backoff is None


@pytest.mark.usefixtures("chosen")
def test_a_poll_brings_as_many_as_chosen_unless_told(topic: str) -> None:
    for _ in range(5):
        messages.publish(topic, {})
    assert [len(messages.poll(topic)), len(messages.poll(topic, 3))] == [2, 3]


def test_handlers_of_the_worker_function_act_on_its_installation() -> None:
    installation.use(None)
    with (
        service(handlers="tests.services.handlers") as app,
        patch.object(installation, "build", side_effect=AssertionError("the worker's own yard is to be used")),
    ):
        script = {"to": "forwarded", "once": ["shipped"], "fail": True}
        app.post("/mq/message/publish", {"topic": "deployed", "payload": script, "maxRetries": 2})
        published.clear()
        for _ in range(2):
            assert app.work("deployed") is not None
            app.clock.move(2_000)
        (forwarded,) = app.get("/mq/message/poll", {"topic": "forwarded"}).json
        assert [str(job_id) for job_id in published] == [forwarded["id"]] * 2
