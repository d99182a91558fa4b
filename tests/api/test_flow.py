"""Flow control over HTTP: the key of a job, what bounds types, topics and keys, and how they stand."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlencode

import pytest

from chalicelib.core.access import AccessKey, digest_of, new_key
from tests.support.mq import publish
from tests.support.serendipity import application
from tests.support.service import Reply, Service, service
from tests.support.tasks import create, detail, listed, system

AS_DECLARED = dict.fromkeys(("concurrency", "rate", "order", "unique", "debounce"))
KNOWN = {"warning": None, "version": ANY}

UNTIL = "start or end, or null for the seconds alone"
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

    def test_of_what_a_graph_and_a_schedule_make(self, api: Service, kind: str) -> None:
        graph = api.post("/api/task/graph", {"nodes": [{"name": "a", "type": "scripted", "flowKey": "g"}]}).json
        (node,) = api.get("/api/task/graph/nodes", {"id": graph["id"]}).json["pageData"]
        assert detail(api, node["taskId"])["flowKey"] == "g"
        work = {"type": kind, "runnerType": "manual", "flowKey": "s"}
        made = api.post("/api/schedule/create", {"name": kind, "cron": "@daily", "task": work})
        assert made.json["task"]["flowKey"] == "s"
        assert api.job(api.post("/api/schedule/run", {"name": kind}).json["id"]).flow_key == "s"

    def test_is_taken_by_every_dialect(self, api: Service, topic: str, kind: str) -> None:
        work = {"topic": topic, "payload": {}, "flowKey": "m"}
        made = api.post("/api/schedule/create", {"name": topic, "cron": "@daily", "message": work})
        assert made.json["message"]["flowKey"] == "m"
        assert api.job(api.post("/api/schedule/run", {"name": topic}).json["id"]).flow_key == "m"
        assert api.job(str(api.post("/job", {"type": kind, "options": {"flowKey": "k"}}).json["id"])).flow_key == "k"
        assert api.post("/job", {"type": kind, "options": {"flowKey": ""}}).status == 400
        app = application(api)
        assert api.job(str(app.create("order-9", flowKey="s"))).flow_key == "s"
        node = {"taskNo": "a", "content": 1, "timeout": 1, "name": "n", "flowKey": "g"}
        workflow = app.post("/task/dag", {"name": "nightly", "tasks": [node]}).json["data"]
        assert api.job(str(workflow["tasks"][0]["taskId"])).flow_key == "g"

    @pytest.mark.parametrize("key", ["", " ", "x" * 257, "two\nlines", {"a": 1}, ["a"], 1.5, True])
    def test_is_refused_if_it_can_be_none(self, api: Service, topic: str, kind: str, key: Any) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}, "flowKey": key})
        assert (reply.status, [each["field"] for each in reply.json["details"]]) == (422, ["flowKey"])
        assert reply.json["details"][0]["got"] != "[redacted]"  # a flow key is no secret
        assert api.post("/api/task/create", {"type": kind, **MANUAL, "flowKey": key}).status == 422

    def test_is_of_the_request_that_an_idempotency_key_stands_for(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {}, "idempotencyKey": f"key of {topic}", "flowKey": "a"}
        first = api.post("/mq/message/publish", body)
        assert api.post("/mq/message/publish", body).json == first.json
        assert api.post("/mq/message/publish", {**body, "flowKey": "b"}).status == 409


@pytest.mark.parametrize(("given", "kept"), [(5, "5"), (-5, "-5"), ("5", "5"), (1.5, None), (True, None), (1e3, None)])
def test_a_whole_number_alone_is_taken_for_a_text_and_for_keys_and_tenants_alone(
    api: Service, topic: str, kind: str, given: Any, kept: str | None
) -> None:
    message = {"topic": topic, "payload": {}}
    for field in ("flowKey", "tenant"):
        for path, body in (
            ("/mq/message/publish", message),
            ("/api/task/create", {"type": kind, "targetId": "t-1", "targetType": "document"}),
        ):
            reply = api.post(path, {**body, field: given})
            assert (reply.status, reply.json.get(field)) == ((200, kept) if kept else (422, None)), reply.text
    reply = put(api, type=kind, key=given, concurrency=1)
    assert (reply.status, reply.json.get("key")) == ((200, kept) if kept else (422, None)), reply.text
    if kept is not None:
        delete(api, {"type": kind, "key": kept})
    if not isinstance(given, str):
        assert put(api, type=given, concurrency=1).status == 422
        assert put(api, topic=given, concurrency=1).status == 422
        assert api.post("/mq/message/publish", {**message, "topic": given}).status == 422


def bounded(api: Service, given: dict[str, Any], kind: str = "bounded") -> str:
    """The id of a task whose flow is controlled."""
    return str(create(api, kind, runnerType="system", input=given)["id"])


def put(api: Service, **body: Any) -> Reply:
    return api.request("PUT", "/api/flow", json.dumps(body).encode(), {"Content-Type": "application/json"})


def delete(api: Service, query: dict[str, Any], **headers: str) -> Reply:
    return api.request("DELETE", f"/api/flow?{urlencode(query)}", None, headers)


def standing(api: Service, **query: str) -> dict[str, Any]:
    reply = api.get("/api/flow/standing", query)
    assert reply.status == 200, reply.text
    return dict(reply.json)


class TestWhatIsSet:
    def test_is_shown_replaced_and_taken_back(self, api: Service) -> None:
        target = {"type": "bounded", "topic": None, "key": "set"}
        first = put(api, type="bounded", key="set", concurrency=5, rate={"count": 3, "perSeconds": 0.5, "burst": 2})
        rate = {"count": 3, "perSeconds": 0.5, "burst": 2}
        assert (first.status, first.json) == (
            200,
            {**target, **AS_DECLARED, "concurrency": 5, "rate": rate, "since": api.now(), "by": "local", **KNOWN},
        )
        assert api.get("/api/flow").json["set"] == [first.json]
        assert {**standing(api, type="bounded", key="set"), **target} == {
            **target,
            "concurrency": 5,
            "rate": rate,
            "running": 0,
            "holders": [],
            "blockedBy": None,
            "waiting": {what: {"count": 0, "isExact": True} for what in ("slot", "token", "turn")},
            "nextStart": api.now(),
        }
        second = put(api, type="bounded", key="set", concurrency=6)
        assert api.get("/api/flow").json["set"] == [second.json]
        assert (second.json["concurrency"], second.json["rate"]) == (6, None)
        assert standing(api, type="bounded", key="set")["rate"] == {"count": 10, "perSeconds": 60, "burst": 10}
        assert (delete(api, {"type": "bounded", "key": "set"}).json) == target
        assert api.get("/api/flow").json["set"] == []
        assert standing(api, type="bounded", key="set")["concurrency"] == 1
        assert delete(api, {"type": "bounded", "key": "set"}).status == 404

    def test_takes_the_place_of_what_was_seen_alone_if_asked(self, api: Service) -> None:
        target = {"type": "bounded", "key": "two people"}
        none = put(api, **target, concurrency=5, ifVersion="none").json["version"]
        assert put(api, **target, concurrency=6, ifVersion="none").status == 409
        other = put(api, **target, concurrency=6, ifVersion=none)
        assert other.status == 200
        late = put(api, **target, concurrency=7, ifVersion=none)
        assert (late.status, late.json["message"]) == (
            409,
            "this was changed meanwhile; expected what was set when it was looked at, got what local has set since, "
            f"version {other.json['version']}",
        )
        assert late.json["remedy"] == "look at what is set now, and change that"
        assert delete(api, {**target, "ifVersion": none}).status == 409
        assert api.get("/api/flow").json["set"] == [other.json]
        assert put(api, **target, concurrency=6, ifVersion=none).status == 200  # it is so already
        (now,) = api.get("/api/flow").json["set"]
        assert delete(api, {**target, "ifVersion": now["version"]}).status == 200
        assert delete(api, {**target, "ifVersion": now["version"]}).status == 404
        gone = put(api, **target, concurrency=6, ifVersion=now["version"])
        assert (gone.status, "got nothing set" in gone.json["message"]) == (409, True)

    def test_is_warned_of_where_nothing_of_that_name_is_known(self, api: Service, topic: str, kind: str) -> None:
        made = put(api, type=kind, key="c-7", concurrency=1).json
        assert made["warning"] == (
            f"no handler of the type {kind} is deployed, and no job of it was ever seen: it controls nothing yet"
        )
        assert f"of the topic {topic} is" in put(api, topic=topic, concurrency=1).json["warning"]
        assert put(api, type="bounded", concurrency=5).json["warning"] is None
        assert sorted(bool(each["warning"]) for each in api.get("/api/flow").json["set"]) == [False, True, True]
        publish(api, topic)
        create(api, kind)
        assert [each["warning"] for each in api.get("/api/flow").json["set"]] == [None] * 3
        for target in ({"type": kind, "key": "c-7"}, {"topic": topic}, {"type": "bounded"}):
            delete(api, target)

    def test_bounds_a_topic_alike(self, api: Service, topic: str) -> None:
        assert put(api, topic=topic, rate={"count": 1}).json["rate"] == {"count": 1, "perSeconds": 1, "burst": 1}
        assert standing(api, topic=topic)["rate"]["count"] == 1
        assert delete(api, {"topic": topic}).json == {"type": None, "topic": topic, "key": None}

    def test_takes_the_place_of_what_is_decided_at_acceptance(self, api: Service) -> None:
        unique, debounce = {"until": "start", "forS": 1.5, "by": "input.k"}, {"waitS": 2, "latestS": None, "by": None}
        made = put(api, type="bounded", order="step aside", unique=unique, debounce="off")
        expected = {**AS_DECLARED, "order": "step aside", "unique": unique, "debounce": "off"}
        assert made.json == {
            "type": "bounded", "topic": None, "key": None, **expected, "since": api.now(), "by": "local", **KNOWN,
        }  # fmt: skip
        assert api.get("/api/flow").json["set"] == [made.json]
        first, second = (bounded(api, {"k": "alike"}) for _ in range(2))
        assert first == second
        assert api.job(first).order == "step aside"
        assert put(api, type="bounded", unique="off", debounce=debounce).json["debounce"] == debounce
        delete(api, {"type": "bounded"})
        assert bounded(api, {"k": "alike"}) != first

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"type": "bounded", "key": "a", "order": "block"}, "order"),
            ({"type": "bounded", "order": "any"}, "order"),
            ({"type": "bounded", "unique": {"until": None}}, "unique"),
            ({"type": "bounded", "unique": {"by": "output.k"}}, "unique.by"),
            ({"type": "bounded", "unique": {"forS": 0}}, "unique"),
            ({"type": "bounded", "unique": {}, "debounce": {"waitS": 1}}, "debounce"),
            ({"type": "bounded", "debounce": {"waitS": True}}, "debounce"),
            ({"type": "bounded", "debounce": "on"}, "debounce"),
            ({"type": "scripted", "unique": {}}, "unique"),
            ({"topic": "nobody's", "debounce": {"waitS": 1}}, "debounce"),
        ],
    )
    def test_must_be_a_control_of_what_it_is_set(self, api: Service, body: dict[str, Any], field: str) -> None:
        reply = put(api, **body)
        assert reply.status == 422, reply.text
        assert all(each["field"].startswith(field) for each in reply.json["details"]), reply.text
        assert api.get("/api/flow").json["set"] == []

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ({"type": "t", "unique": {"until": "x"}}, ("unique.until", UNTIL, "x")),
            ({"type": "t", "unique": {"until": []}}, ("unique.until", UNTIL, "a list of 0")),
            ({"type": "t", "unique": {"forS": 0}}, ("unique.forS", "greater than or equal to 0.001", "0")),
            ({"type": "t", "unique": {"until": None}}, ("unique", "until, forS or both", "neither")),
            ({"type": "t", "debounce": {}}, ("debounce.waitS", "a value", "nothing")),
            ({"type": "t", "debounce": {"wait": 1}}, ("debounce.wait", "waitS", "wait")),
            ({"type": "t", "debounce": {"waitS": 5, "latestS": 2}}, ("debounce", "latestS of at least waitS, 5", "2")),
            ({"type": "t", "unique": "on"}, ("unique", "an object or 'off'", "on")),
            ({"type": "t", "debounce": 5}, ("debounce", "an object or 'off'", "5")),
            ({"concurrency": 1}, ("body", "either type or topic, and not both", "none of them")),
            (
                {"type": "t", "topic": "t", "concurrency": 1},
                ("body", "either type or topic, and not both", "type and topic"),
            ),
            ({"type": "t", "rate": {"count": 1e308}}, ("rate.count", "a whole number, 1 to 1000000", "1e+308")),
            ({"type": "t", "rate": {"count": 1.5}}, ("rate.count", "a whole number, 1 to 1000000", "1.5")),
            ({"type": "t", "rate": {"count": True}}, ("rate.count", "a whole number, 1 to 1000000", "true")),
            ({"type": "t", "concurrency": "x"}, ("concurrency", "a whole number, 1 to 1000", "x")),
            ({"type": "t", "debounce": {"waitS": "nan"}}, ("debounce.waitS", "a number, 0.001 to 604800", "nan")),
            ({"type": "t", "debounce": {"waitS": []}}, ("debounce.waitS", "a number, 0.001 to 604800", "a list of 0")),
            ({"type": "t", "key": 1.5}, ("key", "a valid string", "1.5")),
            ({"type": "t", "key": ""}, ("key", "text of at least 1 character", "an empty text")),
            ({"type": "t"}, ("body", "one of concurrency, rate, order, unique, debounce", "none of them")),
        ],
    )
    def test_is_refused_in_the_words_of_what_was_meant(
        self, api: Service, body: dict[str, Any], detail: tuple[str, str, str]
    ) -> None:
        reply = put(api, **body)
        assert [tuple(each.values()) for each in reply.json["details"]] == [detail]

    def test_bounds_what_runs(self, api: Service) -> None:
        put(api, type="bounded.ordered", rate={"count": 1, "perSeconds": 600})
        ids = [bounded(api, {"k": f"rate {n}"}, "bounded.ordered") for n in range(2)]
        api.work("bounded")
        found = standing(api, type="bounded.ordered")
        assert (found["waiting"]["token"], found["nextStart"]) == ({"count": 1, "isExact": True}, api.now(600_000))
        delete(api, {"type": "bounded.ordered"})
        api.tick()
        api.work("bounded")
        assert [api.job(each).state for each in ids] == ["success", "success"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"concurrency": 1}, "body"),
            ({"type": "t", "topic": "t", "concurrency": 1}, "body"),
            ({"type": "t"}, "body"),
            ({"type": "t", "concurrency": 0}, "concurrency"),
            ({"type": "t", "concurrency": 1_001}, "concurrency"),
            ({"type": "t", "concurrency": True}, "concurrency"),
            ({"type": "t", "rate": {}}, "rate.count"),
            ({"type": "t", "rate": {"count": 1, "perSeconds": 0}}, "rate.perSeconds"),
            ({"type": "t", "rate": {"count": 1, "burst": 1_000_001}}, "rate.burst"),
            ({"type": "t", "rate": {"count": 1, "per": 1}}, "rate.per"),
            ({"type": "t\n", "concurrency": 1}, "type"),
            ({"type": "t", "key": "x" * 257, "concurrency": 1}, "key"),
        ],
    )
    def test_is_refused_where_it_cannot_be(self, api: Service, body: dict[str, Any], field: str) -> None:
        reply = put(api, **body)
        assert (reply.status, reply.json["details"][0]["field"]) == (422, field)

    def test_the_least_and_the_most_that_can_be_set_can_be_shown(self, api: Service, kind: str) -> None:
        for rate in (
            {"count": 1, "perSeconds": 31 * 86_400, "burst": 1_000_000},
            {"count": 1_000_000, "perSeconds": 0.001},
        ):
            assert put(api, type=kind, rate=rate).json["rate"] == {"burst": 1, **rate}
            assert standing(api, type=kind)["nextStart"] == api.now()
        delete(api, {"type": kind})


def test_what_is_declared_is_shown(api: Service) -> None:
    nothing = dict.fromkeys(("topic", "concurrency", "rate", "key", "order", "unique", "debounce"))
    free = {"concurrency": None, "rate": None}
    declared = {each["type"] or each["topic"]: each for each in api.get("/api/flow").json["declared"]}
    assert {name: each for name, each in declared.items() if name.startswith("bounded")} == {
        "bounded": {
            **nothing,
            "type": "bounded",
            "key": "input.k",
            "perKey": {"concurrency": 1, "rate": {"count": 10, "perSeconds": 60, "burst": 10}},
        },
        "bounded.ordered": {
            **nothing,
            "type": "bounded.ordered",
            "key": "input.k",
            "order": "block",
            "perKey": free,
        },
        "bounded.alike": {
            **nothing,
            "type": "bounded.alike",
            "concurrency": 3,
            "rate": {"count": 1, "perSeconds": 0.5, "burst": 1},
            "unique": {"until": "end", "forS": None, "by": "input.k"},
            "perKey": free,
        },
        "bounded.news": {
            **nothing,
            "type": None,
            "topic": "bounded.news",
            "key": "a function",
            "debounce": {"waitS": 5, "latestS": 12, "by": "input.k"},
            "perKey": free,
        },
    }
    assert declared["scarce"]["concurrency"] == 1  # of a type without any other control
    assert "scripted" not in declared


class TestAKey:
    def test_is_paused_and_resumed(self, api: Service) -> None:
        key = {"type": "bounded", "topic": None, "key": "a b"}
        assert api.post("/api/flow/pause", {"type": "bounded", "key": "a b"}).json == key
        assert api.get("/api/flow").json["paused"] == [{**key, "since": api.now(), "by": "local", "resuming": False}]
        paused, other = bounded(api, {"k": "a b"}), bounded(api, {"k": "c"})
        api.work("bounded")
        assert [api.job(each).state for each in (paused, other)] == ["pending", "success"]
        assert api.post("/api/flow/resume", {"type": "bounded", "key": "a b"}).json == {"sent": 1}
        api.work("bounded")
        assert api.job(paused).state == "success"
        assert api.get("/api/flow").json["paused"] == []
        again = api.post("/api/flow/resume", {"type": "bounded", "key": "a b"})
        assert (again.status, again.json["message"]) == (404, "this is not paused")

    def test_must_be_named(self, api: Service) -> None:
        for path in ("pause", "resume"):
            reply = api.post(f"/api/flow/{path}", {"type": "bounded"})
            assert (reply.status, reply.json["details"][0]["field"]) == (422, "key")


class TestThoseBehindAFailedJob:
    def test_are_let_go(self, api: Service) -> None:
        failing, behind = (bounded(api, {"k": "p", **more}, "bounded.ordered") for more in ({"reject": "so"}, {}))
        api.work("bounded")
        api.work("bounded")
        assert [api.job(each).state for each in (failing, behind)] == ["failed", "pending"]
        found = standing(api, type="bounded.ordered", key="p")
        assert (found["running"], found["holders"], found["waiting"]["turn"]["count"]) == (0, [failing], 1)
        assert found["blockedBy"] == failing
        assert api.post("/api/flow/pass", {"id": failing}).json == {"id": failing, "state": "failed"}
        api.work("bounded")
        assert api.job(behind).state == "success"
        assert api.post("/api/flow/pass", {"id": int(failing)}).status == 409

    @pytest.mark.parametrize("job_id", ["999999", "0", "x", "9" * 30])
    def test_of_what_never_was(self, api: Service, job_id: str) -> None:
        assert api.post("/api/flow/pass", {"id": job_id}).status == 404


def test_the_scope_of_its_kind_is_needed() -> None:
    with service(stage="prod", bucket="in-prod") as prod:

        def key(scope: str) -> dict[str, str]:
            made = new_key(os.urandom)
            prod.yard.directory.put_access_key(
                AccessKey(name="t", scopes=frozenset({scope}), digest=digest_of(made), created_at_ms=prod.clock.ms)
            )
            return {"Authorization": f"Bearer {made}"}

        task, message, other = key("task"), key("message"), key("schedule")
        for target in ({"type": "t", "key": "k"}, {"topic": "t", "key": "k"}):
            able, unable = (task, message) if "type" in target else (message, task)
            setting = json.dumps({**target, "concurrency": 1}).encode()
            json_sent = {"Content-Type": "application/json"}
            for headers, status in ((unable, 403), (other, 403), ({}, 401), (able, 200)):
                replies = [
                    prod.request("PUT", "/api/flow", setting, {**json_sent, **headers}),
                    prod.get("/api/flow/standing", target, **headers),
                    prod.post("/api/flow/pause", target, **headers),
                ]
                assert [reply.status for reply in replies] == [status] * 3
            shown = prod.get("/api/flow", **able).json
            assert [each["type"] or each["topic"] for each in shown["set"] + shown["paused"]] == ["t", "t"]
            for headers, status in ((unable, 403), (able, 200)):
                replies = [delete(prod, target, **headers), prod.post("/api/flow/resume", target, **headers)]
                assert [reply.status for reply in replies] == [status] * 2
        job = prod.post("/mq/message/publish", {"topic": "t", "payload": {}}, **message).json["id"]
        refused = prod.post("/api/flow/pass", {"id": job}, **task)
        assert (refused.status, refused.json["message"]) == (
            403,
            "this access key lacks the scope message or console:manage",
        )
