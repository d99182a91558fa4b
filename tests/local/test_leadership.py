"""Who of several instances leads, and when another does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from chalicelib.core.errors import Unavailable
from chalicelib.local import leadership
from chalicelib.local.leadership import Leadership, alone
from tests.support.waiting import until

LEASE_S = 0.2
LONG_S = 600.0


class Table:
    """The leaders of one role, as the directory keeps them."""

    def __init__(self) -> None:
        self.holder: str | None = None
        self.until_ms = 0
        self.broken = False
        self.asked = 0

    def lead(self, role: str, candidate: str, now_ms: int, until_ms: int, *, by_force: bool = False) -> bool:
        assert role == "clock"
        self.asked += 1
        if self.broken:
            raise Unavailable("no table")
        if not by_force and self.holder not in (None, candidate) and self.until_ms > now_ms:
            return False
        self.holder, self.until_ms = candidate, until_ms
        return True

    def resign(self, role: str, candidate: str) -> bool:
        assert role == "clock"
        if self.broken:
            raise Unavailable("no table")
        was, self.holder = self.holder == candidate, None if self.holder == candidate else self.holder
        return was


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def stands(table: Any) -> Iterator[Callable[..., Leadership]]:
    """Makes one that stands for the role."""
    made: list[Leadership] = []

    def stand(lease_s: float = LEASE_S, **options: Any) -> Leadership:
        found = Leadership(table, "clock", options.pop("elected", lambda: None), lease_s=lease_s, **options)
        made.append(found)
        found.start()
        return found

    yield stand
    table.broken = False
    for each in made:
        each.stop()


def test_one_leads_and_is_told_so_once(
    table: Table, stands: Callable[..., Leadership], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "RENEWALS", LONG_S / LEASE_S)  # often, of a lease that no slow machine misses
    elections: list[str] = []
    first = stands(LONG_S, elected=lambda: elections.append("first"))
    until(first.leads)
    second = stands(LONG_S, elected=lambda: elections.append("second"))
    asked = table.asked
    until(lambda: table.asked > asked + 10)
    assert (first.leads(), second.leads(), elections) == (True, False, ["first"])


def test_another_takes_over_from_one_that_ends(stands: Callable[..., Leadership]) -> None:
    first = stands(LONG_S)
    until(first.leads)
    second = stands()
    first.stop()
    until(second.leads)
    assert not first.leads()


def test_one_whose_table_is_gone_leads_until_its_lease_is_over(
    table: Table, stands: Callable[..., Leadership], caplog: pytest.LogCaptureFixture
) -> None:
    first = stands()
    until(first.leads)
    table.broken = True
    until(lambda: not first.leads())
    assert "the lease of the clock cannot be renewed: no table" in caplog.text
    assert first.alive()
    table.broken = False
    until(first.leads)


def test_one_that_cannot_resign_says_so_and_ends(
    table: Table, stands: Callable[..., Leadership], caplog: pytest.LogCaptureFixture
) -> None:
    first = stands(LONG_S)
    until(first.leads)
    table.broken = True
    first.stop()
    assert "the next clock waits until the lease is over: no table" in caplog.text


def test_who_starts_an_emulator_leads_whoever_led_before(table: Table, stands: Callable[..., Leadership]) -> None:
    table.holder, table.until_ms = "one that was killed", 2**53
    first = stands(by_force=True)
    until(first.leads)


def test_one_at_a_time_is_alone(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "TURN_PAUSE_S", 0.01)
    inside = threading.Event()

    def enter() -> None:
        with alone(table, "clock", LONG_S):
            inside.set()

    with alone(table, "clock", LONG_S):
        other = threading.Thread(target=enter)
        other.start()
        asked = table.asked
        until(lambda: table.asked > asked + 5)
        assert not inside.is_set()
    other.join()
    assert inside.is_set()
    assert cast(Table, table).holder is None
