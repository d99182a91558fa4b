"""Transactions of the ledger: all or nothing, and who refused what. On tables of their own, because moto copies
whole tables for each."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.core.job import JobError, Tombstone
from chalicelib.core.states import Kind, State
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused
from tests.support.backends import Ground
from tests.support.ledger import Membership, difference, index_keys, job_of, membership, parts_of, place, stored
from tests.support.waiting import becomes

ERROR = JobError("ValueError", "no good")


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard with a clock of its own on the module's tables."""
    return ground.bench().yard


def test_a_poll_that_is_noted_twice_as_its_answer_was_lost_counts_once(yard: Yard) -> None:
    job = place(yard, job_of(yard, kind=Kind.TASK, state=State.RUNNING, lease="a"))
    for number in (1, 1, 2):
        result = yard.job_details.noting_poll(job, number, {"result": "pending"})
        yard.jobs.report_poll(job, number, None, result, 9)
    assert (stored(yard, job.id)["poll_count"], len(yard.job_details.poll_results(job))) == (2, 2)


class TestChildren:
    def test_a_child_begins_to_wait(self, yard: Yard) -> None:
        parent = place(yard, job_of(yard, kind=Kind.TASK))
        before = stored(yard, parent.id)

        yard.jobs.together(yard.jobs.adopting(parent.id, 41))
        yard.jobs.together(yard.jobs.adopting(parent.id, 42))

        assert difference(before, stored(yard, parent.id)) == {"has_children": True}
        assert parts_of(yard, parent.id).keys() == {"state", "child#41", "child#42"}
        assert sorted(yard.jobs.children(parent.id)) == [41, 42]
        assert yard.jobs.children(41) == []

    def test_a_parent_that_succeeded_takes_no_child(self, yard: Yard) -> None:
        parent = place(yard, job_of(yard, state=State.SUCCESS))
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together(yard.jobs.adopting(parent.id, 41))
        assert refused.value.ledger == parent
        assert yard.jobs.children(parent.id) == []

    def test_nor_does_one_that_was_deleted(self, yard: Yard) -> None:
        parent = place(yard, job_of(yard, state=State.FAILED))
        yard.jobs.delete(parent, 9)
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together(yard.jobs.adopting(parent.id, 41))
        assert refused.value.ledger == Tombstone(parent.id)
        assert parts_of(yard, parent.id).keys() == {"state"}

    def test_nor_does_one_that_is_not_there(self, yard: Yard) -> None:
        missing = yard.ids.new()
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together(yard.jobs.adopting(missing, 41))
        assert refused.value.ledger is None
        assert parts_of(yard, missing) == {}


class TestReplaying:
    def test_the_dead_letter_is_marked_and_changes_its_label(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        dead = place(yard, job_of(yard, state=State.FAILED, error=ERROR))
        successor = job_of(yard)
        before = stored(yard, dead.id)

        yard.jobs.together([*yard.jobs.recording(successor), *yard.jobs.replaying(dead, successor.id, now_ms)])

        assert difference(before, stored(yard, dead.id)) == {
            **index_keys(yard, dead, "replayed"),
            "replayed_at_ms": now_ms,
            "replayed_as": successor.id,
            "updated_at_ms": now_ms,
        }
        assert yard.jobs.find(successor.id) == successor
        becomes(Membership(("replayed",), ("replayed",), None, by_trace=False), lambda: membership(yard, dead))

    @pytest.mark.parametrize(
        "override", [{"replayed_at_ms": 5, "replayed_as": 6}, *({"state": s} for s in State if s is not State.FAILED)]
    )
    def test_only_a_dead_letter_and_only_once(self, yard: Yard, override: dict[str, Any]) -> None:
        dead = place(yard, job_of(yard, **{"state": State.FAILED, **override}))
        before = stored(yard, dead.id)
        successor = job_of(yard)

        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together([*yard.jobs.recording(successor), *yard.jobs.replaying(dead, successor.id, 7)])

        assert refused.value.refused == [False, True]
        assert refused.value.old == [None, before]
        assert stored(yard, dead.id) == before
        assert stored(yard, successor.id) is None


class TestTransactions:
    def test_the_first_action_is_refused_with_the_record_in_its_way(self, yard: Yard) -> None:
        taken = place(yard, job_of(yard))
        beside = job_of(yard)
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together([*yard.jobs.recording(taken, "body"), *yard.jobs.recording(beside)])
        assert refused.value.ledger == taken
        assert stored(yard, beside.id) is None
        assert parts_of(yard, taken.id).keys() == {"state"}

    def test_a_later_action_is_refused_by_its_place_and_with_the_item_it_met(self, yard: Yard) -> None:
        taken = place(yard, job_of(yard))
        first = job_of(yard)
        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together([*yard.jobs.recording(first, "body"), *yard.jobs.recording(taken)])
        assert refused.value.refused == [False, False, True]
        assert refused.value.old == [None, None, stored(yard, taken.id)]
        assert parts_of(yard, first.id) == {}

    def test_several_refusals_are_told_together(self, yard: Yard) -> None:
        taken = place(yard, job_of(yard))
        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together(
                [
                    *yard.jobs.recording(job_of(yard)),
                    *yard.jobs.recording(taken),
                    *yard.jobs.replaying(taken, 5, yard.now_ms()),
                ][:2]
                + yard.jobs.adopting(987_654_321, 5)[:1]
            )
        assert refused.value.refused == [False, True, True]
        assert refused.value.old == [None, stored(yard, taken.id), None]

    def test_a_hundred_actions_are_done_together(self, yard: Yard) -> None:
        jobs = [job_of(yard) for _ in range(100)]
        yard.jobs.together([action for job in jobs for action in yard.jobs.recording(job)])
        assert yard.jobs.find_many([job.id for job in jobs]) == jobs

    def test_one_of_a_hundred_undoes_them_all(self, yard: Yard) -> None:
        jobs = [job_of(yard) for _ in range(99)]
        taken = place(yard, job_of(yard))
        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together([action for job in (*jobs, taken) for action in yard.jobs.recording(job)])
        assert refused.value.refused == [False] * 99 + [True]
        assert yard.jobs.find_many([job.id for job in jobs]) == []
