"""What a job has used, over HTTP: the answer, who may have it, and what there is none for."""

from __future__ import annotations

import os

import pytest

from chalicelib.core.access import AccessKey, digest_of, new_key
from tests.support.service import Service, service


def test_a_message_that_was_polled(api: Service, topic: str) -> None:
    job_id = api.post("/mq/message/publish", {"topic": topic, "payload": {"n": 1}}).json["id"]
    api.get("/mq/message/poll", {"topic": topic, "limit": 1})
    api.clock.move(40)
    api.post("/mq/message/complete", {"id": job_id})
    reply = api.get(f"/api/job/{job_id}/usage")
    assert (reply.status, reply.json) == (
        200,
        {
            "id": job_id,
            "runBy": "client",
            "attempts": 1,
            "failures": 0,
            "sends": 1,
            "polls": 0,
            "runMs": 40,
            "payloadBytes": len('{"input":{"n":1}}'),
            "outputBytes": 0,
        },
    )


@pytest.mark.parametrize("job_id", ["999999", "0", "x", "9" * 30])
def test_what_never_was(api: Service, job_id: str) -> None:
    reply = api.get(f"/api/job/{job_id}/usage")
    assert (reply.status, reply.json["error"]) == (404, "Not Found")


def test_the_scope_of_its_kind_is_needed() -> None:
    with service(stage="prod", bucket="in-prod") as prod:

        def key(scope: str) -> dict[str, str]:
            made = new_key(os.urandom)
            prod.yard.directory.put_access_key(
                AccessKey(name="t", scopes=frozenset({scope}), digest=digest_of(made), created_at_ms=prod.clock.ms)
            )
            return {"Authorization": f"Bearer {made}"}

        message = prod.post("/mq/message/publish", {"topic": "t", "payload": {}}, **key("message")).json["id"]
        assert prod.get(f"/api/job/{message}/usage", **key("message")).status == 200
        refused = prod.get(f"/api/job/{message}/usage", **key("task"))
        assert (refused.status, refused.json["message"]) == (403, "this access key lacks the scope message or console")
