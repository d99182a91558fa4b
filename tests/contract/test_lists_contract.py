"""The lists' contract: what the indexes show, in what order, how many, and what has moved meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.yard import Yard
from chalicelib.store import job_lists
from chalicelib.store.job_lists import LABELS, JobPage, Wanted, labels_of
from chalicelib.store.jobs import state_key
from chalicelib.store.table import Change
from tests.support.backends import Ground
from tests.support.ledger import NOW, job_of, labels, place
from tests.support.waiting import becomes

DAY_MS = 86_400_000
numbers = itertools.count(1)


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables."""
    return ground.bench().yard


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"list-{next(numbers)}"


@pytest.fixture
def day_ms() -> int:
    """The first moment of a day in which no other test makes jobs."""
    return NOW + next(numbers) * 10 * DAY_MS


def make(yard: Yard, topic: str, created_at_ms: int, **fields: Any) -> Job:
    return place(yard, job_of(yard, type=topic, created_at_ms=created_at_ms, **fields))


def in_shards(jobs: list[Job]) -> dict[int, int]:
    """How many jobs each of the two index partitions holds."""
    return {shard: sum(job.id % 2 == shard for job in jobs) for shard in (0, 1)}


def page(yard: Yard, wanted: Wanted, offset: int = 0, limit: int = 100) -> tuple[list[int], int, bool]:
    found = yard.lists.page(wanted, offset, limit)
    return [job.id for job in found.jobs], found.total, found.exact


class TestPages:
    def test_newest_first_over_all_shards_and_labels(self, yard: Yard, topic: str) -> None:
        states = itertools.cycle(State)
        jobs = [make(yard, topic, NOW + age // 2, state=next(states)) for age in range(13)]
        assert min(in_shards(jobs).values()) >= 6
        newest_first = [job.id for job in sorted(jobs, key=lambda j: (j.created_at_ms, j.id), reverse=True)]
        wanted = Wanted(Kind.MESSAGE, topic)

        becomes((newest_first, 13, True), lambda: page(yard, wanted))

        for size in (1, 4, 5, 13):
            pages = [page(yard, wanted, start, size) for start in range(0, 13, size)]
            assert [ids for ids, _, _ in pages] == [newest_first[start : start + size] for start in range(0, 13, size)]
            assert {(total, exact) for _, total, exact in pages} == {(13, True)}
        assert page(yard, wanted, 13, 5) == ([], 13, True)
        assert page(yard, replace(wanted, descending=False), 2, 4)[0] == newest_first[::-1][2:6]

    def test_each_page_holds_the_whole_records(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age, priority=age, body='{"input":1}') for age in range(3)]
        becomes(JobPage(jobs[::-1], 3, True), lambda: yard.lists.page(Wanted(Kind.MESSAGE, topic), offset=0, limit=10))

    def test_a_stream_is_read_in_pages_of_any_size(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age) for age in range(9)]
        wanted = Wanted(Kind.MESSAGE, topic)
        becomes(9, lambda: yard.lists.count(wanted))
        for size in (1, 2, 100):
            assert list(yard.lists.ids(wanted, size)) == [job.id for job in reversed(jobs)]

    def test_an_empty_list(self, yard: Yard, topic: str) -> None:
        assert page(yard, Wanted(Kind.MESSAGE, topic)) == ([], 0, True)


