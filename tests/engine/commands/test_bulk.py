"""Acts in bulk: what is in the set, what is counted, who may make a step, and what the clock goes on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.core.bulk import BulkAct, BulkState, Result
from chalicelib.core.errors import Full, NotFound, Unavailable
from chalicelib.core.fingerprints import fingerprint_of
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.bulk import step_abandoned
from chalicelib.engine.commands import bulk, lifecycle
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.job_filters import JobFilters
from chalicelib.engine.sweeping import always
from chalicelib.services import bulk as services
from chalicelib.services.records import moment_of
from chalicelib.store.bulk_acts import BulkItem
from tests.support.steps import a_message, a_task, before, counting, failing, using, work
from tests.support.worlds import World

ALL = JobFilters()


@task("t", max_attempts=1)
@task("u", max_attempts=1)
def handler(what: Any) -> None:
    if what is not None:
        raise ValueError(what)


@subscribe("news", max_attempts=1)
def reader(what: Any) -> None:
    raise ValueError(what)


@pytest.fixture
def w(w: World) -> World:
    using(w, handler, reader)
    return w


def failed(w: World, count: int = 1, type: str = "t", what: str = "no") -> list[Job]:  # noqa: A002
    jobs = [a_task(w, type, input=what) for _ in range(count)]
    for _ in range(-(-count // 10)):
        work(w)
    w.clock.move(1)
    return [w.job(job.id) for job in jobs]


def run(w: World, started: BulkItem) -> BulkItem:
    found = started
    while found.state is BulkState.RUNNING:
        found = bulk.step(w.yard, started.id)
    return found


def states(w: World, jobs: list[Job]) -> list[State]:
    return [w.job(job.id).state for job in jobs]


def results(w: World, found: BulkItem) -> dict[int, str | None]:
    """What became of each job; no job is told of twice."""
    told, following = w.yard.bulk_acts.results(found.id, 100)
    assert following is None
    assert len({result.job for result in told}) == len(told)
    return {result.job: result.error for result in told}


class TestNamedJobs:
    def test_those_that_suit_are_the_set_in_order_and_the_others_are_counted(self, w: World) -> None:
        first, second, third = failed(w, 3)
        pending = a_task(w, input=None)
        w.clock.move(1)
        named = bulk.Named((third.id, pending.id, first.id, 999_999, first.id))
        found = bulk.preview(w.yard, BulkAct.RETRY, named)
        assert (found.matches, found.exact, found.unsuited) == (2, True, 2)
        assert [job.id for job in found.sample] == [third.id, first.id]
        done = run(w, bulk.start(w.yard, BulkAct.RETRY, named, "ann"))
        assert (done.state, done.matched, done.named, done.done, done.refused) == (BulkState.DONE, 2, 4, 2, 0)
        assert list(results(w, done)) == [third.id, first.id]
        assert states(w, [first, second, third, pending]) == ["pending", "failed", "pending", "pending"]

    def test_what_has_changed_meanwhile_is_refused(self, w: World) -> None:
        (job,) = failed(w)
        started = bulk.start(w.yard, BulkAct.REPLAY, bulk.Named((job.id,)), "ann")
        w.clock.move(1)
        lifecycle.retry(w.yard, job.id, None)
        assert results(w, run(w, started)) == {job.id: "it has changed since the act began: it is pending now"}

    def test_a_step_does_at_most_a_hundred_and_the_next_goes_on(
        self, w: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "BATCH", 2)
        jobs = failed(w, 5)
        started = bulk.start(w.yard, BulkAct.DELETE, bulk.Named(tuple(job.id for job in jobs)), "ann")
        counted = [bulk.step(w.yard, started.id).done for _ in range(3)]
        assert (counted, bulk.find(w.yard, started.id).state) == ([2, 4, 5], BulkState.DONE)

    def test_where_none_suits_it_ends_with_nothing_done(self, w: World) -> None:
        started = bulk.start(w.yard, BulkAct.RETRY, bulk.Named((999_999,)), "ann")
        done = run(w, started)
        assert (done.state, done.matched, done.done, done.refused) == (BulkState.DONE, 0, 0, 0)


class TestWhatItWouldDo:
    def test_it_counts_by_type_and_shows_the_newest(self, w: World) -> None:
        jobs = failed(w, 3) + failed(w, 2, "u")
        a_task(w, input=None)
        found = bulk.preview(w.yard, BulkAct.RETRY, ALL)
        assert dict(found.by_type) == {(Kind.TASK, "t"): 3, (Kind.TASK, "u"): 2}
        assert (found.matches, found.exact) == (5, True)
        assert [job.id for job in found.sample] == [job.id for job in reversed(jobs)]

    @pytest.mark.parametrize(
        ("act", "expected"),
        [("cancel", 2), ("promote", 1), ("retry", 2), ("replay", 2), ("delete", 3)],
    )
    def test_it_is_for_jobs_in_certain_states(self, w: World, act: str, expected: int) -> None:
        done, *_ = failed(w, 3)
        lifecycle.replay(w.yard, done.id, None)  # is pending, and its dead letter can be deleted
        w.clock.move(1)
        work_begun(w)
        assert bulk.preview(w.yard, BulkAct(act), ALL).matches == expected

    def test_the_filter_is_that_of_lists(self, w: World) -> None:
        gone, late = failed(w, 2, what="order 1 is gone"), failed(w, 1, what="order 1 is late")
        alike = JobFilters(fingerprint=fingerprint_of(gone[0]))
        assert bulk.preview(w.yard, BulkAct.RETRY, alike).matches == 2
        assert bulk.preview(w.yard, BulkAct.CANCEL, alike).matches == 0
        assert bulk.preview(w.yard, BulkAct.RETRY, JobFilters(states=(State.CANCELED,))).matches == 0
        since = JobFilters(since_ms=late[0].created_at_ms)
        assert [job.id for job in bulk.preview(w.yard, BulkAct.RETRY, since).sample] == [late[0].id]


def work_begun(w: World) -> None:
    """A job is running."""
    from tests.support.steps import stolen, take

    job = a_task(w, "u", input=None)
    take(w)
    stolen(w, job)


class TestActing:
    def test_all_that_matches_is_done_in_steps(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "BATCH", 4)
        jobs = failed(w, 10)
        started = bulk.start(w.yard, BulkAct.RETRY, JobFilters(type="t"), "ann")
        assert (started.matched, started.done, started.state) == (10, 0, BulkState.RUNNING)
        first = bulk.step(w.yard, started.id)
        assert (first.done, first.refused, first.state) == (4, 0, BulkState.RUNNING)
        assert states(w, jobs) == [State.PENDING] * 4 + [State.FAILED] * 6
        found = run(w, started)
        assert (found.done, found.refused, found.ended_at_ms) == (10, 0, w.clock.ms)
        assert results(w, found) == {job.id: None for job in jobs}
        assert states(w, jobs) == [State.PENDING] * 10
        assert w.yard.bulk_acts.running() == []
        assert bulk.step(w.yard, started.id) == found

    @pytest.mark.parametrize(("act", "then"), [("cancel", "canceled"), ("delete", None), ("replay", "failed")])
    def test_each_act(self, w: World, act: str, then: str | None) -> None:
        jobs = failed(w, 2) if act != "cancel" else [a_task(w, input=None), a_message(w)]
        w.clock.move(1)
        found = run(w, bulk.start(w.yard, BulkAct(act), ALL, "ann"))
        assert (found.done, found.refused) == (2, 0)
        assert [None if (job := w.yard.jobs.find(each.id)) is None else job.state for each in jobs] == [then] * 2
        if act == "replay":
            assert bulk.preview(w.yard, BulkAct.REPLAY, ALL).matches == 0

    def test_who_began_it_is_who_cancels(self, w: World) -> None:
        job = a_task(w, input=None)
        w.clock.move(1)
        run(w, bulk.start(w.yard, BulkAct.CANCEL, ALL, "ann"))
        assert w.job(job.id).events[-1].detail == {"by": "ann"}

    def test_delayed_jobs_start(self, w: World) -> None:
        job = a_task(w, input=None, delay_ms=3_600_000)
        w.clock.move(1)
        assert run(w, bulk.start(w.yard, BulkAct.PROMOTE, ALL, "ann")).done == 1
        assert w.job(job.id).due_at_ms == w.clock.ms

    def test_both_kinds_are_done(self, w: World) -> None:
        failed(w, 1)
        message = a_message(w, input="no")
        work(w, "news")
        w.clock.move(1)
        found = run(w, bulk.start(w.yard, BulkAct.REPLAY, ALL, "ann"))
        assert (found.matched, found.done) == (2, 2)
        assert w.job(message.id).replayed_as is not None

    def test_what_came_later_is_not_in_the_set(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "BATCH", 1)
        jobs = failed(w, 2)
        waits = a_task(w, input="fails later")
        w.clock.move(1)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        work(w)
        later = failed(w, 1)
        found = run(w, started)
        assert (found.matched, found.done) == (2, 2)
        assert states(w, [*jobs, waits, *later]) == [State.PENDING, State.PENDING, State.FAILED, State.FAILED]

    def test_what_is_retried_and_fails_again_is_not_done_twice(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "BATCH", 1)
        jobs = failed(w, 3)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        for _ in range(20):
            if bulk.step(w.yard, started.id).state is BulkState.DONE:
                break
            w.clock.move(1)
            work(w)
        found = bulk.find(w.yard, started.id)
        assert (found.done, found.refused, found.state) == (3, 0, BulkState.DONE)
        assert [w.job(job.id).epoch for job in jobs] == [1, 1, 1]

    def test_what_began_since_is_canceled_and_what_ran_before_is_not_pending(self, w: World) -> None:
        from tests.support.steps import stolen, take

        began, ran = a_task(w, input=None), a_task(w, input=None)
        take(w)
        stolen(w, ran)
        w.clock.move(1)
        started = bulk.start(w.yard, BulkAct.CANCEL, JobFilters(states=(State.PENDING, State.RUNNING)), "ann")
        w.clock.move(1)
        stolen(w, began)
        assert run(w, started).done == 2
        assert states(w, [began, ran]) == [State.CANCELED, State.CANCELED]

    def test_a_refusal_is_counted_and_told(self, w: World) -> None:
        (job,) = failed(w, 1)
        started = bulk.start(w.yard, BulkAct.REPLAY, ALL, "ann")
        with before(w.yard.jobs.table.client, "BatchGetItem", lambda: lifecycle.retry(w.yard, job.id, Kind.TASK), 2):
            found = run(w, started)
        told = "it has changed since the act began: it is pending now"
        assert (found.done, found.refused, found.errors) == (0, 1, (Result(job.id, told),))
        assert results(w, found) == {job.id: told}

    def test_what_others_changed_before_its_turn_is_counted(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "BATCH", 1)
        jobs = failed(w, 4)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        w.clock.move(1)
        bulk.step(w.yard, started.id)
        lifecycle.retry(w.yard, jobs[2].id, Kind.TASK)
        lifecycle.delete(w.yard, jobs[3].id, Kind.TASK)
        assert bulk.find(w.yard, started.id).changed is None
        found = run(w, started)
        assert (found.matched, found.done, found.refused, found.changed) == (4, 2, 0, 2)

    def test_nothing_matches(self, w: World) -> None:
        found = bulk.step(w.yard, bulk.start(w.yard, BulkAct.RETRY, ALL, "ann").id)
        assert (found.matched, found.done, found.state) == (0, 0, BulkState.DONE)
        assert results(w, found) == {}

    def test_a_step_takes_no_more_once_its_time_is_over(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        jobs = failed(w, 3)
        monkeypatch.setitem(bulk._DO, BulkAct.RETRY, slowly(w, bulk._DO[BulkAct.RETRY]))
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        first = bulk.step(w.yard, started.id)
        assert (first.done, first.batch, first.state) == (2, (jobs[2].id,), BulkState.RUNNING)
        found = run(w, started)
        assert (found.done, results(w, found)) == (3, {job.id: None for job in jobs})

    def test_twenty_run_at_a_time(self, w: World) -> None:
        started = [bulk.start(w.yard, BulkAct.RETRY, ALL, "ann") for _ in range(20)]
        with pytest.raises(Full, match="20 acts in bulk are running"):
            bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        bulk.stop(w.yard, started[0].id)
        bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")

    def test_there_is_no_such_act(self, w: World) -> None:
        for asked in (bulk.find, bulk.step, bulk.stop):
            with pytest.raises(NotFound, match="there is no such act in bulk"):
                asked(w.yard, "1")


def slowly(w: World, do: Callable[..., Any]) -> Callable[..., Any]:
    """The same, which takes three seconds."""

    def act(*given: Any) -> Any:
        w.clock.move(3_000)
        return do(*given)

    return act


class TestStopping:
    def test_no_more_is_done(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "BATCH", 1)
        jobs = failed(w, 3)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        bulk.step(w.yard, started.id)
        stopped = bulk.stop(w.yard, started.id)
        assert (stopped.state, stopped.done, stopped.ended_at_ms) == (BulkState.STOPPED, 1, w.clock.ms)
        assert bulk.step(w.yard, started.id) == stopped == bulk.stop(w.yard, started.id)
        assert states(w, jobs) == [State.PENDING, State.FAILED, State.FAILED]
        assert w.yard.bulk_acts.running() == []

    def test_the_step_that_is_made_meanwhile_is_counted(self, w: World) -> None:
        (job,) = failed(w, 1)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        with before(w.yard.jobs.table.client, "BatchGetItem", lambda: bulk.stop(w.yard, started.id), 2):
            found = bulk.step(w.yard, started.id)
        assert (found.state, found.done) == (BulkState.STOPPED, 1)
        assert results(w, found) == {job.id: None}

    def test_it_is_stopping_until_that_step_is_counted(self, w: World) -> None:
        failed(w, 1)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        seen: list[services.Bulk] = []

        def stop() -> None:
            seen.append(services.shown(w.yard, bulk.stop(w.yard, started.id)))
            w.clock.move(2_000)

        with before(w.yard.jobs.table.client, "BatchGetItem", stop, 2):
            bulk.step(w.yard, started.id)
        seen.append(services.shown(w.yard, bulk.find(w.yard, started.id)))
        assert [(each.state, each.done) for each in seen] == [(BulkState.STOPPING, 0), (BulkState.STOPPED, 1)]
        assert [each.ended_at for each in seen] == [None, moment_of(w.clock.ms)]

    def test_one_whose_last_step_died_is_stopped_when_its_lease_is_over(self, w: World) -> None:
        failed(w, 1)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        w.yard.bulk_acts.take(started, w.clock.ms, w.clock.ms + bulk.LEASE_MS)
        stopped = bulk.stop(w.yard, started.id)
        assert services.shown(w.yard, stopped).state == "stopping"
        w.clock.move(bulk.LEASE_MS)
        assert services.shown(w.yard, stopped).state == "stopped"


class TestTwoSteppers:
    def test_who_comes_meanwhile_does_nothing(self, w: World) -> None:
        jobs = failed(w, 2)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        seen: list[BulkItem] = []
        with before(w.yard.jobs.table.client, "BatchGetItem", lambda: seen.append(bulk.step(w.yard, started.id)), 2):
            found = bulk.step(w.yard, started.id)
        assert [(each.done, each.steps) for each in seen] == [(0, 1)]
        assert (found.done, found.steps, found.state) == (2, 1, BulkState.DONE)
        assert [w.job(job.id).epoch for job in jobs] == [1, 1]

    def test_of_two_at_the_same_moment_one_takes_it(self, w: World) -> None:
        failed(w, 2)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        with before(w.yard.directory.table.client, "UpdateItem", lambda: bulk.step(w.yard, started.id)):
            found = bulk.step(w.yard, started.id)
        assert (found.done, found.refused, found.steps) == (2, 0, 1)

    def test_who_was_overtaken_counts_nothing(self, w: World) -> None:
        """The first is so slow that its lease runs out in the middle of its batch."""
        jobs = failed(w, 3)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")

        def overtake() -> None:
            w.clock.move(bulk.LEASE_MS + 1)
            bulk.step(w.yard, started.id)

        with before(w.yard.jobs.table.client, "TransactWriteItems", overtake):
            found = bulk.step(w.yard, started.id)
        assert (found.done, found.refused, found.state) == (3, 0, BulkState.DONE)
        assert results(w, found) == {job.id: None for job in jobs}
        assert [w.job(job.id).epoch for job in jobs] == [1, 1, 1]


class TestTheClock:
    def test_it_goes_on_with_what_nobody_steps(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "BATCH", 2)
        jobs = failed(w, 5)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        bulk.step(w.yard, started.id)
        assert step_abandoned(w.yard, always) == 0
        w.clock.move(30_000)
        assert step_abandoned(w.yard, always) == 3
        assert bulk.find(w.yard, started.id).state is BulkState.DONE
        assert states(w, jobs) == [State.PENDING] * 5
        assert step_abandoned(w.yard, always) == 0

    def test_it_leaves_time_to_the_other_steps(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(bulk._DO, BulkAct.RETRY, slowly(w, bulk._DO[BulkAct.RETRY]))
        failed(w, 20)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        w.clock.move(30_000)
        assert step_abandoned(w.yard, always) == 7  # of three seconds each
        w.clock.move(30_000)
        assert step_abandoned(w.yard, always) == 7
        assert bulk.find(w.yard, started.id).done == 14

    def test_it_costs_one_query_where_none_runs(self, w: World) -> None:
        bulk.stop(w.yard, bulk.start(w.yard, BulkAct.RETRY, ALL, "ann").id)
        with counting(w) as calls:
            assert step_abandoned(w.yard, always) == 0
        assert calls == {"Query": 1}

    def test_one_that_fails_keeps_no_other_from_its_turn(self, w: World) -> None:
        (job,) = failed(w, 1)
        lost, _ = (bulk.start(w.yard, BulkAct.RETRY, ALL, "ann"), w.clock.move(1))
        w.yard.bulk_acts.table.delete({"kind": "bulk_act", "name": lost.id})
        bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        w.clock.move(30_000)
        assert step_abandoned(w.yard, always) == 1
        assert states(w, [job]) == [State.PENDING]
        assert w.yard.bulk_acts.running() == []


class TestOutages:
    def test_where_aws_is_away_the_rest_is_left(self, w: World) -> None:
        jobs = failed(w, 5)
        started = bulk.start(w.yard, BulkAct.RETRY, ALL, "ann")
        with failing(w.yard.jobs.table.client, "UpdateItem"), pytest.raises(Exception, match="Could not connect"):
            bulk.step(w.yard, started.id)
        assert bulk.find(w.yard, started.id).done == 0
        found = run(w, started)
        assert (found.done, results(w, found)) == (5, {job.id: None for job in jobs})

    def test_one_that_always_fails_is_refused(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        jobs, do = failed(w, 3), bulk._DO[BulkAct.RETRY]

        def retry(yard: Any, job: Job) -> object:
            if job.id == jobs[1].id:
                raise Unavailable("this one never answers")
            return do(yard, job)

        monkeypatch.setitem(bulk._DO, BulkAct.RETRY, retry)
        found = run(w, bulk.start(w.yard, BulkAct.RETRY, ALL, "ann"))
        assert (found.done, found.refused) == (2, 1)
        assert results(w, found)[jobs[1].id] == "AWS did not answer: it may be done, or not"
