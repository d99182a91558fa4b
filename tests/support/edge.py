"""A toy API on the real framework, and the events with which API Gateway would call it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalice.app import Chalice

from chalicelib.core.access import Lookup
from chalicelib.http.access import authenticate
from chalicelib.http.basic import Users
from chalicelib.http.mount import mount
from chalicelib.http.routes import Router
from chalicelib.settings import Settings

LOCAL = Settings()
REMOTE = Settings(stage="prod")
SERVICE = object()


def app_of(
    *routers: Router,
    settings: Settings = LOCAL,
    lookup: Lookup = lambda _: None,
    provider: Callable[[], Any] = lambda: SERVICE,
    users: Users | None = None,
) -> Chalice:
    """A Chalice application that serves ``routers``; its keys are those that ``lookup`` finds."""
    app = Chalice("toy")
    known = users or Users(lambda: False, lookup)
    mount(
        app,
        routers,
        provider=provider,
        settings=settings,
        authenticate=lambda headers, scope: authenticate(headers, scope, lookup, known, settings),
    )
    return app


@dataclass(frozen=True)
class Reply:
    """What API Gateway would send to the client."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


def call(
    app: Chalice,
    method: str,
    route: str,
    *,
    body: Any = None,
    query: Mapping[str, Sequence[str]] | None = None,
    path: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    is_base64: bool = False,
    stage: str = "",
) -> Reply:
    """What ``app`` answers to the proxy event of one request; ``route`` is the declared path."""
    event = {
        "resource": route,
        "httpMethod": method,
        "headers": dict(headers) if headers is not None else None,
        "multiValueQueryStringParameters": query,
        "pathParameters": path,
        "stageVariables": None,
        "body": body,
        "isBase64Encoded": is_base64,
        "requestContext": {
            "httpMethod": method,
            "resourcePath": route,
            "path": f"{stage}{route}",
            "requestId": "req-1",
        },
    }
    answer = app(event, None)
    json.dumps(answer, ensure_ascii=False).encode("utf-8")  # as the Lambda runtime will
    return Reply(answer["statusCode"], answer["headers"], answer["body"])
