"""The conservation audit: what does not add up is found within two audits, by its id where one job is missing."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import services
from chalicelib.core.audit import AuditReport, Difference, unaccounted
from chalicelib.core.day_accounts import ENTRIES, Account, account_of
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import DAY_MS
from chalicelib.engine.clock.audit import DAYS, TURN_MS, audit
from chalicelib.engine.commands.lifecycle import cancel, delete
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.engine.sweeping import always
from chalicelib.services import installation
from chalicelib.store.job_items import state_key
from tests.support.steps import a_message, a_task, using, work
from tests.support.worlds import World


@task("t", max_attempts=1)
def obedient(what: Any) -> None:
    if what == "fail":
        raise RuntimeError("no")


@pytest.fixture
def w(w: World) -> World:
    using(w, obedient)
    assert audit(w.yard, always) == 0  # the first of an installation without jobs
    return w


def audited(w: World, day_ms: int) -> AuditReport:
    """The report of the next audit in which it is the turn of a day."""
    now_ms = w.clock.ms
    today_ms = now_ms - now_ms % DAY_MS
    while (today_ms - w.clock.ms // TURN_MS % DAYS * DAY_MS) != day_ms:
        w.clock.move(TURN_MS)
        today_ms = w.clock.ms - w.clock.ms % DAY_MS
    return again(w, 0)


def again(w: World, after_ms: int = TURN_MS) -> AuditReport:
    w.clock.move(after_ms)
    found = audit(w.yard, always)
    report = w.yard.insights.accounts.audited()
    assert report is not None
    assert report.unaccounted == found
    return report


def everything(w: World) -> list[Job]:
    """Jobs in every state but one, and a deleted one."""
    jobs = [a_task(w, input=what) for what in ("succeed", "fail", "cancel", "wait", "delete")]
    cancel(w.yard, jobs[2].id, Kind.TASK)
    work(w)
    delete(w.yard, jobs[4].id, Kind.TASK)
    return [*jobs, a_task(w, delay_ms=40 * DAY_MS), a_message(w)]


def shown(report: AuditReport) -> list[tuple[str, int, int, tuple[int, ...], bool, bool]]:
    return [(d.entry, d.counted, d.found, d.ids, d.exact, d.confirmed) for d in report.differences]


def test_an_installation_that_keeps_its_promise_adds_up(w: World) -> None:
    job = everything(w)[0]
    w.project()
    account = account_of(job)
    numbers = w.yard.insights.accounts.read(0)[account]
    assert {name: n for name, n in numbers.items() if n and name in ENTRIES} == {
        "accepted": 6,
        "pending": 1,
        "success": 2,
        "failed": 1,
        "canceled": 1,
        "deleted": 1,
    }
    assert audited(w, account.day_ms) == AuditReport(w.clock.ms, 0)


def test_a_change_that_the_stream_lost_is_found_by_its_id(w: World) -> None:
    job, other = a_task(w), a_task(w)
    w.project()
    work(w)  # both succeed; the stream forgets what became of one
    w.told = len(w.stream())
    (day_ms, now) = (account_of(job).day_ms, (other.id, job.id))
    first = audited(w, day_ms)
    assert first.unaccounted == 0  # it may be the stream's lag
    assert shown(first) == [
        ("pending", 2, 0, (), False, False),
        ("success", 0, 2, tuple(sorted(now, reverse=True)), True, False),
    ]
    second = again(w)
    assert second.unaccounted == 2
    assert {d.confirmed for d in second.differences} == {True}
    assert rebuild_counters(w.yard) == 2
    assert again(w) == AuditReport(w.clock.ms, 0)


def test_what_the_stream_tells_late_is_no_difference(w: World) -> None:
    job = a_task(w)
    work(w)
    assert [d.confirmed for d in audited(w, account_of(job).day_ms).differences] == [False]
    w.project()
    assert again(w) == AuditReport(w.clock.ms, 0)


def test_one_job_in_a_wrong_state_is_named_among_many(w: World) -> None:
    jobs = [a_task(w) for _ in range(5)]
    cancel(w.yard, jobs[0].id, Kind.TASK)
    work(w)
    w.project()
    lost = a_task(w)
    w.project()
    cancel(w.yard, lost.id, Kind.TASK)
    w.told = len(w.stream())
    audited(w, account_of(lost).day_ms)
    report = again(w)
    with installation.using(w.yard):
        assert services.audit() == report
    assert report.unaccounted == 1
    assert shown(report) == [
        ("pending", 1, 0, (lost.id,), True, True),
        ("canceled", 1, 2, (lost.id,), True, True),
    ]


def test_a_job_that_left_no_tombstone_is_found_at_once(w: World, caplog: pytest.LogCaptureFixture) -> None:
    kept, lost = a_task(w), a_task(w)
    w.yard.jobs.table.delete(state_key(lost.id))
    w.project()
    report = again(w)
    assert shown(report) == [("accepted", 2, 1, (lost.id,), True, True)]
    assert report.unaccounted == 1
    assert {record.message for record in caplog.records} >= {
        "a job left the ledger without a tombstone",
        "jobs do not add up",
    }
    assert rebuild_counters(w.yard) == 1
    assert again(w) == AuditReport(w.clock.ms, 0)
    assert w.job(kept.id).state is State.PENDING


def test_an_installation_that_had_jobs_before_is_audited_from_the_next_day_on(w: World) -> None:
    a_task(w)
    w.project()
    for item in [item for item in w.items("insights") if item["view"] in ("audit", "days")]:
        w.yard.insights._table.delete({"view": item["view"], "key": item["key"]})
    tomorrow_ms = w.clock.ms - w.clock.ms % DAY_MS + DAY_MS
    assert again(w) == AuditReport(w.clock.ms, tomorrow_ms)
    work(w)  # whose account is of no use
    w.project()
    assert again(w) == AuditReport(w.clock.ms, tomorrow_ms)
    rebuild_counters(w.yard)
    assert again(w) == AuditReport(w.clock.ms, 0)


def test_with_no_time_left_what_was_wrong_stays_known_by_its_account(w: World) -> None:
    a_task(w)
    w.project()
    w.clock.move(TURN_MS)
    assert audit(w.yard, lambda: False) == 0


def test_jobs_that_are_in_two_wrong_states_count_once() -> None:
    account = Account(0, "task", "t")
    found = [Difference(account, "pending", 3, 1, confirmed=True), Difference(account, "success", 0, 2, confirmed=True)]
    assert unaccounted(found) == 2
