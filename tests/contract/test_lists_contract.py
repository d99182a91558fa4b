"""The lists' contract: what the indexes show, in what order, how many, and what has moved meanwhile."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.yard import Yard
from chalicelib.store import job_lists
from chalicelib.store.expressions import Change
from chalicelib.store.job_items import position_of, state_key
from chalicelib.store.job_lists import CursorPage, JobPage
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery, Order, Position, index_keys_of
from chalicelib.store.table import Table
from tests.support.backends import Ground
from tests.support.ledger import NOW, index_keys, job_of, place, place_as_before
from tests.support.requests import requests
from tests.support.waiting import becomes

DAY_MS = 86_400_000
BY_PRIORITY = Order("priority", lambda job: f"{job.priority + 50:02d}")
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


def state_of(jobs: list[Job], job_id: int) -> str:
    return next(job.state.value for job in jobs if job.id == job_id)


def chunked(ids: list[int], size: int) -> list[list[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def walked(yard: Yard, wanted: JobQuery, size: int) -> Iterator[list[int]]:
    """The ids on each page of a walk by place, to the end."""
    found = yard.lists.cursor_page(wanted, size)
    yield [job.id for job in found.jobs]
    while found.next is not None:
        found = yard.lists.cursor_page(wanted, size, found.next)
        yield [job.id for job in found.jobs]


class Meddling(Table):
    """A table where something happens right after the page of a query with a number, counted from 0."""

    @classmethod
    def of(cls, table: Table, number: int, happens: Callable[[], None]) -> Meddling:
        made = cls(table.client, table.name, table.key)
        # The table's fields are frozen; a count is safe for threads.
        made.__dict__.update(calls=itertools.count(), number=number, happens=happens)
        return made

    def pages(self, *given: Any, **named: Any) -> Any:
        meddling = self.__dict__
        for page in super().pages(*given, **named):
            if next(meddling["calls"]) == meddling["number"]:
                meddling["happens"]()
            yield page


def page(yard: Yard, wanted: JobQuery, offset: int = 0, limit: int = 100) -> tuple[list[int], int, bool]:
    found = yard.lists.page(wanted, offset, limit)
    return [job.id for job in found.jobs], found.total, found.exact


class TestPages:
    def test_newest_first_over_all_shards_and_labels(self, yard: Yard, topic: str) -> None:
        states = itertools.cycle(State)
        jobs = [make(yard, topic, NOW + age // 2, state=next(states)) for age in range(13)]
        assert min(in_shards(jobs).values()) >= 6
        newest_first = [job.id for job in sorted(jobs, key=lambda j: (j.created_at_ms, j.id), reverse=True)]
        wanted = JobQuery(Kind.MESSAGE, topic)

        becomes((newest_first, 13, True), lambda: page(yard, wanted))

        for size in (1, 4, 5, 13):
            pages = [page(yard, wanted, start, size) for start in range(0, 13, size)]
            assert [ids for ids, _, _ in pages] == [newest_first[start : start + size] for start in range(0, 13, size)]
            assert {(total, exact) for _, total, exact in pages} == {(13, True)}
        assert page(yard, wanted, 13, 5) == ([], 13, True)
        assert page(yard, replace(wanted, descending=False), 2, 4)[0] == newest_first[::-1][2:6]

    def test_each_page_holds_the_whole_records(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age, priority=age, body='{"input":1}') for age in range(3)]
        becomes(
            JobPage(jobs[::-1], 3, True), lambda: yard.lists.page(JobQuery(Kind.MESSAGE, topic), offset=0, limit=10)
        )

    def test_a_stream_is_read_in_pages_of_any_size(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age) for age in range(9)]
        wanted = JobQuery(Kind.MESSAGE, topic)
        becomes(9, lambda: yard.lists.count(wanted))
        for size in (1, 2, 100):
            assert list(yard.lists.ids(wanted, size)) == [job.id for job in reversed(jobs)]

    def test_an_empty_list(self, yard: Yard, topic: str) -> None:
        assert page(yard, JobQuery(Kind.MESSAGE, topic)) == ([], 0, True)


class TestWhatIsWanted:
    def test_some_labels(self, yard: Yard, topic: str) -> None:
        by_state = {state: make(yard, topic, NOW, state=state) for state in State}
        replayed = make(yard, topic, NOW, state=State.FAILED, replayed_at_ms=NOW, replayed_as=1)
        place(yard, replayed)
        yard.jobs.table.update(state_key(replayed.id), Change((), sets=index_keys(yard, replayed, "replayed")))

        def ids(*under: str) -> set[int]:
            return set(page(yard, JobQuery(Kind.MESSAGE, topic, under))[0])

        becomes({replayed.id}, lambda: ids("replayed"))
        for state, job in by_state.items():
            assert ids(state.value) == {job.id}
        assert ids(*index_keys_of(State.FAILED)) == {by_state[State.FAILED].id, replayed.id}
        assert ids(*index_keys_of(State.PENDING, State.RUNNING)) == {
            by_state[s].id for s in (State.PENDING, State.RUNNING)
        }
        assert ids(*INDEX_KEYS) == {job.id for job in (*by_state.values(), replayed)}

    def test_a_span_includes_both_ends(self, yard: Yard, topic: str) -> None:
        for age in range(5):
            make(yard, topic, NOW + age)
        wanted = JobQuery(Kind.MESSAGE, topic)
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
        wanted = JobQuery(Kind.MESSAGE, topic, since_ms=NOW + 3, until_ms=NOW + 1)
        assert page(yard, wanted) == ([], 0, True)
        assert page(yard, replace(wanted, matches=lambda job: job.priority == 0)) == ([], 0, True)

    def test_all_types_of_a_kind(self, yard: Yard, day_ms: int) -> None:
        tasks = [
            make(yard, f"type-{n}", day_ms + n, kind=Kind.TASK, state=State.RUNNING if n % 3 else State.WAITING)
            for n in range(6)
        ]
        message = make(yard, "type-0", day_ms)
        span = {"since_ms": day_ms, "until_ms": day_ms + DAY_MS}

        becomes(([job.id for job in reversed(tasks)], 6, True), lambda: page(yard, JobQuery(Kind.TASK, **span)))
        assert page(yard, JobQuery(Kind.TASK, None, ("waiting",), **span))[0] == [tasks[3].id, tasks[0].id]
        assert page(yard, JobQuery(Kind.MESSAGE, **span))[0] == [message.id]

    def test_both_kinds_are_one_list(self, yard: Yard, topic: str, day_ms: int) -> None:
        kinds, states = itertools.cycle(Kind), itertools.cycle((State.SUCCESS, State.SUCCESS, State.FAILED))
        jobs = [make(yard, topic, day_ms + age, kind=next(kinds), state=next(states)) for age in range(9)]
        newest_first = [job.id for job in jobs[::-1]]
        of_type = JobQuery(None, topic)
        becomes((newest_first, 9, True), lambda: page(yard, of_type))
        at_rest = JobQuery(None, index_keys=("success",), since_ms=day_ms, until_ms=day_ms + 9)
        succeeded = [job.id for job in jobs[::-1] if job.state is State.SUCCESS]
        assert page(yard, at_rest) == (succeeded, 6, True)
        assert list(walked(yard, of_type, 4)) == chunked(newest_first, 4)
        assert +yard.lists.counts(of_type, 100) == {"success": 6, "failed": 3}

    @pytest.mark.parametrize("state", [State.PENDING, State.RUNNING])
    @pytest.mark.parametrize("descending", [True, False])
    def test_what_no_index_holds_together_is_merged_from_all_types(
        self, yard: Yard, day_ms: int, state: State, descending: bool
    ) -> None:
        """Jobs of several types, some of one moment, some with the keys of an earlier version; by pages and cursors."""
        put: list[Callable[[Yard, Job], Job]] = [place, place_as_before]
        jobs = [
            put[n % 2](yard, job_of(yard, type=f"kind-{n % 3}", created_at_ms=day_ms + n // 4, state=state))
            for n in range(12)
        ]
        others = [make(yard, "kind-0", day_ms, state=other) for other in State if other is not state]
        make(yard, "kind-0", day_ms, kind=Kind.TASK, state=state)
        span = {"since_ms": day_ms, "until_ms": day_ms + DAY_MS, "descending": descending}
        wanted = JobQuery(Kind.MESSAGE, index_keys=(state.value,), **span)
        in_order = [job.id for job in sorted(jobs, key=lambda j: (j.created_at_ms, j.id), reverse=descending)]

        becomes((in_order, 12, True), lambda: page(yard, wanted))

        assert page(yard, wanted, 5, 4) == (in_order[5:9], 12, True)
        for size in (1, 5, 12):
            assert list(walked(yard, wanted, size)) == chunked(in_order, size)
        assert list(yard.lists.ids(wanted)) == in_order
        assert [job.id for job in yard.lists.part(wanted, 3, 3)] == in_order[3:6]
        of_one = [job.id for job in jobs if job.type == "kind-1"]
        assert (yard.lists.count(replace(wanted, type="kind-1")), len(of_one)) == (4, 4)
        assert set(page(yard, replace(wanted, type="kind-1"))[0]) == set(of_one)
        everything = replace(wanted, index_keys=INDEX_KEYS)
        becomes(12 + len(others), lambda: yard.lists.count(everything))
        assert set(page(yard, everything)[0]) == {*in_order, *(job.id for job in others)}

    @pytest.mark.parametrize(
        "odd",
        ["x#pending", "x#pending#0", "заказ.создан", "a b/c?d=e&f", "订单", "x" * 400, "{state}", ":key", "'\"\\"],
    )
    def test_odd_types_stay_apart(self, yard: Yard, topic: str, odd: str) -> None:
        plain = make(yard, topic, NOW)
        strange = make(yard, f"{topic}{odd}"[:400], NOW)
        other = make(yard, f"{topic}{odd}"[:399] + "~", NOW)
        for job in (plain, strange, other):
            becomes([job.id], lambda job=job: page(yard, JobQuery(Kind.MESSAGE, job.type))[0])


class TestFiltersAndOrders:
    def test_a_filter_that_no_index_answers(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age, priority=age % 3) for age in range(9)]
        wanted = JobQuery(Kind.MESSAGE, topic, matches=lambda job: job.priority == 1)
        matching = [jobs[7].id, jobs[4].id, jobs[1].id]
        becomes((matching, 3, True), lambda: page(yard, wanted))
        assert page(yard, wanted, 1, 1) == ([jobs[4].id], 3, True)
        assert page(yard, replace(wanted, descending=False)) == (matching[::-1], 3, True)

    @pytest.mark.parametrize("descending", [True, False])
    def test_another_order(self, yard: Yard, topic: str, descending: bool) -> None:
        jobs = [make(yard, topic, NOW + age, priority=(age * 5) % 7) for age in range(7)]
        wanted = JobQuery(Kind.MESSAGE, topic, order=BY_PRIORITY, descending=descending)
        by_priority = [job.id for job in sorted(jobs, key=lambda job: job.priority, reverse=descending)]
        becomes((by_priority, 7, True), lambda: page(yard, wanted))
        assert page(yard, wanted, 2, 3) == (by_priority[2:5], 7, True)

    def test_only_the_newest_are_looked_at(self, yard: Yard, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
        jobs = [make(yard, topic, NOW + age, priority=-age) for age in range(8)]
        becomes(8, lambda: yard.lists.count(JobQuery(Kind.MESSAGE, topic)))
        monkeypatch.setattr(job_lists, "WINDOW", 5)
        newest = [job.id for job in jobs[3:]]
        wanted = JobQuery(Kind.MESSAGE, topic, order=BY_PRIORITY)
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
        wanted = JobQuery(Kind.MESSAGE, topic)
        for number in range(1, 10):
            make(yard, topic, NOW + number, state=State.PENDING if number % 2 else State.SUCCESS)
            becomes((min(number, 6), number <= 6), lambda: page(yard, wanted)[1:])
        assert len(page(yard, wanted)[0]) == 9  # counting ends there, paging does not

    def test_the_partitions_share_what_is_counted(
        self, yard: Yard, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = [make(yard, topic, NOW + age, state=State.SUCCESS) for age in range(40)]
        assert min(in_shards(jobs).values()) > 15
        wanted = JobQuery(Kind.MESSAGE, topic)
        becomes(40, lambda: yard.lists.count(wanted))
        monkeypatch.setattr(job_lists, "WINDOW", 10)
        asked: list[int] = []
        counting = Table.count
        monkeypatch.setattr(
            Table,
            "count",
            lambda *given, enough, **named: asked.append(enough) or counting(*given, enough=enough, **named),
        )
        assert yard.lists.count(wanted) == 11
        assert asked == [1] * 14 + [6] * 2  # 11 among 14 partitions, then among the two that had more


@pytest.fixture
def alone(ground: Ground) -> Yard:
    """A yard on tables of its own: an emulator looks at every record at each of the thousands of queries."""
    return ground.another().bench().yard


class TestStretches:
    def test_a_walk_by_place_shows_what_pages_show(self, alone: Yard, topic: str) -> None:
        yard = alone
        states = itertools.cycle((State.PENDING, State.SUCCESS, State.FAILED))
        jobs = [make(yard, topic, NOW + age // 2, state=next(states), priority=age % 3) for age in range(12)]
        ids = [job.id for job in sorted(jobs, key=lambda j: (j.created_at_ms, j.id), reverse=True)]
        wanted = JobQuery(Kind.MESSAGE, topic)
        becomes(ids, lambda: page(yard, wanted)[0])
        by_priority = sorted(ids, key=lambda found: -next(job.priority for job in jobs if job.id == found))
        odd = {job.id for job in jobs if job.priority == 1}
        lists = {
            "newest": (wanted, ids),
            "oldest": (replace(wanted, descending=False), ids[::-1]),
            "some labels": (
                replace(wanted, index_keys=("success", "failed")),
                [j for j in ids if state_of(jobs, j) != "pending"],
            ),
            "a filter": (replace(wanted, matches=lambda job: job.id in odd), [j for j in ids if j in odd]),
            "a filter, oldest": (
                replace(wanted, matches=lambda job: job.id in odd, descending=False),
                [j for j in ids[::-1] if j in odd],
            ),
            "an order": (replace(wanted, order=BY_PRIORITY), by_priority),
        }
        for name, (listed, expected) in lists.items():
            for size in (1, 3, 4, 12):
                assert list(walked(yard, listed, size)) == chunked(expected, size), (name, size)

    def test_a_page_by_number_says_where_it_ends(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age) for age in range(7)]
        ids = [job.id for job in reversed(jobs)]
        wanted = JobQuery(Kind.MESSAGE, topic)
        becomes(ids, lambda: page(yard, wanted)[0])
        for listed in (
            wanted,
            replace(wanted, matches=lambda _: True),
            replace(wanted, order=Order("position", position_of)),
        ):
            second = yard.lists.page(listed, 2, 3)
            assert [job.id for job in second.jobs] == ids[2:5]
            third = yard.lists.cursor_page(listed, 3, second.next)
            assert ([job.id for job in third.jobs], third.next) == (ids[5:], None)
            assert yard.lists.page(listed, 4, 3).next is None

    def test_a_trace_is_a_list_too(self, yard: Yard, topic: str) -> None:
        first = make(yard, topic, NOW)
        others = [make(yard, f"{topic}.{age % 2}", NOW + age, trace_id=first.trace_id) for age in range(1, 6)]
        make(yard, topic, NOW + 9)
        make(yard, topic, NOW + 9, kind=Kind.TASK, trace_id=first.trace_id)
        ids = [job.id for job in (*others[::-1], first)]
        wanted = JobQuery(Kind.MESSAGE, trace_id=first.trace_id)
        becomes((ids, 6, True), lambda: page(yard, wanted))
        for size in (1, 2, 6):
            assert list(walked(yard, wanted, size)) == chunked(ids, size)
        assert page(yard, replace(wanted, type=f"{topic}.1"))[0] == [others[4].id, others[2].id, others[0].id]
        assert page(yard, replace(wanted, type=topic)) == ([first.id], 1, True)
        assert page(yard, replace(wanted, index_keys=("success",))) == ([], 0, True)
        assert page(yard, replace(wanted, since_ms=NOW + 2, until_ms=NOW + 3))[0] == [others[2].id, others[1].id]

    def test_a_target_is_a_list_too(self, yard: Yard, topic: str) -> None:
        def about(target: str, age: int, **fields: Any) -> Job:
            return make(yard, f"{topic}.{age % 2}", NOW + age, kind=Kind.TASK, target_id=target, **fields)

        states = itertools.cycle(State)
        jobs = [about(topic, age, state=next(states), target_type=f"t{age % 3}") for age in range(6)]
        about(f"{topic}#0", 7)
        ids = [job.id for job in reversed(jobs)]
        wanted = JobQuery(Kind.TASK, target_id=topic)
        becomes((ids, 6, True), lambda: page(yard, wanted))
        for size in (1, 4, 6):
            assert list(walked(yard, wanted, size)) == chunked(ids, size)
        assert page(yard, replace(wanted, descending=False), 1, 2) == ([jobs[1].id, jobs[2].id], 6, True)
        assert page(yard, replace(wanted, type=f"{topic}.1")) == ([jobs[n].id for n in (5, 3, 1)], 3, True)
        assert page(yard, replace(wanted, index_keys=(jobs[4].state.value,))) == ([jobs[4].id], 1, True)
        assert page(yard, replace(wanted, matches=lambda job: job.target_type == "t2"))[0] == [jobs[5].id, jobs[2].id]
        assert page(yard, replace(wanted, since_ms=NOW + 2, until_ms=NOW + 3)) == ([jobs[3].id, jobs[2].id], 2, True)
        yard.jobs.delete(jobs[2], NOW // 1_000 + 60)
        becomes(ids[:3] + ids[4:], lambda: list(yard.lists.ids(wanted)))

    def test_a_list_about_a_target_reads_nothing_else(self, yard: Yard, topic: str) -> None:
        for age in range(12):
            make(yard, topic, NOW + age, kind=Kind.TASK, target_id=f"{topic}-{age % 4}")
        wanted = JobQuery(Kind.TASK, topic, ("pending",), target_id=f"{topic}-3")
        becomes(3, lambda: len(page(yard, wanted)[0]))
        with requests(yard) as seen:
            yard.lists.page(wanted, 0, 10)
        assert Counter(seen) == {"Query": 1, "BatchGetItem": 1}
        with requests(yard) as seen:
            yard.lists.page(replace(wanted, type=None, index_keys=INDEX_KEYS), 0, 10)
        assert Counter(seen) == {"Query": 1, "BatchGetItem": 1}  # a page that holds all is not counted once more

    def test_a_filter_that_finds_little_goes_on_in_bounded_steps(
        self, yard: Yard, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = [make(yard, topic, NOW + age) for age in range(10)]
        wanted = JobQuery(Kind.MESSAGE, topic, matches=lambda job: job.id == jobs[0].id)
        becomes(10, lambda: yard.lists.count(wanted))
        monkeypatch.setattr(job_lists, "WINDOW", 4)
        monkeypatch.setattr(job_lists, "READ_CHUNK", 2)
        first = yard.lists.page(wanted, 0, 5)
        assert (first.jobs, first.total, first.exact) == ([], 0, False)
        second = yard.lists.cursor_page(wanted, 5, first.next)
        assert second == CursorPage([], position_of(jobs[2]), looked=4, complete=False)
        assert yard.lists.cursor_page(wanted, 5, second.next) == CursorPage([jobs[0]], None, looked=2)

    def test_a_page_at_any_depth_takes_the_same_requests(self, yard: Yard, topic: str) -> None:
        states = itertools.cycle((State.PENDING, State.SUCCESS, State.SUCCESS))
        jobs = [make(yard, topic, NOW + age, state=next(states)) for age in range(90)]
        wanted = JobQuery(Kind.MESSAGE, topic)
        becomes(90, lambda: yard.lists.count(wanted))
        streams = 2 * (len(INDEX_KEYS) + 1)  # two shards; pending twice
        for depth in (1, 40, 80):
            with requests(yard) as seen:
                found = yard.lists.cursor_page(wanted, 10, position_of(jobs[90 - depth]))
            assert [job.id for job in found.jobs] == [job.id for job in jobs[::-1][depth : depth + 10]]
            assert Counter(seen) == {"Query": streams, "BatchGetItem": 1}
        with requests(yard) as seen:
            yard.lists.cursor_page(replace(wanted, index_keys=("success",)), 10, position_of(jobs[5]))
        assert Counter(seen) == {"Query": 2, "BatchGetItem": 1}


class TestWhatMoved:
    def test_a_job_is_listed_where_it_is_now(self, yard: Yard, topic: str) -> None:
        job = make(yard, topic, NOW)
        becomes([job.id], lambda: page(yard, JobQuery(Kind.MESSAGE, topic, ("pending",)))[0])
        yard.jobs.cancel(job, NOW)
        becomes([job.id], lambda: page(yard, JobQuery(Kind.MESSAGE, topic, ("canceled",)))[0])
        becomes(([], 0, True), lambda: page(yard, JobQuery(Kind.MESSAGE, topic, ("pending",))))

    def test_a_page_is_filled_while_there_are_more(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age) for age in range(12)]
        wanted = JobQuery(Kind.MESSAGE, topic, ("pending",))
        becomes(12, lambda: yard.lists.count(wanted))
        for age in (11, 9, 8, 4, 0):  # the index still shows them
            yard.jobs.table.update(state_key(jobs[age].id), Change((), sets={"state": "running"}))
        left = [jobs[age].id for age in (10, 7, 6, 5, 3, 2, 1)]
        assert list(walked(yard, wanted, 3)) == [left[:3], left[3:6], left[6:]]
        assert page(yard, wanted, 0, 5)[0] == left[:5]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("pending", "running"),
            ("running", "success"),
            ("running", "pending"),
            ("failed", "replayed"),
            ("failed", "pending"),
        ],
    )
    def test_a_job_that_moves_while_a_page_is_read_is_on_it_once(
        self, yard: Yard, topic: str, before: str, after: str
    ) -> None:
        """It moves after the first, the second ... request of the page."""
        wanted = JobQuery(Kind.MESSAGE, topic)
        job = make(yard, topic, NOW, state=State(before))
        stays = make(yard, topic, NOW - 1)
        moved = (
            replace(job, state=State.FAILED, replayed_at_ms=NOW)
            if after == "replayed"
            else replace(job, state=State(after))
        )
        whole = {**yard.jobs.item(moved), **index_keys(yard, moved, after)}
        labelled = {name: value for name, value in whole.items() if value is not None}
        becomes(2, lambda: yard.lists.count(wanted))
        for calls in range(2 * (len(INDEX_KEYS) + 1)):
            place(yard, job)
            table = Meddling.of(yard.jobs.table, calls, lambda: yard.jobs.table.put(labelled))
            found = replace(yard.lists, table=table).cursor_page(wanted, 10)
            assert [found.id for found in found.jobs] == [job.id, stays.id], calls

    @pytest.mark.parametrize("search", [None, Order("id", lambda job: str(job.id))])
    def test_an_index_that_lags_shows_nothing_that_is_not_so(
        self, yard: Yard, topic: str, search: Order | None
    ) -> None:
        stays, moves, goes = (make(yard, topic, NOW + age) for age in range(3))
        wanted = JobQuery(Kind.MESSAGE, topic, ("pending",), order=search)
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

    def test_of_a_trace_that_many_share_the_first(
        self, yard: Yard, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = [make(yard, topic, NOW + age, trace_id=f"many {topic}") for age in range(4)]
        becomes(4, lambda: len(yard.lists.with_trace(f"many {topic}")))
        monkeypatch.setattr(job_lists, "TRACE_MAX_JOBS", 3)
        assert yard.lists.with_trace(f"many {topic}") == [job.id for job in jobs[:3]]

    def test_a_trace_made_here_needs_no_index(self, yard: Yard, topic: str) -> None:
        job = make(yard, topic, NOW)
        becomes([job.id], lambda: page(yard, JobQuery(Kind.MESSAGE, topic))[0])
        assert yard.lists.with_trace(job.trace_id) == []


class TestTheDueIndex:
    def test_the_longest_overdue_first_up_to_now(self, yard: Yard, topic: str, day_ms: int) -> None:
        jobs = {wait: make(yard, topic, NOW, wake_at_ms=day_ms + wait) for wait in (3, 0, 6, 5, 1, 4, 2)}
        ours = {job.id: wait for wait, job in jobs.items()}
        assert len({yard.jobs.shard_of(job_id) for job_id in ours}) > 1
        becomes([0, 1, 2, 3, 4], lambda: [ours[job_id] for job_id in yard.lists.due(day_ms + 4) if job_id in ours])


class TestWalkingWhileOthersWork:
    """A walk by place meets whatever is there from its beginning to its end exactly once."""

    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_what_stays_is_met_exactly_once(self, alone: Yard, data: st.DataObject) -> None:
        yard = alone
        topic = f"walk-{next(numbers)}"
        order = data.draw(st.sampled_from([None, BY_PRIORITY]))
        wanted = JobQuery(Kind.MESSAGE, topic, order=order, descending=data.draw(st.booleans()))
        size = data.draw(st.integers(1, 4))
        ages = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=12))
        there = {job.id: job for age in ages for job in [make(yard, topic, NOW + age, priority=-age % 3)]}
        becomes(len(there), lambda: yard.lists.count(wanted))
        stayed = set(there)
        met: list[int] = []
        behind: Position | None = None
        while met == [] or behind is not None:
            found = yard.lists.cursor_page(wanted, size, behind)
            met += [job.id for job in found.jobs]
            behind = found.next
            for _ in range(data.draw(st.integers(0, 3))):
                self.meanwhile(yard, topic, data, there, stayed)
        assert len(set(met)) == len(met)
        assert stayed <= set(met)

    def meanwhile(self, yard: Yard, topic: str, data: st.DataObject, there: dict[int, Job], stayed: set[int]) -> None:
        """Something is published, moves on, goes back, or is removed."""
        what = data.draw(st.sampled_from(["publish", "success", "running", "pending", "remove"]))
        if what == "publish":
            job = make(yard, topic, NOW + data.draw(st.integers(0, 20)), priority=data.draw(st.integers(0, 2)))
            there[job.id] = job
        elif there:
            chosen = there[data.draw(st.sampled_from(sorted(there)))]
            if what == "remove":
                yard.jobs.delete(place(yard, replace(chosen, state=State.SUCCESS)), NOW)
                stayed.discard(there.pop(chosen.id).id)
            else:
                there[chosen.id] = place(yard, replace(chosen, state=State(what)))


class TestSearch:
    """What the search index finds, on tables that are in use: every test has words of its own."""

    def test_what_has_all_words_in_the_list_s_order_and_page_by_page(self, yard: Yard, topic: str) -> None:
        jobs = [make(yard, topic, NOW + age, kind=Kind.TASK) for age in range(40)]
        common, third, rare = (f"{topic} {word}" for word in ("common", "third", "rare"))
        words = [[common, *([third] if n % 3 == 0 else []), *([rare] if n in (9, 30) else [])] for n in range(40)]
        yard.search.add({position_of(job): found for job, found in zip(jobs, words, strict=True)})
        ids = [job.id for job in jobs]

        for chosen, expected in (
            ((common,), ids),
            ((common, third), ids[::3]),
            ((third, rare, common), [ids[9], ids[30]]),
        ):
            wanted = JobQuery(Kind.TASK, words=chosen)
            becomes((expected[::-1], len(expected), True), lambda w=wanted: page(yard, w, 0, 100))
            assert page(yard, replace(wanted, descending=False), 0, 100) == (expected, len(expected), True)
            assert list(itertools.chain(*walked(yard, wanted, 7))) == expected[::-1]
        assert page(yard, JobQuery(Kind.TASK, words=(common, f"{topic} none"))) == ([], 0, True)
        span = JobQuery(Kind.TASK, words=(common,), since_ms=NOW + 3, until_ms=NOW + 5)
        assert page(yard, span) == (ids[5:2:-1], 3, True)

    def test_what_is_removed_is_found_no_more_and_both_may_be_repeated(self, yard: Yard, topic: str) -> None:
        one, other = (make(yard, topic, NOW + age, kind=Kind.TASK) for age in range(2))
        for _ in range(2):
            yard.search.add({position_of(job): [f"{topic} {n}" for n in range(60)] for job in (one, other)})
        for _ in range(2):
            yard.search.remove([position_of(one)])
        assert yard.search.indexed([position_of(one), position_of(other)]) == {position_of(other)}
        for word in (f"{topic} 0", f"{topic} 59"):
            becomes(([other.id], 1, True), lambda w=word: page(yard, JobQuery(Kind.TASK, words=(w,))))

    def test_a_rare_word_beside_a_common_one_costs_what_the_rare_one_does(self, yard: Yard, topic: str) -> None:
        one = make(yard, topic, NOW, kind=Kind.TASK)
        others = [job_of(yard, created_at_ms=NOW + age) for age in range(-200, 200)]
        common, rare = f"{topic} common", f"{topic} rare"
        yard.search.add({position_of(job): [common] for job in others} | {position_of(one): [common, rare]})
        wanted = JobQuery(Kind.TASK, words=(common, rare))
        becomes(([one.id], 1, True), lambda: page(yard, wanted))
        with requests(yard) as asked:
            assert page(yard, wanted) == ([one.id], 1, True)
        assert asked.count("Query") <= 10  # of each word in each of four shards, and once more where they meet
