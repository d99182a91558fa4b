"""What flow control counts on: rates that nobody exceeds, keys that are found, what keeps a job like another away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import NO_FLOW, Debounce, PerKey, Rate, Unique, checked_flow, key_in, key_text
from chalicelib.core.limits import count_of_key, count_of_topic, counted_key, counted_topic

US = 1_000_000
rates = st.builds(Rate, st.integers(1, 1_000), st.sampled_from((0.5, 1, 60, 3_600)), st.integers(1, 50))


def admitted(rate: Rate, asked_us: list[int], full_at_us: int = 0) -> list[int]:
    """When those begin that ask at some times, one token each."""
    begun = []
    for now_us in sorted(asked_us):
        if rate.ready_us(full_at_us, now_us) <= now_us:
            full_at_us = rate.full_after_us(full_at_us, now_us)
            begun.append(now_us)
    return begun


@given(
    rates,
    st.lists(st.integers(US, 100 * US), max_size=200),
    st.integers(1, 90 * US),
    st.sampled_from((0, 50 * US, 1_000_000 * US)),
)
def test_in_no_time_more_begin_than_the_burst_and_what_is_added(
    rate: Rate, asked: list[int], window_us: int, full_at_us: int
) -> None:
    begun = admitted(rate, asked, full_at_us)
    most = rate.burst + window_us / rate.interval_us
    for first in begun:
        assert sum(first <= at_us < first + window_us for at_us in begun) <= most


@given(rates)
def test_who_keeps_the_pace_is_never_turned_away(rate: Rate) -> None:
    asked = [US + number * rate.interval_us for number in range(50)]
    assert admitted(rate, asked) == asked


@given(rates, st.integers(1, 10**18))
def test_what_a_slower_rate_has_taken_is_waited_for_a_minute_at_most(rate: Rate, ahead_us: int) -> None:
    wait_us = rate.ready_us(US + ahead_us, US) - US
    assert wait_us <= rate.interval_us + 60 * US
    if rate.is_of_another(US + ahead_us, US):
        assert (wait_us, rate.full_after_us(US + ahead_us, US)) == (0, rate.latest_us(US))


def test_a_rate_is_even_unless_a_burst_is_wanted() -> None:
    every_second = [US * second for second in range(1, 61)]
    assert len(admitted(Rate(10, per_s=60), every_second)) == 10
    assert admitted(Rate(10, per_s=60), every_second)[:3] == [1 * US, 7 * US, 13 * US]
    assert admitted(Rate(10, per_s=60, burst=10), [US] * 12) == [US] * 10
    assert Rate(3, per_s=1).interval_us == 333_333


@pytest.mark.parametrize(
    ("make", "field", "expected"),
    [
        (lambda: Rate(0), "rate.count", "a whole number from 1 to 1000000"),
        (lambda: Rate(True), "rate.count", "a whole number from 1 to 1000000"),
        (lambda: Rate(1, burst=0), "rate.burst", "a whole number from 1 to 1000000"),
        (lambda: Rate(1, per_s=0), "rate.per_s", "0.001 to 2678400 seconds"),
        (lambda: PerKey(concurrency=0), "per_key.concurrency", "a whole number from 1 to 1000"),
        (lambda: PerKey(rate=5), "per_key.rate", "Rate(count, per_s=...)"),  # type: ignore[arg-type]
        (lambda: Unique(until=None), "unique", "until, for_s or both"),
        (lambda: Unique(until="never"), "unique.until", "start or end"),
        (lambda: Debounce(0), "debounce.wait_s", "0.001 to 604800 seconds"),
        (lambda: Debounce(5, latest_s=4.5), "debounce.latest_s", "at least wait_s, 5 seconds"),
        (lambda: flow(order="backwards"), "order", "block or step aside"),
        (lambda: flow(key="customer"), "key", "a path that begins with input or options or context, or a function"),
        (lambda: flow(key="input..id"), "key", "a path that begins with input or options or context, or a function"),
        (lambda: flow(key=_later), "key", "a plain function"),
        (lambda: flow(per_key=PerKey(1)), "per_key", 'key="input...."'),
        (lambda: flow(key="input.id", per_key=PerKey()), "per_key", "concurrency, rate or both"),
        (lambda: flow(unique=True), "unique", "Unique(...)"),
        (lambda: flow(unique=Unique(), debounce=Debounce(1)), "debounce", "unique or debounce"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(make: Any, field: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        make()
    assert (refused.value.field, refused.value.expected) == (field, expected)


async def _later(_: Any) -> str:
    return "a"


def flow(**given: Any) -> Any:
    options = dict.fromkeys(("key", "per_key", "rate", "order", "unique", "debounce"))
    return checked_flow(**{**options, **given})


CONTENT = {"input": {"customer": {"id": 7}, "items": [{"sku": "a b"}], "ok": True}, "options": None, "context": "c"}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("input.customer.id", "7"),
        ("input.items.0.sku", "a b"),
        ("input.ok", "true"),
        ("input.customer", '{"id":7}'),
        ("context", "c"),
        ("options.any", None),
        ("input.items.1.sku", None),
        ("input.customer.id.further", None),
        (lambda value: value["items"][0]["sku"].upper(), "A B"),
    ],
)
def test_a_key_is_found_by_its_path_or_its_function(key: Any, found: str | None) -> None:
    assert key_in(key, CONTENT) == found


def test_a_key_that_is_long_or_not_one_line_is_told_by_its_hash() -> None:
    assert key_text("x" * 256) == "x" * 256
    assert [key_text(text)[:7] for text in ("x" * 257, "two\nlines", " ")] == ["sha256:"] * 3  # type: ignore[index]
    with pytest.raises(TypeError):
        key_text({1, 2})
    assert key_text({"b": 1, "a": 2}) == key_text({"a": 2, "b": 1}) == '{"a":2,"b":1}'


@given(st.text(st.characters(blacklist_characters="\n", codec="utf-8")), st.none() | st.text(min_size=1))
def test_the_name_of_a_keys_count_says_what_it_is_of(name: str, key: str | None) -> None:
    for of_type in (name, count_of_topic(name)):
        assert counted_key(count_of_key(of_type, key)) == (of_type, key)
    assert (counted_key(name), counted_topic(count_of_topic(name)), counted_topic(name)) == (None, name, None)


@pytest.mark.parametrize(
    ("unique", "stands", "kept"),
    [
        (Unique(), {"pending": True}, True),
        (Unique(), {"pending": False}, True),
        (Unique(), {"pending": False, "terminal": True}, False),
        (Unique(until="start"), {"pending": True}, True),
        (Unique(until="start"), {"pending": False}, False),
        (Unique(until=None, for_s=2), {"pending": False, "terminal": True, "now_ms": 11_999}, True),
        (Unique(until=None, for_s=2), {"pending": True, "now_ms": 12_000}, False),
        (Unique(for_s=2), {"pending": True, "now_ms": 12_000}, True),
    ],
)
def test_what_keeps_a_job_like_it_away(unique: Unique, stands: dict[str, Any], kept: bool) -> None:
    defaults = {"terminal": False, "accepted_at_ms": 10_000, "now_ms": 11_000}
    assert unique.keeps_away(**{**defaults, **stands}) is kept


def test_a_debounced_job_is_due_when_nothing_came_for_a_while_or_it_was_long_enough() -> None:
    assert Debounce(5).due_at_ms(first_at_ms=0, now_ms=60_000) == 65_000
    assert Debounce(5, latest_s=30).due_at_ms(first_at_ms=0, now_ms=10_000) == 15_000
    assert Debounce(5, latest_s=30).due_at_ms(first_at_ms=0, now_ms=28_000) == 30_000
    assert Debounce(5, latest_s=5).due_at_ms(first_at_ms=0, now_ms=0) == 5_000


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_debounced_job_begins_within_the_second_before_its_latest_time(
    wait_s: int, more_s: int, first_at_ms: int, after_ms: int
) -> None:
    """SQS delays by whole seconds: one that is due between two of them would come after that time."""
    debounce, now_ms = Debounce(wait_s, latest_s=wait_s + more_s), first_at_ms + after_ms
    due_at_ms, latest_ms = debounce.due_at_ms(first_at_ms, now_ms), first_at_ms + (wait_s + more_s) * 1_000
    assert (due_at_ms - now_ms) % 1_000 == 0
    assert now_ms <= due_at_ms <= max(now_ms, latest_ms)
    assert due_at_ms == now_ms + wait_s * 1_000 or due_at_ms > latest_ms - 1_000


def test_nothing_declared_is_no_flow_at_all() -> None:
    assert checked_flow(None, None, None, None, None, None) is NO_FLOW
    assert checked_flow("input.id", None, None, None, None, None)
