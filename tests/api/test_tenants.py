"""On whose behalf a job is done: told by every dialect, kept by all that follows, shown, and handed to SQS."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.core.tenants import TENANT_EXPECTED
from chalicelib.services import graphs, installation, kue, messages, schedules, tasks
from chalicelib.services.messages import NewMessage
from chalicelib.services.task_orders import NextTask
from tests.support.kue import created, shown
from tests.support.mq import dead_letter, poll, publish
from tests.support.serendipity import application
from tests.support.service import Service
from tests.support.tasks import create, detail, listed, system

HEADER = "X-Taskyard-Tenant"
EVERY_MARK = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
MANUAL = {"targetId": "t-1", "targetType": "document"}
WRONG = ["", "x" * 129, "two words", "\u00fcnicode", "line\n", "\x00", {"a": 1}, ["acme"], 1.5, True]


def groups(api: Service, queue: str) -> list[str | None]:
    """The message groups of what a queue's normal lane shows now."""
    transport: Any = api.yard.transport
    url = transport.client.get_queue_url(QueueName=transport.source_of(api.lane(queue)))["QueueUrl"]
    answer = transport.client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
    )
    return sorted(message.get("Attributes", {}).get("MessageGroupId") for message in answer.get("Messages", []))


class TestToldOverHttp:
    @pytest.mark.parametrize("tenant", ["acme", "7", "x" * 128, EVERY_MARK])
    def test_a_message(self, api: Service, topic: str, tenant: str) -> None:
        record = publish(api, topic, tenant=tenant)
        assert (record["tenant"], api.job(record["id"]).tenant) == (tenant, tenant)
        assert groups(api, topic) == [tenant]

    def test_a_number_is_kept_as_its_digits(self, api: Service, topic: str, kind: str) -> None:
        assert publish(api, topic, tenant=42)["tenant"] == "42"
        assert create(api, kind, tenant=42)["tenant"] == "42"
        assert shown(api, created(api, kind, tenant=42))["tenant"] == "42"

    def test_without_one_a_record_is_as_it_was(self, api: Service, topic: str, kind: str) -> None:
        assert "tenant" not in publish(api, topic)
        assert "tenant" not in poll(api, topic)[0]
        assert "tenant" not in create(api, kind)
        assert "tenant" not in shown(api, created(api, kind))

    def test_the_header_stands_for_what_the_body_does_not_say(self, api: Service, topic: str, kind: str) -> None:
        message = {"topic": topic, "payload": {}}
        assert api.post("/mq/message/publish", message, **{HEADER: "acme"}).json["tenant"] == "acme"
        assert api.post("/mq/message/publish", {**message, "tenant": "b"}, **{HEADER: "acme"}).json["tenant"] == "b"
        batch = {"messages": [message, {**message, "tenant": "b"}]}
        results = api.post("/mq/message/publish-batch", batch, **{HEADER: "acme"}).json["results"]
        assert [result["message"]["tenant"] for result in results] == ["acme", "b"]
        assert groups(api, topic) == ["acme", "acme", "b", "b"]
        task = {"type": kind, **MANUAL}
        assert api.post("/api/task/create", task, **{HEADER: "acme"}).json["tenant"] == "acme"
        batch = {"tasks": [task, {**task, "tenant": "b"}]}
        results = api.post("/api/task/create-batch", batch, **{HEADER: "acme"}).json["results"]
        assert [result["task"]["tenant"] for result in results] == ["acme", "b"]
        jobs = [{"type": kind}, {"type": kind, "options": {"tenant": "b"}}]
        made = api.post("/job", jobs, **{HEADER: "acme"}).json
        assert [api.job(str(entry["id"])).tenant for entry in made] == ["acme", "b"]

    @pytest.mark.parametrize("tenant", WRONG)
    def test_what_can_be_none_is_refused(self, api: Service, topic: str, kind: str, tenant: Any) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}, "tenant": tenant})
        assert (reply.status, [detail["field"] for detail in reply.json["details"]]) == (422, ["tenant"])
        assert api.post("/api/task/create", {"type": kind, **MANUAL, "tenant": tenant}).status == 422
        reply = api.post("/job", {"type": kind, "options": {"tenant": tenant}})
        assert (reply.status, reply.json["error"].startswith("tenant in the options: expected")) == (400, True)

    @pytest.mark.parametrize("tenant", ["", "two words", "\u00fcnicode"])
    def test_so_is_such_a_header(self, api: Service, topic: str, tenant: str) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}}, **{HEADER: tenant})
        assert (reply.status, reply.json["details"]) == (
            422,
            [{"field": HEADER, "expected": TENANT_EXPECTED, "got": tenant}],
        )

    def test_a_task_of_an_application(self, api: Service) -> None:
        app = application(api)
        assert api.job(str(app.create("order-1", tenant="acme"))).tenant == "acme"
        graph = {"name": "nightly", "tasks": [{"taskNo": "a", "content": 1, "timeout": 1, "name": "n", "tenant": "b"}]}
        workflow = app.post("/task/dag", graph).json["data"]
        assert api.job(str(workflow["tasks"][0]["taskId"])).tenant == "b"

    def test_one_key_for_two_tenants_is_two_requests(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {}, "idempotencyKey": f"key of {topic}", "tenant": "acme"}
        first = api.post("/mq/message/publish", body)
        assert api.post("/mq/message/publish", body).json == first.json
        assert api.post("/mq/message/publish", {**body, "tenant": "b"}).status == 409


