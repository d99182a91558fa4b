"""Which types lists over all types are merged from, and what it takes that a type is known."""

from __future__ import annotations

import pytest

from chalicelib.core.job import MANUAL
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.store import job_lists
from chalicelib.store.job_queries import JobQuery
from tests.support.steps import a_message, a_task, counting, using, work
from tests.support.worlds import World

HOUR_MS = 3_600_000


@task("declared")
def run(value: object) -> None:
    del value


@subscribe("news")
def hear(value: object) -> None:
    del value


@pytest.fixture
def w(w: World) -> World:
    using(w, run, hear)
    return w


def listed(w: World, kind: Kind, *index_keys: str) -> list[int]:
    """The ids of a list over all types, oldest first."""
    page = w.yard.lists.page(JobQuery(kind, index_keys=index_keys, descending=False), 0, 100)
    assert page.total == len(page.jobs)
    return [job.id for job in page.jobs]


def test_a_job_of_any_type_is_listed_at_once(w: World) -> None:
    """Before anything is counted: of a type that is declared, of one without a handler, of topics that are polled."""
    tasks = [a_task(w, "declared"), a_task(w, "by hand", runner=MANUAL)]
    messages = [a_message(w, "news"), a_message(w, "polled"), a_message(w, "late", delay_ms=HOUR_MS)]
    for new_job in (
        NewJob(kind=Kind.MESSAGE, type="of a bulk"),
        NewJob(kind=Kind.MESSAGE, type="late", delay_ms=HOUR_MS),
    ):
        messages += publish_many(w.yard, [new_job])
    assert listed(w, Kind.TASK, "pending") == [job.id for job in tasks]
    assert listed(w, Kind.MESSAGE, "pending") == [job.id for job in messages]


def test_a_type_is_noted_once_a_process_and_never_if_it_is_declared(w: World) -> None:
    with counting(w) as calls:
        for _ in range(3):
            a_task(w, "by hand", runner=MANUAL)
    assert calls == {"UpdateItem": 1 + 1, "PutItem": 3}  # the type, and a block of ids
    with counting(w) as calls:
        a_task(w, "declared")
    assert calls == {"GetQueueUrl": 1, "SendMessage": 1, "PutItem": 1}


def test_jobs_of_a_handler_that_is_no_more_are_listed_once_they_were_counted(w: World) -> None:
    job = a_task(w, "declared")
    w.project()
    w.restart(Registry.of([hear]))
    assert listed(w, Kind.TASK, "pending") == [job.id]


def test_of_very_many_types_those_are_passed_over_of_which_nothing_is_on_its_way(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, waits, counted_late = (a_task(w, name, runner=MANUAL) for name in ("done", "waits", "late"))
    w.yard.jobs.cancel(done, w.yard.now_ms())
    w.project()
    again = a_task(w, "done", runner=MANUAL)
    everything = {"declared", "done", "waits", "late"}
    assert set(w.yard.job_types.of(Kind.TASK, most=4)) == everything
    monkeypatch.setattr(job_lists, "TYPES_MAX", 3)
    new = a_task(w, "new", runner=MANUAL)

    assert set(w.yard.job_types.of(Kind.TASK, most=3)) == everything - {"done"} | {"new"}
    assert set(w.yard.job_types.of(Kind.TASK, most=None)) == everything | {"new"}
    assert listed(w, Kind.TASK, "pending") == [waits.id, counted_late.id, new.id]
    assert set(w.yard.lists.ids(JobQuery(Kind.TASK))) == {done.id, waits.id, counted_late.id, again.id, new.id}
    w.project()
    assert listed(w, Kind.TASK, "pending") == [waits.id, counted_late.id, again.id, new.id]


def test_what_runs_is_listed_and_what_ran_rests(w: World) -> None:
    job = a_task(w, "declared")
    seen: list[list[int]] = []
    using(w, task("declared")(lambda _: seen.append(listed(w, Kind.TASK, "running"))))
    work(w)
    assert seen == [[job.id]]
    assert (listed(w, Kind.TASK, "running"), listed(w, Kind.TASK, State.SUCCESS)) == ([], [job.id])
