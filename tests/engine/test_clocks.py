"""Workers whose clocks are wrong: the ledger's time is what counts, as far as answers tell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from chalicelib import aws
from chalicelib.clocks import TIMEKEEPERS, LedgerClock, wall_clock_ms
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.clock.due import send_due
from chalicelib.engine.clock.leases import recover_expired
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.yard import Yard
from tests.support.steps import a_message, a_task, counting, using
from tests.support.worlds import World, envelopes

BOUND_MS = 3_000
LEASE_MS = 30_000
SKEWS = [-300_000, -10_000, 0, 10_000, 300_000]


@task("t")
def handler(_: Any) -> None:
    return


@pytest.fixture
def w(w: World) -> World:
    using(w, handler)
    return w


@contextmanager
def skewed(w: World, skew_ms: int) -> Iterator[Yard]:
    """A process whose own clock is ahead of the ledger's, once it has had an answer to something."""
    clock = LedgerClock(lambda: w.clock.ms + skew_ms)
    yard = replace(w.yard, now_ms=clock)
    dated(w, clock)
    yield yard


def dated(w: World, clock: LedgerClock) -> None:
    clock.asks()
    clock.hears(response_dict={"headers": {"date": formatdate(w.clock.ms / 1_000, usegmt=True)}})


@pytest.mark.parametrize("mine_ms", SKEWS)
@pytest.mark.parametrize("others_ms", [-300_000, 300_000])
def test_a_lease_ends_by_the_ledgers_time(w: World, mine_ms: int, others_ms: int) -> None:
    a_message(w, "notes")
    with skewed(w, mine_ms) as dead, skewed(w, others_ms) as clock:
        (job,) = poll(dead, "notes", 1, LEASE_MS, "a client that dies")
        assert abs((job.lease_until_ms or 0) - w.clock.ms - LEASE_MS) <= BOUND_MS
        w.clock.move(LEASE_MS + 60_000 - 2 * BOUND_MS)
        assert recover_expired(clock, lambda: True) == 0
        w.clock.move(4 * BOUND_MS)
        assert recover_expired(clock, lambda: True) == 1
        assert w.job(job.id).state is State.PENDING


@pytest.mark.parametrize("skew_ms", SKEWS)
def test_a_job_starts_when_the_ledger_says_so(w: World, skew_ms: int) -> None:
    job = a_task(w, delay_ms=3_600_000)
    with skewed(w, skew_ms) as yard:
        w.clock.ms = (job.wake_at_ms or 0) - BOUND_MS - 1
        assert send_due(yard, lambda: True) == 0
        w.clock.ms = (job.wake_at_ms or 0) + BOUND_MS
        assert send_due(yard, lambda: True) == 1
    (envelope,) = envelopes(w)
    assert isinstance(envelope, Job)


def test_what_answers_tell_costs_no_call_and_an_answer_without_a_date_tells_nothing(w: World) -> None:
    clock = LedgerClock(lambda: w.clock.ms)
    with counting(w) as calls:
        clock.hears(response_dict={"headers": {"date": formatdate(0, usegmt=True)}})  # nobody asked
        clock.asks()
        clock.hears(response_dict=None)
        clock.asks()
        clock.hears(response_dict={"headers": {"date": "soon"}})
    assert clock() == w.clock.ms
    assert not calls


@pytest.mark.parametrize(("service", "operation"), [("dynamodb", "list_tables"), ("sqs", "list_queues")])
def test_a_client_tells_the_clock_what_it_hears(w: World, service: str, operation: str) -> None:
    assert service in TIMEKEEPERS
    clock = LedgerClock(lambda: w.clock.ms)
    client = aws.client.__wrapped__(service)
    clock.watch(client.meta.events, service)
    getattr(client, operation)()
    assert abs(clock() - wall_clock_ms()) < 600_000  # moto's answers have this machine's date; the own clock is far off
