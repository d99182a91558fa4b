"""Flow control over HTTP: the key of a job, what bounds types, topics and keys, and how they stand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.mq import publish
from tests.support.service import Service
from tests.support.tasks import create, detail, listed, system

MANUAL = {"targetId": "t-1", "targetType": "document"}


class TestTheKeyOfAJob:
    def test_is_told_and_shown(self, api: Service, topic: str, kind: str) -> None:
        message, task = publish(api, topic, flowKey="c 7"), create(api, kind, flowKey=42)
        assert (message["flowKey"], task["flowKey"]) == ("c 7", "42")
        assert (api.job(message["id"]).flow_key, detail(api, task["id"])["flowKey"]) == ("c 7", "42")

    def test_is_told_in_batches(self, api: Service, topic: str, kind: str) -> None:
        message, task = {"topic": topic, "payload": {}}, {"type": kind, **MANUAL}
        results = api.post("/mq/message/publish-batch", {"messages": [message, {**message, "flowKey": "a"}]}).json
        assert [result["message"].get("flowKey") for result in results["results"]] == [None, "a"]
        results = api.post("/api/task/create-batch", {"tasks": [task, {**task, "flowKey": "a"}]}).json
        assert [result["task"].get("flowKey") for result in results["results"]] == [None, "a"]

    def test_is_left_out_where_there_is_none(self, api: Service, topic: str, kind: str) -> None:
        assert "flowKey" not in publish(api, topic)
        assert "flowKey" not in create(api, kind)

    def test_is_by_default_what_the_handler_finds(self, api: Service) -> None:
        made = [
            create(api, "bounded", runnerType="system", input={"k": "a"}, **told) for told in ({}, {"flowKey": "b"})
        ]
        assert [task["flowKey"] for task in made] == ["a", "b"]

    def test_of_a_follower_is_told_by_what_comes_before(self, api: Service, target: str) -> None:
        system(api, 1, target, flowKey="a", next={"type": "scripted", "flowKey": "b", "next": {"type": "scripted"}})
        while any(task["status"] == "pending" for task in listed(api, {"filter[targetId]": target})):
            api.work("default")
        found = listed(api, {"filter[targetId]": target})
        assert [task.get("flowKey") for task in found] == [None, "b", "a"]

    @pytest.mark.parametrize("key", ["", " ", "x" * 257, "two\nlines", {"a": 1}, ["a"], 1.5, True])
    def test_is_refused_if_it_can_be_none(self, api: Service, topic: str, kind: str, key: Any) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}, "flowKey": key})
        assert (reply.status, [each["field"] for each in reply.json["details"]]) == (422, ["flowKey"])
        assert api.post("/api/task/create", {"type": kind, **MANUAL, "flowKey": key}).status == 422

    def test_is_of_the_request_that_an_idempotency_key_stands_for(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {}, "idempotencyKey": f"key of {topic}", "flowKey": "a"}
        first = api.post("/mq/message/publish", body)
        assert api.post("/mq/message/publish", body).json == first.json
        assert api.post("/mq/message/publish", {**body, "flowKey": "b"}).status == 409
