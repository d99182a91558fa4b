"""What tests of the engine do, in one word each. ``w`` is their world."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib import aws
from chalicelib.core.job import Job
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.claim import claim
from chalicelib.queue.contract import Received
from chalicelib.store.transitions.running import Lease
from tests.support.worlds import World

LEASE_MS = 60_000
NOTHING_DONE = {  # what a tick of the clock returns that found nothing to do
    "outboxes_sent": 0,
    "schedules_declared": 0,
    "slots_handed_over": 0,
    "due_sent": 0,
    "leases_recovered": 0,
    "graphs_looked_after": 0,
    "slots_filled": 0,
    "waiting_released": 0,
    "resumed_sent": 0,
    "expired_removed": 0,
    "canaries_missing": 0,
    "bulk_acted": 0,
    "passed_over": 0,
}
HOURLY = {
    "stale_resent": 0,
    "lost_recovered": 0,
    "slots_audited": 0,
    "statistics_condensed": 0,
    "unaccounted_found": 0,
}  # and beside it the first, and then one an hour


def using(w: World, *functions: Callable[..., Any]) -> None:
    """Deploy these handlers."""
    w.restart(Registry.of(functions))


def a_task(w: World, type: str = "t", **more: Any) -> Job:  # noqa: A002
    return publish(w.yard, NewJob(kind=Kind.TASK, type=type, **more))


def a_message(w: World, topic: str = "news", **more: Any) -> Job:
    return publish(w.yard, NewJob(kind=Kind.MESSAGE, type=topic, **more))


def work(w: World, queue: str = "default", band: str = "normal") -> list[str]:
    """One batch to the worker; returns the ids of the messages that came back."""
    back = w.deliver_batch(name_of(w, queue, band))
    assert back is not None
    return back


def name_of(w: World, queue: str = "default", band: str = "normal") -> str:
    """The SQS name of a lane."""
    return w.yard.transport.source_of(Lane(queue, Band(band)))


def take(w: World, queue: str = "default") -> list[Received]:
    """What SQS hands out of a lane now."""
    return w.yard.transport.receive(name_of(w, queue), 10, hide_s=330, wait_s=0)


def message_of(w: World, job: Job) -> Any:
    """The one message of a job, as SQS holds it."""
    (found,) = [message for message in w.messages() if json.loads(message.body)["id"] == job.id]
    return found


def hidden_for_ms(w: World, job: Job) -> int:
    return int(message_of(w, job).visible_at) - w.clock.ms


def stolen(w: World, job: Job) -> Job:
    """Another worker takes a running job over, after its lease has run out."""
    taken = claim(w.yard, job, Lease("other-lease", w.clock.ms + LEASE_MS, "other worker"))
    assert isinstance(taken, Job)
    return taken


def foreign(w: World, text: str, name: str | None = None) -> str:
    """Somebody else sends a text to a queue, the normal lane if it is not named; returns its message id."""
    url = w.sqs.get_queue_url(QueueName=name or name_of(w))["QueueUrl"]
    return str(w.sqs.send_message(QueueUrl=url, MessageBody=text)["MessageId"])


# -- between the service and AWS ----------------------------------------------------------------------


@contextmanager
def failing(client: Any, operation: str) -> Iterator[None]:
    """AWS cannot be reached for one operation of a client."""

    def refuse(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    with _hooked(client, operation, refuse):
        yield


@contextmanager
def refusing(client: Any, operation: str, mentioning: str) -> Iterator[None]:
    """AWS finds every request of an operation invalid that mentions a text."""

    def refuse(params: Any, **_: Any) -> None:
        if mentioning.encode() in params["body"]:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "this is too much"}}, operation)

    with _hooked(client, operation, refuse):
        yield


@contextmanager
def before(client: Any, operation: str, act: Callable[[], Any], number: int = 1) -> Iterator[None]:
    """Somebody else acts just before the client's first (or ``number``-th) call of an operation."""
    acts = [act, *[lambda: None] * (number - 1)]

    def hook(**_: Any) -> None:
        if acts:
            acts.pop()()

    with _hooked(client, operation, hook):
        yield
    assert not acts, f"there was no {operation}"


@contextmanager
def counting(w: World) -> Iterator[Counter[str]]:
    """How often each AWS operation is called by the world's present process."""
    calls: Counter[str] = Counter()

    def hook(model: Any, **_: Any) -> None:
        calls[model.name] += 1

    with ExitStack() as hooks:
        for client in (w.yard.jobs.table.client, w.yard.transport.client, aws.client("s3")):
            hooks.enter_context(_hooked(client, None, hook))
        yield calls


@contextmanager
def _hooked(client: Any, operation: str | None, hook: Callable[..., Any]) -> Iterator[None]:
    event = ".".join(
        ["before-call", client.meta.service_model.service_id.hyphenize(), *([operation] if operation else [])]
    )
    client.meta.events.register_first(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)
