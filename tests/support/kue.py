"""What tests of kue's dialect do, in one word each."""

from __future__ import annotations

from typing import Any

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.engine.handlers.declare import DEFAULT_POOL
from tests.support.lambda_shapes import Time, sqs_event
from tests.support.lanes import lane_of
from tests.support.service import Reply, Service


def created(api: Service, type_: str, data: Any = None, **options: Any) -> str:
    """The id of a new job."""
    reply = api.post("/job", {"type": type_, "data": data, "options": options})
    assert reply.status == 200, reply.text
    assert reply.json == {"message": "job created", "id": reply.json["id"]}
    assert type(reply.json["id"]) is int
    return str(reply.json["id"])


def shown(api: Service, job_id: str) -> dict[str, Any]:
    """A job in kue's words."""
    reply = api.get(f"/job/{job_id}")
    assert reply.status == 200, reply.text
    return dict(reply.json)


def ids(api: Service, path: str) -> list[str]:
    """The ids of a list, which are numbers there, as text."""
    reply = api.get(path)
    assert reply.status == 200, reply.text
    assert all(type(job["id"]) is int for job in reply.json)
    return [str(job["id"]) for job in reply.json]


def put(api: Service, path: str) -> Reply:
    """A PUT, which has no body in kue."""
    return api.request("PUT", path, None, {})


def delete(api: Service, path: str) -> Reply:
    """A DELETE."""
    return api.request("DELETE", path, None, {})


def work_off(api: Service, priority: int = 0) -> None:
    """The worker, on all that the default pool's lane shows now."""
    while messages := api.yard.transport.receive(
        api.yard.transport.source_of(lane_of(api.yard, DEFAULT_POOL, priority)), 10, hide_s=330, wait_s=0
    ):
        response = api.module.worker(sqs_event(messages), Time())
        back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        api.yard.transport.delete([message for message in messages if message.message_id not in back])
        if back:
            return


def project(api: Service) -> None:
    """The change stream, to the projector."""
    tables = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID]["us-east-1"].tables
    records = tables[api.yard.settings.jobs_table].stream_shard.items
    api.module.projector({"Records": [record.to_json() for record in records]}, None)
