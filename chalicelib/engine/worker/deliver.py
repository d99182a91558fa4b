"""Delivering a task to its application: its content is posted to the application's URL, signed as it signs.

Only a 2xx whose body is ``success`` is one. A receiver that asks for rest, or is gone, gets it: until then no task of
the application is delivered, and those whose turn comes go back without using an attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chalicelib.core.applications import DELIVERY, Application, digest_of, sign
from chalicelib.core.documents import to_json
from chalicelib.core.texts import readable
from chalicelib.engine.failures import Reject
from chalicelib.engine.handlers.declare import handler_of, marks_of, task
from chalicelib.engine.interruptions import PollAgain
from chalicelib.engine.worker.context import Context

if TYPE_CHECKING:
    from chalicelib.queue.webhooks import Reply

SUCCESS = b"success"
REST_S = {429: 60, 410: 3_600, 503: 0}  # after which answers it rests, and how long if it does not say
DISABLED_WAIT_MS = 900_000  # until a task of a disabled application looks again


class NotDelivered(Exception):
    """The application has not taken the task."""


@task(DELIVERY)
def deliver(content: Any, context: Context) -> dict[str, Any]:
    """Post a task's content to its application; returns the answer's status and text.

    Raises ``NotDelivered``, and ``Reject`` where the URL may never be called.
    """
    from chalicelib.queue import webhooks  # imported late: few workers deliver, and it brings TLS

    application = _listening(context)
    now_ms = context.yard.now_ms()
    body = to_json({"data": content, **_results(context)}, "content").encode()
    secret = application.secrets(now_ms)[-1]
    signed = sign(application.app_key, secret, digest_of(body), now_ms, context.yard.random_bytes)
    remaining_ms = context.remaining_ms()
    try:
        reply = webhooks.post(
            application.link_url,
            body,
            {"Content-Type": "application/json", **signed.to_send()},
            local=context.yard.settings.local,
            timeout_s=webhooks.TIMEOUT_S if remaining_ms is None else remaining_ms / 1_000,
        )
    except webhooks.NotTaken as error:
        raise (Reject if error.refused else NotDelivered)(f"linkUrl was not reached: {error}") from None
    return _taken(context, application, reply)


def _results(context: Context) -> dict[str, Any]:
    """Of a node of a graph, what those before it have come to."""
    results = {} if context.job.graph is None else context.results
    return {"results": dict(results)} if results else {}


def _listening(context: Context) -> Application:
    """The application, if it may be called now; else the run ends, and comes back without using an attempt."""
    application = context.yard.applications.find(context.job.application or "")
    if application is None:
        raise Reject("its application is gone")
    wait_ms = max(application.resting_until_ms - context.yard.now_ms(), DISABLED_WAIT_MS if application.disabled else 0)
    if wait_ms > 0:
        raise context.interrupted_by(PollAgain(wait_ms))
    return application


def _taken(context: Context, application: Application, reply: Reply) -> dict[str, Any]:
    """What the application has answered, if it has taken the task."""
    text = readable(reply.head.decode(errors="replace"))
    told = {"status": reply.status, "response": text}
    if reply.ok and reply.head.strip() == SUCCESS:
        return told
    context.write_log("linkUrl has not taken it", told)
    rest_s = (reply.retry_after_s or REST_S[reply.status]) if reply.status in REST_S else 0
    if rest_s:
        context.yard.applications.rest(application.app_key, context.yard.now_ms() + rest_s * 1_000)
    expected = "" if not reply.ok else " instead of success"
    raise NotDelivered(f"linkUrl answered {reply.status}{expected}: {text}")


DELIVER = handler_of(deliver, marks_of(deliver)[0])
