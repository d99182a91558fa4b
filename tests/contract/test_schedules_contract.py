"""The contract of the schedules: names, revisions, what is due in order, and what became of their slots."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.schedules import Schedule, SkipReason
from chalicelib.core.slots import Skip
from chalicelib.core.states import Kind
from chalicelib.engine.yard import Yard
from chalicelib.store.schedules import DUE_SHARDS, Declared, Due, RunItem
from chalicelib.store.table import TransactionRefused
from tests.support.backends import Ground
from tests.support.ledger import NOW
from tests.support.waiting import becomes

NOW_S = NOW // 1_000
NEW = 0  # which action of a change is the schedule's own
numbers = itertools.count()


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables."""
    return ground.bench().yard


@pytest.fixture
def name() -> str:
    """A name that begins as no other test's does."""
    return f"test-{next(numbers):03d}"


def schedule_of(name: str, **more: Any) -> Schedule:
    fields: dict[str, Any] = {
        "uid": f"uid of {name}",
        "every_ms": 60_000,
        "kind": Kind.TASK,
        "work": {"type": "t", "input": {"n": 1.5, "none": None, "": [True]}},
        "next_ms": NOW,
        "created_at_ms": NOW,
        "updated_at_ms": NOW,
    }
    return Schedule(name=name, **{**fields, **more})


def make(yard: Yard, name: str, **more: Any) -> Schedule:
    made = schedule_of(name, **more)
    yard.schedules.transact(yard.schedules.changing(None, made))
    return made


def due(yard: Yard, prefix: str, until_ms: int) -> list[Due]:
    found = [each for shard in range(DUE_SHARDS) for each in yard.schedules.due(shard, until_ms, page_size=2)]
    return [each for each in found if each.name.startswith(prefix)]


class TestDefinitions:
    def test_what_is_made_is_found_whole(self, yard: Yard, name: str) -> None:
        made = make(yard, name, zone="Asia/Shanghai", cron="0 3 * * *", every_ms=None, max_runs=3, runs=1)
        assert yard.schedules.find(name) == made
        assert yard.schedules.find(f"{name}-not") is None

    def test_a_name_is_taken_once(self, yard: Yard, name: str) -> None:
        made = make(yard, name)
        with pytest.raises(TransactionRefused) as refused:
            make(yard, name, uid="another", next_ms=NOW + 1)
        assert refused.value.refused[NEW]
        assert yard.schedules.find(name) == made
        becomes([Due(NOW, name)], lambda: due(yard, name, NOW + 1))

    def test_a_change_needs_the_revision_that_was_seen(self, yard: Yard, name: str) -> None:
        made = make(yard, name)
        changed = replace(made, revision=2, work={"type": "other"})
        yard.schedules.transact(yard.schedules.changing(made, changed))
        for stale in (made, replace(changed, uid="another")):
            for after in (replace(stale, revision=3), None):
                with pytest.raises(TransactionRefused) as refused:
                    yard.schedules.transact(yard.schedules.changing(stale, after))
                assert refused.value.refused[NEW]
        assert yard.schedules.find(name) == changed

    def test_of_many_who_change_it_at_once_one_does(self, ground: Ground, yard: Yard, name: str) -> None:
        made = make(yard, name)

        def change(number: int) -> bool:
            after = replace(made, revision=2, runs=number, next_ms=NOW + number)
            try:
                yard.schedules.transact(yard.schedules.changing(made, after))
            except TransactionRefused:
                return False
            return True

        with ThreadPoolExecutor(ground.threads()) as pool:
            changed = list(pool.map(change, range(1, 9)))
        assert sum(changed) == 1
        found = yard.schedules.find(name)
        assert found is not None
        assert found.runs == changed.index(True) + 1
        becomes([Due(NOW + found.runs, name)], lambda: due(yard, name, NOW + 100))

    def test_many_are_read_in_the_order_of_their_names_and_by_name(self, yard: Yard, name: str) -> None:
        made = [make(yard, f"{name}-{letter}") for letter in "cab"]
        names = [f"{name}-{letter}" for letter in "bxc"]
        assert yard.schedules.find_many(names) == [made[2], made[0]]
        assert yard.schedules.after(f"{name}-", 2) == [made[1], made[2]]
        assert yard.schedules.after(f"{name}-b", 1) == [made[0]]
        assert yard.schedules.after("", 1) == yard.schedules.after(" ", 1)

    def test_what_the_code_declares_is_noted_as_a_whole(self, yard: Yard) -> None:
        for declared in (Declared("one", frozenset({"a", "b"})), Declared("two")):
            yard.schedules.note_declared(declared)
            becomes(declared, yard.schedules.declared)


