"""Identifiers: tokens, trace ids that carry a job's id, and ids as clients write them."""

from __future__ import annotations

import os
import uuid

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chalicelib.core.ids import ID_LIMIT, job_id_in, parse_job_id, token, trace_id_of

LARGEST = 2**53 - 1
job_ids = st.integers(1, LARGEST)


def test_ids_end_where_javascript_stops_counting_exactly() -> None:
    assert ID_LIMIT == 9_007_199_254_740_992


def test_a_token_is_16_hexadecimal_digits_of_what_is_random() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return b"\x00\x01\xfe\xff\x10\x20\x30\x40"

    assert token(random_bytes) == "0001feff10203040"
    assert asked == [8]


@given(job_ids, st.binary(min_size=9, max_size=9))
@example(1, bytes(9))
@example(LARGEST, b"\xff" * 9)
def test_a_trace_id_is_a_uuid_of_version_8_that_carries_the_id(job_id: int, noise: bytes) -> None:
    trace_id = trace_id_of(job_id, lambda count: noise[:count])
    parsed = uuid.UUID(trace_id)
    assert str(parsed) == trace_id
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert job_id_in(trace_id) == job_id


def test_the_layout_of_a_trace_id() -> None:
    """48 bits of id, version, 5 bits of id and 7 random ones, variant, 62 random bits."""
    assert trace_id_of(LARGEST, lambda _: bytes(9)) == "ffffffff-ffff-8f80-8000-000000000000"
    assert trace_id_of(1, lambda _: b"\xff" * 9) == "00000000-0000-80ff-bfff-ffffffffffff"


def test_two_trace_ids_of_one_job_differ_by_what_is_random() -> None:
    assert len({trace_id_of(77, os.urandom) for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "abc",
        "0af7651916cd43dd8448eb211c80319c7",  # 33 digits
        "0af76519-16cd-43dd-8448-eb211c80319c",  # a random UUID
        "00000000-0000-8001-4000-000000000000",  # version 8 of another variant
        "00000000-0000-0000-0000-000000000000",
        "🚀",
    ],
)
def test_a_foreign_trace_id_carries_no_id(foreign: str) -> None:
    assert job_id_in(foreign) is None


@given(st.text(max_size=60))
def test_no_text_makes_job_id_in_fail(text: str) -> None:
    assert job_id_in(text) is None or len(text) >= 32


@given(st.uuids(version=4))
def test_a_random_uuid_carries_no_id(foreign: uuid.UUID) -> None:
    assert job_id_in(str(foreign)) is None


@given(job_ids)
def test_an_id_is_read_from_a_number_or_its_digits(job_id: int) -> None:
    assert parse_job_id(job_id) == job_id
    assert parse_job_id(str(job_id)) == job_id


@pytest.mark.parametrize(
    "text",
    [
        *(0, -1, ID_LIMIT, 10**40, True, False),
        *("", "0", "-1", "+1", "1.0", "1e3", " 1", "1 ", "0x1", "1_000", "abc", "\x00"),
        *("²", "\u0661", str(ID_LIMIT), "9" * 17, "1" * 5_000),
    ],
)
def test_anything_else_is_no_id(text: str | int) -> None:
    assert parse_job_id(text) is None


@given(st.text(max_size=30))
def test_only_decimal_digits_are_an_id(text: str) -> None:
    assume(not (text.isascii() and text.isdigit()))
    assert parse_job_id(text) is None
