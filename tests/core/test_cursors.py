"""Cursors: what one holds comes back from its text, for its own list alone."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.cursors import Cursor

PLACES = re.compile(r"\d{13}-\d{16}(/.*)?", re.ASCII | re.DOTALL)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CURSORS = st.builds(
    Cursor,
    st.builds("{:013d}-{:016d}/{}".format, st.integers(0, 10**13 - 1), st.integers(0, 10**16 - 1), TEXTS),
    st.integers(0, 10_000),
    st.booleans(),
)


def test_the_form_of_a_cursor_stays() -> None:
    cursor = Cursor("1750000000000-0000000000000001", 12, exact=True)
    assert cursor.to_text("MessageQuery {}") == "j4vmW6zj1HNAWyIxNzUwMDAwMDAwMDAwLTAwMDAwMDAwMDAwMDAwMDEiLDEyLHRydWVd"


@given(CURSORS, st.text(max_size=40))
def test_it_is_read_as_it_was_written(cursor: Cursor, filters: str) -> None:
    assert Cursor.read(cursor.to_text(filters), filters, PLACES) == cursor


@given(CURSORS, st.text(max_size=40), st.text(max_size=40))
def test_another_list_does_not_know_it(cursor: Cursor, filters: str, others: str) -> None:
    found = Cursor.read(cursor.to_text(filters), others, PLACES)
    assert found == (cursor if others == filters else None)


@given(st.text() | st.integers() | st.none() | st.from_regex(r"[A-Za-z0-9_-]{0,80}", fullmatch=True))
def test_any_other_text_is_none(text: object) -> None:
    assert Cursor.read(text, "MessageQuery {}", PLACES) is None


def test_a_place_of_another_form_is_none() -> None:
    for cursor in (Cursor("x", 1, exact=True), Cursor("1750000000000-0000000000000001", True, exact=True)):
        assert Cursor.read(cursor.to_text("f"), "f", PLACES) is None
