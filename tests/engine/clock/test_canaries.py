"""Canaries: each comes back over its lane, and where one does not, the way is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.batch import Batch
from chalicelib.core.canary import DEAD_LETTERS, LATE_MS, Canary, canary_in
from chalicelib.core.lanes import Band, Lane
from chalicelib.engine.handlers.declare import task
from tests.support.steps import failing, name_of, take, using
from tests.support.worlds import World

EVERY_MS = 600_000
WAYS = {"default high", "default normal", "default low", DEAD_LETTERS}


@task("t")
def idle(_: Any) -> None:
    pass


@pytest.fixture
def w(w: World) -> Iterator[World]:
    before = w.yard
    w.yard = replace(w.yard, settings=replace(w.yard.settings, canary_every_s=EVERY_MS // 1_000))
    using(w, idle)
    w.tick()
    yield w
    w.yard = before


def missing(w: World) -> int:
    touched = w.tick()
    assert touched is not None
    return touched["canaries_missing"]


def out(w: World) -> set[str]:
    """The ways on which a canary is awaited."""
    return {way.name for way in w.yard.canaries.ways().values() if way.since_ms is not None}


def test_canaries_fly_over_each_lane_and_through_the_dead_letter_queue_and_back(w: World) -> None:
    assert out(w) == WAYS
    assert [message.body for message in w.messages(w.yard.settings.dead_letter_queue)] != []
    w.deliver()
    assert out(w) == set()
    assert w.messages() == []
    w.clock.move(LATE_MS + 1)
    assert missing(w) == 0
    assert w.messages() == []  # the next fly when their time has come
    w.clock.move(EVERY_MS - LATE_MS - 30_002)
    w.tick()
    assert out(w) == set()
    w.clock.move(1)  # the tick nearest to the time
    w.tick()
    assert out(w) == WAYS


def test_they_are_no_jobs(w: World) -> None:
    w.deliver()
    w.project()
    assert w.records() == []
    assert [item["view"] for item in w.items("insights") if item["view"] not in ("audit", "watermarks")] == []


def test_a_lane_that_nobody_serves_is_named_until_one_is_back(w: World, caplog: pytest.LogCaptureFixture) -> None:
    for queue in (w.yard.settings.dead_letter_queue, name_of(w), name_of(w, band="high")):
        w.deliver_batch(queue)
    w.clock.move(LATE_MS)
    assert missing(w) == 0
    w.clock.move(1)
    assert missing(w) == 1
    (record,) = [record for record in caplog.records if record.message == "canaries are missing"]
    assert record.__dict__["ways"] == ["default low"]
    w.clock.move(EVERY_MS)  # another is sent: the first is still missing
    assert missing(w) == 1
    w.deliver()
    assert missing(w) == 0


def test_one_may_wait_for_as_long_as_its_queue_gathers_batches(w: World) -> None:
    @task("mail", batch=Batch(25, max_wait_s=300))
    def mail(_: list[int]) -> None: ...

    using(w, mail)
    for queue in (w.yard.settings.dead_letter_queue, name_of(w), name_of(w, band="high")):
        w.deliver_batch(queue)
    w.clock.move(LATE_MS + 300_000)
    assert missing(w) == 0
    w.clock.move(1)
    assert missing(w) == 1


def test_one_whose_way_ended_in_the_dead_letter_queue_is_named(w: World) -> None:
    for band in ("high", "normal", "low"):
        w.deliver_batch(name_of(w, band=band))
    assert out(w) == {DEAD_LETTERS}
    w.clock.move(LATE_MS + 1)
    assert missing(w) == 1


def test_what_cannot_be_sent_is_missing_too(w: World) -> None:
    w.deliver()
    w.clock.move(EVERY_MS)
    with failing(w.yard.transport.client, "SendMessage"):
        w.tick()
    w.clock.move(LATE_MS + 1)
    assert missing(w) == 4


def test_an_old_one_that_comes_twice_answers_for_no_newer_one(w: World) -> None:
    (received,) = take(w)
    canary = canary_in(received.text)
    assert canary is not None
    w.yard.canaries.came_back(canary)
    w.clock.move(EVERY_MS)
    w.tick()
    w.yard.canaries.came_back(canary)
    assert "default normal" in out(w)


def test_a_way_that_is_no_more_is_forgotten(w: World) -> None:
    w.yard.canaries.set_out("gone normal", w.clock.ms)
    w.clock.move(LATE_MS + 1)
    w.deliver()
    assert missing(w) == 0
    assert w.yard.canaries.ways().keys() == WAYS


def test_by_default_none_flies(w: World) -> None:
    w.deliver()
    w.yard = replace(w.yard, settings=replace(w.yard.settings, canary_every_s=0))
    w.clock.move(10 * EVERY_MS)
    assert missing(w) == 0
    assert w.messages() == []


@given(st.text(max_size=40), st.integers(0, 2**53), st.text(max_size=40), st.sampled_from(Band))
def test_a_canary_reads_itself(way: str, sent_at_ms: int, queue: str, band: Band) -> None:
    canary = Canary(way, sent_at_ms, Lane(queue, band))
    assert canary_in(canary.to_text()) == canary


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=5)))
def test_what_is_none_is_not_taken_for_one(what: Any) -> None:
    assert canary_in(json.dumps({"taskyard_canary": what})) is None
