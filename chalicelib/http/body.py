"""A request's body: decoded, bounded, and parsed as JSON of the strict kind."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from chalicelib.core.documents import DEPTH_MAX, INTEGER_MAX_CHARS
from chalicelib.core.errors import TooLarge
from chalicelib.http.exchange import JSON, Incoming
from chalicelib.http.problems import BadRequest, UnsupportedEncoding, UnsupportedMediaType


def raw(request: Incoming, limit_bytes: int) -> bytes:
    """The body as the client sent it.

    Raises ``TooLarge`` above ``limit_bytes``, ``BadRequest`` where the gateway's own encoding is broken.
    """
    try:
        content = request.content()
    except ValueError as error:
        raise BadRequest("the body cannot be decoded", remedy="send JSON as UTF-8") from error
    if len(content) > limit_bytes:
        raise TooLarge(
            "the body is too large", field="body", expected=f"at most {limit_bytes} bytes", got=f"{len(content)} bytes"
        )
    return content


def parsed(content: bytes, content_type: str | None, content_encoding: str | None = None) -> Any:
    """The JSON value in ``content``, whose type and encoding are as declared.

    Refused as ``BadRequest``: what is no UTF-8 or no JSON, NaN and infinities, numbers beyond a double, an object
    that names a member twice, more than 100 levels. Refused as ``UnsupportedMediaType``: any other declared type.
    """
    _require_plain(content_encoding)
    _require_json(content_type)
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not UTF-8", field="body", expected="UTF-8", got="other bytes") from error
    except json.JSONDecodeError as error:
        found = f"{error.msg}, line {error.lineno}, column {error.colno}"
        raise BadRequest("the body is not JSON", field="body", expected="JSON", got=found) from None
    except RecursionError:
        raise _too_deep() from None
    if content.count(b"[") + content.count(b"{") > DEPTH_MAX:
        _require_shallow(value)
    return value


def _require_plain(content_encoding: str | None) -> None:
    if (content_encoding or "identity").strip().lower() != "identity":
        raise UnsupportedEncoding(
            "the body is compressed, and this API reads none that is",
            field="content-encoding",
            expected="no such header",
            got=content_encoding,
            remedy="send the body as it is",
        )


def _require_json(content_type: str | None) -> None:
    if content_type is None:
        return
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    is_json = media_type == JSON or (media_type.startswith("application/") and media_type.endswith("+json"))
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    if not is_json or not {"utf-8", "us-ascii"}.issuperset(charsets):
        raise UnsupportedMediaType(
            "the body's type is not one this API reads",
            field="content-type",
            expected=JSON,
            got=content_type,
            remedy=f"send the header Content-Type: {JSON}",
        )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name, count in times.items() if count > 1)
        raise BadRequest("an object names a member twice", field=twice, expected="one value", got="several")
    return members


def _no_constant(text: str) -> Any:
    raise BadRequest("the body is not JSON", field="body", expected="a finite number or null", got=text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _too_big(text)
    return number


def _int(text: str) -> int:
    if len(text) > INTEGER_MAX_CHARS:
        raise _too_big(text)
    return int(text)


def _too_big(text: str) -> BadRequest:
    return BadRequest("a number is too large", field="body", expected="a number that a double can hold", got=text)


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return
    raise _too_deep()


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [inner for inner in value if isinstance(inner, dict | list)]


def _too_deep() -> BadRequest:
    return BadRequest("the body is nested too deeply", field="body", expected=f"at most {DEPTH_MAX} levels", got="more")
