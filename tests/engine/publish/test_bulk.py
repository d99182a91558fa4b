"""Many jobs at once under idempotency keys: each key is one job, and costs no transaction of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.store.directory import Directory
from tests.support.steps import counting
from tests.support.worlds import World


def keyed(count: int, kind: Kind = Kind.MESSAGE) -> list[NewJob]:
    return [NewJob(kind=kind, type="news", input=place, idempotency_key=f"key#{place}") for place in range(count)]


def test_forty_nine_share_a_transaction(w: World) -> None:
    publish_many(w.yard, keyed(1))  # which reserves ids and opens the lane
    with counting(w) as calls:
        jobs = publish_many(w.yard, [replace(each, idempotency_key=f"b{each.input}") for each in keyed(98)])
    assert calls == {"BatchGetItem": 1, "TransactWriteItems": 2, "SendMessageBatch": 10, "DeleteItem": 2}
    assert [job.body for job in jobs if isinstance(job, Job)] == [f'{{"input":{place}}}' for place in range(98)]


def test_the_same_again_is_read_a_hundred_at_a_time(w: World) -> None:
    first = publish_many(w.yard, keyed(120))
    with counting(w) as calls:
        again = publish_many(w.yard, keyed(120))
    assert calls == {"BatchGetItem": 4}  # two of keys, two of jobs
    assert [job.id for job in again if isinstance(job, Job)] == [job.id for job in first if isinstance(job, Job)]
    assert len(w.messages()) == 120


def test_what_was_cut_off_is_completed(w: World) -> None:
    first = publish_many(w.yard, keyed(3))
    again = publish_many(w.yard, keyed(5))
    assert again[:3] == first
    assert [job.id for job in w.jobs()] == sorted(job.id for job in again if isinstance(job, Job))


def test_a_key_of_another_request_costs_the_others_nothing(w: World) -> None:
    publish(w.yard, NewJob(kind=Kind.MESSAGE, type="news", input="other", idempotency_key="key#1"))
    good, bad, last = publish_many(w.yard, keyed(3))
    assert isinstance(good, Job)
    assert isinstance(bad, Conflict)
    assert isinstance(last, Job)
    assert len(w.jobs()) == 3


def test_a_key_twice_in_a_bulk_is_one_job(w: World) -> None:
    (first,), (twin,) = keyed(1), keyed(1)
    found, refused, same = publish_many(w.yard, [first, replace(first, input="other"), twin])
    assert isinstance(found, Job)
    assert isinstance(same, Job)
    assert found.id == same.id
    assert isinstance(refused, Conflict)
    assert len(w.jobs()) == 1


def test_a_key_that_is_bound_meanwhile_is_that_job(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[Job] = []
    bindings = Directory.bindings

    def beaten(self: Directory, *given: Any) -> Any:
        found = bindings(self, *given)
        bound.append(publish(w.yard, keyed(2)[1]))
        return found

    monkeypatch.setattr(Directory, "bindings", beaten)
    first, second = publish_many(w.yard, keyed(2))
    assert isinstance(first, Job)
    assert isinstance(second, Job)
    assert second.id == bound[0].id
    assert len(w.jobs()) == 2
    assert w.items("directory", "outbox") == []


def test_an_error_in_the_place_of_a_job_stays(w: World) -> None:
    wrong = InvalidInput("no")
    first, stays, second = publish_many(w.yard, [keyed(2)[0], wrong, keyed(2)[1]])
    assert stays is wrong
    assert [job.state for job in (first, second) if isinstance(job, Job)] == [State.PENDING] * 2
