"""Who sees and who acts: the two scopes of the console, and who a caller is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib.api import console, flow, schedules, tasks, usage, why
from chalicelib.core.version import VERSION
from chalicelib.http.routes import Route
from tests.support.service import Service

Key = Callable[..., dict[str, str]]
SEES = {
    "/api/job/{id}/why", "/api/job/{id}/usage", "/api/flow", "/api/flow/standing", "/api/task/statistics",
    "/api/task/graph", "/api/task/graph/nodes", "/api/task/graph/mermaid", "/api/schedule/list",
    "/api/schedule/detail", "/api/schedule/preview", "/api/schedule/history",
}  # fmt: skip
ACTS = {
    ("PUT", "/api/flow"), ("DELETE", "/api/flow"), ("POST", "/api/flow/pause"), ("POST", "/api/flow/resume"),
    ("POST", "/api/flow/pass"), ("POST", "/api/schedule/pause"), ("POST", "/api/schedule/resume"),
    ("POST", "/api/schedule/run"), ("POST", "/api/task/graph/cancel"), ("POST", "/api/task/graph/retry"),
}  # fmt: skip
OTHERS = [route for router in (*tasks.ROUTERS, *schedules.ROUTERS, *flow.ROUTERS, *why.ROUTERS, *usage.ROUTERS)
          for route in router.routes]  # fmt: skip
TRIES = ("POST", "/api/bulk")  # a dry run is seeing, a beginning is acting
OWN = [
    route
    for router in console.ROUTERS
    for route in router.routes
    if route.scope is not None and (route.method, route.path) != TRIES
]


def opened_by(scope: str, routes: list[Route]) -> set[tuple[str, str]]:
    return {(route.method, route.path) for route in routes if scope == route.scope or scope in (route.scope or ())}


def test_whoever_sees_the_console_sees_what_it_shows_of_others() -> None:
    seen = opened_by("console", [*OTHERS])
    assert {path for _, path in seen} == SEES
    assert {(method, path) for method, path in seen if method != "GET"} == {("POST", "/api/schedule/preview")}


def test_whoever_manages_acts_and_creates_nothing() -> None:
    assert opened_by("console:manage", [*OTHERS]) == ACTS


@pytest.mark.parametrize("route", OWN, ids=lambda route: f"{route.method} {route.path}")
def test_each_of_its_own_routes_wants_one_of_its_scopes(prod: Service, key: Key, route: Route) -> None:
    assert route.scope == ("console" if route.method == "GET" else "console:manage")
    url = route.path.replace("{id}", "1")
    asked = b"{}" if route.method == "POST" else None
    without = prod.request(route.method, url, asked, {"Content-Type": "application/json"})
    assert (without.status, without.json["error"]) == (401, "Unauthorized")
    other = key("console:manage" if route.scope == "console" else "console", "task", "message")
    refused = prod.request(route.method, url, asked, {"Content-Type": "application/json", **other})
    assert (refused.status, refused.json["message"]) == (403, f"this access key lacks the scope {route.scope}")


def test_who_asks_is_told_what_they_may_do(prod: Service, key: Key) -> None:
    told = prod.get("/api/me", **key("console")).json
    assert told == {
        "name": "ann",
        "scopes": ["console"],
        "stage": "prod",
        "version": VERSION,
        "local": False,
        "now": prod.now(),
        "deployedAt": None,
        "may": {"act": False, "create": False, "publish": False, "schedules": False, "makeSchedules": False},
        "prefixes": {"tasks": "/api/task", "messages": "/mq"},
    }
    may = prod.get("/api/me", **key("console", "console:manage", "task")).json["may"]
    assert may == {"act": True, "create": True, "publish": False, "schedules": True, "makeSchedules": False}
    scheduling = prod.get("/api/me", **key("console", "schedule")).json["may"]
    assert scheduling["schedules"]
    assert scheduling["makeSchedules"]
