"""Order, unique and debounce are changed while jobs run: what is accepted from then on goes by what was set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from chalicelib.core.batch import Batch
from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.core.flow import Debounce, Unique
from chalicelib.core.flow_controls import OFF, FlowControls, FlowTarget
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.flow import set_flow, standing, unset_flow
from chalicelib.engine.commands.lifecycle import pass_over
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import FRESH_MS
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Reject
from tests.support.steps import before, counting
from tests.support.worlds import World, wiped, world

RAN: list[Any] = []
LOOKS: list[Callable[[], Any]] = []  # what a run looks at


@task("keyed", key="input.k")
@task("single", unique=Unique(by="input.k"))
@task("blocked", key="input.k", order="block")
@task("lined", order="block", concurrency=2)
@task("plain")
@subscribe("news", key="input.k")
def act(given: dict[str, Any]) -> None:
    RAN.append(LOOKS[0]() if given.get("looks") else given["n"])
    if given.get("breaks"):
        raise RuntimeError("not yet")
    if given.get("fails"):
        raise Reject("never")


@task("gathered", key="input.k", batch=Batch(10, 1))
def gathered(given: list[dict[str, Any]]) -> None:
    RAN.extend(each["n"] for each in given)


HANDLERS = [act, gathered]


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world(HANDLERS) as used:
        yield used


@pytest.fixture
def w(ground: World, silent: None) -> World:  # noqa: ARG001
    RAN.clear()
    return wiped(ground)


def new_job(type_: str, n: int, kind: Kind = Kind.TASK, **more: Any) -> NewJob:
    return NewJob(kind=kind, type=type_, input={"n": n, "k": "a", **more})


def add(w: World, type_: str, n: int, **more: Any) -> Job:
    return publish(w.yard, new_job(type_, n, **more))


def change(w: World, type_: str, kind: Kind = Kind.TASK, **controls: Any) -> None:
    set_flow(w.yard, FlowTarget(kind, type_), FlowControls(**controls))


def test_jobs_are_unique_from_when_it_is_set_and_no_longer_when_it_is_not(w: World) -> None:
    before = add(w, "keyed", 1)
    change(w, "keyed", unique=Unique())
    first, second = add(w, "keyed", 2), add(w, "keyed", 3)
    assert (before.id != first.id, second.id) == (True, first.id)
    assert [job.id for job in publish_many(w.yard, [new_job("keyed", n) for n in (4, 5)])] == [first.id] * 2
    unset_flow(w.yard, FlowTarget(Kind.TASK, "keyed"))
    assert add(w, "keyed", 6).id != first.id
    w.deliver()
    assert sorted(RAN) == [1, 2, 6]


def test_what_is_declared_can_be_off(w: World) -> None:
    change(w, "single", unique=OFF)
    assert add(w, "single", 1).id != add(w, "single", 2).id
    change(w, "blocked", order=OFF)
    add(w, "blocked", 3, fails=True)
    add(w, "blocked", 4)
    w.go_on()
    assert sorted(RAN) == [1, 2, 3, 4]


def test_an_order_holds_for_jobs_that_are_accepted_from_then_on(w: World) -> None:
    free = add(w, "keyed", 1)
    change(w, "keyed", order="block")
    failing, behind = add(w, "keyed", 2, fails=True), add(w, "keyed", 3)
    assert [w.job(job.id).order for job in (free, failing, behind)] == [None, "block", "block"]
    w.go_on()
    assert (sorted(RAN), w.job(behind.id).state) == ([1, 2], State.PENDING)
    change(w, "keyed", order="step aside")
    add(w, "keyed", 4)
    w.go_on()
    assert w.job(behind.id).state is State.PENDING  # it was accepted to wait, and those behind it wait, too


def test_a_topic_is_debounced(w: World) -> None:
    change(w, "news", Kind.MESSAGE, debounce=Debounce(5))
    first, second = add(w, "news", 1, kind=Kind.MESSAGE), add(w, "news", 2, kind=Kind.MESSAGE)
    assert (w.job(first.id).state, second.due_at_ms) == (State.CANCELED, w.clock.ms + 5_000)
    w.go_on()
    assert RAN == [2]


def test_another_process_notices_within_five_seconds(w: World) -> None:
    add(w, "keyed", 1)  # it has looked, and knows of nothing
    known = w.yard.known_flow.get(w.clock.ms, FRESH_MS, dict)
    change(w, "keyed", unique=Unique())
    w.yard.known_flow.get(w.clock.ms, 0, lambda: known)
    assert add(w, "keyed", 2).id != add(w, "keyed", 3).id
    w.clock.move(FRESH_MS + 1)
    assert add(w, "keyed", 4).id == add(w, "keyed", 5).id


@pytest.mark.parametrize(
    ("target", "controls", "field"),
    [
        (FlowTarget(Kind.TASK, "keyed", "a"), FlowControls(order="block"), "order"),
        (FlowTarget(Kind.TASK, "plain"), FlowControls(unique=Unique()), "unique"),
        (FlowTarget(Kind.MESSAGE, "polled"), FlowControls(debounce=Debounce(1)), "debounce"),
        (FlowTarget(Kind.TASK, "single"), FlowControls(debounce=Debounce(1)), "debounce"),
        (FlowTarget(Kind.TASK, "gathered"), FlowControls(order="block"), "order"),
        (FlowTarget(Kind.TASK, "keyed"), FlowControls(), "concurrency"),
    ],
)
def test_what_does_not_fit_is_refused(w: World, target: FlowTarget, controls: FlowControls, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        set_flow(w.yard, target, controls)
    assert (refused.value.field, w.yard.flow_settings.all()) == (field, [])


def test_to_unset_takes_a_look_only_where_it_is_asked_what_was_seen(w: World) -> None:
    target = FlowTarget(Kind.TASK, "keyed")
    seen = set_flow(w.yard, target, FlowControls(unique=Unique()))
    with counting(w) as calls:
        unset_flow(w.yard, target)
    assert calls == {"DeleteItem": 1, "Query": 2}  # and who waits for what is free by now
    with pytest.raises(NotFound):
        unset_flow(w.yard, target)
    with pytest.raises(NotFound):
        unset_flow(w.yard, target, seen.version)


def test_what_another_sets_as_it_is_unset_stays(w: World) -> None:
    target = FlowTarget(Kind.TASK, "keyed")
    seen = set_flow(w.yard, target, FlowControls(unique=Unique()))
    other = partial(set_flow, w.yard, target, FlowControls(concurrency=2))
    with before(w.yard.flow_settings.table.client, "DeleteItem", other), pytest.raises(Conflict, match="has set since"):
        unset_flow(w.yard, target, seen.version)
    (kept,) = w.yard.flow_settings.all()
    assert kept.controls == FlowControls(concurrency=2)
    gone = partial(unset_flow, w.yard, target)
    with before(w.yard.flow_settings.table.client, "DeleteItem", gone), pytest.raises(NotFound):
        unset_flow(w.yard, target, kept.version)


def test_debounce_takes_the_place_of_unique(w: World) -> None:
    change(w, "single", unique=OFF, debounce=Debounce(5, by="input.k"))
    first, second = add(w, "single", 1), add(w, "single", 2)
    assert (w.job(first.id).state, w.job(second.id).state) == (State.CANCELED, State.PENDING)


@pytest.mark.parametrize(("name", "key"), [("blocked", "a"), ("lined", None)])
def test_who_keeps_its_turn_does_not_run_for_that(w: World, name: str, key: str | None) -> None:
    target = FlowTarget(Kind.TASK, name, key)

    def stands() -> tuple[int, tuple[int, ...], int | None]:
        found = standing(w.yard, target)
        return found.running, found.holders, found.blocked_by

    LOOKS[:] = [stands]
    running = add(w, name, 1, looks=True)
    w.deliver()
    broken = add(w, name, 2, breaks=True)
    failing = add(w, name, 3, fails=True)
    w.deliver()
    assert [(1, (running.id,), None), 2] == RAN
    assert (w.job(broken.id).state, stands()) == (State.PENDING, (0, (broken.id,), None))  # between its attempts
    w.go_on()
    assert stands() == (0, (broken.id,), broken.id)
    pass_over(w.yard, broken.id)
    w.go_on()
    assert stands() == (0, (failing.id,), failing.id)
