"""What tests of the task dialect do, in one word each."""

from __future__ import annotations

from typing import Any

from tests.support.service import Reply, Service

POOL = "default"


def create(api: Service, task_type: str, target_id: str = "t-1", **fields: Any) -> dict[str, Any]:
    """A task, created."""
    body = {"type": task_type, "targetId": target_id, "targetType": "document", **fields}
    reply = api.post("/api/task/create", body)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def system(api: Service, script: Any = None, target_id: str = "t-1", **fields: Any) -> dict[str, Any]:
    """A task for the scripted handler, created."""
    return create(api, "scripted", target_id, runnerType="system", input=script, **fields)


def detail(api: Service, task_id: str) -> dict[str, Any]:
    """A task by its id, with its log."""
    reply = api.get("/api/task/detail", {"id": task_id})
    assert reply.status == 200, reply.text
    return dict(reply.json)


def listed(api: Service, query: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    """The tasks of a list."""
    reply = api.get("/api/task/list", {"perPage": 100, **(query or {}), **more})
    assert reply.status == 200, reply.text
    return list(reply.json["pageData"])


def as_listed(task: dict[str, Any]) -> dict[str, Any]:
    """A small task as lists show it, from a record of it."""
    of_lists = {name: value for name, value in task.items() if name not in ("log", "console")}
    options = {name: value for name, value in (task["options"] or {}).items() if name != "logs"} or None
    return {**of_lists, "options": options, "pollResults": None}


def ids(tasks: list[dict[str, Any]]) -> list[str]:
    """Which tasks these are."""
    return [task["id"] for task in tasks]


def problem(reply: Reply) -> tuple[int, str, str, str]:
    """The status of a refusal, and its first detail: the field, what was expected, what came."""
    assert reply.json["statusCode"] == reply.status
    assert reply.json["message"]
    first = reply.json["details"][0]
    return reply.status, first["field"], first["expected"], first["got"]
