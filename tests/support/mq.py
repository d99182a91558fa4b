"""What tests of the message dialect do, in one word each."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.support.service import Reply, Service, written

HOUR_MS = 3_600_000
ODD_TOPICS = {
    "unicode": "заказ.создан",
    "slashes": "orders/eu/created",
    "spaces": "order created  twice",
    "emoji": "\U0001f4e6 paket",
    "query": "a?b=c&d=e#f%20+",
    "quotes": "'\"\\{}[]",
    "long": "order." * 50,
    "longest": "x" * 400,
    "dots": "...",
    "combining": "e\u0301 vs \u00e9",
}


def publish(api: Service, topic: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
    """A message, published."""
    reply = api.post("/mq/message/publish", {"topic": topic, "payload": payload or {"n": 1}, **fields})
    assert reply.status == 200, reply.text
    return dict(reply.json)


def poll(api: Service, topic: str, **query: Any) -> list[dict[str, Any]]:
    reply = api.get("/mq/message/poll", {"topic": topic, **query})
    assert reply.status == 200, reply.text
    return list(reply.json)


def listed(api: Service, **query: Any) -> list[dict[str, Any]]:
    reply = api.get("/mq/message/list", query)
    assert reply.status == 200, reply.text
    return list(reply.json["pageData"])


def trace(api: Service, trace_id: str) -> list[tuple[str, Any]]:
    """Events and details of a trace."""
    reply = api.get(f"/mq/trace/{quote(trace_id, safe='')}")
    assert reply.status == 200, reply.text
    return [(entry["event"], entry["detail"]) for entry in reply.json]


def dead_letter(api: Service, topic: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
    """A message that failed for the last time, by polling."""
    published = publish(api, topic, payload, maxRetries=1, **fields)
    (message,) = poll(api, topic)
    assert message["id"] == published["id"]
    reply = api.post("/mq/message/fail", {"id": published["id"], "error": "payment is down"})
    assert reply.json["status"] == "FAILED"
    return dict(reply.json)


def problem(reply: Reply) -> tuple[int, str, str, str]:
    """The status of a refusal, and its first detail: the field, what was expected, what came."""
    assert reply.json["statusCode"] == reply.status
    assert reply.json["message"]
    detail = reply.json["details"][0]
    return reply.status, detail["field"], detail["expected"], detail["got"]


def with_offset(at_ms: int, hours: int, minutes: int = 0) -> str:
    """A time as a clock in another zone shows it."""
    sign = -1 if hours < 0 else 1
    shifted = written(at_ms + (hours * 60 + sign * minutes) * 60_000)
    return f"{shifted[:-1]}{'-' if sign < 0 else '+'}{abs(hours):02d}:{minutes:02d}"


def publish_like(api: Service, topic: str) -> dict[str, Any]:
    """A record of the time and topic, with what a plain message has."""
    return {
        "topic": topic,
        "payload": {"n": 0},
        "status": "PENDING",
        "retryCount": 0,
        "maxRetries": 3,
        "priority": 0,
        "executeAt": None,
        "nextRetryAt": None,
        "consumerId": None,
        "lockedAt": None,
        "lockExpiresAt": None,
        "error": None,
        "schedule": None,
        "slotTime": None,
        "createdAt": api.now(),
        "updatedAt": api.now(),
    }
