"""A message as a record of Kafka."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import key_text, stands_at, value_at
from chalicelib.core.kafka import ATTEMPT_HEADER, ID_HEADER, TRACE_HEADER, UID_HEADER, Format, Outward


@dataclass(frozen=True, slots=True)
class Written:
    """What is sent to Kafka for a message."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def written(bridged: Outward, body: Mapping[str, Any], about: Mapping[str, str | None], attempt: int) -> Written:
    """What is sent for a message with that ``body``; an output that is null is a tombstone.

    ``about``: its ``id``, ``uid``, ``traceId``, ``flowKey`` and ``tenant``. Raises ``InvalidInput`` where there is no
    output, or it has not the format that it should have.
    """
    writing = bridged.writing
    key = _text_in(writing.key, body, about)
    own = {
        ID_HEADER: about["id"],
        UID_HEADER: about["uid"],
        TRACE_HEADER: about["traceId"],
        ATTEMPT_HEADER: str(attempt),
    }
    named = {name: _text_in(place, body, about) for name, place in writing.headers.items()}
    headers = tuple((name, text.encode()) for name, text in {**named, **own}.items() if text is not None)
    if "." in writing.output and not stands_at(writing.output, body):  # a body leaves out an input that is null
        raise InvalidInput("nothing stands there that could be sent to Kafka", field=writing.output, expected="a value")
    value = value_at(writing.output, body)
    return Written(bridged.target, None if key is None else key.encode(), _closed(writing.value, value), headers)


def _closed(form: Format, value: Any) -> bytes | None:
    if value is None:
        return None
    if form is Format.JSON:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
    if not isinstance(value, str):
        raise InvalidInput("this cannot be sent to Kafka", field="input", expected=f"a text ({form})")
    if form is Format.TEXT:
        return value.encode(errors="backslashreplace")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("this cannot be sent to Kafka", field="input", expected="base64") from error


def _text_in(place: str, body: Mapping[str, Any], about: Mapping[str, str | None]) -> str | None:
    return about[place] if place in about else key_text(value_at(place, body))
