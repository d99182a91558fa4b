"""What the README of fastify-mq shows, done here: over HTTP and by the services in Python, against `taskyard up`.

Each test is one of its examples or tables, in its order, with the result that it documents.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib import settings
from chalicelib.core.errors import Conflict
from chalicelib.engine.handlers.registry import registry_of
from chalicelib.engine.yard import build
from chalicelib.local import access_keys
from chalicelib.services import dead_letters, installation, messages, queues, traces
from chalicelib.services.consumer import Consumer
from chalicelib.services.records import Message
from tests.support.processes import clean_environment
from tests.support.service import Service as App
from tests.support.service import service as deployed_app
from tests.support.up import Service
from tests.support.waiting import DEADLINE_S, becomes, until
from tests.support.yards import CREDENTIALS, environment, forget_clients

DOCUMENT = Path(__file__).parents[2] / "docs" / "fastify-mq.md"
GRAFANA = Path(__file__).parents[2] / "infra" / "grafana" / "mq-dashboard.json"
HANDLERS = "chalicelib.tasks,tests.support.handlers"
MESSAGE_FIELDS = {
    "topic", "payload", "status", "retryCount", "maxRetries", "priority", "executeAt", "nextRetryAt", "consumerId",
    "lockedAt", "traceId",
}  # fmt: skip
DEAD_LETTER_FIELDS = {"originalId", "topic", "payload", "errorMessage", "replayed", "replayedAt"}
TRACE_FIELDS = {"traceId", "messageId", "topic", "event", "detail"}


@pytest.fixture
def acting(api: Service) -> Iterator[None]:
    """The services in this process act on the same installation."""
    own = {"AWS_ENDPOINT_URL": api.endpoint_url, "TASKYARD_INDEX_SHARDS": "1", "TASKYARD_HANDLERS": HANDLERS}
    own["TASKYARD_MQ_POLL_WAIT_S"] = "1"  # what a stop waits for
    with environment({**CREDENTIALS, **own}):
        forget_clients()
        chosen = settings.read(own)
        with installation.using(build(registry_of(chosen), chosen)):
            yield
    forget_clients()


@pytest.fixture(scope="class")
def app(api: Service) -> Iterator[App]:
    """A stage beside the local one, on the same emulator: it answers nobody without an access key."""
    with deployed_app(api.endpoint_url, stage="dev") as made:
        yield made


def publish(api: Service, topic: str, payload: Any, **fields: Any) -> dict[str, Any]:
    return dict(api.post("/mq/message/publish", {"topic": topic, "payload": payload, **fields}))


def poll(api: Service, topic: str, **query: int) -> list[dict[str, Any]]:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return list(api.get(f"/mq/message/poll?topic={topic}{more}"))


def dead(api: Service, topic: str) -> dict[str, Any]:
    """A message that used up its one delivery."""
    made = publish(api, topic, {"orderId": "123"}, maxRetries=1)
    polled = until(lambda: poll(api, topic))
    api.post("/mq/message/fail", {"id": polled[0]["id"], "error": "payment is down"})
    return made


def events(api: Service, trace_id: str) -> list[str]:
    return [event["event"] for event in api.events(trace_id)]


class TestQuickStart:
    def test_publish_and_a_subscriber_consumes_it(self, api: Service) -> None:
        made = publish(api, "order.created", {"orderId": "123", "amount": 99.9})
        assert made.keys() >= MESSAGE_FIELDS | {"id", "options", "createdAt", "updatedAt"}
        assert (made["status"], made["retryCount"], made["maxRetries"], made["priority"]) == ("PENDING", 0, 3, 0)
        becomes(["PUBLISHED", "PROCESSING", "COMPLETED"], lambda: events(api, made["traceId"]))

    def test_a_delayed_message_is_not_handed_out_before_its_time(self, api: Service) -> None:
        at = (datetime.now(UTC) + timedelta(minutes=30)).isoformat(timespec="milliseconds")
        made = publish(api, "order.timeout", {"orderId": "123"}, executeAt=at)
        assert made["executeAt"] == at.replace("+00:00", "Z")
        assert poll(api, "order.timeout") == []
        listed = api.get("/mq/message/list?topic=order.timeout")["pageData"]
        assert [(entry["id"], entry["status"]) for entry in listed] == [(made["id"], "PENDING")]

    def test_a_larger_priority_goes_first(self, api: Service) -> None:
        plain = publish(api, "payment.completed", {"paymentId": "1"})
        urgent = publish(api, "payment.completed", {"paymentId": "456"}, priority=10)
        assert [entry["id"] for entry in poll(api, "payment.completed")] == [urgent["id"], plain["id"]]

    def test_the_documented_parameters_of_a_publication(self, api: Service) -> None:
        made = publish(api, "all.fields", {"a": 1}, priority=2, maxRetries=5, traceId="mine-1", meta={"by": "test"})
        named = ("priority", "maxRetries", "traceId", "options")
        assert [made[name] for name in named] == [2, 5, "mine-1", {"by": "test"}]
        for missing in ("topic", "payload"):
            body = {"topic": "x", "payload": {}}
            del body[missing]
            assert api.call("POST", "/mq/message/publish", body)[0] == 422


class TestPolling:
    def test_at_most_as_many_as_asked_for_and_locked_for_so_long(self, api: Service) -> None:
        for n in range(3):
            publish(api, "polled", {"n": n})
        taken = poll(api, "polled", limit=2, lockTimeout=5_000)
        assert [(entry["payload"]["n"], entry["status"]) for entry in taken] == [(0, "PROCESSING"), (1, "PROCESSING")]
        locked, ends = (datetime.fromisoformat(taken[0][name]) for name in ("lockedAt", "lockExpiresAt"))
        assert 4.9 < (ends - locked).total_seconds() < 5.1

    def test_complete_and_fail(self, api: Service) -> None:
        for n in range(2):
            publish(api, "settled", {"n": n})
        first, second = until(lambda: poll(api, "settled"))
        assert api.post("/mq/message/complete", {"id": first["id"]})["status"] == "COMPLETED"
        failed = api.post("/mq/message/fail", {"id": second["id"], "error": "no stock"})
        assert (failed["status"], failed["retryCount"], failed["error"]) == ("PENDING", 1, "no stock")
        assert failed["nextRetryAt"] is not None
        assert events(api, second["traceId"]) == ["PUBLISHED", "PROCESSING", "FAILED"]
        assert api.call("POST", "/mq/message/complete", {"id": first["id"]})[0] == 409
        assert api.call("POST", "/mq/message/complete", {"id": "987654321"})[0] == 404

    def test_the_list_and_its_filters(self, api: Service) -> None:
        made = [publish(api, "listed", {"n": n}, traceId=f"listed-{n}") for n in range(3)]
        api.post("/mq/message/complete", {"id": until(lambda: poll(api, "listed", limit=1))[0]["id"]})
        page = api.get("/mq/message/list?topic=listed&perPage=2&currentPage=2")
        assert ([entry["id"] for entry in page["pageData"]], page["totalCount"]) == ([made[0]["id"]], 3)
        for query, expected in (("status=COMPLETED", 0), ("traceId=listed-1", 1)):
            assert [e["id"] for e in api.get(f"/mq/message/list?topic=listed&{query}")["pageData"]] == [
                made[expected]["id"]
            ]


class TestDeadLetters:
    def test_a_subscriber_that_keeps_failing_makes_one_after_three_deliveries(self, api: Service) -> None:
        made = publish(api, "always.fails", {"n": 5})
        story = ["PUBLISHED", "PROCESSING", "FAILED", "PROCESSING", "FAILED", "PROCESSING", "MOVED_TO_DLQ"]
        becomes(story, lambda: events(api, made["traceId"]))
        (letter,) = api.get("/mq/dlq/list?topic=always.fails&replayed=false")["pageData"]
        assert letter.keys() >= DEAD_LETTER_FIELDS
        assert (letter["originalId"], letter["errorMessage"]) == (made["id"], "no luck with 5")

    def test_single_replay_by_body_and_by_path(self, api: Service) -> None:
        one, other = dead(api, "dlq.single"), dead(api, "dlq.single")
        for replayed in (
            api.post("/mq/dlq/replay", {"id": one["id"]}),
            api.post(f"/mq/dlq/replay/{other['id']}", {}),
        ):
            assert replayed["deadLetterId"] in (one["id"], other["id"])
            again = until(lambda wanted=replayed: _found(api, "dlq.single", wanted["id"]))
            assert again["traceId"] == replayed["traceId"]
            assert events(api, again["traceId"])[0] == "REPLAYED"
        letters = api.get("/mq/dlq/list?topic=dlq.single&replayed=true")
        assert (letters["totalCount"], {letter["replayed"] for letter in letters["pageData"]}) == (2, {True})
        assert api.call("POST", "/mq/dlq/replay", {"id": one["id"]})[0] == 400

    def test_batch_replay_answers_in_order(self, api: Service) -> None:
        first, second = dead(api, "dlq.batch"), dead(api, "dlq.batch")
        results = api.post("/mq/dlq/replay", {"ids": [second["id"], "987654321", first["id"]]})
        assert [(result["id"], result["success"]) for result in results] == [
            (second["id"], True),
            ("987654321", False),
            (first["id"], True),
        ]


class TestTraces:
    def test_by_query_by_path_and_as_a_list(self, api: Service) -> None:
        made = publish(api, "traced", {})
        api.post("/mq/message/complete", {"id": until(lambda: poll(api, "traced"))[0]["id"]})
        by_path = api.get(f"/mq/trace/{made['traceId']}")
        assert by_path == api.get(f"/mq/trace/detail?traceId={made['traceId']}")
        assert [event["event"] for event in by_path] == ["PUBLISHED", "PROCESSING", "COMPLETED"]
        assert all(event.keys() >= TRACE_FIELDS for event in by_path)
        found = until(lambda: api.get("/mq/trace/list?topic=traced&event=COMPLETED")["pageData"])
        assert [event["messageId"] for event in found] == [made["id"]]
        assert api.get(f"/mq/trace/list?messageId={made['id']}")["totalCount"] == 3


class TestQueues:
    def test_depth_of_a_topic_and_of_all(self, api: Service) -> None:
        for n in range(2):
            publish(api, "deep", {"n": n})
        becomes(2, lambda: api.get("/mq/queue/depth?topic=deep")["depth"])
        assert api.get("/mq/queue/depth")["depth"] >= 2

    def test_cleanup_removes_what_is_completed_and_old(self, api: Service) -> None:
        made = publish(api, "cleaned", {})
        api.post("/mq/message/complete", {"id": until(lambda: poll(api, "cleaned"))[0]["id"]})
        week_ago = (datetime.now(UTC) - timedelta(days=7)).isoformat()
        body = {"status": "COMPLETED", "olderThan": week_ago, "topic": "cleaned"}
        assert api.post("/mq/queue/cleanup", body)["deleted"] == 0
        del body["olderThan"]
        becomes(1, lambda: api.post("/mq/queue/cleanup", body)["deleted"])
        assert events(api, made["traceId"])[-1] == "COMPLETED"  # a trace lives on for its own retention

    def test_a_lock_that_ran_out_is_recovered(self, api: Service) -> None:
        made = publish(api, "locked", {})
        until(lambda: poll(api, "locked", lockTimeout=1_000))
        becomes(1, lambda: api.post("/mq/queue/recover-locked", {"topic": "locked"})["recovered"])
        assert events(api, made["traceId"])[-1] == "LOCK_RECOVERED"
        assert until(lambda: poll(api, "locked"))[0]["id"] == made["id"]

    def test_and_so_it_is_by_itself(self, api: Service) -> None:
        made = publish(api, "vanished", {})
        until(lambda: poll(api, "vanished", lockTimeout=1_000))
        assert until(lambda: poll(api, "vanished"))[0]["id"] == made["id"]


class TestWatching:
    def test_the_dashboard_has_the_documented_shape(self, api: Service) -> None:
        api.post("/mq/message/complete", {"id": dead_and_done(api)})
        shown = until(lambda: _counted(api.get("/mq/dashboard?window=300000&step=60000"), "watched"))
        current = shown["current"]
        assert current.keys() >= {
            "queueDepth", "consumedTotal", "failedTotal", "dlqTotal", "consumeRate", "failureRate", "dlqRate",
            "successRatio", "successRatioByTopic",
        }  # fmt: skip
        totals = {name: current[name]["byTopic"]["watched"] for name in ("consumedTotal", "failedTotal", "dlqTotal")}
        assert totals == {"consumedTotal": 1, "failedTotal": 1, "dlqTotal": 1}
        assert current["successRatioByTopic"]["watched"] == 0.5
        assert shown["timeSeries"].keys() == {"queueDepth", "consumeRate", "failureRate", "dlqRate"}
        assert shown["timeSeries"]["queueDepth"][-1]["watched"] == 0
        assert shown["timeSeries"]["queueDepth"][-1]["timestamp"] == shown["timestamp"]

    def test_metrics_are_those_that_are_documented(self, api: Service) -> None:
        app_text = until(lambda: _text(api, "/mq/metrics"))
        for name, kind in (
            ("mq_queue_depth", "gauge"),
            ("mq_consumed_total", "counter"),
            ("mq_failed_total", "counter"),
            ("mq_dlq_total", "counter"),
        ):
            assert f"# TYPE {name} {kind}" in app_text

    def test_the_grafana_dashboard_has_the_documented_panels(self) -> None:
        titles = {panel["title"] for panel in json.loads(GRAFANA.read_text())["panels"]}
        wanted = {"Queue Depth", "Consume Rate", "Failure Rate", "DLQ Rate", "Success Ratio"}
        assert wanted <= titles
        assert any(title.startswith("Consumed vs Failed") for title in titles)


class TestAccess:
    """getAuthenticate's kinds are the scopes of access keys; without one nothing is answered beyond this machine."""

    @pytest.mark.parametrize(
        ("kind", "method", "path"),
        [
            ("message", "GET", "/mq/message/list"),
            ("message", "POST", "/mq/message/publish"),
            ("dlq", "GET", "/mq/dlq/list"),
            ("dlq:manage", "POST", "/mq/dlq/replay"),
            ("dlq:manage", "POST", "/mq/queue/cleanup"),
            ("trace", "GET", "/mq/trace/list"),
            ("dashboard", "GET", "/mq/dashboard"),
            ("dashboard", "GET", "/mq/metrics"),
            ("dashboard", "GET", "/mq/queue/depth"),
        ],
    )
    def test_each_kind_opens_its_own_routes(self, app: App, kind: str, method: str, path: str) -> None:
        keys = {scope: access_keys.create(scope, [scope], 1) for scope in (kind, "task")}
        statuses = [
            app.request(method, path, b"{" if method == "POST" else None, _headers(key)).status
            for key in (None, keys["task"], keys[kind])
        ]
        assert statuses == [401, 403, 400 if method == "POST" else 200]