class TestKept:
    def test_by_a_replay_and_a_retry(self, api: Service, topic: str, kind: str) -> None:
        letter = dead_letter(api, topic, tenant="acme")
        assert api.post("/mq/dlq/replay", {"id": letter["id"]}).json["tenant"] == "acme"
        assert groups(api, topic) == ["acme"]
        task = create(api, kind, tenant="acme")
        api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"id": task["id"]}).status == 200
        assert detail(api, task["id"])["tenant"] == "acme"

    def test_by_children_and_followers_that_name_none(self, api: Service, kind: str, target: str) -> None:
        later = {"type": "scripted", "next": {"type": "scripted", "tenant": "b"}}
        parent = system(api, 1, target, tenant="acme", next=later)
        assert create(api, kind, parentTaskId=parent["id"])["tenant"] == "acme"
        assert create(api, kind, parentTaskId=parent["id"], tenant="b")["tenant"] == "b"
        while any(task["status"] == "pending" for task in listed(api, {"filter[targetId]": target})):
            api.work("default")
        assert [task["tenant"] for task in listed(api, {"filter[targetId]": target})] == ["b", "acme", "acme"]

    def test_by_the_nodes_of_a_graph(self, api: Service) -> None:
        nodes = [{"name": "a", "type": "scripted"}, {"name": "b", "type": "scripted", "tenant": "b"}]
        graph = api.post("/api/task/graph", {"nodes": nodes, "tenant": "acme"}).json
        by_header = api.post("/api/task/graph", {"nodes": nodes}, **{HEADER: "acme"}).json
        for each in (graph, by_header):
            found = api.get("/api/task/graph/nodes", {"id": each["id"]}).json["pageData"]
            assert [detail(api, node["taskId"])["tenant"] for node in found] == ["acme", "b"]

    def test_by_the_runs_of_a_schedule(self, api: Service, topic: str, kind: str) -> None:
        works = {
            "task": {"type": kind, "runnerType": "manual", "tenant": "acme"},
            "message": {"topic": topic, "payload": {}, "tenant": "acme"},
        }
        for what, work in works.items():
            name = f"{what} of {kind}"
            made = api.post("/api/schedule/create", {"name": name, "cron": "@daily", what: work})
            assert made.json[what]["tenant"] == "acme", made.text
            run = api.post("/api/schedule/run", {"name": name}).json
            assert api.job(run["id"]).tenant == "acme"


class TestToldInPython:
    @pytest.fixture(autouse=True)
    def _installed(self, api: Service) -> Any:
        with installation.using(api.yard):
            yield

    def test_all_that_is_created(self, api: Service, topic: str, kind: str) -> None:
        assert messages.publish(topic, {}, tenant="acme").tenant == "acme"
        (many,) = messages.publish_many([NewMessage(topic=topic, payload={}, tenant="acme")])
        assert isinstance(many, messages.Message)
        assert many.tenant == "acme"
        task = tasks.create(
            kind, target_id="t", target_type="t", tenant="acme", next=NextTask(type="scripted", tenant="b")
        )
        assert (task.tenant, task.next["tenant"]) == ("acme", "b")
        assert api.job(str(kue.create(kind).tenant("acme").save().id)).tenant == "acme"
        made = graphs.Builder(tenant="acme")
        made.task("a", "scripted")
        (node,) = graphs.nodes(made.start())
        assert api.job(str(node.task_id)).tenant == "acme"
        message = {"topic": topic, "payload": {}, "tenant": "acme"}
        found = schedules.create(f"of {topic}", cron="@daily", message=message)
        assert found.message == {**message, "priority": 0}

    @pytest.mark.parametrize("tenant", [*WRONG, 42])
    def test_what_can_be_none_is_refused(self, topic: str, tenant: Any) -> None:
        with pytest.raises(messages.InvalidInput) as error:
            messages.publish(topic, {}, tenant=tenant)
        assert (error.value.field, error.value.expected) == ("tenant", TENANT_EXPECTED)
