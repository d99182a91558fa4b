"""Signatures as fastify-task's users make them: HMAC-SHA256 over ``id|data``, in lower-case hex.

    crypto.createHmac('sha256', secret).update(`${id}|${typeof data === 'string' ? data : JSON.stringify(data)}`)

A signature is over text, so an object must be written here byte for byte as JavaScript's ``JSON.stringify`` writes it
there: ``javascript_json``. ECMAScript 2023: "JSON.stringify" (25.5.2), "Number::toString" (6.1.6.1.20) and
"OrdinaryOwnPropertyKeys" (10.1.11.1).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from chalicelib.core.errors import InvalidInput

PLAIN_DIGITS_MAX = 21  # a number with more digits before its point is written with an exponent
PLAIN_ZEROS_MAX = 6  # and so is one below 0.000001
INDEX_LIMIT = 2**32 - 1  # keys below it that look like array indexes come first, in their order

_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def sign(secret: str, job_id: int | str, data: Any) -> str:
    """The signature of ``data``: text as it is, anything else as ``javascript_json`` writes it.

    Raises ``InvalidInput`` for what is no JSON value.
    """
    text = data if isinstance(data, str) else javascript_json(data)
    return hmac.new(_utf8(secret), _utf8(f"{job_id}|{text}"), hashlib.sha256).hexdigest()


def verify(signature: str | None, secret: str, job_id: int | str, data: Any) -> bool:
    """Whether ``signature`` is that of ``data``. How long it takes does not tell where a wrong one differs."""
    return hmac.compare_digest(_utf8(signature or ""), sign(secret, job_id, data).encode())


def secret_in(context: Mapping[str, Any] | None) -> str | None:
    """The secret of a task with this context, as text; ``None`` where it has none, or an empty one."""
    secret = None if context is None else context.get("secret")
    if secret is None or secret == "":
        return None
    return secret if isinstance(secret, str) else javascript_json(secret)


def without_secret(context: Any) -> Any:
    """A task's context as it may be shown: never with its secret."""
    if isinstance(context, Mapping):
        return {name: value for name, value in context.items() if name != "secret"}
    return context


def without_secrets(request: Any) -> Any:
    """A chain of tasks to come, as it may be shown: no context with its secret."""
    if not isinstance(request, Mapping):
        return request
    told = {"context": without_secret(request.get("context")), "next": without_secrets(request.get("next"))}
    return {name: told.get(name, value) for name, value in request.items()}


def check_secret_in(context: Mapping[str, Any] | None) -> None:
    """Raise ``InvalidInput`` for a context with a secret that nobody could sign with."""
    secret = None if context is None else context.get("secret")
    if secret is not None and (not isinstance(secret, str) or not secret):
        raise InvalidInput(
            "this is no secret to sign with",
            field="context.secret",
            expected="text of at least one character",
            got="an empty text" if secret == "" else type(secret).__name__,
            remedy="leave it out for a task without one",
        )


def javascript_json(value: Any) -> str:
    """``value``, as Python's ``json`` parsed it, as ``JSON.stringify(JSON.parse(text))`` writes it.

    No spaces; characters beyond ASCII as they are, but lone surrogates as ``\\udXXX``; numbers as doubles (1.0 is
    ``1``, 1e21 is ``1e+21``, 2**53 + 1 is ``9007199254740992``); keys that are array indexes first. Raises
    ``InvalidInput`` for what is no JSON value.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | float():
            return _number(value)
        case Mapping():
            members = (f"{_text(key)}:{javascript_json(value[key])}" for key in _in_javascripts_order(value))
            return f"{{{','.join(members)}}}"
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return f"[{','.join(javascript_json(item) for item in value)}]"
    raise InvalidInput("this is no JSON value", field="data", expected="JSON", got=type(value).__name__)


def _in_javascripts_order(members: Mapping[Any, Any]) -> Iterable[str]:
    """The keys as a JavaScript object lists them: array indexes by size, then the others as they came."""
    for key in members:
        if not isinstance(key, str):
            raise InvalidInput("a key of a JSON object is text", field="data", expected="text", got=key)
    return sorted(members, key=lambda key: int(key) if _is_index(key) else INDEX_LIMIT)


def _is_index(key: str) -> bool:
    return _INDEX.fullmatch(key) is not None and int(key) < INDEX_LIMIT


def _text(text: str) -> str:
    written = json.dumps(_joined(text), ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):x}", written)


def _joined(text: str) -> str:
    """``text`` with two halves of a surrogate pair made one character: JavaScript sees no difference."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _utf8(text: str) -> bytes:
    """``text`` as Node encodes it: a lone surrogate becomes U+FFFD."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _joined(text)).encode()


def _number(number: float) -> str:
    try:
        double = float(number)
    except OverflowError:
        return "null"
    if not math.isfinite(double):
        return "null"
    if double == 0:
        return "0"  # -0 too
    sign, digits, point = _digits(double)
    return f"{sign}{_placed(digits, point)}"


def _digits(double: float) -> tuple[str, str, int]:
    """The sign of a double, its shortest decimal digits, and how many of them stand before the point."""
    negative, digits, exponent = Decimal(repr(double)).as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    return "-" if negative else "", text.rstrip("0"), point


def _placed(digits: str, point: int) -> str:
    if len(digits) <= point <= PLAIN_DIGITS_MAX:
        return digits + "0" * (point - len(digits))
    if 0 < point <= PLAIN_DIGITS_MAX:
        return f"{digits[:point]}.{digits[point:]}"
    if -PLAIN_ZEROS_MAX < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
