"""What failures have in common: by example, and by rule for any text."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.causes import Cause
from chalicelib.core.fingerprints import FINGERPRINT, NORMALISED_MAX_CHARS, fingerprint_of, normalised
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind, State

WORDS = st.text(alphabet="abcdefghij ", min_size=1, max_size=30)


def failed(message: str, cause: Cause | None = Cause.REJECTED, **more: object) -> Job:
    fields = {"id": 1, "uid": "u", "kind": Kind.TASK, "type": "t", "queue": "q", "created_at_ms": 1, "trace_id": "x"}
    error = JobError("ValueError", message)
    return Job(**{**fields, "state": State.FAILED, "error": error, "cause": cause, **more})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("order 4711 is gone", "order # is gone"),
        ("took 1.5 s, more than 0.25 s", "took # s, more than # s"),
        ("no user 'anna' in \"eu-west-1\" or `x`", 'no user "…" in "…" or "…"'),
        ("can't open the file, won't retry", "can't open the file, won't retry"),
        ("no row 123e4567-e89b-12d3-a456-426614174000", "no row <id>"),
        ("at 0x7f3a0c2b, commit 8d3f2c1a9e", "at <id>, commit <id>"),
        ("job ord_8f3kd92x failed at 2026-01-31T12:00:00.123Z", "job <id> failed at <time>"),
        ("GET https://api.example.com/orders/7?x=1 gave 503", "GET <url> gave #"),
        ("mail to anna.b+1@example.org bounced", "mail to <address> bounced"),
        ("/srv/data/2026/part-17.csv: no such file", "/srv/data/#/part-#.csv: no such file"),
        ("sha256 and utf8 differ", "sha# and utf# differ"),
        ("bad body {'id': 7, 'name': 'x'}", "bad body {…}"),
        ("two\n\tlines  here", "two lines here"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\ud800", "\\ud#"),
        ("", ""),
    ],
)
def test_what_is_of_one_case_alone_is_left_out(message: str, expected: str) -> None:
    assert normalised(JobError("ValueError", message)) == (f"ValueError: {expected}" if message else "ValueError")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("order 4711 of 'anna'"), 'KeyError: order # of "…"'),
        (KeyError("no \"such\" 'thing'"), 'KeyError: no "…" "…"'),
        (KeyError("amount"), "KeyError: amount"),
        (KeyError(""), 'KeyError: "…"'),
        (KeyError("…"), 'KeyError: "…"'),
        (KeyError(4711), "KeyError: #"),
        (ValueError("'a' is not 'b'"), 'ValueError: "…" is not "…"'),
    ],
)
def test_a_message_that_is_one_quoted_text_counts_as_what_is_in_the_quotes(error: Exception, expected: str) -> None:
    assert normalised(JobError(type(error).__name__, str(error))) == expected


@given(st.text(max_size=400))
def test_any_text_has_a_short_form_of_its_own_on_one_line(message: str) -> None:
    found = normalised(JobError("E", message))
    assert 1 <= len(found) <= NORMALISED_MAX_CHARS
    assert not re.search(r"[0-9\n\r\t]", found)
    found.encode()
    kind, _, rest = found.partition(": ")
    assert normalised(JobError(kind, rest)) == found


@given(WORDS, WORDS, st.integers(0), st.integers(0), st.uuids(), st.uuids())
def test_numbers_ids_and_names_make_no_difference(
    start: str, end: str, one: int, other: int, uid: uuid.UUID, another: uuid.UUID
) -> None:
    def message(number: int, unique: uuid.UUID) -> str:
        return f"{start} {number} of '{unique}' and {unique} at 0x{number:x} {end}"

    assert fingerprint_of(failed(message(one, uid))) == fingerprint_of(failed(message(other, another)))


@given(WORDS, WORDS)
def test_other_words_are_another_failure(one: str, other: str) -> None:
    same = " ".join(one.split()) == " ".join(other.split())
    assert (fingerprint_of(failed(one)) == fingerprint_of(failed(other))) is same


def test_the_cause_and_the_type_of_the_error_count() -> None:
    found = {
        fingerprint_of(failed("no")),
        fingerprint_of(failed("no", Cause.TIMED_OUT)),
        fingerprint_of(failed("no", None)),
        fingerprint_of(failed("", error=JobError("KeyError", "no"))),
        fingerprint_of(failed("", error=None)),
    }
    assert len(found) == 5
    assert all(re.fullmatch(FINGERPRINT, each) for each in found)


def test_a_fingerprint_stays_what_it_is() -> None:
    """Those of old jobs are compared with what was counted when they failed."""
    assert fingerprint_of(failed("order 4711 is gone")) == fingerprint_of(failed("order 1 is gone"))
    assert fingerprint_of(failed("order 4711 is gone")) == "012d413bc0b7"
