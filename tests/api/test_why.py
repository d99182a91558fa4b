"""Why a job is not running, over HTTP: the answer, who may have it, and what there is none for."""

from __future__ import annotations

import os

import pytest

from chalicelib.core.access import AccessKey, digest_of, new_key
from chalicelib.core.dialects import SCOPES
from tests.support.service import Reply, Service, service


def create(api: Service, kind: str, **more: object) -> str:
    body = {"type": kind, "targetId": "1", "targetType": "t", **more}
    return str(api.post("/api/task/create", body).json["id"])


def why(api: Service, job_id: object, **headers: str) -> Reply:
    return api.get(f"/api/job/{job_id}/why", **headers)


def test_a_task(api: Service, kind: str) -> None:
    job_id = create(api, kind)
    reply = why(api, job_id)
    assert (reply.status, reply.json) == (
        200,
        {
            "id": job_id,
            "state": "pending",
            "reason": "manual",
            "sentence": "It is a manual task: a person, or a program, completes it.",
            "expectedStart": None,
            "since": api.now(),
            "details": {"kind": "task", "type": kind, "queue": "default"},
            "remedy": f"`taskyard tasks complete {job_id}`",
        },
    )


def test_a_message(api: Service, topic: str) -> None:
    message = {"topic": topic, "payload": {}, "executeAt": api.now(60_000)}
    job_id = api.post("/mq/message/publish", message).json["id"]
    found = why(api, job_id).json
    assert (found["reason"], found["expectedStart"]) == ("not_due", api.now(60_000))
    assert found["details"] == {"kind": "message", "type": topic, "queue": topic}


@pytest.mark.parametrize("job_id", ["999999", "0", "-1", "x", "1.0", "9" * 30, "%2F"])
def test_what_never_was(api: Service, job_id: str) -> None:
    reply = why(api, job_id)
    assert (reply.status, reply.json["error"]) == (404, "Not Found")
    is_id = job_id == "999999"
    assert reply.json["remedy"] == (
        "list those there are; what was done may have been deleted"
        if is_id
        else "give an id: a whole number from 1 on, or its digits"
    )


def test_the_scope_of_its_kind_is_needed() -> None:
    with service(stage="prod", bucket="in-prod") as prod:

        def key(*scopes: str) -> dict[str, str]:
            made = new_key(os.urandom)
            stored = AccessKey(
                name="tester", scopes=frozenset(scopes), digest=digest_of(made), created_at_ms=prod.clock.ms
            )
            prod.yard.directory.put_access_key(stored)
            return {"Authorization": f"Bearer {made}"}

        prod.default_headers.update(key("*"))
        ids = {
            "task": create(prod, "by.hand"),
            "message": prod.post("/mq/message/publish", {"topic": "t", "payload": {}}).json["id"],
        }
        prod.default_headers.clear()
        assert why(prod, ids["task"]).status == 401
        others = why(prod, ids["task"], **key(*(set(SCOPES) - {"task", "message", "console"})))
        assert (others.status, others.json["message"]) == (
            403,
            "this access key lacks the scope task or message or console",
        )
        assert 'scope="task message console"' in others.headers["www-authenticate"]
        for scope, other in (("task", "message"), ("message", "task")):
            assert why(prod, ids[scope], **key(scope)).status == 200
            refused = why(prod, ids[other], **key(scope))
            assert (refused.status, refused.json["message"]) == (
                403,
                f"this access key lacks the scope {other} or console",
            )
            assert why(prod, "999999", **key(scope)).status == 404


def test_how_it_is_described(api: Service) -> None:
    operation = api.get("/openapi.json").json["paths"]["/api/job/{id}/why"]["get"]
    assert operation["x-scope"] == "task or message or console"
    assert operation["security"] == [
        {"accessKey": ["task"]},
        {"user": ["task"]},
        {"accessKey": ["message"]},
        {"user": ["message"]},
        {"accessKey": ["console"]},
        {"user": ["console"]},
        {},
    ]
