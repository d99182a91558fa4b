"""The installation: what is set, who may do what, who is told, and what jobs have cost; and no secret of all that."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from chalicelib.api.console.installation import setting_of
from chalicelib.core.access import AccessKey, digest_of_user
from chalicelib.core.job_events import EventType
from chalicelib.core.prices import PRICES, Item
from chalicelib.core.usage import Usage
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.job_costs import amounts_of, usd_of
from chalicelib.settings import Settings
from tests.api.console.test_queues import project
from tests.support.mq import publish
from tests.support.service import Service
from tests.support.tasks import system

Key = Callable[..., dict[str, str]]
SECRET = "whsec_0123456789"  # noqa: S105  # of no webhook outside


def test_of_a_setting_that_may_hold_a_password_it_is_shown_that_it_is_set() -> None:
    brokers = json.dumps({"bootstrap.servers": "b:1", "sasl.password": SECRET})
    assert setting_of(Settings(kafka=brokers), "kafka").value == "[redacted]"
    assert setting_of(Settings(), "kafka").value == ""


def test_it_is_shown_without_a_secret(prod: Service, key: Key) -> None:
    ann = key("console", "message", "application")
    yard, now_ms = prod.yard, prod.clock.ms
    digest = digest_of_user("bob")
    scopes = frozenset({"dlq"})
    yard.directory.put_access_key(
        AccessKey(name="bob", scopes=scopes, digest=digest, created_at_ms=now_ms + 1, user="bob", password=SECRET)
    )
    url = f"https://me:{SECRET}@hooks.example/in?token={SECRET}"
    failed = frozenset({EventType.FAILED})
    yard.directory.put_webhook(Webhook(id="w1", url=url, events=failed, secret=SECRET, created_at_ms=now_ms))
    asked = {"appName": "shop", "linkUrl": f"https://hooks.example/in?token={SECRET}"}
    made = prod.post("/application/create", asked, **ann).json["data"]
    publish_headers, prod.default_headers = prod.default_headers, ann
    publish(prod, "polled")
    prod.default_headers = publish_headers
    reply = prod.get("/api/installation", **ann)
    assert reply.status == 200
    for secret in (SECRET, made["secretKey"], digest, ann["Authorization"].split("_", 1)[1]):
        assert secret not in reply.text
    shown = reply.json
    assert shown["keys"][-1] == {
        "id": digest[:12],
        "label": "bob",
        "user": "bob",
        "scopes": ["dlq"],
        "createdAt": prod.now(1),
        "revokedAt": None,
        "lastUsedAt": None,
    }
    assert shown["webhooks"] == [
        {
            "id": "w1",
            "url": "https://hooks.example/in",
            "events": ["failed"],
            "types": [],
            "format": "taskyard",
            "createdAt": prod.now(),
        }
    ]
    assert shown["applications"] == [
        {
            "appKey": made["appKey"],
            "name": "shop",
            "linkUrl": "https://hooks.example/in",
            "disabled": False,
            "createdAt": prod.now(),
        }
    ]
    assert {"polled", "scripted.topic"} <= set(shown["topics"])
    assert [each["lastUsedAt"] for each in shown["keys"] if each["label"] == "ann"] == [prod.now()]
    settings = {each["name"]: each for each in shown["settings"]}
    assert settings["stage"] == {"name": "stage", "variable": "TASKYARD_STAGE", "value": "prod", "default": "local"}
    assert settings["lease_s"]["value"] == 60


def test_what_jobs_have_cost(prod: Service, key: Key) -> None:
    prod.yard.deployments.note_idle_costs({"SQS": 0.2, "CloudWatch": 1.1})
    prod.default_headers = key("console", "task")
    for _ in range(2):
        system(prod, {"fail": "once", "until": 1})
    prod.work("default")
    project(prod)
    costs = prod.get("/api/installation", {"days": 1}).json["costs"]
    prod.default_headers = {}
    (scripted,) = [each for each in costs["byType"] if each["type"] == "scripted"]
    usage = Usage(attempts=2, failures=2, sends=2, run_ms=0, payload_bytes=60)
    expected = usd_of(amounts_of(2, usage, 512, polled=False))
    assert (scripted["jobs"], scripted["usd"]) == (2, pytest.approx(expected))
    (day,) = scripted["days"]
    assert (day["day"], day["jobs"], day["attempts"], day["sends"]) == ("2025-06-15", 2, 2, 2)
    assert (costs["memoryMb"], costs["pricesIn"]) == (512, "us-east-1")
    assert costs["usd"] == pytest.approx(sum(each["usd"] for each in costs["byType"]))
    assert costs["idleMonth"] == [{"service": "CloudWatch", "usd": 1.1}, {"service": "SQS", "usd": 0.2}]
    by_service = {each["service"]: each for each in costs["byService"]}
    assert costs["usd"] == pytest.approx(sum(each["usd"] or 0 for each in by_service.values()))
    assert [name for name, each in by_service.items() if each["usd"]] == ["DynamoDB", "SQS"]
    assert by_service["Lambda"]["usd"] == by_service["S3"]["usd"] == 0  # no time has passed, no payload was large
    uncounted = {name for name, each in by_service.items() if each["usd"] is None}
    assert uncounted == {"API Gateway", "CloudWatch", "CloudWatch Logs"}
    gateway = by_service["API Gateway"]["items"]
    assert gateway == [{"unit": "REST requests", "usdAMillion": pytest.approx(3.5), "amount": None, "usd": None}]
    json.dumps(costs)


def test_a_cost_is_what_was_used_at_list_prices() -> None:
    """By hand: 1,000 jobs of 100 bytes, 1,100 attempts of which 100 failed, 100 s in all at 1 GB."""
    usage = Usage(attempts=1_100, failures=100, sends=1_000, run_ms=100_000, payload_bytes=100_000)
    queue, write, second = (
        PRICES[item].usd_each for item in (Item.QUEUE_REQUEST, Item.TABLE_WRITE, Item.FUNCTION_TIME_ARM)
    )
    requests = 1_000 + 110 + 1_000 * 0.2 + 100 * 1.1
    writes = 1_000 * 2 + 1_000 * 7 + 100 * 8
    assert usd_of(amounts_of(1_000, usage, 1_024, polled=False)) == pytest.approx(
        requests * queue + writes * write + 100 * second
    )
    polls = 1_000 + 110 + 1_100
    written = 1_000 * 2 + 1_000 * 4 + 100 * 5 + 1_100 * 3
    assert usd_of(amounts_of(1_000, usage, 1_024, polled=True)) == pytest.approx(polls * queue + written * write)
