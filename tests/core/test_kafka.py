"""Records of Kafka as messages, messages as records: what is read, what is refused, what is kept of the unreadable."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import key_text
from chalicelib.core.kafka import Format, Outward, Reading, Record, Tombstone, Writing, identity
from chalicelib.core.kafka_reading import Content, from_bytes, metadata, read, with_bytes
from chalicelib.core.kafka_writing import written

AT_MS = 1_790_000_000_000
RECORD = Record(
    "orders", 2, 41, AT_MS, b"ann", b'{"id":7,"of":{"days":[1,2]}}', (("p", b"5"), ("p", b"high"), ("x", None))
)
ABOUT = {"id": "12", "uid": "ab", "traceId": "t-1", "flowKey": "ann", "tenant": None}
OUT = Outward(topic="sent", target="sent.v1")

bytes_or_none = st.none() | st.binary(max_size=40)
records = st.builds(
    Record,
    st.text("abc.", min_size=1, max_size=5),
    st.integers(0, 100),
    st.integers(0, 2**53),
    st.integers(-1, 2**45),
    bytes_or_none,
    bytes_or_none,
    st.lists(st.tuples(st.text(min_size=1, max_size=5), bytes_or_none), max_size=4).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


# -- reading --------------------------------------------------------------------------------------------


def test_by_default_the_value_is_the_input_and_nothing_else_is_said() -> None:
    assert read(Reading(), RECORD) == Content({"id": 7, "of": {"days": [1, 2]}})


def test_places_are_the_key_the_headers_and_paths_into_the_value() -> None:
    reading = Reading(
        input="value.of", priority="headers.p", flow_key="key", tenant="value.id", trace_id="value.of.days.1"
    )
    assert read(reading, RECORD) == Content({"days": [1, 2]}, 10, None, "2", None, "ann", "7")


def test_what_is_not_there_is_not_said() -> None:
    reading = Reading(
        priority="headers.none",
        execute_at="value.no.way",
        delay_ms="headers.x",
        idempotency_key="value.of.days.9",
        flow_key="headers.x",
    )
    assert read(reading, RECORD) == Content({"id": 7, "of": {"days": [1, 2]}})


@pytest.mark.parametrize(
    ("reading", "due_at_ms"),
    [
        (Reading(delay_ms="value.n"), AT_MS + 1_500),
        (Reading(execute_at="value.n"), 1_500),
        (Reading(execute_at="value.at"), AT_MS + 250),
        (Reading(execute_at="value.at", delay_ms="value.n"), AT_MS + 250),
    ],
)
def test_a_delay_counts_from_the_records_timestamp(reading: Reading, due_at_ms: int) -> None:
    record = replace(RECORD, value=json.dumps({"n": "1500", "at": "2026-09-21T14:13:20.250+00:00"}).encode())
    assert (found := read(reading, record)) is not None
    assert found.due_at_ms == due_at_ms


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (Format.TEXT, "grüß".encode(), "grüß"),
        (Format.BASE64, b"\xff\x00", "/wA="),
        (Format.JSON, b'"a text"', "a text"),
        (Format.JSON, b"null", None),
    ],
)
def test_a_value_is_json_text_or_any_bytes(form: Format, value: bytes, expected: Any) -> None:
    assert read(Reading(value=form), replace(RECORD, value=value)) == Content(expected)


def test_a_tombstone_is_a_message_without_an_input_or_nothing() -> None:
    gone = replace(RECORD, value=None)
    assert read(Reading(priority="headers.p"), gone) == Content(None, 10)
    assert read(Reading(tombstone=Tombstone.SKIP), gone) is None
    assert read(Reading(tombstone=Tombstone.SKIP), RECORD) is not None


@pytest.mark.parametrize(
    ("reading", "value"),
    [
        (Reading(), b"{"),
        (Reading(), b""),
        (Reading(), b"\xff"),
        (Reading(), b"NaN"),
        (Reading(), b"[" * 100_000),
        (Reading(value=Format.TEXT), b"\xff"),
        (Reading(priority="value.a"), b'{"a":1001}'),
        (Reading(priority="value.a"), b'{"a":"soon"}'),
        (Reading(priority="value.a"), b'{"a":true}'),
        (Reading(delay_ms="value.a"), b'{"a":-1}'),
        (Reading(delay_ms="value.a"), b'{"a":1.5}'),
        (Reading(execute_at="value.a"), b'{"a":"tomorrow"}'),
        (Reading(execute_at="value.a"), b'{"a":"2026-09-21T14:13:20"}'),
        (Reading(tenant="value.a"), b'{"a":"a b"}'),
    ],
)
def test_what_cannot_be_read_is_refused(reading: Reading, value: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(reading, replace(RECORD, value=value))


@pytest.mark.parametrize("reading", [Reading(priority="value"), Reading(execute_at="value"), Reading(tenant="value")])
def test_a_refusal_need_not_show_what_came(reading: Reading) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(reading, replace(RECORD, value=b'"my secret"'))
    assert "secret" not in refused.value.without_value()


@given(records, json_values)
def test_reading_is_content_or_a_refusal_whatever_comes(record: Record, value: Any) -> None:
    reading = Reading(
        priority="value.a",
        execute_at="value.b",
        delay_ms="headers.h",
        idempotency_key="key",
        flow_key="value",
        tenant="value.c",
    )
    for each in (record, replace(record, value=json.dumps(value).encode())):
        try:
            read(reading, each)
        except InvalidInput:
            continue


@given(records, records)
def test_two_records_have_one_identity_only_where_they_are_one(one: Record, other: Record) -> None:
    same = (one.topic, one.partition, one.offset, one.timestamp_ms) == (
        other.topic, other.partition, other.offset, other.timestamp_ms,
    )  # fmt: skip
    assert (identity("k", one) == identity("k", other)) is same
    assert identity("k", one) != identity("l", one)


# -- what is told and kept --------------------------------------------------------------------------------


def test_metadata_tells_coordinates_key_and_headers() -> None:
    assert metadata("main", replace(RECORD, key=b"\xff")) == {
        "cluster": "main",
        "topic": "orders",
        "partition": 2,
        "offset": 41,
        "timestampMs": AT_MS,
        "key": "/w==",
        "headers": [["p", "5"], ["p", "high"], ["x", None]],
    }


@given(records)
def test_what_is_kept_of_an_unreadable_record_is_all_of_it(record: Record) -> None:
    kept = json.loads(json.dumps(with_bytes("k", record, 10_000)))
    assert from_bytes(kept) == record
    assert kept | {"raw": None} == {**metadata("k", record), "raw": None}


@given(records, st.integers(0, 1_000))
def test_unless_it_is_too_large(record: Record, most_chars: int) -> None:
    large = replace(record, value=b"\xff" * 2_000, headers=(("h", b"\x00" * 500),))
    kept = with_bytes("k", large, most_chars)
    assert len(json.dumps(kept)) <= most_chars + 400
    assert (kept["topic"], kept["offset"], kept["raw"]["cut"]) == (record.topic, record.offset, True)
    with pytest.raises(InvalidInput, match="too large to be kept whole"):
        from_bytes(kept)


# -- writing --------------------------------------------------------------------------------------------


def test_a_record_has_the_input_the_flow_key_and_who_it_is() -> None:
    record = written(OUT, {"input": {"grüß": 1}}, ABOUT, 2)
    assert (record.topic, record.key, record.value) == ("sent.v1", b"ann", '{"grüß":1}'.encode())
    assert dict(record.headers) == {
        "taskyard-id": b"12",
        "taskyard-uid": b"ab",
        "taskyard-trace-id": b"t-1",
        "taskyard-attempt": b"2",
    }


def test_its_key_and_headers_are_found_in_the_message() -> None:
    writing = Writing(output="input.a", key="input.b", headers={"tenant": "tenant", "by": "options.by", "n": "input.n"})
    body = {"input": {"a": [1], "b": 7, "n": None}, "options": {"by": "ann"}}
    record = written(replace(OUT, writing=writing), body, ABOUT, 1)
    assert (record.key, record.value, dict(record.headers)["by"]) == (b"7", b"[1]", b"ann")
    assert {"tenant", "n"}.isdisjoint(dict(record.headers))


@pytest.mark.parametrize("body", [{}, {"input": None}])
def test_no_input_is_a_tombstone(body: dict[str, Any]) -> None:
    assert written(OUT, body, ABOUT, 1).value is None


@pytest.mark.parametrize("found", [{"a": None}, [None]])
def test_a_null_at_its_output_is_a_tombstone(found: Any) -> None:
    writing = Writing(output="input.a" if isinstance(found, dict) else "input.0")
    assert written(replace(OUT, writing=writing), {"input": found}, ABOUT, 1).value is None


@pytest.mark.parametrize("found", [{"b": 1}, [], None, "a"])
def test_nothing_at_its_output_is_refused_with_the_place(found: Any) -> None:
    with pytest.raises(InvalidInput, match=r"input\.a: nothing stands there"):
        written(replace(OUT, writing=Writing(output="input.a")), {"input": found}, ABOUT, 1)


@pytest.mark.parametrize(
    ("form", "value"), [(Format.TEXT, {"a": 1}), (Format.BASE64, 7), (Format.BASE64, "no base64!")]
)
def test_a_value_of_another_form_is_refused(form: Format, value: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent to Kafka"):
        written(replace(OUT, writing=Writing(value=form)), {"input": value}, ABOUT, 1)


@given(json_values, st.text(max_size=20), st.binary(max_size=40))
def test_what_is_written_is_read_again(value: Any, text: str, octets: bytes) -> None:
    def there_and_back(form: Format, given_: Any) -> Content | None:
        sent = written(replace(OUT, writing=Writing(value=form)), {"input": given_}, ABOUT, 1)
        return read(Reading(value=form, flow_key="key"), Record("sent.v1", 0, 0, 0, sent.key, sent.value, sent.headers))

    assert there_and_back(Format.JSON, value) == Content(value, trace_id="t-1", flow_key=key_text("ann"))
    for form, plain in ((Format.TEXT, text), (Format.BASE64, base64.b64encode(octets).decode())):
        assert (found := there_and_back(form, plain)) is not None
        assert found.input == plain
