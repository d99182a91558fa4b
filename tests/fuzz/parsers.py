"""What foreign bytes meet first, each as a function of some bytes: it raises only what it declares, and keeps its word.

Where a target takes several texts, they are separated by line feeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import standardwebhooks

from chalicelib.core import applications, kafka, kafka_reading, signature
from chalicelib.core.applications import Application, SignedHeaders
from chalicelib.core.cron import CronExpression
from chalicelib.core.cursors import Cursor
from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import check_key, key_in
from chalicelib.core.job import Job
from chalicelib.core.job_documents import from_envelope, to_document, to_envelope
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import Webhook, checked_url, retry_after_s
from chalicelib.functions.events import changes_by_shard, received
from chalicelib.http import body, query
from chalicelib.http.basic import credentials_in
from chalicelib.http.problems import BadRequest, UnsupportedEncoding, UnsupportedMediaType
from chalicelib.local.http_messages import BadRequest as BadHttp
from chalicelib.local.http_messages import Body, take_head
from chalicelib.store.attribute_values import from_attribute_values, to_attribute_values
from chalicelib.store.job_queries import POSITION_IN_ORDER

NOW_MS = 1_750_000_000_000
SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGlzIHRlc3Q="  # noqa: S105
APPLICATION = Application(app_key="k", name="n", link_url="https://example.com/", secret="s" * 32, created_at_ms=0)


def _job() -> Job:
    return Job(
        id=1, uid="u", kind=Kind.TASK, type="t", queue="q", created_at_ms=NOW_MS, trace_id="1", body='{"input":{"n":1}}'
    )


def webhook(data: bytes) -> None:
    """A signed request is verified by another implementation; what a receiver says of its return is read."""
    now_ms = int(datetime.now(UTC).timestamp() * 1_000)  # by which the other implementation goes
    headers = Webhook(id="w", url="https://example.com/", secret=SECRET, created_at_ms=0).signed("id", data, now_ms)
    text = data.decode("utf-8", "replace")
    if text.encode() == data and _is_json(text):
        standardwebhooks.Webhook(SECRET).verify(text, headers)
    retry_after_s(_header(data), NOW_MS / 1_000)
    _or(lambda: checked_url(text, local=False), InvalidInput)


def application(data: bytes) -> None:
    """Nobody without the secret is taken for an application; its times are read, or are none."""
    timestamps, nonce, payload, given, *_ = [*_header(data).split("\n"), "", "", "", ""]
    headers = SignedHeaders("k", nonce, timestamps, payload, given)
    assert applications.refusal(APPLICATION, headers, {payload}, NOW_MS) is not None
    made = applications.signature_of(APPLICATION.secret, timestamps, nonce, payload)
    applications.refusal(APPLICATION, SignedHeaders("k", nonce, timestamps, payload, made), {payload}, NOW_MS)
    applications.moment_ms(data.decode("utf-8", "replace"), "Europe/Berlin")
    credentials_in(_header(data))


def callback(data: bytes) -> None:
    """What is signed is verified, with no other signature."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = data.decode("utf-8", "replace")
    made = signature.sign("secret", 1, value)
    assert signature.verify(made, "secret", 1, value)
    assert not signature.verify(made, "secret", 2, value)
    assert not signature.verify(_header(data), "secret", 1, value)


def cursor(data: bytes) -> None:
    """A cursor that is read is one that was written."""
    text = data.decode("utf-8", "replace")
    found = Cursor.read(text, "filters", POSITION_IN_ORDER)
    assert found is None or Cursor.read(found.to_text("filters"), "filters", POSITION_IN_ORDER) == found
    made = Cursor(text, 1, exact=True).to_text(text) if _is_utf8(text) else ""
    assert Cursor.read(made, text + "x", POSITION_IN_ORDER) is None


def envelope(data: bytes) -> None:
    """A message is a job that can be written again, or is refused."""
    job = _or(lambda: from_envelope(data.decode("utf-8", "replace")), InvalidInput)
    if job is not None:
        assert from_envelope(to_envelope(job)) == job


def event(data: bytes) -> None:
    """Events of AWS's form, with anything in the places that others fill."""
    text = data.decode("utf-8", "replace")
    record = {"eventSourceARN": "arn:q", "messageId": "m", "receiptHandle": "r", "body": text}
    assert received({"Records": [record]})[0].text == text
    image = {**_mapping(data), "job": 1, "part": "state"}
    attributes = _or(lambda: to_attribute_values(image), TypeError, ValueError, InvalidInput, OverflowError)
    if attributes is not None:
        keys = {"part": {"S": "state"}}
        change = {"dynamodb": {"Keys": keys, "SequenceNumber": "1", "NewImage": attributes, "OldImage": attributes}}
        changes_by_shard({"Records": [change]})
        from_attribute_values(attributes)


