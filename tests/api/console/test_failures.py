"""Groups of failures, and acts on all jobs of one, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.console.test_queues import project
from tests.support.service import Reply, Service, service
from tests.support.tasks import system

Key = Callable[..., dict[str, str]]


@pytest.fixture
def api() -> Iterator[Service]:
    with service() as made:
        yield made


def fail(api: Service, count: int, why: str = "order 1 is gone") -> list[str]:
    """The ids of tasks that have failed for good."""
    made = [system(api, {"reject": why})["id"] for _ in range(count)]
    while any(api.job(each).state == "pending" for each in made):
        api.work("default")
    project(api)
    api.clock.move(1)
    return made


def bulk(api: Service, act: str = "retry", status: int = 201, **more: Any) -> Any:
    reply: Reply = api.post("/api/bulk", {"act": act, "filter": {}, **more})
    assert reply.status == status, reply.text
    return reply.json


def groups(api: Service, **query: str) -> list[dict[str, Any]]:
    reply = api.get("/api/failures", query)
    assert (reply.status, reply.json["leftOut"]) == (200, 0)
    return list(reply.json["groups"])


class TestGroups:
    def test_what_failed_alike_is_shown_together(self, api: Service) -> None:
        at = api.now()
        *_, newest = fail(api, 2)
        later = api.now()
        (late,) = fail(api, 1, "order 2 is late")
        of_late, of_gone = groups(api)
        assert of_gone == {
            "fingerprint": of_gone["fingerprint"],
            "kind": "task",
            "type": "scripted",
            "cause": "rejected",
            "error": "Reject: order # is gone",
            "sample": {"id": newest, "error": "Reject: order 1 is gone", "at": at},
            "count": 2,
            "total": 2,
            "firstSeenAt": at,
            "lastSeenAt": at,
            "sinceDeploy": False,
        }
        assert (of_late["sample"]["id"], of_late["firstSeenAt"], of_late["count"]) == (late, later, 1)
        assert groups(api, since=later) == [of_late]
        assert groups(api, kind="message") == []
        assert groups(api, type="scripted") == groups(api, kind="task", type="scripted") == [of_late, of_gone]

    def test_which_are_new_since_the_deployment_is_told(self, api: Service) -> None:
        fail(api, 1)
        api.yard.deployments.note(api.clock.ms)
        fail(api, 1, "order 2 is late")
        assert [(each["error"], each["sinceDeploy"]) for each in groups(api)] == [
            ("Reject: order # is late", True),
            ("Reject: order # is gone", False),
        ]

    def test_a_group_is_replayed_as_a_whole(self, api: Service) -> None:
        gone = fail(api, 3)
        (late,) = fail(api, 1, "order 2 is late")
        group = groups(api)[1]
        chosen = {"fingerprint": group["fingerprint"]}
        assert bulk(api, "replay", 200, filter=chosen, dryRun=True)["sentence"] == (
            "This will replay 3 tasks of the type scripted."
        )
        started = bulk(api, "replay", filter=chosen)
        assert api.post(f"/api/bulk/{started['id']}/step").json["state"] == "done"
        assert [api.job(each).replayed_as is not None for each in (*gone, late)] == [True, True, True, False]
        project(api)
        assert [(each["count"], each["total"]) for each in groups(api)] == [(1, 1), (0, 3)]


class TestBulk:
    def test_a_dry_run_does_nothing(self, api: Service) -> None:
        made = fail(api, 2)
        found = bulk(api, status=200, dryRun=True)
        assert {name: value for name, value in found.items() if name != "sample"} == {
            "matches": 2,
            "exact": True,
            "byType": [{"kind": "task", "type": "scripted", "count": 2}],
            "unsuited": 0,
            "sentence": "This will retry 2 tasks of the type scripted.",
        }
        assert [api.job(each).state for each in made] == ["failed", "failed"]
        assert api.get("/api/bulk").json == {"items": []}
        assert bulk(api, "cancel", 200, dryRun=True)["sentence"] == "There is no job here that this could cancel."

    def test_from_its_beginning_to_its_end(self, api: Service) -> None:
        made = fail(api, 3)
        started = bulk(api, filter={"type": "scripted", "state": ["failed"], "kind": "task"})
        assert started == {
            "id": started["id"],
            "act": "retry",
            "filter": {
                **dict.fromkeys(
                    ("targetId", "targetType", "traceId", "flowKey", "tenant", "schedule", "since", "until", "text")
                ),
                "kind": "task",
                "state": ["failed"],
                "type": "scripted",
                "fingerprint": None,
            },
            "named": None,
            "state": "running",
            "by": "local",
            "startedAt": api.now(),
            "endedAt": None,
            "matched": 3,
            "done": 0,
            "refused": 0,
            "changed": None,
            "progress": 0.0,
            "newestErrors": [],
        }
        assert api.get("/api/bulk").json == {"items": [started]}
        url = f"/api/bulk/{started['id']}"
        assert api.get(f"{url}/result").json == {"items": [], "nextCursor": None}
        done = api.post(f"{url}/step").json
        ended = {**started, "state": "done", "endedAt": api.now(), "done": 3, "changed": 0, "progress": 1.0}
        assert done == ended == api.get(url).json == api.post(f"{url}/step").json
        assert [api.job(each).state for each in made] == ["pending"] * 3
        items = api.get(f"{url}/result").json["items"]
        assert sorted(items, key=lambda item: int(item["id"])) == [
            {"id": each, "ok": True, "error": None} for each in made
        ]
        (act,) = api.get("/api/acts").json["items"]
        assert (act["act"], act["on"], act["detail"]) == ("bulk retry", {"bulk": started["id"]}, {"matched": 3})

    def test_named_jobs_are_one_act(self, api: Service) -> None:
        made = fail(api, 3)
        named = {"act": "retry", "ids": [made[0], int(made[2]), "999999"]}
        seen = api.post("/api/bulk", {**named, "dryRun": True}).json
        assert (seen["matches"], seen["unsuited"]) == (2, 1)
        assert {row["id"] for row in seen["sample"]} == {made[0], made[2]}
        started = api.post("/api/bulk", named).json
        assert (started["matched"], started["named"], started["filter"]["type"]) == (2, 3, None)
        done = api.post(f"/api/bulk/{started['id']}/step").json
        assert (done["state"], done["done"]) == ("done", 2)
        assert [api.job(each).state for each in made] == ["pending", "failed", "pending"]

    def test_it_is_stopped(self, api: Service) -> None:
        fail(api, 1)
        url = f"/api/bulk/{bulk(api)['id']}"
        stopped = api.post(f"{url}/stop").json
        assert (stopped["state"], stopped["done"], stopped["progress"]) == ("stopped", 0, 0.0)
        assert api.post(f"{url}/step").json == stopped
        assert [each["act"] for each in api.get("/api/acts").json["items"]][:1] != []

    def test_the_clock_goes_on_when_nobody_does(self, api: Service) -> None:
        (made,) = fail(api, 1)
        url = f"/api/bulk/{bulk(api)['id']}"
        api.clock.move(30_000)
        assert api.tick()["bulk_acted"] == 1
        assert api.get(url).json["state"] == "done"
        assert api.job(made).state == "pending"

    def test_what_was_refused_is_told(self, api: Service) -> None:
        node = {"name": "a", "type": "scripted", "input": {"reject": "never"}}
        api.post("/api/task/graph", {"nodes": [node, {"name": "b", "type": "by.hand", "runnerType": "manual"}]})
        api.work("default")
        api.clock.move(1)
        started = bulk(api, "delete")
        done = api.post(f"/api/bulk/{started['id']}/step").json
        assert (done["done"], done["refused"]) == (0, 1)
        (error,) = done["newestErrors"]
        assert "its graph is not done" in error["error"]
        (item,) = api.get(f"/api/bulk/{started['id']}/result").json["items"]
        assert item == {"id": error["id"], "ok": False, "error": error["error"]}

    def test_twenty_at_a_time(self, api: Service) -> None:
        for _ in range(20):
            bulk(api)
        assert bulk(api, status=429)["message"] == "20 acts in bulk are running"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"act": "rerun", "filter": {}}, "act"),
            ({"act": "retry"}, "body"),
            ({"act": "retry", "filter": {}, "ids": ["1"]}, "body"),
            ({"act": "retry", "ids": []}, "ids"),
            ({"act": "retry", "ids": [*range(1, 1_002)]}, "ids"),
            ({"act": "retry", "filter": {"status": "failed"}}, "filter.status"),
            ({"act": "retry", "filter": {"state": ["dead"]}}, "filter.state.0"),
            ({"act": "retry", "filter": {"fingerprint": "x"}}, "filter.fingerprint"),
            ({"act": "retry", "filter": {"since": "2026-01-02", "until": "2026-01-01"}}, "filter"),
        ],
    )
    def test_what_is_asked_for_must_be_right(self, api: Service, body: Any, field: str) -> None:
        reply = api.post("/api/bulk", body)
        assert (reply.status, reply.json["details"][0]["field"]) == (422, field)

    def test_there_is_no_such_act(self, api: Service) -> None:
        assert [api.get(f"/api/bulk/{each}").status for each in ("1", "1/result")] == [404, 404]
        assert [api.post(f"/api/bulk/1/{each}").status for each in ("step", "stop")] == [404, 404]


def test_who_only_sees_may_try_and_not_begin(prod: Service, key: Key) -> None:
    sees, acts = key("console"), key("console:manage")
    body = {"act": "retry", "filter": {}}
    statuses = [
        prod.post("/api/bulk", {**body, "dryRun": dry}, **headers).status
        for headers in (sees, acts)
        for dry in (True, False)
    ]
    assert statuses == [200, 403, 403, 201]
