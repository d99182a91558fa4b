"""A record of Kafka as a message: what it says of it, what the message tells of it, and what is kept of one that is
unreadable.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import key_text, value_at
from chalicelib.core.kafka import Format, Reading, Record, Tombstone
from chalicelib.core.lanes import priority_of
from chalicelib.core.tenants import tenant_of

METADATA = "kafka"  # the name of a record's coordinates in the metadata of its message
_WHOLE = re.compile(r"[+-]?\d{1,15}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a record says of its message. ``due_at_ms`` is in milliseconds since 1970."""

    input: Any
    priority: int = 0
    due_at_ms: int | None = None
    trace_id: str | None = None
    idempotency_key: str | None = None
    flow_key: str | None = None
    tenant: str | None = None


def read(reading: Reading, record: Record) -> Content | None:
    """What a record says of its message; ``None`` for a tombstone that is to be skipped.

    Raises ``InvalidInput`` naming the place that cannot be read; it shows nothing of what stands there.
    """
    if record.value is None and reading.tombstone is Tombstone.SKIP:
        return None
    value = None if record.value is None else _opened(reading.value, record.value)

    def at(place: str | None) -> Any:
        return None if place is None else _found(place, record, value)

    return Content(
        input=at(reading.input),
        priority=_priority(at(reading.priority)),
        due_at_ms=_due_at_ms(at(reading.execute_at), at(reading.delay_ms), record.timestamp_ms),
        trace_id=key_text(at(reading.trace_id)),
        idempotency_key=key_text(at(reading.idempotency_key)),
        flow_key=key_text(at(reading.flow_key)),
        tenant=_tenant(at(reading.tenant)),
    )


def metadata(cluster: str, record: Record) -> dict[str, Any]:
    """What a message tells of its record: its coordinates, its key and its headers, in order."""
    return {
        "cluster": cluster,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestampMs": record.timestamp_ms,
        "key": None if record.key is None else _shown(record.key),
        "headers": [[name, None if value is None else _shown(value)] for name, value in record.headers],
    }


def with_bytes(cluster: str, record: Record, most_chars: int) -> dict[str, Any]:
    """The same with the record's bytes as ``raw``, in base64, from which it can be read again.

    Where that takes more than ``most_chars`` of JSON, its coordinates and the beginning of its value alone.
    """
    headers = [[name, _encoded(value)] for name, value in record.headers]
    kept = {"key": _encoded(record.key), "value": _encoded(record.value), "headers": headers}
    whole = {**metadata(cluster, record), "raw": kept}
    if len(json.dumps(whole)) <= most_chars:
        return whole
    start = (record.value or b"")[: most_chars // 2]
    bare = replace(record, key=None, headers=())
    return {**metadata(cluster, bare), "raw": {"cut": True, "value": _encoded(start)}}


def from_bytes(document: Mapping[str, Any]) -> Record:
    """The record that ``with_bytes`` has kept. Raises ``InvalidInput`` where that is a part of it."""
    kept = document["raw"]
    if kept.get("cut"):
        raise InvalidInput(
            "the record was too large to be kept whole, so it can never be replayed: send it again from its source",
            field=METADATA,
            remedy="raise TASKYARD_PAYLOAD_MAX_BYTES first",
        )
    return Record(
        document["topic"],
        document["partition"],
        document["offset"],
        document["timestampMs"],
        _decoded(kept["key"]),
        _decoded(kept["value"]),
        tuple((name, _decoded(value)) for name, value in kept["headers"]),
    )


def shown_bytes(document: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Of what ``with_bytes`` has kept: coordinates, and the first ``most`` bytes of the value, the key and each header.

    All are base64. ``valueBytes`` is how many the value has; ``None`` where it was too large to be kept whole.
    """
    kept = document["raw"]
    value = _decoded(kept["value"])
    is_whole = not kept.get("cut")
    return {
        **{name: document[name] for name in ("cluster", "topic", "partition", "offset", "timestampMs")},
        "value": None if value is None else _encoded(value[:most]),
        "valueBytes": len(value or b"") if is_whole else None,
        "key": _beginning(kept.get("key"), most),
        "headers": [[name, _beginning(text, most)] for name, text in kept.get("headers", ())],
    }


def _beginning(text: str | None, most: int) -> str | None:
    found = _decoded(text)
    return None if found is None else _encoded(found[:most])


def _opened(form: Format, value: bytes) -> Any:
    if form is Format.BASE64:
        return _encoded(value)
    try:
        text = value.decode()
        return text if form is Format.TEXT else json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _unreadable("value", "JSON" if form is Format.JSON else "UTF-8") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _found(place: str, record: Record, value: Any) -> Any:
    if place == "key":
        return None if record.key is None else _shown(record.key)
    if place.startswith("headers."):
        name = place.removeprefix("headers.")
        values = [found for header, found in record.headers if header == name]
        return None if not values or values[-1] is None else _shown(values[-1])
    return value_at(place, {"value": value})


def _priority(value: Any) -> int:
    if value is None:
        return 0
    return priority_of(int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value)


def _due_at_ms(execute_at: Any, delay: Any, timestamp_ms: int) -> int | None:
    if execute_at is not None:
        return _moment_ms(execute_at)
    if delay is None:
        return None
    return max(timestamp_ms, 0) + _whole("delay_ms", delay)


def _moment_ms(value: Any) -> int:
    if isinstance(value, str) and not _WHOLE.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise _unreadable("execute_at", "a time in ISO 8601, or milliseconds since 1970") from error
        if moment.tzinfo is None:
            raise _unreadable("execute_at", "a time with its offset from UTC")
        return round(moment.timestamp() * 1_000)
    return _whole("execute_at", value)


def _whole(name: str, value: Any) -> int:
    number = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
    if type(number) is not int or not 0 <= number < 10**15:
        raise _unreadable(name, "a whole number of milliseconds")
    return number


def _tenant(value: Any) -> str | None:
    text = key_text(value)
    return None if text is None else tenant_of("tenant", text)


def _unreadable(place: str, expected: str) -> InvalidInput:
    return InvalidInput("this record cannot be read", field=place, expected=expected)


def _shown(value: bytes) -> str:
    """Bytes as text: UTF-8, or else their base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _encoded(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