class TestWhatIsWanted:
    def test_some_labels(self, yard: Yard, topic: str) -> None:
        by_state = {state: make(yard, topic, NOW, state=state) for state in State}
        replayed = make(yard, topic, NOW, state=State.FAILED, replayed_at_ms=NOW, replayed_as=1)
        place(yard, replayed)
        yard.jobs.table.update(state_key(replayed.id), Change((), sets=labels(yard, replayed, "replayed")))

        def ids(*under: str) -> set[int]:
            return set(page(yard, Wanted(Kind.MESSAGE, topic, under))[0])

        becomes({replayed.id}, lambda: ids("replayed"))
        for state, job in by_state.items():
            assert ids(state.value) == {job.id}
        assert ids(*labels_of(State.FAILED)) == {by_state[State.FAILED].id, replayed.id}
        assert ids(*labels_of(State.PENDING, State.RUNNING)) == {by_state[s].id for s in (State.PENDING, State.RUNNING)}
        assert ids(*LABELS) == {job.id for job in (*by_state.values(), replayed)}

    def test_a_span_includes_both_ends(self, yard: Yard, topic: str) -> None:
        for age in range(5):
            make(yard, topic, NOW + age)
        wanted = Wanted(Kind.MESSAGE, topic)
        becomes(5, lambda: yard.lists.count(wanted))

        def ages(**span: int) -> tuple[list[int], int]:
            found = yard.lists.page(replace(wanted, **span), 0, 10)
            return [job.created_at_ms - NOW for job in found.jobs], found.total

        assert ages(since_ms=NOW + 1, until_ms=NOW + 3) == ([3, 2, 1], 3)
        assert ages(since_ms=NOW + 4) == ([4], 1)
        assert ages(until_ms=NOW) == ([0], 1)
        assert ages(since_ms=NOW + 2, until_ms=NOW + 2) == ([2], 1)
        assert ages(since_ms=NOW + 5) == ([], 0)

    def test_a_span_that_ends_before_it_begins_is_empty(self, yard: Yard, topic: str) -> None:
        make(yard, topic, NOW + 2)
        wanted = Wanted(Kind.MESSAGE, topic, since_ms=NOW + 3, until_ms=NOW + 1)
        assert page(yard, wanted) == ([], 0, True)
        assert page(yard, replace(wanted, matches=lambda job: job.priority == 0)) == ([], 0, True)

    def test_all_types_of_a_kind(self, yard: Yard, day_ms: int) -> None:
        tasks = [
            make(yard, f"type-{n}", day_ms + n, kind=Kind.TASK, state=State.RUNNING if n % 3 else State.WAITING)
            for n in range(6)
        ]
        message = make(yard, "type-0", day_ms)
        span = {"since_ms": day_ms, "until_ms": day_ms + DAY_MS}

        becomes(([job.id for job in reversed(tasks)], 6, True), lambda: page(yard, Wanted(Kind.TASK, **span)))
        assert page(yard, Wanted(Kind.TASK, None, ("waiting",), **span))[0] == [tasks[3].id, tasks[0].id]
        assert page(yard, Wanted(Kind.MESSAGE, **span))[0] == [message.id]

    @pytest.mark.parametrize(
        "odd",
        ["x#pending", "x#pending#0", "заказ.создан", "a b/c?d=e&f", "订单", "x" * 400, "{state}", ":key", "'\"\\"],
    )
    def test_odd_types_stay_apart(self, yard: Yard, topic: str, odd: str) -> None:
        plain = make(yard, topic, NOW)
        strange = make(yard, f"{topic}{odd}"[:400], NOW)
        other = make(yard, f"{topic}{odd}"[:399] + "~", NOW)
        for job in (plain, strange, other):
            becomes([job.id], lambda job=job: page(yard, Wanted(Kind.MESSAGE, job.type))[0])