class TestDue:
    def test_the_earliest_come_first_and_none_beyond(self, yard: Yard, name: str) -> None:
        made = [make(yard, f"{name}-{number}", next_ms=NOW + 50 - number) for number in range(20)]
        in_order = sorted(Due(each.next_ms or 0, each.name) for each in made)
        becomes(in_order, lambda: sorted(due(yard, name, NOW + 50)))
        assert sorted(due(yard, name, NOW + 40)) == in_order[: NOW + 41 - in_order[0].at_ms]
        for shard in range(DUE_SHARDS):
            found = list(yard.schedules.due(shard, NOW + 50))
            assert found == sorted(found)

    def test_the_place_among_the_due_goes_with_the_schedule(self, yard: Yard, name: str) -> None:
        seen = make(yard, name)
        for number, (change, expected) in enumerate(
            [
                ({"next_ms": NOW + 5}, [Due(NOW + 5, name)]),
                ({"paused": True}, []),
                ({"paused": False, "next_ms": NOW + 7}, [Due(NOW + 7, name)]),
                ({"next_ms": None}, []),
                ({"next_ms": NOW + 9}, [Due(NOW + 9, name)]),
            ]
        ):
            after = replace(seen, revision=number + 2, **change)
            yard.schedules.transact(yard.schedules.changing(seen, after))
            becomes(expected, lambda: due(yard, name, NOW + 100))
            seen = after
        yard.schedules.transact(yard.schedules.changing(seen, None))
        becomes([], lambda: due(yard, name, NOW + 100))
        assert yard.schedules.find(name) is None


class TestRuns:
    def test_a_slot_has_one_job(self, yard: Yard, name: str) -> None:
        yard.schedules.transact([yard.schedules.noting_run(name, NOW, 7, NOW_S)])
        with pytest.raises(TransactionRefused):
            yard.schedules.transact([yard.schedules.noting_run(name, NOW, 8, NOW_S)])
        assert yard.schedules.runs(name, None, 10) == [RunItem(f"{NOW:013d}", NOW, 7)]

    def test_a_note_is_taken_back_for_its_own_job_only(self, yard: Yard, name: str) -> None:
        yard.schedules.transact([yard.schedules.noting_run(name, NOW, 7, NOW_S)])
        (run,) = yard.schedules.runs(name, None, 10)
        with pytest.raises(TransactionRefused):
            yard.schedules.transact([yard.schedules.forgetting_run(name, replace(run, job_id=8))])
        yard.schedules.transact([yard.schedules.forgetting_run(name, run)])
        assert yard.schedules.runs(name, None, 10) == []

    def test_the_newest_come_first_by_page_and_from_a_time_on(self, yard: Yard, name: str) -> None:
        skips = [Skip(NOW + 2, NOW + 4, 3, SkipReason.MISSED), Skip(NOW + 6, NOW + 9, None, SkipReason.PAUSED)]
        yard.schedules.transact([yard.schedules.noting_run(name, NOW, 7, NOW_S)])
        yard.schedules.transact([yard.schedules.noting_skip(name, skip, NOW_S) for skip in skips])
        yard.schedules.note_request(name, NOW + 6, 9, NOW_S)
        found = yard.schedules.runs(name, None, 10)
        assert found == [
            RunItem(f"{NOW + 6:013d}#9", NOW + 6, 9, by_request=True),
            RunItem(f"{NOW + 6:013d}#0", NOW + 6, skipped=SkipReason.PAUSED, until_ms=NOW + 9),
            RunItem(f"{NOW + 2:013d}#0", NOW + 2, skipped=SkipReason.MISSED, until_ms=NOW + 4, count=3),
            RunItem(f"{NOW:013d}", NOW, 7),
        ]
        assert yard.schedules.runs(name, None, 1) == found[:1]
        assert yard.schedules.runs(name, found[1].position, 10) == found[2:]
        assert yard.schedules.runs_from(name, NOW + 2) == found[:3]
