"""Free texts are made readable, never refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.texts import readable, shortened

ANYTHING = st.text(st.characters(), max_size=60)  # lone surrogates included
PIECES = st.lists(st.sampled_from(["\x1b", "[", "]", "31", "m", "\x07", "\\", "\x00", "a", "\ud800", "\n"])).map(
    "".join
)


@given(ANYTHING | PIECES)
def test_what_comes_of_it_can_be_stored_and_shown(text: str) -> None:
    told = readable(text)
    told.encode("utf-8")
    assert all(char in "\t\n\r" or (ord(char) >= 0x20 and not 0x7F <= ord(char) <= 0x9F) for char in told)


@given(ANYTHING | PIECES)
def test_what_is_readable_stays_as_it_is(text: str) -> None:
    assert readable(readable(text)) == readable(text)


@given(st.text(st.characters(exclude_categories=["C"])))
def test_nothing_that_a_person_wrote_is_lost(text: str) -> None:
    assert readable(text) == text


@given(ANYTHING, st.integers(0, 80))
def test_it_is_bounded(text: str, most: int) -> None:
    assert readable(text, most) == readable(text)[:most]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b[31merror\x1b[0m: no\tpaper\r\n", "error: no\tpaper\r\n"),
        ("\x1b[38;5;196;1mred\x1b[K", "red"),
        ("\x1b]8;;https://a.test\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b]open without an end", "\ufffd]open without an end"),
        ("nul\x00 bell\x07 c1\x9b", "nul\ufffd bell\ufffd c1\ufffd"),
        ("\ud800 half", "\\ud800 half"),
    ],
)
def test_examples(text: str, told: str) -> None:
    assert readable(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [("", ""), ("12345", "12345"), ("123456", "1234…")],
    ids=["nothing", "as long as it may be", "longer"],
)
def test_what_is_too_long_shows_that_it_was_cut(text: str, told: str) -> None:
    assert shortened(text, 5) == told
