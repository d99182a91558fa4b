"""REST APIs that the emulator makes of OpenAPI documents, by MiniStack's own functions in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import apigateway_v1

from chalicelib.local.emulator_apis import BINARY_TYPES, import_apis

URI = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:1:function:f/invocations"


@pytest.fixture(autouse=True)
def importing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MiniStack with imports, and afterwards as it was."""
    for name in ("_import_rest_api", "handle_request"):
        monkeypatch.setattr(apigateway_v1, name, getattr(apigateway_v1, name))
    import_apis()
    yield
    apigateway_v1.reset()


def document(*routes: str, binary: list[str] | None = None) -> bytes:
    """An OpenAPI document as Chalice writes it, of routes like "GET /path"."""
    paths: dict[str, Any] = {}
    for route in routes:
        method, path = route.split()
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": URI, "contentHandling": "CONVERT_TO_TEXT"}
        paths.setdefault(path, {})[method.lower()] = {"x-amazon-apigateway-integration": integration}
    return json.dumps({"info": {"title": "taskyard-dev"}, "paths": paths, BINARY_TYPES: binary or []}).encode()


def asked(method: str, path: str, body: bytes = b"", **query: str) -> tuple[int, Any]:
    parameters = {name: [value] for name, value in query.items()}
    status, _, answer = asyncio.run(apigateway_v1.handle_request(method, path, {}, body, parameters))
    return status, json.loads(answer or b"null")


def routes(api_id: str) -> dict[str, str]:
    """The routes there are, each with what it calls."""
    return {
        f"{method} {resource['path']}": (called := found["methodIntegration"])["type"] + " " + called["uri"]
        for resource in asked("GET", f"/restapis/{api_id}/resources", limit="500")[1]["item"]
        for method, found in resource.get("resourceMethods", {}).items()
    }


def test_an_import_makes_the_routes_and_knows_binary_types() -> None:
    wanted = ("GET /", "GET /mq/trace/{traceId}", "OPTIONS /mq/trace/{traceId}", "POST /mq/message/publish")
    status, api = asked("POST", "/restapis", document(*wanted, binary=["image/*"]), mode="import")
    assert (status, api["name"], api["binaryMediaTypes"]) == (201, "taskyard-dev", ["image/*"])
    assert routes(api["id"]) == dict.fromkeys(wanted, f"AWS_PROXY {URI}")


def test_a_put_replaces_the_routes_of_the_same_api() -> None:
    _, api = asked("POST", "/restapis", document("GET /", "GET /old", "GET /kept"), mode="import")
    body = document("POST /", "GET /kept", "GET /kept/new", binary=["a/b"])
    status, put = asked("PUT", f"/restapis/{api['id']}", body, mode="overwrite")
    assert (status, put["id"], put["binaryMediaTypes"]) == (200, api["id"], ["a/b"])
    assert set(routes(api["id"])) == {"POST /", "GET /kept", "GET /kept/new"}
    assert [each["id"] for each in asked("GET", "/restapis")[1]["item"]] == [api["id"]]


def test_a_put_of_no_such_api_is_refused() -> None:
    status, refused = asked("PUT", "/restapis/none", document("GET /"), mode="overwrite")
    assert (status, refused["message"]) == (404, "Invalid API identifier specified")


def test_an_api_without_a_document_is_made_as_before() -> None:
    status, api = asked("POST", "/restapis", b'{"name": "plain"}')
    assert (status, api["name"], routes(api["id"])) == (201, "plain", {})