class TestPrefix:
    def test_the_routes_and_their_documentation_move(self) -> None:
        with deployed_app(mq_prefix="/queue/v1") as app:
            assert app.post("/queue/v1/message/publish", {"topic": "t", "payload": {}}).status == 200
            assert app.get("/mq/message/list").status in (403, 404)
            paths = app.get("/openapi.json").json["paths"]
            assert "/queue/v1/dlq/replay/{id}" in paths
            assert not [path for path in paths if path.startswith("/mq/")]


def test_a_script_acts_on_taskyard_up_by_the_documented_variables(api: Service) -> None:
    (line,) = re.findall(r"^AWS_ENDPOINT_URL=.*\n.*python script.py$", DOCUMENT.read_text(), re.MULTILINE)
    given = dict(re.findall(r"(\w+)=(\S+)", line))
    script = "from chalicelib.services import messages; print(messages.publish('script', {}).id)"
    printed = subprocess.check_output(
        [sys.executable, "-c", script],
        env={**clean_environment(), **given, "AWS_ENDPOINT_URL": api.endpoint_url},
        cwd=DOCUMENT.parents[1],
        text=True,
    )
    listed = until(lambda: api.get("/mq/message/list?topic=script")["pageData"])
    assert [entry["id"] for entry in listed] == [printed.strip()]


