"""``GET /openapi.json`` and ``GET /docs``. Both are made at first use: a worker's cold start pays for neither."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.routes import Router

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"


def description(routers: Sequence[Router], *, keyless: bool) -> Router:
    """The routes that describe ``routers``; the sequence is read when they are first called.

    ``keyless``: nobody needs an access key.
    """
    router = Router("documentation", "This description, for programs and for people.")

    @lru_cache(maxsize=1)
    def document() -> dict[str, Any]:
        from chalicelib.http import openapi

        return openapi.document(routers, keyless=keyless)

    @router.get(OPENAPI_PATH, scope=None)
    def openapi_json(caller: Caller) -> dict[str, Any]:
        """The OpenAPI 3.1 document of this API."""
        base = caller.url_path.removesuffix(OPENAPI_PATH)  # the stage, or a custom domain's mapping
        return {**document(), "servers": [{"url": base or "/"}]}

    @router.get(DOCS_PATH, scope=None, answer=str, content_type="text/html; charset=utf-8")
    def docs() -> Answer:
        """This documentation as a page."""
        from chalicelib.http import docs

        return docs.page()

    return router
