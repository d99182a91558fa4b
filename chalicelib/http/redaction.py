"""Which parts of a request are secrets, by the names they are sent under, and how they are kept out of sight."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chalicelib.http.exchange import Incoming

REDACTED = "[redacted]"
SECRET_MIN_CHARS = 4  # blanking anything shorter would only make a text unreadable

FLOW_TARGET_KEY = "key"  # the field of this name that requests have is a key of flow control; payloads have others
_FLOW_KEY = re.compile(r"(?:^|(?<=\.))flow_?key(?=\.|$)", re.IGNORECASE)
_SENSITIVE = re.compile(r"secret|signature|password|token|authorization|key", re.IGNORECASE)


def is_sensitive(name: str) -> bool:
    """Whether what is sent under ``name`` (a field, a header, a dotted path) may be a secret. A flow key is none."""
    return _SENSITIVE.search(_FLOW_KEY.sub("", name)) is not None


def reported(name: str, got: str) -> str:
    """What came as the field ``name`` of a request, for its sender: blanked where it may be a secret."""
    return REDACTED if name != FLOW_TARGET_KEY and is_sensitive(name) else got


def secrets_in(value: Any, *, name: str = "") -> Iterator[str]:
    """Every value, however deep, that stands under a sensitive name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, name=f"{name}.{key}" if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from secrets_in(inner, name=name)
    elif value is not None and not isinstance(value, bool) and is_sensitive(name):
        yield str(value)


def blanked(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of ``secrets``, nor the forms in which ``repr`` and JSON would show them."""
    forms = {form for secret in secrets for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= SECRET_MIN_CHARS:
            text = text.replace(form, REDACTED)
    return text


def secrets_of(request: Incoming) -> Iterator[str]:
    """Every secret in ``request``: of its headers, its query and, where that is JSON, its body."""
    for secret in secrets_in(request.headers):
        yield from (secret, *secret.split())  # "Bearer ty_...", and the key alone
    yield from secrets_in(request.query)
    try:
        yield from secrets_in(json.loads(request.content() or b"null"))
    except (ValueError, RecursionError):
        return
