"""The contract of what decides whose turn it is: occupancies, shelves, pauses, and the aliases of pools."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.core.flow import Rate
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.limits import NOTHING, Concurrency, Limit, count_of_schedule
from chalicelib.core.reasons import Place
from chalicelib.core.states import Kind
from chalicelib.engine.yard import Yard
from chalicelib.store.concurrency import Census, Count
from chalicelib.store.controls import Controls, CountControls, find_controls
from chalicelib.store.flow_settings import UNCHANGED, FlowSetting
from chalicelib.store.pauses import Pause
from chalicelib.store.table import TransactionRefused
from chalicelib.store.wait_lists import of_type
from tests.support.backends import Ground
from tests.support.ledger import NOW, job_of

names = (f"type-{number}" for number in itertools.count())
ONE = Concurrency(running=1, unfinished=1)


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables."""
    return ground.bench().yard


class TestOccupancies:
    def test_changes_of_one_type_are_one_and_what_cancels_out_is_none(self, yard: Yard) -> None:
        first, second = next(names), next(names)
        changes = [
            Count(first, ONE),
            Count(second, ONE),
            Count(first, Concurrency(running=-1, unfinished=2)),
            Count(second, Concurrency(running=-1, unfinished=-1)),
        ]
        yard.concurrency.transact(changes)
        assert yard.concurrency.of(first) == Concurrency(0, 3)
        assert yard.concurrency.of(second) == Concurrency()
        assert set(yard.concurrency.types()) >= {first}

    def test_a_bound_holds_for_what_grows_and_says_which_action_was_refused(self, yard: Yard) -> None:
        name, limit = next(names), Limit(concurrency=1, size=2)
        yard.concurrency.transact([Count(name, ONE, limit)])
        job = job_of(yard)
        actions = [*yard.jobs.recording(job), Count(name, Concurrency(unfinished=-1)), Count(name, ONE, limit)]
        with pytest.raises(TransactionRefused) as refused:
            yard.concurrency.transact(actions)
        assert refused.value.refused == [False, True, True]
        assert (yard.concurrency.of(name), yard.jobs.find(job.id)) == (ONE, None)
        yard.concurrency.transact([Count(name, Concurrency(unfinished=1), limit)])
        with pytest.raises(TransactionRefused):
            yard.concurrency.transact([Count(name, Concurrency(unfinished=1), limit)])
        yard.concurrency.transact([Count(name, Concurrency(unfinished=1))])  # without a bound: an explicit retry
        assert yard.concurrency.of(name) == Concurrency(1, 3)

    def test_of_many_at_once_no_more_get_a_slot_than_there_are(self, ground: Ground, yard: Yard) -> None:
        name, limit = next(names), Limit(concurrency=3)

        def take(_: int) -> bool:
            try:
                yard.concurrency.transact([Count(name, Concurrency(running=1), limit)])
            except TransactionRefused:
                return False
            return True

        with ThreadPoolExecutor(ground.threads()) as workers:
            assert sum(workers.map(take, range(16))) == 3
        assert yard.concurrency.of(name) == Concurrency(3, 0)
        yard.concurrency.transact([Count(name, running=3)])
        with pytest.raises(TransactionRefused):
            yard.concurrency.transact([Count(name, running=4)])


class TestShelves:
    def test_the_first_comes_first_and_is_taken_once(self, yard: Yard) -> None:
        wait_list = of_type(next(names))
        jobs = [job_of(yard, priority=priority, created_at_ms=NOW - age) for priority, age in ((0, 2), (0, 9), (9, 1))]
        yard.concurrency.transact([yard.wait_lists.putting(wait_list, job) for job in jobs])
        entries = yard.wait_lists.first(wait_list, 10)
        assert [entry.job_id for entry in entries] == [jobs[2].id, jobs[1].id, jobs[0].id]
        assert yard.wait_lists.first(wait_list, 1) == entries[:1]
        assert [yard.wait_lists.place_of(wait_list, job) for job in jobs] == [Place(2), Place(1), Place(0)]
        yard.concurrency.transact([yard.wait_lists.taking(entries[0])])
        with pytest.raises(TransactionRefused):
            yard.concurrency.transact([yard.wait_lists.taking(entries[0])])
        yard.wait_lists.discard(entries[0])
        yard.wait_lists.discard(entries[1])
        assert yard.wait_lists.first(wait_list, 10) == entries[2:]


