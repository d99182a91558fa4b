"""What jobs have used: counted on the way, one by one and by day."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chalicelib import services
from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import DAY_MS
from chalicelib.core.usage import Usage
from chalicelib.engine.clock.audit import audit
from chalicelib.engine.commands.lifecycle import delete
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.job_costs import MEMORY_MB, amounts_of, usd_of
from chalicelib.engine.polling.poll import complete, poll
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.engine.sweeping import always
from chalicelib.engine.usage import run_by, used
from chalicelib.engine.worker.claim import claim
from chalicelib.services import installation
from chalicelib.store.transitions.running import Lease
from tests.support.steps import LEASE_MS, a_message, a_task, stolen, using, work
from tests.support.worlds import World


def running(w: World, *runs_ms: int | Exception) -> None:
    """Deploy a handler whose runs take so long, or end so."""
    runs = iter(runs_ms)

    @task("t", backoff=Fixed(1_000))
    def handler(_: Any) -> str:
        took = next(runs)
        if isinstance(took, BaseException):
            w.clock.move(100)
            raise took
        w.clock.move(took)
        return "x" * 10

    using(w, handler)


def test_each_attempt_adds_what_it_ran(w: World) -> None:
    running(w, RuntimeError("no"), 250)
    job = a_task(w, input="abc")
    fresh = Usage(sends=1, payload_bytes=len('{"input":"abc"}'))
    assert used(w.yard, job.id)[1] == fresh
    work(w)
    assert used(w.yard, job.id)[1] == replace(fresh, attempts=1, failures=1, run_ms=100)
    w.clock.move(1_001)
    work(w)
    assert used(w.yard, job.id)[1] == replace(fresh, attempts=2, failures=1, run_ms=350, output_bytes=12)


def test_a_lost_worker_ran_until_its_lease_ended(w: World) -> None:
    running(w)
    job = a_task(w)
    claim(w.yard, job, Lease("first-lease", w.clock.ms + LEASE_MS, "lost worker"))
    w.clock.move(10 * LEASE_MS)
    assert stolen(w, w.job(job.id)).run_ms == LEASE_MS
    w.clock.move(10 * LEASE_MS)
    w.tick()
    recovered = w.job(job.id)
    assert (recovered.state, recovered.run_ms) == (State.PENDING, 2 * LEASE_MS)


def test_light_runs_and_polls_count_too(w: World) -> None:
    @task("light", light=True)
    def handler(_: Any) -> None:
        w.clock.move(30)

    using(w, handler)
    light, message = a_task(w, "light"), a_message(w, "polled.topic", input="x" * 1_000)
    work(w)
    assert (w.job(light.id).attempts, w.job(light.id).run_ms) == (1, 30)
    poll(w.yard, "polled.topic", 1, 30_000, "consumer")
    w.clock.move(70)
    complete(w.yard, message.id)
    found, usage = used(w.yard, message.id)
    assert usage == Usage(attempts=1, sends=1, run_ms=70, payload_bytes=1_012)
    assert [run_by(w.yard, job) for job in (found, light, a_task(w, runner="manual"))] == ["client", "worker", "person"]


def test_days_add_up_what_their_jobs_have_used_deleted_ones_included(w: World) -> None:
    running(w, 20, 30)
    first = a_task(w, input="abc")
    work(w)
    w.project()
    w.clock.move(DAY_MS)
    a_task(w, input="abc")
    work(w)
    delete(w.yard, first.id, Kind.TASK)
    w.project()
    one = Usage(attempts=1, sends=1, payload_bytes=15, output_bytes=12)
    with installation.using(w.yard):
        found = services.usage_by_day(2)
        assert [(each.kind, each.type, each.accepted, each.usage) for each in found] == [
            ("task", "t", 1, replace(one, run_ms=20)),
            ("task", "t", 1, replace(one, run_ms=30)),
        ]
        assert found[1].day.toordinal() - found[0].day.toordinal() == 1
        assert services.usage_by_day(1) == found[1:]
        rebuild_counters(w.yard)
        assert services.usage_by_day(2) == found
        with pytest.raises(InvalidInput, match="1 to 400"):
            services.usage_by_day(0)
        with pytest.raises(NotFound):
            services.usage(first.id)


def test_tenants_have_sums_of_their_own_if_that_is_wished(w: World) -> None:
    def accept_and_run() -> list[tuple[str, int, int]]:
        running(w, 20, 30, 40)
        for tenant in ("acme", "acme", "globex"):
            a_task(w, tenant=tenant)
        work(w)
        w.project()
        with installation.using(w.yard):
            return [(each.tenant, each.accepted, each.usage.run_ms) for each in services.usage_by_tenant(1)]

    before = w.yard
    assert accept_and_run() == []
    w.yard = replace(w.yard, settings=replace(w.yard.settings, tenant_usage="on"))
    found = accept_and_run()
    w.yard = before
    assert {(tenant, accepted) for tenant, accepted, _ in found} == {("acme", 2), ("globex", 1)}
    assert sum(run_ms for _, _, run_ms in found) == 90
    w.clock.move(DAY_MS)
    assert audit(w.yard, always) == 0  # which balances types alone
    rebuild_counters(w.yard)
    with installation.using(w.yard):
        assert [(each.tenant, each.accepted, each.usage.run_ms) for each in services.usage_by_tenant(2)] == found


def test_flow_keys_have_sums_and_costs_of_their_own_if_that_is_wished(w: World) -> None:
    w.yard = replace(w.yard, settings=replace(w.yard.settings, key_usage="on"))
    running(w, 20, 30, 40)
    for key in ("c-7", "c-7", None):
        a_task(w, flow_key=key)
    a_message(w, topic="polled", flow_key="c-7")
    work(w)
    w.project()
    with installation.using(w.yard):
        message, task = sorted(services.usage_by_key(1), key=lambda each: each.kind)
        (of_type,) = [each for each in services.usage_by_day(1) if each.kind == "task"]
    assert (task.kind, task.type, task.key, task.accepted) == (Kind.TASK, of_type.type, "c-7", 2)
    assert (message.kind, message.type, message.key, message.accepted) == (Kind.MESSAGE, "polled", "c-7", 1)
    assert 0 < task.usage.run_ms < of_type.usage.run_ms
    assert task.usd == usd_of(amounts_of(2, task.usage, MEMORY_MB, polled=False))
    assert message.usd == usd_of(amounts_of(1, message.usage, MEMORY_MB, polled=True))
