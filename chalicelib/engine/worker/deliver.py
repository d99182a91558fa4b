"""Delivering a task to its application: its content is posted to the application's URL, signed as it signs.

Only a 2xx whose body is ``success`` is one. A receiver that asks for rest, is gone or does not answer gets it: until
then no task of the application is delivered, and those whose turn comes go back without using an attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chalicelib.core.applications import DELIVERY, Application, digest_of, sign
from chalicelib.core.documents import to_json
from chalicelib.core.errors import Reject
from chalicelib.core.texts import readable
from chalicelib.engine import silences
from chalicelib.engine.handlers.declare import handler_of, marks_of, task
from chalicelib.engine.interruptions import HandlerTimeout, PollAgain
from chalicelib.engine.worker.context import Context

if TYPE_CHECKING:
    from chalicelib.queue.webhooks import Reply

SUCCESS = b"success"
REST_S = {429: 60, 410: 3_600, 503: 0}  # after which answers it rests, and how long if it does not say
REST_MAX_MS = 300_000  # of one that did not answer
LOOK_AGAIN_MS = 900_000  # who ends a rest or enables an application need not send its tasks again
SPARE_MS = 250  # what is left of an attempt's time once a receiver has not answered, to say so


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
    try:
        reply = webhooks.post(
            application.link_url,
            body,
            {"Content-Type": "application/json", **signed.to_send()},
            local=context.yard.settings.local,
            timeout_s=webhooks.TIMEOUT_S if (time_ms := _time_ms(context)) is None else time_ms / 1_000,
        )
    except webhooks.NotTaken as error:
        context.write_log("linkUrl was not reached", {"error": str(error)})
        if error.refused:
            raise Reject(f"linkUrl was not reached: {error}") from None
        _rest_of_silent(context, application, now_ms)
        raise NotDelivered(f"linkUrl was not reached: {error}") from None
    except HandlerTimeout:  # a look-up of its name heeds no time
        _rest_of_silent(context, application, now_ms)
        raise
    return _taken(context, application, reply)


def _time_ms(context: Context) -> float | None:
    """How long the receiver may take."""
    remaining_ms = context.remaining_ms()
    return None if remaining_ms is None else remaining_ms - min(SPARE_MS, remaining_ms / 2)


def _rest_of_silent(context: Context, application: Application, began_ms: int) -> None:
    """An application that has not answered rests for several times as long as was waited for it."""
    now_ms = context.yard.now_ms()
    rest_ms = min(REST_MAX_MS, silences.length_ms(application.in_vain + 1, now_ms - began_ms))
    context.yard.applications.rest(application, now_ms + rest_ms, in_vain=True)


def _results(context: Context) -> dict[str, Any]:
    """Of a node of a graph, what those before it have come to."""
    results = {} if context.job.graph is None else context.results
    return {"results": dict(results)} if results else {}


def _listening(context: Context) -> Application:
    """The application, if it may be called now; else the run ends, and comes back without using an attempt."""
    application = context.yard.applications.find(context.job.application or "")
    if application is None:
        raise Reject("its application is gone")
    rests_ms = LOOK_AGAIN_MS if application.disabled else application.resting_until_ms - context.yard.now_ms()
    if rests_ms > 0:
        raise context.interrupted_by(PollAgain(min(rests_ms, LOOK_AGAIN_MS)))
    return application


def _taken(context: Context, application: Application, reply: Reply) -> dict[str, Any]:
    """What the application has answered, if it has taken the task."""
    text = readable(reply.head.decode(errors="replace"))
    told = {"status": reply.status, "response": text}
    if reply.ok and reply.whole and reply.head.strip() == SUCCESS:
        if application.in_vain:
            context.yard.applications.wake(application.app_key)
        return told
    context.write_log("linkUrl has not taken it", told)
    if reply.status in REST_S:
        rest_s = REST_S[reply.status] if reply.retry_after_s is None else reply.retry_after_s
        context.yard.applications.rest(application, context.yard.now_ms() + rest_s * 1_000, in_vain=False)
    expected = "" if not reply.ok else " instead of success"
    raise NotDelivered(f"linkUrl answered {reply.status}{expected}: {text}")


DELIVER = handler_of(deliver, marks_of(deliver)[0])