class TestPauses:
    def test_a_pause_is_in_force_until_it_is_ended_and_there_until_it_is_forgotten(self, yard: Yard) -> None:
        target = f"type#{next(names)}"
        assert not yard.pauses.end(target)
        yard.pauses.begin(target, NOW, "ops")
        yard.pauses.begin(target, NOW + 5, "dev")
        yard.concurrency.transact([yard.pauses.in_force(target)])
        assert Pause(target, NOW, by="ops") in yard.pauses.all(consistent=True)
        yard.pauses.forget(target)  # refused: it is in force
        assert yard.pauses.end(target)
        assert Pause(target, NOW, resuming=True, by="ops") in yard.pauses.all(consistent=True)
        with pytest.raises(TransactionRefused):
            yard.concurrency.transact([yard.pauses.in_force(target)])
        yard.pauses.forget(target)
        assert target not in {pause.target for pause in yard.pauses.all(consistent=True)}

    def test_what_keeps_a_job_is_found_in_one_read(self, yard: Yard) -> None:
        name = next(names)
        target, other = f"type#{name}", f"queue#{name}"
        table = yard.directory.table
        nothing = CountControls(Census(NOTHING, frozenset()), UNCHANGED, 0)
        assert find_controls(table, (target, other), (name,), None) == Controls((), (nothing,), None)
        yard.pauses.begin(other, NOW, "ops")
        yard.pauses.begin(target, NOW + 5, "dev")
        setting = FlowSetting(FlowTarget(Kind.TASK, name, "k"), FlowControls(3, Rate(1, per_s=2)), NOW, "ops")
        yard.flow_settings.put(setting)
        schedule, key = count_of_schedule(name), setting.target.count
        yard.concurrency.transact([Count(name, ONE, holder=7), Count(schedule, Concurrency(2, 2))])
        yard.concurrency.transact([yard.rates.taking(key, Rate(1, per_s=2), NOW * 1_000)])
        pauses = (Pause(other, NOW, by="ops"), Pause(target, NOW + 5, by="dev"))
        own = CountControls(Census(ONE, frozenset({7})), UNCHANGED, 0)
        of_key = CountControls(Census(NOTHING, frozenset()), setting, (NOW + 2_000) * 1_000)
        found = find_controls(table, (target, other), (name, key), None)
        assert found == Controls(pauses, (own, of_key), None)
        of_schedule = CountControls(Census(Concurrency(2, 2), frozenset()), UNCHANGED, 0)
        assert find_controls(table, (target,), (schedule,), "nobody") == Controls(pauses[1:], (of_schedule,), None)


class TestAliases:
    def test_a_number_is_one_jobs_until_it_is_dropped_or_inherited(self, yard: Yard) -> None:
        name = next(names)
        yard.concurrency.transact([yard.directory.aliasing(name, 7, 41)])
        yard.concurrency.transact([yard.directory.aliasing(name, 7, 41)])  # again, after a lost answer
        with pytest.raises(TransactionRefused) as refused:
            yard.concurrency.transact([yard.directory.aliasing(name, 7, 42)])
        assert (refused.value.old[0] or {})["job"] == 41
        yard.concurrency.transact([yard.directory.aliasing(name, 7, 42, instead_of=41)])
        yard.directory.drop_alias(name, 7, 41)  # it is another's by now
        assert yard.directory.aliased(name, 7) == 42
        yard.directory.drop_alias(name, 7, 42)
        assert yard.directory.aliased(name, 7) is None
