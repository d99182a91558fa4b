"""One request and its answer, as API Gateway and Lambda pass them."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from chalicelib.core.documents import sent_json
from chalicelib.core.errors import TooLarge
from chalicelib.http.listener import Listener

JSON = "application/json"
ANSWER_MAX_BYTES = 6 * 1024 * 1024 - 65_536  # Lambda sends 6 MB, headers and JSON quoting included

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.=-]{1,128}")
_QUOTING_FACTOR = 6  # one character may become \uXXXX


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came: unpacked, nothing of it checked."""

    method: str
    route: str  # the declared path, with its variables: /mq/dlq/replay/{id}
    url_path: str  # as the client wrote it, stage included: /api/mq/dlq/replay/7
    request_id: str
    headers: Mapping[str, str]  # names in lower case
    query: Mapping[str, Sequence[str]]
    path: Mapping[str, str]  # values still percent-encoded, as a REST API leaves them
    body: str | bytes | None = field(repr=False)
    body_is_base64: bool
    listener: Listener = field(default_factory=Listener, repr=False)

    def content(self) -> bytes:
        """The body as the client sent it; raises ``ValueError`` where the gateway's encoding of it is broken."""
        body = self.body or b""
        if self.body_is_base64:
            return base64.b64decode(body, validate=True)
        return body if isinstance(body, bytes) else body.encode("utf-8")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and what a route may want to know of it beyond its declared inputs."""

    name: str  # of the access key; "local" where none is needed, "anonymous" on a public route
    scopes: frozenset[str]
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    request_id: str
    raw_body: bytes = field(repr=False)  # as sent, for signatures over it
    url_path: str  # see Incoming
    listener: Listener = field(default_factory=Listener, repr=False)
    signer: Any = None  # what the route's ``verify`` has found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers where the plain value is not enough.

    ``body`` is any JSON value with models in it, or text where ``content_type`` is not JSON; ``None`` sends none.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON

    def text(self) -> str:
        """The body as sent; raises ``TooLarge`` for one that Lambda would refuse to send."""
        if self.body is None:
            return ""
        text = json_text(self.body) if self.content_type.startswith(JSON) else str(self.body)
        if len(text) * _QUOTING_FACTOR > ANSWER_MAX_BYTES and len(json.dumps(text)) > ANSWER_MAX_BYTES:
            raise TooLarge("the answer is larger than 6 MB", remedy="ask for fewer items at once")
        return text


def incoming(event: Mapping[str, Any], listener: Listener) -> Incoming:
    """The request in an event of an API Gateway REST API with Lambda proxy integration."""
    context = event["requestContext"]
    return Incoming(
        method=context["httpMethod"],
        route=context["resourcePath"],
        url_path=context.get("path") or context["resourcePath"],
        request_id=_request_id(context.get("requestId")),
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        query=event.get("multiValueQueryStringParameters") or {},
        path=event.get("pathParameters") or {},
        body=event.get("body"),
        body_is_base64=bool(event.get("isBase64Encoded")),
        listener=listener,
    )


def json_text(value: Any) -> str:
    """``value`` as compact JSON that any UTF-8 channel can carry.

    Models are dumped by their outer names. 1.0 becomes 1, NaN and infinities become ``null``, as JavaScript writes
    them; a lone surrogate becomes its escape.
    """
    try:
        text = sent_json(value, default=_plain)
    except ValueError:
        text = sent_json(json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    return to_jsonable_python(value)


def _request_id(given: object) -> str:
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
