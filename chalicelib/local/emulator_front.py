"""The embedded emulator's front: a request of the JSON protocol goes straight to its service.

MiniStack tries some thirty other things that a request may be, by its host and its path, and looks at its headers for
each of them; that took a third of the time of an ordinary request. Here the requests that Taskyard and every AWS SDK
make of SQS and DynamoDB, which name their operation in a header, are led to the service at once, and answered with the
same headers. Anything else goes MiniStack's way, and so does everything while it is being reset.

What is used of MiniStack is private to it and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import time
import uuid
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from chalicelib.local.guard import AsgiApp, Receive, Scope, Send

SERVICES = {"DynamoDB_20120810": "dynamodb", "DynamoDBStreams_20120810": "dynamodbstreams", "AmazonSQS": "sqs"}
SIGNED = "AWS4-HMAC-SHA256 Credential="  # how SDKs begin; what follows the next comma differs for each request
OTHERWISE = frozenset({"content-encoding", "x-amz-decoded-content-length"})  # with these a body is not what it says
KEPT_CREDENTIALS = 256
CROSS_ORIGIN = [
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE, HEAD, OPTIONS, PATCH"),
    (b"Access-Control-Allow-Headers", b"*"),
    (b"Access-Control-Expose-Headers", b"*"),
]

logger = logging.getLogger("taskyard.emulator")

Headers = dict[str, str]


class Front:
    """ASGI middleware around MiniStack's application, which it takes the place of for the requests that it knows."""

    def __init__(self, app: AsgiApp) -> None:
        from ministack import app as ministack
        from ministack.core import responses, router

        self._app = app
        self._ministack = ministack
        self._responses = responses
        remembering = lru_cache(KEPT_CREDENTIALS)
        self._region_of = remembering(lambda signed: router.extract_region({"authorization": signed}))
        self._key_of = remembering(lambda signed: router.extract_access_key_id({"authorization": signed}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = None if self._ministack._get_reset_lock().locked() else known_headers(scope)
        if headers is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        if message["type"] != "http.request":  # its client has gone
            return
        self._begin(scope, headers)
        status, told, body = await self._answer(headers, message["body"])
        content = body if isinstance(body, bytes) else body.encode()
        told["Content-Length"] = str(len(content))
        fields = [(name.encode("latin-1"), str(value).encode()) for name, value in told.items()]
        date = (b"date", _date(int(time.time())))
        await send({"type": "http.response.start", "status": status, "headers": [*fields, *CROSS_ORIGIN, date]})
        await send({"type": "http.response.body", "body": content})

    def _begin(self, scope: Scope, headers: Headers) -> None:
        """Say whose request this is, and of which region."""
        signed = headers["authorization"].partition(",")[0]
        self._responses.set_request_client_ip((scope.get("client") or ("127.0.0.1",))[0])
        self._responses.set_request_account_id(self._key_of(signed))
        self._responses.set_request_region(self._region_of(signed))

    async def _answer(self, headers: Headers, body: bytes) -> tuple[int, Headers, Any]:
        service = SERVICES[headers["x-amz-target"].partition(".")[0]]
        request_id = str(uuid.uuid4())
        try:
            status, told, answer = await self._ministack.SERVICE_HANDLERS[service]("POST", "/", headers, body, {})
        except Exception as error:
            logger.exception("Expected an answer of %s, got an error.", service)
            failure = {"__type": "InternalError", "message": str(error)}
            return 500, {"Content-Type": "application/json"}, json.dumps(failure)
        self._responses.fix_error_content_type(service, status, told)
        self._responses.fix_success_content_type(service, status, told)
        region = self._responses.get_region()
        self._ministack._maybe_record_cloudtrail(service, "POST", "/", headers, body, {}, request_id, region)
        second_id = base64.b64encode(os.urandom(48)).decode()
        told |= {"x-amzn-requestid": request_id, "x-amz-request-id": request_id, "x-amz-id-2": second_id}
        return status, told, answer


def known_headers(scope: Scope) -> Headers | None:
    """The headers of a signed request of the JSON protocol to one of the services; ``None`` of any other."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/" or scope["query_string"]:
        return None
    try:
        headers = {name.decode("ascii"): value.decode("ascii") for name, value in scope["headers"]}
    except UnicodeDecodeError:
        return None
    is_plain = len(headers) == len(scope["headers"]) and not OTHERWISE & headers.keys()
    is_streaming = headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
    is_signed = headers.get("authorization", "").startswith(SIGNED)
    is_known = headers.get("x-amz-target", "").partition(".")[0] in SERVICES
    return headers if is_plain and is_signed and is_known and not is_streaming else None


@lru_cache(maxsize=1)
def _date(now_s: int) -> bytes:
    return formatdate(now_s, usegmt=True).encode()