@pytest.mark.usefixtures("acting")
class TestInPython:
    """The services, as the same document shows them."""

    def test_publish_plain_delayed_and_urgent(self) -> None:
        plain = messages.publish("py.order.created", {"orderId": "123", "amount": 99.9})
        later = datetime.now(UTC) + timedelta(minutes=30)
        delayed = messages.publish("py.order.created", {"orderId": "123"}, execute_at=later)
        urgent = messages.publish("py.order.created", {"paymentId": "456"}, priority=10)
        assert [message.id for message in until(lambda: messages.poll("py.order.created"))] == [urgent.id, plain.id]
        assert messages.get(delayed).status == "PENDING"

    def test_subscribe_and_start_the_consumer(self) -> None:
        seen: list[Any] = []
        queues.subscribe("py.consumed", lambda message: seen.append(message.payload))
        queues.start_consumer()
        try:
            made = messages.publish("py.consumed", {"orderId": "123"})
            becomes([{"orderId": "123"}], lambda: seen)
            becomes(
                ["PUBLISHED", "PROCESSING", "COMPLETED"], lambda: [e.event.value for e in traces.get(made.trace_id)]
            )
        finally:
            assert queues.stop_consumer()

    def test_a_topic_of_deployed_subscribers_is_left_to_them(self) -> None:
        consumer = Consumer()
        consumer.subscribe("order.created", print)
        with pytest.raises(Conflict, match="deployed subscribers"):
            consumer.start()
        made = messages.publish("order.created", {"orderId": "7"})
        becomes("COMPLETED", lambda: messages.get(made).status)

    def test_dead_letters_single_and_batch(self) -> None:
        letters = [self._dead("py.dlq") for _ in range(3)]
        again = dead_letters.replay(letters[0])
        assert traces.get(again.trace_id)[0].event == "REPLAYED"
        assert [replay.success for replay in dead_letters.batch_replay(letters)] == [False, True, True]
        becomes(3, lambda: dead_letters.list(topic="py.dlq", replayed=True).total_count)

    def test_recover_locked_cleanup_and_depth(self) -> None:
        made = messages.publish("py.queue", {})
        until(lambda: messages.poll("py.queue", lock_timeout_ms=1_000))
        becomes(1, lambda: queues.recover_locked("py.queue"))
        becomes(1, lambda: queues.depth("py.queue").depth)
        messages.complete(until(lambda: messages.poll("py.queue"))[0])
        week_ago = datetime.now(UTC) - timedelta(days=7)
        assert queues.cleanup(status="COMPLETED", older_than=week_ago, topic="py.queue").deleted == 0
        becomes(1, lambda: queues.cleanup(topic="py.queue").deleted)
        assert messages.list(topic="py.queue").items == []
        assert traces.get(made.trace_id)[-1].event == "COMPLETED"

    def _dead(self, topic: str) -> Message:
        messages.publish(topic, {}, max_retries=1)
        return messages.fail(until(lambda: messages.poll(topic))[0], "no luck")


def dead_and_done(api: Service) -> str:
    """One dead letter of the topic ``watched``, and the id of a message of it in hand."""
    dead(api, "watched")
    publish(api, "watched", {})
    return str(until(lambda: poll(api, "watched"))[0]["id"])


def _counted(shown: dict[str, Any], topic: str) -> dict[str, Any] | None:
    """The dashboard, once the change stream has brought what happened to a topic."""
    done = shown["current"]["consumedTotal"]["byTopic"].get(topic)
    return shown if done else None


def _found(api: Service, topic: str, message_id: str) -> dict[str, Any] | None:
    page = api.get(f"/mq/message/list?topic={quote(topic)}")["pageData"]
    return next((entry for entry in page if entry["id"] == message_id), None)


def _headers(key: str | None) -> dict[str, str]:
    content = {"Content-Type": "application/json"}
    return content if key is None else {**content, "Authorization": f"Bearer {key}"}


def _text(api: Service, path: str) -> str:
    with urllib.request.urlopen(api.url + path, timeout=DEADLINE_S) as answer:  # noqa: S310  # a loopback address of our own
        return str(answer.read().decode())
