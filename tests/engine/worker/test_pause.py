"""Pausing a type or a queue: what begins, what waits, what a crash leaves; and pausing in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib import aws
from chalicelib.actor import acting
from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.limits import NOTHING
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.publish import wait_list
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker import pause as pausing
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.pause import pause, pause_here, paused, queue_target, resume, resume_here, type_target
from chalicelib.store.wait_lists import of_pause
from tests.support.steps import before, counting
from tests.support.worlds import World, wiped, world

RAN: list[Any] = []
T, NEWS = type_target("t"), queue_target("news")


@task("t")
def t(given: Any, context: Context) -> None:
    RAN.append(given)
    if given == "pauses":
        context.pause(10_000)
    if given == "resumes":
        context.pause(10_000)
        context.resume()


@task("other")
def other(given: Any) -> None:
    RAN.append(given)


@task("lone", concurrency=1)
def lone(given: Any) -> None:
    RAN.append(given)


@subscribe("news")
def news(given: Any) -> None:
    RAN.append(given)


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([t, other, lone, news]) as used:
        yield used


@pytest.fixture
def w(ground: World, silent: None) -> World:  # noqa: ARG001
    RAN.clear()
    return wiped(ground)


def a_task(w: World, given: Any, type: str = "t", **more: Any) -> int:  # noqa: A002
    return publish(w.yard, NewJob(kind=Kind.TASK, type=type, input=given, **more)).id


def a_message(w: World, given: Any, topic: str = "news") -> int:
    return publish(w.yard, NewJob(kind=Kind.MESSAGE, type=topic, input=given)).id


def waiting_for(w: World, target: str) -> list[int]:
    return [entry.job_id for entry in w.yard.wait_lists.first(of_pause(target), 100)]


def test_what_is_paused_waits_in_order_until_it_is_resumed(w: World) -> None:
    pause(w.yard, T)
    pause(w.yard, NEWS)
    w.clock.move(1)
    pause(w.yard, T)  # harmless, and it is as old as before
    later, urgent, running = a_task(w, "later"), a_task(w, "urgent", priority=20), a_task(w, "free", "other")
    message = a_message(w, "message")
    w.deliver()
    assert (RAN, w.messages()) == (["free"], [])
    assert (waiting_for(w, T), waiting_for(w, NEWS)) == ([urgent, later], [message])
    assert [(found.target, found.since_ms, found.resuming) for found in paused(w.yard)] == [
        (NEWS, w.clock.ms - 1, False),
        (T, w.clock.ms - 1, False),
    ]
    w.tick()
    assert run_now(w.yard, later).state is State.PENDING
    assert (RAN, w.messages()) == (["free"], [])
    assert w.job(running).state is State.SUCCESS

    assert resume(w.yard, T) == 2
    w.deliver()
    assert RAN == ["free", "urgent", "later"]
    assert [found.target for found in paused(w.yard)] == [NEWS]
    assert resume(w.yard, NEWS) == 1
    w.go_on()
    assert (RAN[-1], paused(w.yard), w.items("directory", "pause")) == ("message", [], [])
    with pytest.raises(NotFound, match="not paused"):
        resume(w.yard, NEWS)


def test_a_process_notices_within_five_seconds_and_reads_no_more_than_that(w: World) -> None:
    a_task(w, "before")
    w.deliver()
    w.yard.pauses.begin(T, w.clock.ms, "another")  # by another process
    a_task(w, "unnoticed")
    w.clock.move(5_000)
    w.deliver()
    assert RAN == ["before", "unnoticed"]
    w.clock.move(1)
    noticed = a_task(w, "noticed")
    w.deliver()
    assert (RAN, waiting_for(w, T)) == (["before", "unnoticed"], [noticed])
    w.yard.pauses.end(T)  # by another process, which then dies
    assert pausing.paused_by(w.yard, "t", "default") == T
    a_task(w, "resumed")
    w.deliver()
    assert RAN == ["before", "unnoticed", "resumed"], "nothing is shelved for a pause that is over"
    w.tick()  # the clock finishes what the other process began
    w.deliver()
    assert (RAN[-1], w.items("directory", "pause")) == ("noticed", [])


def test_a_long_shelf_is_resumed_in_steps_and_by_the_clock(w: World) -> None:
    pause(w.yard, T)
    jobs = [a_task(w, number) for number in range(6)]
    w.deliver()
    with patch.object(wait_list, "AT_ONCE", 2):
        checks = iter([True, True, False])
        assert resume(w.yard, T, lambda: next(checks)) == 4
        assert (waiting_for(w, T), [found.resuming for found in paused(w.yard)]) == (jobs[4:], [True])
        pause(w.yard, T)  # once more, before the rest was sent
        w.deliver()
        assert (RAN, sorted(waiting_for(w, T))) == ([], jobs)
        assert resume(w.yard, T, lambda: False) == 0
        w.go_on()
    assert (RAN, w.items("directory", "pause")) == ([*range(6)], [])


def test_what_waited_is_sent_ten_a_call_in_its_order(w: World) -> None:
    pause(w.yard, T)
    for number in range(12):
        a_task(w, number)
    w.deliver()
    with counting(w) as calls:
        assert resume(w.yard, T) == 12
    assert (calls["SendMessageBatch"], calls["SendMessage"]) == (2, 0)
    w.deliver()
    assert [*range(12)] == RAN


def test_what_is_paused_anew_while_the_clock_finishes_its_resume_stays_paused(w: World) -> None:
    for target in (T, NEWS):
        pause(w.yard, target)
    a_task(w, "resumed")
    waits = a_message(w, "waits")
    w.deliver()
    for target in (T, NEWS):
        resume(w.yard, target, lambda: False)
    with before(w.yard.directory.table.client, "UpdateItem", lambda: pause(w.yard, NEWS)):
        pausing.finish_resuming(w.yard, lambda: True)
    w.deliver()
    assert (RAN, [(found.target, found.resuming) for found in paused(w.yard)]) == (["resumed"], [(NEWS, False)])
    assert (waiting_for(w, NEWS), resume(w.yard, NEWS)) == ([waits], 1)


def test_a_record_that_its_publisher_could_not_write_is_shelved_too(w: World) -> None:
    pause(w.yard, T)
    a_task(w, "unrecorded")
    w.lose_records()
    w.deliver()
    assert (RAN, [job.state for job in w.jobs()], len(waiting_for(w, T))) == ([], [State.PENDING], 1)
    resume(w.yard, T)
    w.go_on()
    assert RAN == ["unrecorded"]


def test_a_limited_type_can_be_paused(w: World) -> None:
    target = type_target("lone")
    pause(w.yard, target)
    for given in ("one", "two"):
        a_task(w, given, "lone")
    w.deliver()
    assert (RAN, w.yard.concurrency.of("lone").running) == ([], 0)
    assert resume(w.yard, target) == 2
    w.go_on()
    assert (RAN, w.yard.concurrency.of("lone")) == (["one", "two"], NOTHING)


def test_a_paused_topic_shows_nothing_to_polls(w: World) -> None:
    a_message(w, "polled", "notes")
    target = queue_target("notes")
    pause(w.yard, target)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        w.clock.move(1_000)

    assert poll(w.yard, "notes", 10, 30_000, "client", wait_s=3, sleep=sleep) == []
    assert slept == [1, 1, 1]
    resume(w.yard, target)
    assert [job.type for job in poll(w.yard, "notes", 10, 30_000, "client")] == ["notes"]


def test_one_process_pauses_for_a_while_and_hands_back_what_comes(w: World) -> None:
    for given in ("pauses", "behind"):
        a_task(w, given)
    a_task(w, "free", "other")
    w.deliver_batch(w.queue_of("default"))
    assert RAN == ["pauses", "free"]
    w.clock.move(9_999)
    w.deliver()
    assert RAN == ["pauses", "free"]
    w.go_on()
    assert RAN == ["pauses", "free", "behind"]
    a_task(w, "resumes")
    a_task(w, "after")
    w.deliver()
    assert RAN[-2:] == ["resumes", "after"]
    pause_here(w.yard, NEWS, 1_000)
    a_message(w, "news")
    w.deliver()
    assert RAN[-1] == "after"
    resume_here(w.yard, NEWS)
    w.go_on()
    assert RAN[-1] == "news"


@pytest.mark.parametrize("for_ms", [0, 900_001, True, 1.5])
def test_a_process_does_not_pause_for_ever(w: World, for_ms: Any) -> None:
    with pytest.raises(InvalidInput, match="1 to 900000 milliseconds"):
        pause_here(w.yard, T, for_ms)


@pytest.mark.parametrize("name", ["", "x" * 401])
def test_what_can_be_no_name_cannot_be_paused(name: str) -> None:
    for target in (type_target, queue_target):
        with pytest.raises(InvalidInput, match="1 to 400 characters"):
            target(name)


# -- a type without a handler -------------------------------------------------------------------------


@task("late")
def late(given: Any) -> None:
    RAN.append(given)


def deploy(w: World, *more: Any) -> None:
    w.restart(Registry.of([t, other, lone, news, *more]))


@pytest.fixture
def undeployed(w: World) -> Iterator[World]:
    deploy(w)
    yield w
    deploy(w)


def test_a_type_waits_for_its_handler_in_order(undeployed: World) -> None:
    w, target = undeployed, type_target("late")
    later = a_task(w, "later", "late", waits_for_handler=True)
    urgent = a_task(w, "urgent", "late", waits_for_handler=True, priority=20)
    w.go_on()
    assert (RAN, w.messages(), waiting_for(w, target)) == ([], [], [urgent, later])
    assert [(found.target, found.unhandled) for found in paused(w.yard)] == [(target, True)]
    deploy(w, late)
    a_task(w, "at once", "late")
    w.deliver()
    assert RAN == ["at once"]
    w.go_on()
    assert (RAN, paused(w.yard)) == (["at once", "urgent", "later"], [])


def test_a_pause_that_somebody_asked_for_outlasts_the_handlers_deployment(undeployed: World) -> None:
    w, target = undeployed, type_target("late")
    waits = a_task(w, "waits", "late", waits_for_handler=True)
    w.deliver()
    pause(w.yard, target)
    deploy(w, late)
    w.go_on()
    assert (RAN, waiting_for(w, target)) == ([], [waits])
    assert resume(w.yard, target) == 1
    w.go_on()
    assert RAN == ["waits"]


def test_what_is_paused_already_stays_so(undeployed: World) -> None:
    w, target = undeployed, type_target("late")
    pause(w.yard, target)
    w.yard.pauses.begin_unhandled(target, w.clock.ms)
    assert [(found.target, found.unhandled) for found in paused(w.yard)] == [(target, False)]


def test_resumed_without_a_handler_it_waits_again(undeployed: World) -> None:
    w, target = undeployed, type_target("late")
    waits = a_task(w, "waits", "late", waits_for_handler=True)
    w.deliver()
    assert resume(w.yard, target) == 1
    w.go_on()
    assert (waiting_for(w, target), w.job(waits).attempts) == ([waits], 0)


def test_who_paused_first_is_told_in_whatever_thread(w: World) -> None:
    with acting("ops"), aws.threads(1) as beside:
        beside.submit(pause, w.yard, type_target("t")).result()
    pause(w.yard, type_target("t"))
    pause(w.yard, type_target("other"))
    assert {(each.target, each.by) for each in paused(w.yard)} == {
        ("type#t", "ops"),
        ("type#other", w.yard.worker_name),
    }
