"""Graphs of an application's tasks: created, run in order with what was before, shown, canceled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.core.retry import Linear
from tests.support.dialect_handlers import serendipity_jobs
from tests.support.dialect_handlers.serendipity_jobs import SIMPLE_JOB
from tests.support.serendipity import Application, application, receiving, work_off
from tests.support.service import Service


def node(task_no: str, *after: str, **more: Any) -> dict[str, Any]:
    content = {"class": SIMPLE_JOB, "_params": task_no.upper()}
    return {"taskNo": task_no, "name": task_no, "content": content, "timeout": 60_000, "after": list(after), **more}


DIAMOND = [node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c")]


def create(app: Application, **body: Any) -> dict[str, Any]:
    reply = app.post("/task/dag", {"name": "nightly", **body})
    assert (reply.status, reply.json["code"], reply.json["msg"]) == (200, 0, "ok!"), reply.text
    return dict(reply.json["data"])


def told(workflow: dict[str, Any]) -> list[tuple[str, str]]:
    """The tasks of a graph, each with its state."""
    return [(task["taskNo"], task["state"]) for task in workflow["tasks"]]


def shown(app: Application, workflow_id: int) -> dict[str, Any]:
    reply = app.get("/task/dag", {"workflow_id": workflow_id})
    assert reply.json["code"] == 0, reply.text
    return dict(reply.json["data"])


def test_tasks_run_in_order_each_with_what_was_before(api: Service) -> None:
    app = application(api, step=7, retryTotal=2)
    seen: list[dict[str, Any]] = []
    made = create(app, tasks=DIAMOND)
    first = made["workflowId"] + 1
    assert {**made, "tasks": None} == {
        "workflowId": first - 1, "state": "running", "counts": {"pending": 1, "blocked": 3}, "stoppedBy": None,
        "tasks": None,
    }  # fmt: skip
    assert made["tasks"][:2] == [
        {"taskNo": "a", "taskId": first, "state": "pending"}, {"taskNo": "b", "taskId": None, "state": "blocked"},
    ]  # fmt: skip
    job = api.job(str(first))
    assert (job.application, job.max_attempts, job.backoff, job.timeout_ms, job.target_id) == (
        app.key, 3, Linear(7_000, 3_600_000), 60_000, "a",
    )  # fmt: skip
    for _ in range(3):
        work_off(api, most=1, rounds=1)
    serendipity_jobs.meanwhile.append(lambda context: seen.append(dict(context.results)))
    work_off(api)
    done = shown(app, first - 1)
    assert (done["state"], done["counts"], told(done)) == (
        "success", {"success": 4}, [(name, "success") for name in "abcd"],
    )  # fmt: skip
    assert seen == [{"b": "B", "c": "C"}]
    assert app.detail(first + 3)["result"] == "D"


def test_what_was_before_is_delivered_too(api: Service) -> None:
    with receiving() as posted:
        app = application(api, posted.url)
        last = {"taskNo": "b", "name": "b", "content": {"amount": 5}, "timeout": 60_000, "after": ["a"]}
        create(app, tasks=[node("a"), last])
        work_off(api)
        assert [json.loads(request.body) for request in posted.seen] == [{"data": {"amount": 5}, "results": {"a": "A"}}]


def test_canceling_the_whole(api: Service) -> None:
    app = application(api)
    made = create(app, tasks=DIAMOND)
    canceled = app.post("/task/dag/cancel", {"workflow_id": made["workflowId"]}).json["data"]
    assert (canceled["state"], canceled["counts"]) == ("canceled", {"canceled": 1, "skipped": 3})
    again = app.post("/task/dag/retry", {"workflow_id": made["workflowId"]}).json["data"]
    assert (again["state"], told(again)[:2]) == ("running", [("a", "pending"), ("b", "blocked")])
    refused = app.post("/task/dag/retry", {"workflow_id": made["workflowId"]})
    assert (refused.status, refused.json["code"]) == (200, 1)
    work_off(api)


def test_one_number_is_one_graph_of_an_application(api: Service) -> None:
    app, other = application(api), application(api)
    made = create(app, tasks=[node("a")], workflowNo="n-1")
    assert create(app, tasks=[node("a")], workflowNo="n-1")["workflowId"] == made["workflowId"]
    assert create(other, tasks=[node("a")], workflowNo="n-1")["workflowId"] != made["workflowId"]
    refused = app.post("/task/dag", {"name": "nightly", "tasks": [node("b")], "workflowNo": "n-1"})
    assert (refused.status, refused.json["code"]) == (200, 1)
    assert "workflowNo: expected the same request as the first time" in refused.json["msg"]
    work_off(api)


def test_nobody_else_sees_it(api: Service) -> None:
    made = create(application(api), tasks=[node("a")])
    stranger = application(api)
    for reply in (
        stranger.get("/task/dag", {"workflow_id": made["workflowId"]}),
        stranger.post("/task/dag/cancel", {"workflow_id": made["workflowId"]}),
        stranger.post("/task/dag/retry", {"workflow_id": made["workflowId"]}),
    ):
        assert (reply.status, reply.json["code"]) == (200, 1)
        assert reply.json["msg"].startswith("Unknown Workflow")
    work_off(api)


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([node("a", "b"), node("b", "a")], "a -> b -> a"),
        ([node("a", "x")], "got x"),
        ([node("a", runtime="2021-07-27 17:30:30")], "tasks.a.runtime: expected nothing"),
        ([], "tasks"),
        ([{"taskNo": "a"}], "content"),
    ],
)
def test_what_is_no_graph_is_told(api: Service, tasks: list[Any], told: str) -> None:
    reply = application(api).post("/task/dag", {"name": "nightly", "tasks": tasks})
    assert (reply.status, reply.json["code"]) == (422, 422)
    assert told in reply.json["msg"]


def test_without_a_signature_nothing_is_made(api: Service) -> None:
    reply = api.post("/task/dag", {"name": "nightly", "tasks": DIAMOND})
    assert (reply.status, reply.json["code"]) == (401, 401)
