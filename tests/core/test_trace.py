"""The story of a job: its lines, and how many of them are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.trace import (
    HOLDER_MAX_CHARS,
    TRACE_MAX_EVENTS,
    Event,
    TraceEvent,
    events_in,
    failed,
    newest,
    started,
)

details = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3),
    max_size=4,
)
events = st.builds(TraceEvent, st.sampled_from(Event), st.integers(0, 2**53), details)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (TraceEvent(Event.PUBLISHED, 1_750_000_000_000), "1750000000000 published"),
        (TraceEvent(Event.RECOVERED, 5, {"attempt": 2}), '5 recovered {"attempt":2}'),
        (TraceEvent(Event.FAILED, 0, {"error": "a b é"}), '0 failed {"error":"a b \\u00e9"}'),
    ],
)
def test_the_line_of_an_event(event: TraceEvent, line: str) -> None:
    assert event.to_line() == line
    assert TraceEvent.from_line(line) == event


@given(events)
def test_a_line_comes_back_as_the_same_event(event: TraceEvent) -> None:
    line = event.to_line()
    assert line.isascii()
    assert "\n" not in line
    assert TraceEvent.from_line(line) == event


@pytest.mark.parametrize("line", ["", "published", "x published", "1 unheard-of", "1 failed {", "1 failed  "])
def test_a_foreign_line_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        TraceEvent.from_line(line)


def test_details_are_filled_in_from_what_is_stored() -> None:
    recovered = TraceEvent(Event.RECOVERED, 2, {"attempt": 1, "silent": 4})
    lines = [event.to_line() for event in (started(1, "one" * 20), recovered, failed(3, 2, "no", 1_769_860_800_005))]
    holder = {"consumerId": ("one" * 20)[:HOLDER_MAX_CHARS]}
    assert [event.detail for event in events_in(lines, 20)] == [
        holder,
        {"attempt": 1, "silent": 4, "silentMax": 20, **holder},
        {"attempt": 2, "error": "no", "nextRetryAt": "2026-01-31T12:00:00.005Z"},
    ]


def test_an_error_shows_that_it_was_cut() -> None:
    assert failed(1, 1, "e" * 81, 2).detail["error"] == "e" * 79 + "…"


def test_lines_of_an_earlier_version_tell_what_they_told() -> None:
    lines = ["1 started", '2 recovered {"attempt":1}', "3 started", '4 failed {"attempt":2,"error":"no"}']
    assert [event.detail for event in events_in(lines, 20)] == [{}, {"attempt": 1}, {}, {"attempt": 2, "error": "no"}]


@pytest.mark.parametrize(
    ("length", "room_for", "kept"),
    [(0, 0, 0), (19, 0, 19), (20, 0, 20), (25, 0, 20), (19, 1, 19), (20, 1, 19), (25, 2, 18), (3, 20, 0), (3, 99, 0)],
)
def test_how_many_lines_are_kept(length: int, room_for: int, kept: int) -> None:
    lines = [f"{number} started" for number in range(length)]
    assert newest(lines, room_for) == lines[length - kept :]


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(0, 30))
def test_the_newest_are_kept_in_order_and_leave_the_room_asked_for(lines: list[str], room_for: int) -> None:
    kept: list[Any] = newest(lines, room_for)
    assert kept == lines[len(lines) - len(kept) :]
    assert len(kept) + room_for <= max(TRACE_MAX_EVENTS, room_for)
    assert len(kept) == min(len(lines), max(0, TRACE_MAX_EVENTS - room_for))
