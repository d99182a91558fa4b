"""Graphs over HTTP: created whole or refused with the place, told node by node, canceled, run again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service import Reply, Service
from tests.support.tasks import POOL, detail, problem

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def nodes(kind: str, **after: list[str]) -> list[dict[str, Any]]:
    """Nodes that a person completes."""
    return [{"name": name, "type": kind, "runnerType": "manual", "after": names} for name, names in after.items()]


def create(api: Service, **body: Any) -> dict[str, Any]:
    reply = api.post("/api/task/graph", body)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def graph(api: Service, graph_id: str) -> dict[str, Any]:
    return dict(api.get("/api/task/graph", {"id": graph_id}).json)


def told(api: Service, graph_id: str, **query: Any) -> dict[str, dict[str, Any]]:
    """The nodes of a graph by name."""
    page = api.get("/api/task/graph/nodes", {"id": graph_id, **query}).json
    return {node["name"]: node for node in page["pageData"]}


def complete(api: Service, task_id: str, status: str = "success", **more: Any) -> None:
    assert api.post("/api/task/complete", {"id": task_id, "status": status, **more}).status == 200


class TestCreate:
    def test_a_graph_is_told_as_a_whole_and_node_by_node(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, **DIAMOND), name="nightly", userId="ann")
        assert made == {
            "id": made["id"],
            "name": "nightly",
            "status": "running",
            "onFailure": "stop",
            "size": 4,
            "counts": {"pending": 1, "blocked": 3},
            "stoppedBy": None,
            "compensated": None,
            "traceId": None,
            "userId": "ann",
            "createdAt": api.now(),
            "updatedAt": api.now(),
            "completedAt": None,
        }
        assert graph(api, made["id"]) == made
        first = str(int(made["id"]) + 1)
        assert told(api, made["id"])["a"] == {
            "name": "a", "type": kind, "after": [], "status": "pending", "taskId": first, "error": None,
        }  # fmt: skip
        assert told(api, made["id"])["d"]["after"] == ["b", "c"]
        task = detail(api, first)
        assert (task["graphId"], task["node"], task["createdUserId"]) == (made["id"], "a", "ann")

    def test_tasks_start_one_after_the_other_and_get_what_came_before(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, **DIAMOND))
        for name in "abcd":
            complete(api, told(api, made["id"])[name]["taskId"], output=name.upper())
        done = graph(api, made["id"])
        assert (done["status"], done["counts"], done["completedAt"]) == ("success", {"success": 4}, api.now())
        ids = {name: node["taskId"] for name, node in told(api, made["id"]).items()}
        assert [detail(api, ids[name])["input"] for name in "abcd"] == [None, "A", "A", {"b": "B", "c": "C"}]

    def test_system_tasks_travel(self, api: Service) -> None:
        create(api, nodes=[{"name": "a", "type": "scripted", "input": []}, {"name": "b", "type": "scripted"}])
        assert len(api.receive(POOL)) == 2

    def test_defaults_are_those_of_the_graph(self, api: Service, kind: str) -> None:
        one = {"name": "a", "type": kind, "runnerType": "manual", "priority": "high", "targetId": 7}
        other = {"name": "b", "type": kind, "runnerType": "manual"}
        made = create(api, nodes=[one, other], targetId="all", targetType="order", priority=5, traceId="t")
        found = [detail(api, str(int(made["id"]) + 1 + number)) for number in range(2)]
        assert [(task["priority"], task["targetId"], task["targetType"], task["traceId"]) for task in found] == [
            (10, "7", "order", "t"), (5, "all", "order", "t"),
        ]  # fmt: skip

    def test_a_key_makes_two_requests_one(self, api: Service, kind: str) -> None:
        body = {"nodes": nodes(kind, a=[])}
        first = api.post("/api/task/graph", body, Idempotency_Key=f"{kind}-k")
        assert api.post("/api/task/graph", {**body, "idempotencyKey": f"{kind}-k"}).json["id"] == first.json["id"]
        other = api.post("/api/task/graph", {"nodes": nodes(kind, b=[]), "idempotencyKey": f"{kind}-k"})
        assert (other.status, other.json["message"]) == (409, "this idempotency key was used with another graph")


class TestRefusals:
    def asked(self, api: Service, **body: Any) -> Reply:
        return api.post("/api/task/graph", body)

    def test_a_circle_is_shown(self, api: Service, kind: str) -> None:
        reply = self.asked(api, nodes=nodes(kind, a=["c"], b=["a"], c=["b"]))
        expected = "no node that comes, by way of others, after itself"
        assert problem(reply) == (422, "nodes", expected, "a -> b -> c -> a")

    def test_a_name_that_no_node_has_is_shown_with_the_one_that_was_meant(self, api: Service, kind: str) -> None:
        reply = self.asked(api, nodes=nodes(kind, resize=[], last=["resise"]))
        assert problem(reply) == (422, "nodes.1.after", "resize", "resise")

    def test_a_type_that_nothing_runs(self, api: Service) -> None:
        reply = self.asked(api, nodes=[{"name": "a", "type": "nobody.runs.this"}])
        assert problem(reply)[:2] == (422, "nodes.a.type")

    def test_an_input_that_its_handler_cannot_take(self, api: Service) -> None:
        reply = self.asked(api, nodes=[{"name": "a", "type": "text.statistics", "input": {"text": 7}}])
        assert problem(reply)[:2] == (422, "nodes.a.input.text")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"nodes": []}, "nodes"),
            ({}, "nodes"),
            ({"nodes": [{"name": "a"}]}, "nodes.0.type"),
            ({"nodes": [{"name": "a", "type": "t", "after": "b"}]}, "nodes.0.after"),
            ({"nodes": [{"name": "a", "type": "t", "dependsOn": ["b"]}]}, "nodes.0.dependsOn"),
            ({"nodes": [{"name": "a", "type": "scripted", "next": {"type": "scripted"}}]}, "nodes.a.next"),
            ({"nodes": [{"name": "a", "type": "scripted"}], "onFailure": "explode"}, "onFailure"),
            ({"nodes": [{"name": "a", "type": "scripted"}], "onFailure": "compensate"}, "compensation"),
            ({"nodes": [{"name": "a", "type": "scripted"}], "compensation": {"type": "scripted"}}, "compensation"),
            ({"nodes": [{"name": "a", "type": "scripted", "context": {"secret": ""}}]}, "nodes.a.context.secret"),
        ],
    )
    def test_the_field_is_named(self, api: Service, body: dict[str, Any], field: str) -> None:
        reply = self.asked(api, **body)
        assert (reply.status, reply.json["details"][0]["field"]) == (422, field)

    @pytest.mark.parametrize("path", ["", "/nodes", "/mermaid"])
    @pytest.mark.parametrize("graph_id", ["77", "x", "99999999999999999999"])
    def test_no_such_graph(self, api: Service, path: str, graph_id: str) -> None:
        assert api.get(f"/api/task/graph{path}", {"id": graph_id}).status == 404

    @pytest.mark.parametrize("command", ["cancel", "retry"])
    def test_nothing_can_be_asked_of_none(self, api: Service, command: str) -> None:
        assert api.post(f"/api/task/graph/{command}", {"id": "77"}).status == 404

    def test_a_task_is_no_graph(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, a=[]))
        task_id = told(api, made["id"])["a"]["taskId"]
        assert api.get("/api/task/graph", {"id": task_id}).status == 404
        assert api.get("/api/task/detail", {"id": made["id"]}).status == 404


class TestAfterwards:
    def test_canceling(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, **DIAMOND))
        canceled = api.post("/api/task/graph/cancel", {"id": int(made["id"])}).json
        assert (canceled["status"], canceled["counts"]) == ("canceled", {"canceled": 1, "skipped": 3})

    def test_running_what_has_failed_again(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, **DIAMOND))
        task_id = told(api, made["id"])["a"]["taskId"]
        complete(api, task_id, "failed", error="no paper")
        failed = graph(api, made["id"])
        assert (failed["status"], failed["stoppedBy"]) == ("failed", "a")
        assert told(api, made["id"])["a"]["error"] == "no paper"
        again = api.post("/api/task/graph/retry", {"id": made["id"]}).json
        assert (again["status"], again["counts"], again["stoppedBy"]) == ("running", {"pending": 1, "blocked": 3}, None)
        refused = api.post("/api/task/graph/retry", {"id": made["id"]})
        assert problem(refused) == (409, "id", "failed or canceled", "running")

    def test_a_picture(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, a=[], **{'b "<x>"': ["a"]}))
        text = api.get("/api/task/graph/mermaid", {"id": made["id"]}).json["mermaid"]
        assert text.splitlines()[:4] == [
            "flowchart TD",
            f'    n0["a<br>{kind}<br>pending"]',
            f'    n1["b #34;#60;x#62;#34;<br>{kind}<br>blocked"]',
            "    n0 --> n1",
        ]

    def test_pages(self, api: Service, kind: str) -> None:
        made = create(api, nodes=nodes(kind, **{f"n{each}": [] for each in range(7)}))
        assert list(told(api, made["id"], page=2, perPage=3)) == ["n3", "n4", "n5"]
        assert list(told(api, made["id"], page=3, perPage=3)) == ["n6"]
        assert told(api, made["id"], page=4, perPage=3) == {}


class TestBatch:
    def batch(self, api: Service, **body: Any) -> dict[str, Any]:
        reply = api.post("/api/task/graph/batch", body)
        assert reply.status == 200, reply.text
        return dict(reply.json)

    def test_one_follows_when_all_have_succeeded(self, api: Service, kind: str) -> None:
        each = {"type": kind, "runnerType": "manual"}
        made = self.batch(api, tasks=[each] * 3, then=each)
        found = told(api, made["id"])
        assert {name: node["status"] for name, node in found.items()} == {
            "0": "pending", "1": "pending", "2": "pending", "then": "blocked",
        }  # fmt: skip
        for number in "012":
            complete(api, found[number]["taskId"], output=int(number))
        then = detail(api, told(api, made["id"])["then"]["taskId"])
        assert then["input"] == {"0": 0, "1": 1, "2": 2}

    def test_another_follows_when_some_have_failed(self, api: Service, kind: str) -> None:
        each = {"type": kind, "runnerType": "manual"}
        made = self.batch(api, tasks=[each] * 2, then=each, otherwise=each)
        found = told(api, made["id"])
        complete(api, found["0"]["taskId"], "failed", error="no")
        assert graph(api, made["id"])["status"] == "stopping"
        complete(api, found["1"]["taskId"])
        assert graph(api, made["id"])["status"] == "compensating"
        compensation = detail(api, str(int(made["id"]) + 1 + made["size"]))
        assert compensation["input"] == {
            "graphId": made["id"], "stoppedBy": "0", "failed": ["0"], "succeeded": ["1"],
        }  # fmt: skip
        complete(api, compensation["id"])
        done = graph(api, made["id"])
        assert (done["status"], done["compensated"], done["counts"]) == (
            "failed", True, {"failed": 1, "success": 1, "skipped": 1},
        )  # fmt: skip

    def test_one_follows_however_they_end(self, api: Service, kind: str) -> None:
        each = {"type": kind, "runnerType": "manual"}
        made = self.batch(api, tasks=[each] * 2, always=each)
        found = told(api, made["id"])
        complete(api, found["0"]["taskId"], "failed", error="no")
        complete(api, found["1"]["taskId"], output=1)
        assert detail(api, told(api, made["id"])["then"]["taskId"])["input"] == {"1": 1}
        refused = api.post("/api/task/graph/batch", {"tasks": [each], "always": each, "then": each})
        assert problem(refused)[:2] == (422, "always")
