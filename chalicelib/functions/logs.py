"""What every line of an invocation's log carries, so that one search finds all of them.

Of a function: Lambda's request id, and whether the invocation is the first of its process. Of the API: the id that
the client is told, and the route, too. Never what the request says: no header, no payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from chalice.app import Request, Response

from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext
from chalicelib.logger import logger

Answer = TypeVar("Answer")
Handle = Callable[[Yard, Mapping[str, Any], LambdaContext], Answer]


class ColdStart:
    """Whether this process has served nothing yet."""

    def __init__(self) -> None:
        self._cold = True

    def taken(self) -> bool:
        """True for the first who asks, false from then on."""
        cold, self._cold = self._cold, False
        return cold


cold_start = ColdStart()


def logged(handle: Handle[Answer]) -> Handle[Answer]:
    """``handle``, whose lines, those of the heartbeat's thread included, carry the invocation's keys."""

    @wraps(handle)
    def with_keys(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> Answer:
        with logger.append_context_keys(**_invocation(context)):
            return handle(yard, event, context)

    return with_keys


def logged_request(request: Request | None, get_response: Callable[[Any], Response]) -> Response:
    """Chalice's middleware by which the lines of a request carry its keys; beside it, others may be served."""
    if request is None:  # no HTTP request: the API says so
        return get_response(request)
    keys = {
        **_invocation(request.lambda_context),
        "request_id": request.context.get("requestId"),
        "route": f"{request.method} {request.context['resourcePath']}",
    }
    logger.thread_safe_append_keys(**keys)
    try:
        return get_response(request)
    finally:
        logger.thread_safe_remove_keys(list(keys))


def _invocation(context: Any) -> dict[str, Any]:
    """The keys of an invocation; what stands in for Lambda may have no request ids."""
    return {"function_request_id": getattr(context, "aws_request_id", None), "cold_start": cold_start.taken()}
