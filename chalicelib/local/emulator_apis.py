"""REST APIs from OpenAPI documents, which MiniStack makes for CloudFormation only.

ImportRestApi (of `chalice deploy`'s first run) made an API without routes there, and PutRestApi (of all later ones) was
unknown. Both are led to what MiniStack does for a template. It ignores what a document says of binary media types.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Reply]]

BINARY_TYPES = "x-amazon-apigateway-binary-media-types"


def import_apis() -> None:
    """Let MiniStack in this process import REST APIs; once."""
    from ministack.services import apigateway_v1

    apigateway_v1._import_rest_api = _with_binary_types(apigateway_v1._import_rest_api)
    apigateway_v1.handle_request = _importing(apigateway_v1)


def _with_binary_types(make: Callable[..., str]) -> Callable[..., str]:
    def import_rest_api(document: dict[str, Any], given: dict[str, Any] | None = None) -> str:
        given = dict(given or {})
        given["binaryMediaTypes"] = given.get("binaryMediaTypes") or document.get(BINARY_TYPES, [])
        return make(document, given)

    return import_rest_api


def _importing(gateway: Any) -> Handler:
    handle: Handler = gateway.handle_request

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Reply:
        match method, path.strip("/").split("/"):
            case "POST", ["restapis"] if "import" in query.get("mode", ()):
                _, answered, api = gateway._get_rest_api(gateway._import_rest_api(json.loads(body)))
                return 201, answered, api
            case "PUT", ["restapis", api_id] if "overwrite" in query.get("mode", ()):
                if api_id in gateway._rest_apis:
                    _overwrite(gateway, api_id, json.loads(body))
                return gateway._get_rest_api(api_id)  # type: ignore[no-any-return]  # MiniStack has no types
        return await handle(method, path, headers, body, query)

    return handle_request


def _overwrite(gateway: Any, api_id: str, document: dict[str, Any]) -> None:
    """Make an API's routes anew from a document; its stages stay."""
    gateway._rest_apis[api_id]["binaryMediaTypes"] = document.get(BINARY_TYPES, [])
    resources = gateway._resources[api_id]
    (root,) = (key for key, resource in resources.items() if resource["path"] == "/")
    gateway._resources[api_id] = {root: {**resources[root], "resourceMethods": {}}}
    gateway._authorizers_v1[api_id] = {}
    schemes = gateway._import_security_schemes(api_id, document)
    for path, operations in document.get("paths", {}).items():
        gateway._import_path_item(api_id, path, operations, schemes, document.get("security"))
