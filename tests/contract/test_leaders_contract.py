"""The contract of leadership: one of several candidates at a time, until its lease is over or it resigns."""

from __future__ import annotations

import itertools

import pytest

from chalicelib.store.leaders import Leaders
from tests.support.backends import Ground
from tests.support.ledger import NOW

LEASE_MS = 5_000
roles = (f"role-{number}" for number in itertools.count())


@pytest.fixture
def leaders(ground: Ground) -> Leaders:
    return Leaders(ground.bench().yard.directory.table)


@pytest.fixture
def role() -> str:
    return next(roles)


def test_the_first_leads_and_renews_and_the_others_wait(leaders: Leaders, role: str) -> None:
    assert leaders.lead(role, "a", NOW, NOW + LEASE_MS)
    assert not leaders.lead(role, "b", NOW + 1, NOW + 1 + LEASE_MS)
    assert leaders.lead(role, "a", NOW + 2, NOW + 2 + LEASE_MS)
    assert not leaders.lead(role, "b", NOW + 1 + LEASE_MS, NOW + 2 * LEASE_MS)
    assert leaders.lead(next(roles), "b", NOW, NOW + LEASE_MS)


def test_another_leads_once_the_lease_is_over(leaders: Leaders, role: str) -> None:
    leaders.lead(role, "a", NOW, NOW + LEASE_MS)
    assert leaders.lead(role, "b", NOW + LEASE_MS, NOW + 2 * LEASE_MS)
    assert not leaders.lead(role, "a", NOW + LEASE_MS, NOW + 2 * LEASE_MS)


def test_another_leads_at_once_when_the_leader_resigns(leaders: Leaders, role: str) -> None:
    leaders.lead(role, "a", NOW, NOW + LEASE_MS)
    assert not leaders.resign(role, "b")
    assert not leaders.lead(role, "b", NOW, NOW + LEASE_MS)
    assert leaders.resign(role, "a")
    assert leaders.lead(role, "b", NOW, NOW + LEASE_MS)
    assert not leaders.resign(role, "a")


def test_it_is_taken_by_force(leaders: Leaders, role: str) -> None:
    leaders.lead(role, "a", NOW, NOW + LEASE_MS)
    assert leaders.lead(role, "b", NOW, NOW + LEASE_MS, by_force=True)
    assert not leaders.lead(role, "a", NOW, NOW + LEASE_MS)