class TestFiltersAndOrders:
    def test_a_filter_that_no_index_answers(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age, priority=age % 3) for age in range(9)]
        wanted = Wanted(Kind.MESSAGE, topic, matches=lambda job: job.priority == 1)
        matching = [jobs[7].id, jobs[4].id, jobs[1].id]
        becomes((matching, 3, True), lambda: page(yard, wanted))
        assert page(yard, wanted, 1, 1) == ([jobs[4].id], 3, True)
        assert page(yard, replace(wanted, descending=False)) == (matching[::-1], 3, True)

    @pytest.mark.parametrize("descending", [True, False])
    def test_another_order(self, yard: Yard, topic: str, descending: bool) -> None:
        jobs = [make(yard, topic, NOW + age, priority=(age * 5) % 7) for age in range(7)]
        wanted = Wanted(Kind.MESSAGE, topic, order=lambda job: job.priority, descending=descending)
        by_priority = [job.id for job in sorted(jobs, key=lambda job: job.priority, reverse=descending)]
        becomes((by_priority, 7, True), lambda: page(yard, wanted))
        assert page(yard, wanted, 2, 3) == (by_priority[2:5], 7, True)

    def test_only_the_newest_are_looked_at(self, yard: Yard, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
        jobs = [make(yard, topic, NOW + age, priority=-age) for age in range(8)]
        becomes(8, lambda: yard.lists.count(Wanted(Kind.MESSAGE, topic)))
        monkeypatch.setattr(job_lists, "WINDOW", 5)
        newest = [job.id for job in jobs[3:]]
        wanted = Wanted(Kind.MESSAGE, topic, order=lambda job: job.priority)
        assert page(yard, wanted) == (newest, 5, False)
        assert page(yard, replace(wanted, order=None, matches=lambda job: job.id in {jobs[0].id, jobs[4].id})) == (
            [jobs[4].id],
            1,
            False,
        )


class TestCounts:
    def test_exact_below_the_window_and_marked_beyond(
        self, yard: Yard, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job_lists, "WINDOW", 6)
        wanted = Wanted(Kind.MESSAGE, topic)
        for number in range(1, 10):
            make(yard, topic, NOW + number, state=State.PENDING if number % 2 else State.SUCCESS)
            becomes((min(number, 6), number <= 6), lambda: page(yard, wanted)[1:])
        assert len(page(yard, wanted)[0]) == 9  # counting ends there, paging does not


class TestWhatMoved:
    def test_a_job_is_listed_where_it_is_now(self, yard: Yard, topic: str) -> None:
        job = make(yard, topic, NOW)
        becomes([job.id], lambda: page(yard, Wanted(Kind.MESSAGE, topic, ("pending",)))[0])
        yard.jobs.cancel(job, NOW)
        becomes([job.id], lambda: page(yard, Wanted(Kind.MESSAGE, topic, ("canceled",)))[0])
        becomes(([], 0, True), lambda: page(yard, Wanted(Kind.MESSAGE, topic, ("pending",))))

    @pytest.mark.parametrize("search", [None, lambda job: job.id])
    def test_an_index_that_lags_shows_nothing_that_is_not_so(
        self, yard: Yard, topic: str, search: Callable[[Job], Any] | None
    ) -> None:
        stays, moves, goes = (make(yard, topic, NOW + age) for age in range(3))
        wanted = Wanted(Kind.MESSAGE, topic, ("pending",), order=search)
        becomes(3, lambda: len(page(yard, wanted)[0]))
        for job, state in ((moves, "running"), (goes, "deleted")):
            yard.jobs.table.update(state_key(job.id), Change((), sets={"state": state}))
        assert page(yard, wanted)[0] == [stays.id]


class TestTraces:
    def test_the_jobs_of_a_client_s_trace_oldest_first(self, yard: Yard, topic: str) -> None:
        trace = f"trace of {topic} / 订单"
        later, sooner = (make(yard, topic, NOW + age, trace_id=trace) for age in (5, 2))
        make(yard, topic, NOW, trace_id=f"{trace}!")
        becomes([sooner.id, later.id], lambda: yard.lists.with_trace(trace))

    def test_a_trace_made_here_needs_no_index(self, yard: Yard, topic: str) -> None:
        job = make(yard, topic, NOW)
        becomes([job.id], lambda: page(yard, Wanted(Kind.MESSAGE, topic))[0])
        assert yard.lists.with_trace(job.trace_id) == []


class TestTheDueIndex:
    def test_the_longest_overdue_first_up_to_now(self, yard: Yard, topic: str, day_ms: int) -> None:
        jobs = {wait: make(yard, topic, NOW, wake_at_ms=day_ms + wait) for wait in (3, 0, 6, 5, 1, 4, 2)}
        ours = {job.id: wait for wait, job in jobs.items()}
        for shard in (0, 1):
            expected = sorted(wait for wait, job in jobs.items() if job.id % 2 == shard and wait <= 4)
            assert expected

            def due(shard: int = shard) -> list[int]:
                return [ours[job_id] for job_id in yard.lists.due(shard, day_ms + 4) if job_id in ours]

            becomes(expected, due)