def kafka_record(data: bytes) -> None:
    """A record is read or refused, and what is kept of one that is refused is JSON from which it comes back."""
    form, rest = kafka.Format(list(kafka.Format)[data[0] % 3] if data else "json"), data[1:]
    key, _, value = rest.partition(b"\n")
    record = kafka.Record("t", 0, 1, NOW_MS, key, value, (("h", rest), ("traceparent", key), ("n", None)))
    reading = kafka.Reading(
        value=form,
        input="value.input",
        priority="value.priority",
        execute_at="headers.h",
        delay_ms="value.delay",
        flow_key="key",
        tenant="value.tenant",
        idempotency_key="value.id",
    )
    _or(lambda: kafka_reading.read(reading, record), InvalidInput)
    json.dumps(kafka_reading.metadata("c", record), ensure_ascii=False).encode()
    kept = json.dumps(kafka_reading.with_bytes("c", record, 100_000), ensure_ascii=False).encode()
    assert kafka_reading.from_bytes(json.loads(kept)) == record


def cron(data: bytes) -> None:
    """An expression is refused, or has times before and after any."""
    found = _or(lambda: CronExpression.parse(data.decode("utf-8", "replace"), "name"), InvalidInput)
    if found is not None:
        start = datetime(2026, 2, 28, 23, 59, 59)  # noqa: DTZ001  # wall time
        following = found.next_wall(start)
        assert following is None or following > start
        before = None if following is None else found.previous_wall(following)
        assert before is None or (before < (following or start) and found.next_wall(before) == following)


def flow_key(data: bytes) -> None:
    """A key is refused when it is declared, or found in anything that JSON can be, as one line that UTF-8 can hold."""
    path, _, content = data.decode("utf-8", "replace").partition("\n")
    if _or(lambda: (check_key("key", path), True), InvalidInput):
        found = key_in(path, {"input": _json(content), "options": {}, "context": None})
        assert found is None or "\n" not in found.encode().decode()


def json_body(data: bytes) -> None:
    """A body is a value that can be written again, or is refused."""
    refusals = (BadRequest, UnsupportedMediaType, UnsupportedEncoding)
    found = _or(lambda: body.parsed(data, "application/json"), *refusals)
    json.dumps(found, allow_nan=False)
    _or(lambda: body.parsed(b"{}", _header(data), None), *refusals)


def query_string(data: bytes) -> None:
    """Pairs of a query are a tree, or are refused."""
    pairs = [line.partition("=") for line in data.decode("utf-8", "replace").split("\n")]
    _or(lambda: query.nested({key: [value, value] for key, _, value in pairs}), BadRequest)


def http_head(data: bytes) -> None:
    """Bytes of a connection are requests, a part of one, or are refused; nothing is read twice."""
    left, length = bytearray(data), len(data)
    try:
        while (head := take_head(left)) is not None and len(left) < length:
            length = len(left)
            found = Body(head.length)
            found.take(left)
            if not found.is_whole:
                return
    except BadHttp:
        return


# Valid inputs, from which others are made.
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "webhook": (b'{"event": "complete", "job": {"id": "1"}}', b"https://example.com:8443/in?key=1", b"120"),
    "application": (b"1750000000\nnonce\nd41d8cd98f00b204e9800998ecf8427e\nc2ln", b"2025-06-15 15:06:40", b"bjpwYXNz"),
    "callback": (b'{"code": 0, "data": {"b": 1e21, "1": "\\ud83d\\ude00"}, "message": "ok"}', b"-0.0", b"[1.5e-7]"),
    "cursor": (Cursor("1750000000000-0000000000000001/x", 3, exact=True).to_text("filters").encode(),),
    "envelope": (to_envelope(_job()).encode(),),
    "event": (json.dumps(to_document(_job())).encode(), b'{"job": 1, "part": "state", "until_s": 1}'),
    "kafka_record": (
        b'\x00key\n{"input": {"n": 1}, "priority": "high", "delay": 5, "tenant": "t", "id": 7}',
        b"\x012026-01-31T12:00:00Z\ntext",
        b"\x021750000000000\n\xff\xfe",
    ),
    "cron": (
        b"*/5 9-17 * * MON-FRI",
        b"0 0 L * *",
        b"30 0 12 1,15 JAN-DEC ?",
        b"H H(0-7) * * 5#3",
        b"@daily",
        b"0 0 29 2 *",
    ),
    "flow_key": (b'input.a.0.b\n{"a": [{"b": "x"}]}', b"options.n\n1", b'input\n"a\\u2028b"'),
    "json_body": (b'{"topic": "a", "payload": {"n": [1, 2.5, null, true]}}', b"application/json; charset=utf-8"),
    "query_string": (b"filter.status=a\nfilter[type]=b\nids[]=1\nsort.createdAt=DESC",),
    "http_head": (
        b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
    ),
}
TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        webhook, application, callback, cursor, envelope, event, kafka_record, cron, flow_key, json_body, query_string,
        http_head,
    )
}  # fmt: skip


def _or(call: Callable[[], Any], *declared: type[Exception]) -> Any:
    """What ``call`` returns; ``None`` where it raises something that it declares."""
    try:
        return call()
    except declared:
        return None


def _header(data: bytes) -> str:
    """As the value of a header comes."""
    return data.decode("latin-1")


def _json(text: str) -> Any:
    return _or(lambda: json.loads(text), ValueError, RecursionError)


def _is_json(text: str) -> bool:
    return _json(text) is not None


def _mapping(data: bytes) -> dict[str, Any]:
    found = _json(data.decode("utf-8", "replace"))
    return found if isinstance(found, dict) else {"value": found}


def _is_utf8(text: str) -> bool:
    return _or(text.encode, UnicodeEncodeError) is not None
