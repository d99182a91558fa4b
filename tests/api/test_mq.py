"""The message dialect, request by request: every field's value, every refusal, the worker driven by hand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import pytest

from tests.support.service import Reply, Service, service, written

HOUR_MS = 3_600_000
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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
numbers = itertools.count()


@pytest.fixture(scope="module")
def api() -> Iterator[Service]:
    """One installation for all tests of this file; each uses topics of its own."""
    with service() as made:
        yield made


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"topic.{next(numbers)}"


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


class TestPublish:
    def test_a_plain_message(self, api: Service, topic: str) -> None:
        record = publish(api, topic, {"orderId": "123", "amount": 99.9})
        assert UUID.fullmatch(record["traceId"])
        assert record == {
            "id": record["id"],
            "topic": topic,
            "payload": {"orderId": "123", "amount": 99.9},
            "status": "PENDING",
            "retryCount": 0,
            "maxRetries": 3,
            "priority": 0,
            "executeAt": None,
            "nextRetryAt": None,
            "consumerId": None,
            "lockedAt": None,
            "lockExpiresAt": None,
            "traceId": record["traceId"],
            "options": None,
            "error": None,
            "createdAt": api.now(),
            "updatedAt": api.now(),
        }
        assert isinstance(record["id"], str)
        assert int(record["id"]) > 0
        assert listed(api, topic=topic) == [record]

    def test_every_field_that_can_be_given(self, api: Service, topic: str) -> None:
        trace_id = f"{topic} / trace"
        record = publish(
            api,
            topic,
            {"deep": [1, {"x": None}]},
            priority=-7,
            executeAt=api.now(HOUR_MS),
            maxRetries=5,
            traceId=trace_id,
            meta={"source": "web", "tags": ["a"]},
        )
        assert record == {
            **record,
            "payload": {"deep": [1, {"x": None}]},
            "priority": -7,
            "executeAt": api.now(HOUR_MS),
            "maxRetries": 5,
            "traceId": trace_id,
            "options": {"source": "web", "tags": ["a"]},
            "status": "PENDING",
        }
        assert listed(api, topic=topic) == [record]

    def test_unknown_fields_are_ignored(self, api: Service, topic: str) -> None:
        assert publish(api, topic, wish="none", status="COMPLETED", id="7")["status"] == "PENDING"

    @pytest.mark.parametrize("name", ODD_TOPICS)
    def test_an_odd_topic_goes_all_the_way(self, api: Service, name: str) -> None:
        odd = ODD_TOPICS[name]
        record = publish(api, odd)
        assert record["topic"] == odd
        (taken,) = poll(api, odd)
        assert (taken["id"], taken["topic"]) == (record["id"], odd)
        assert api.post("/mq/message/complete", {"id": record["id"]}).status == 200
        assert [message["id"] for message in listed(api, topic=odd)] == [record["id"]]

    def test_topics_that_look_alike_are_not_one(self, api: Service) -> None:
        ids = {
            name: publish(api, name)["id"] for name in ("like\u00e9", "like" + "e\u0301", "LIKE\u00e9", "like\u00e9 ")
        }
        for name, message_id in ids.items():
            assert [message["id"] for message in poll(api, name)] == [message_id]

    @pytest.mark.parametrize(
        ("content", "shown"),
        [
            ({}, {}),
            ({"": {"": []}}, {"": {"": []}}),
            ({"n": [0, -0.5, 1e300, 12345678901234567]}, {"n": [0, -0.5, 1e300, 12345678901234567]}),
            ({"text": "\x00\u2028\ud800 \U0001f4e6 <&>"}, {"text": "\x00\u2028\ud800 \U0001f4e6 <&>"}),
            ({"big": "x" * 300_000}, {"big": "x" * 300_000}),
        ],
        ids=["empty", "nothings", "numbers", "text", "large"],
    )
    def test_a_payload_comes_back_as_it_was(self, api: Service, topic: str, content: Any, shown: Any) -> None:
        publish(api, topic, content) if content else api.post("/mq/message/publish", {"topic": topic, "payload": {}})
        (taken,) = poll(api, topic)
        assert taken["payload"] == shown

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"topic": None}, ("topic", "a valid string", "null")),
            ({"topic": ""}, ("topic", "text of at least 1 character", "an empty text")),
            ({"topic": "x" * 401}, ("topic", "text of at most 400 characters", "x" * 120 + "…")),
            ({"topic": "a\nb"}, ("topic", "a topic without control characters", "a\nb")),
            ({"topic": 7}, ("topic", "a valid string", "7")),
            ({"payload": None}, ("payload", "an object", "null")),
            ({"payload": "text"}, ("payload", "an object", "text")),
            ({"payload": [1]}, ("payload", "an object", "a list of 1")),
            ({"priority": "high"}, ("priority", "a valid integer", "high")),
            ({"priority": 1.5}, ("priority", ANY, "1.5")),
            ({"priority": 1_001}, ("priority", "less than or equal to 1000", "1001")),
            ({"priority": -1_001}, ("priority", "greater than or equal to -1000", "-1001")),
            ({"maxRetries": -1}, ("maxRetries", "greater than or equal to 0", "-1")),
            ({"maxRetries": 101}, ("maxRetries", "less than or equal to 100", "101")),
            ({"traceId": ""}, ("traceId", "text of at least 1 character", "an empty text")),
            ({"traceId": "x" * 257}, ("traceId", "text of at most 256 characters", "x" * 120 + "…")),
            ({"meta": "x"}, ("meta", "an object", "x")),
            ({"executeAt": "1969-12-31T23:59:59Z"}, ("executeAt", "a time between the years 1970 and 9998", ANY)),
            ({"executeAt": "soon"}, ("executeAt", ANY, "soon")),
            ({"executeAt": []}, ("executeAt", "a valid datetime", "a list of 0")),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, topic: str, change: dict[str, Any], expected: Any) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}, **change})
        assert problem(reply) == (422, *expected)
        assert reply.json["error"] == "Unprocessable Entity"

    @pytest.mark.parametrize("field", ["topic", "payload"])
    def test_what_is_missing_is_told(self, api: Service, topic: str, field: str) -> None:
        body = {"topic": topic, "payload": {}}
        del body[field]
        assert problem(api.post("/mq/message/publish", body)) == (422, field, "a value", "nothing")

    def test_all_that_is_wrong_is_told_at_once(self, api: Service) -> None:
        reply = api.post("/mq/message/publish", {"priority": "high"})
        assert [detail["field"] for detail in reply.json["details"]] == ["topic", "payload", "priority"]
        assert api.post("/mq/message/publish").status == 422

    @pytest.mark.parametrize(
        ("content", "headers", "status"),
        [
            (b"{", {}, 400),
            (b"\xff{}", {}, 400),
            (b"[]", {}, 400),
            (b'"text"', {}, 400),
            (b'{"topic": "a", "payload": {"n": NaN}}', {}, 400),
            (b'{"topic": "a", "topic": "b", "payload": {}}', {}, 400),
            (b"[" * 5_000, {}, 400),
            (b'{"topic": "a", "payload": {}}', {"Content_Type": "text/plain"}, 415),
        ],
    )
    def test_what_is_no_json_object_is_refused(
        self, api: Service, content: bytes, headers: dict[str, str], status: int
    ) -> None:
        reply = api.request("POST", "/mq/message/publish", content, {"Content-Type": "application/json", **headers})
        assert reply.status == status
        assert reply.json["statusCode"] == status


class TestIdempotency:
    def test_two_requests_with_one_key_are_one_message(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {"n": 1}, "idempotencyKey": f"key of {topic}"}
        first, second = (api.post("/mq/message/publish", body) for _ in range(2))
        assert second.json == first.json
        assert len(poll(api, topic)) == 1
        assert api.post("/mq/message/publish", body).json["status"] == "PROCESSING"
        api.post("/mq/message/complete", {"id": first.json["id"]})
        third = api.post("/mq/message/publish", body).json
        assert (third["id"], third["status"]) == (first.json["id"], "COMPLETED")

    def test_the_header_does_the_same(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {"n": 1}}
        key = f"header of {topic}"
        first, second = (api.post("/mq/message/publish", body, Idempotency_Key=key) for _ in range(2))
        by_body = api.post("/mq/message/publish", {**body, "idempotencyKey": key})
        assert first.json["id"] == second.json["id"] == by_body.json["id"]
        assert publish(api, topic)["id"] != first.json["id"]

    @pytest.mark.parametrize("change", [{"payload": {"n": 2}}, {"priority": 1}, {"meta": {}}, {"maxRetries": 2}])
    def test_another_request_with_the_key_is_refused(self, api: Service, topic: str, change: dict[str, Any]) -> None:
        body = {"topic": topic, "payload": {"n": 1}, "idempotencyKey": f"key of {topic}"}
        api.post("/mq/message/publish", body)
        reply = api.post("/mq/message/publish", {**body, **change})
        assert problem(reply) == (409, "idempotencyKey", "the same request as the first time", ANY)
        assert reply.json["message"] == "this idempotency key was used with another request"
        assert reply.json["remedy"] == "use a new key for a new request"
        assert len(listed(api, topic=topic)) == 1

    def test_a_key_is_free_again_after_a_day(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {"n": 1}, "idempotencyKey": f"key of {topic}"}
        first = api.post("/mq/message/publish", body).json["id"]
        api.clock.move(86_400_000 + 1_000)
        assert api.post("/mq/message/publish", body).json["id"] != first

    @pytest.mark.parametrize("key", ["", "x" * 257, "a\nb"])
    def test_a_key_has_1_to_256_characters(self, api: Service, topic: str, key: str) -> None:
        body = {"topic": topic, "payload": {}}
        in_header = api.post("/mq/message/publish", body, Idempotency_Key=key)
        assert problem(in_header)[:3] == (422, "Idempotency-Key", "1 to 256 printable characters")
        in_body = api.post("/mq/message/publish", {**body, "idempotencyKey": key})
        assert problem(in_body)[:2] == (422, "idempotencyKey")
        assert listed(api, topic=topic) == []


class TestLater:
    def test_a_future_time_with_any_offset(self, api: Service, topic: str) -> None:
        at_ms = (api.clock.ms // 1_000 + 600) * 1_000
        utc = written(at_ms)
        forms = [
            utc,
            utc.replace("Z", "+00:00"),
            utc.replace("Z", ""),
            with_offset(at_ms, 5, 30),
            with_offset(at_ms, -8),
        ]
        ids = set()
        for form in forms:
            record = publish(api, topic, executeAt=form)
            assert record["executeAt"] == utc
            ids.add(record["id"])
        assert poll(api, topic) == []
        api.clock.ms = at_ms - 1
        assert poll(api, topic) == []
        api.clock.ms = at_ms + 1_000
        assert {message["id"] for message in poll(api, topic)} == ids

    def test_a_past_time_is_now(self, api: Service, topic: str) -> None:
        record = publish(api, topic, executeAt="2001-02-03T04:05:06Z")
        assert [message["id"] for message in poll(api, topic)] == [record["id"]]

    def test_the_time_is_shown_as_it_was_asked_for(self, api: Service, topic: str) -> None:
        asked = "2001-02-03T04:05:06.000Z"
        assert publish(api, topic, executeAt=asked)["executeAt"] == asked
        assert listed(api, topic=topic)[0]["executeAt"] == asked

    def test_beyond_a_quarter_of_an_hour_the_clock_sends_it(self, api: Service, topic: str) -> None:
        at_ms = api.clock.ms + 2 * HOUR_MS
        record = publish(api, topic, executeAt=written(at_ms))
        for before_ms in (2 * HOUR_MS, HOUR_MS, 12 * 60_000, 1):
            api.clock.ms = at_ms - before_ms
            api.tick()
            assert poll(api, topic) == []
        api.clock.ms = at_ms + 1_000
        (taken,) = poll(api, topic)
        assert (taken["id"], taken["executeAt"]) == (record["id"], written(at_ms))

    def test_not_in_more_than_ten_years(self, api: Service, topic: str) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {}, "executeAt": "2199-01-01T00:00:00Z"})
        assert problem(reply)[:3] == (422, "executeAt", "a start within ten years")


class TestPublishBatch:
    def publish(self, api: Service, *messages: Any) -> Reply:
        return api.post("/mq/message/publish-batch", {"messages": list(messages)})

    def test_each_becomes_a_message_in_order(self, api: Service, topic: str) -> None:
        messages = [{"topic": topic, "payload": {"n": n}, "priority": n % 2, "meta": {"m": n}} for n in range(25)]
        reply = self.publish(api, *messages)
        assert reply.status == 200
        results = reply.json["results"]
        assert [(result["success"], result["error"]) for result in results] == [(True, None)] * 25
        assert [result["message"]["payload"] for result in results] == [{"n": n} for n in range(25)]
        first = results[0]["message"]
        assert first == {
            **publish_like(api, topic),
            "id": first["id"],
            "traceId": first["traceId"],
            "options": {"m": 0},
        }
        taken = [message for _ in range(3) for message in poll(api, topic)]
        assert {message["id"] for message in taken} == {result["message"]["id"] for result in results}

    def test_one_that_is_refused_costs_the_others_nothing(self, api: Service, topic: str) -> None:
        key = f"key of {topic}"
        publish(api, topic, {"n": 0}, idempotencyKey=key)
        reply = self.publish(
            api,
            {"topic": topic, "payload": {"n": 1}},
            {"topic": topic, "payload": {"n": 2}, "idempotencyKey": key},
            {"topic": topic, "payload": {"n": 3}, "executeAt": "2199-01-01T00:00:00Z"},
            {"topic": topic, "payload": {"n": 4}, "executeAt": api.now(HOUR_MS)},
        )
        results = reply.json["results"]
        assert [result["success"] for result in results] == [True, False, False, True]
        assert results[1]["message"] is None
        assert "this idempotency key was used with another request" in results[1]["error"]
        assert "a start within ten years" in results[2]["error"]
        assert {message["payload"]["n"] for message in listed(api, topic=topic)} == {0, 1, 4}

    @pytest.mark.parametrize(
        ("messages", "field", "expected"),
        [
            ([], "messages", "a list of at least 1 item"),
            ([{"topic": "a", "payload": {}}] * 101, "messages", "a list of at most 100 items"),
            ([{"topic": "a", "payload": {}}, {"payload": {}}], "messages.1.topic", "a value"),
        ],
        ids=["none", "101", "incomplete"],
    )
    def test_what_is_wrong_is_told(self, api: Service, messages: Any, field: str, expected: str) -> None:
        assert problem(self.publish(api, *messages))[:3] == (422, field, expected)


class TestPoll:
    def test_a_message_in_hand(self, api: Service, topic: str) -> None:
        record = publish(api, topic, {"n": 1}, meta={"m": 2}, priority=3)
        api.clock.move(250)
        assert poll(api, topic, consumerId="worker 1", lockTimeout=45_000) == [
            {
                **record,
                "status": "PROCESSING",
                "consumerId": "worker 1",
                "lockedAt": api.now(),
                "lockExpiresAt": api.now(45_000),
                "updatedAt": api.now(),
            }
        ]
        assert poll(api, topic) == []

    def test_the_largest_priority_first_then_the_oldest(self, api: Service, topic: str) -> None:
        for n, priority in enumerate([0, 12, -3, 11, 4, 0, 25]):
            publish(api, topic, {"n": n}, priority=priority)
            api.clock.move(10)
        first = poll(api, topic, limit=3)
        rest = poll(api, topic)
        assert [message["priority"] for message in first] == [25, 12, 11]
        assert [(message["priority"], message["payload"]["n"]) for message in rest] == [(4, 4), (0, 0), (0, 5), (-3, 2)]

    def test_ten_unless_told(self, api: Service, topic: str) -> None:
        batch = [{"topic": topic, "payload": {"n": n}} for n in range(14)]
        api.post("/mq/message/publish-batch", {"messages": batch})
        assert [len(poll(api, topic)), len(poll(api, topic, limit=100)), len(poll(api, topic))] == [10, 4, 0]

    def test_no_more_than_an_answer_holds(self, api: Service, topic: str) -> None:
        for n in range(3):
            publish(api, topic, {"n": n, "text": "x" * 2_200_000})
            api.clock.move(1)
        polls = []
        for _ in range(4):
            polls.append([message["payload"]["n"] for message in poll(api, topic)])
            api.clock.move(1)
        assert [len(taken) for taken in polls] == [1, 1, 1, 0]
        assert sorted(n for taken in polls for n in taken) == [0, 1, 2]

    def test_the_lock_is_thirty_seconds_unless_told(self, api: Service, topic: str) -> None:
        publish(api, topic)
        (message,) = poll(api, topic)
        assert (message["lockExpiresAt"], message["consumerId"]) == (api.now(30_000), "local")

    def test_nobody_published(self, api: Service, topic: str) -> None:
        assert poll(api, topic) == []

    def test_a_topic_with_subscribers_is_not_polled(self, api: Service) -> None:
        reply = api.get("/mq/message/poll", {"topic": "scripted.topic"})
        assert problem(reply) == (409, "topic", "a topic without subscribers", "scripted.topic")

    @pytest.mark.parametrize(
        ("query", "field", "expected"),
        [
            ({}, "topic", "a value"),
            ({"topic": ""}, "topic", "text of at least 1 character"),
            ({"topic": ["a", "b"]}, "topic", "a valid string"),
            ({"topic": "a", "limit": 0}, "limit", "greater than or equal to 1"),
            ({"topic": "a", "limit": 101}, "limit", "less than or equal to 100"),
            ({"topic": "a", "limit": "ten"}, "limit", "a valid integer"),
            ({"topic": "a", "lockTimeout": 999}, "lockTimeout", "greater than or equal to 1000"),
            ({"topic": "a", "lockTimeout": 43_200_001}, "lockTimeout", "less than or equal to 43200000"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, query: dict[str, Any], field: str, expected: str) -> None:
        assert problem(api.get("/mq/message/poll", query))[:3] == (422, field, expected)

    def test_a_lock_that_ran_out_is_recovered(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        (first,) = poll(api, topic, lockTimeout=5_000, consumerId="one")
        api.clock.move(5_001)
        assert listed(api, topic=topic)[0]["lockExpiresAt"] == first["lockExpiresAt"] < api.now()
        (second,) = poll(api, topic, consumerId="two")
        assert (second["id"], second["consumerId"], second["retryCount"]) == (record["id"], "two", 0)
        assert trace(api, record["traceId"]) == [
            ("PUBLISHED", None),
            ("PROCESSING", None),
            ("LOCK_RECOVERED", {"attempt": 1}),
            ("PROCESSING", None),
        ]

    def test_a_lock_that_ran_out_on_the_last_delivery_is_a_dead_letter(self, api: Service, topic: str) -> None:
        record = publish(api, topic, maxRetries=1)
        poll(api, topic, lockTimeout=5_000)
        api.clock.move(5_001)
        assert poll(api, topic) == []
        (message,) = listed(api, topic=topic)
        assert (message["status"], message["retryCount"]) == ("FAILED", 1)
        assert trace(api, record["traceId"])[-1][0] == "MOVED_TO_DLQ"


class TestComplete:
    def test_it_is_done(self, api: Service, topic: str) -> None:
        record = publish(api, topic, meta={"m": 1})
        poll(api, topic)
        api.clock.move(40)
        reply = api.post("/mq/message/complete", {"id": record["id"]})
        assert (reply.status, reply.json) == (200, {**record, "status": "COMPLETED", "updatedAt": api.now()})
        assert listed(api, topic=topic) == [reply.json]
        assert [event for event, _ in trace(api, record["traceId"])] == ["PUBLISHED", "PROCESSING", "COMPLETED"]
        api.clock.move(HOUR_MS)
        assert poll(api, topic) == []

    def test_an_id_may_be_a_number(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        poll(api, topic)
        assert api.post("/mq/message/complete", {"id": int(record["id"])}).json["status"] == "COMPLETED"

    def test_twice_is_a_conflict_that_names_both_states(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        poll(api, topic)
        api.post("/mq/message/complete", {"id": record["id"]})
        for route in ("complete", "fail"):
            reply = api.post(f"/mq/message/{route}", {"id": record["id"]})
            assert problem(reply) == (409, "id", "a message that is PROCESSING", "COMPLETED")
            assert reply.json["message"] == f"message {record['id']} is COMPLETED, not PROCESSING"
            assert reply.json["remedy"] == "poll it first"

    def test_a_message_that_nobody_took_is_a_conflict(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        for route in ("complete", "fail"):
            reply = api.post(f"/mq/message/{route}", {"id": record["id"]})
            assert problem(reply) == (409, "id", "a message that is PROCESSING", "PENDING")
        assert listed(api, topic=topic) == [record]

    @pytest.mark.parametrize("route", ["complete", "fail"])
    @pytest.mark.parametrize(
        "message_id", ["999999999", "0", "-1", "abc", "9" * 30, "1.5", "١٢", " 1", "", 0, -5, 2**53]
    )
    def test_an_id_of_nobody_is_not_found(self, api: Service, route: str, message_id: Any) -> None:
        reply = api.post(f"/mq/message/{route}", {"id": message_id})
        assert reply.status == 404
        assert reply.json["error"] == "Not Found"

    @pytest.mark.parametrize("body", [{}, {"id": None}, {"id": ["1"]}, {"id": {}}])
    def test_an_id_is_needed(self, api: Service, body: Any) -> None:
        for route in ("complete", "fail"):
            assert problem(api.post(f"/mq/message/{route}", body))[:2] == (422, "id")

    def test_a_task_is_no_message(self, api: Service) -> None:
        task = api.post("/api/task/create", {"type": "by hand", "targetId": "1", "targetType": "t"}).json
        assert api.post("/mq/message/complete", {"id": task["id"]}).status == 404


class TestFail:
    def test_it_comes_back_after_the_documented_backoff(self, api: Service, topic: str) -> None:
        record = publish(api, topic, maxRetries=10)
        for retry, wait_s in enumerate([1, 2, 4, 8, 16, 32, 60, 60, 60], start=1):
            (taken,) = poll(api, topic)
            assert (taken["status"], taken["retryCount"], taken["nextRetryAt"]) == ("PROCESSING", retry - 1, None)
            reply = api.post("/mq/message/fail", {"id": record["id"], "error": f"no {retry}"})
            assert reply.status == 200
            assert reply.json == {
                **record,
                "status": "PENDING",
                "retryCount": retry,
                "nextRetryAt": api.now(wait_s * 1_000),
                "error": f"no {retry}",
                "updatedAt": api.now(),
            }
            assert poll(api, topic) == []
            api.clock.move(wait_s * 1_000 - 1)
            assert poll(api, topic) == []
            api.clock.move(1_001)
        (taken,) = poll(api, topic)
        dead = api.post("/mq/message/fail", {"id": record["id"], "error": "no 10"}).json
        assert (dead["status"], dead["retryCount"], dead["nextRetryAt"]) == ("FAILED", 10, None)

    def test_the_third_failure_is_the_last(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        states = []
        for wait_ms in (2_000, 3_000, 0):
            poll(api, topic)
            states.append(api.post("/mq/message/fail", {"id": record["id"], "error": "no"}).json["status"])
            api.clock.move(wait_ms)
        assert states == ["PENDING", "PENDING", "FAILED"]
        assert trace(api, record["traceId"]) == [
            ("PUBLISHED", None),
            ("PROCESSING", None),
            ("FAILED", {"attempt": 1, "error": "no"}),
            ("PROCESSING", None),
            ("FAILED", {"attempt": 2, "error": "no"}),
            ("PROCESSING", None),
            ("MOVED_TO_DLQ", {"attempt": 3, "error": "no"}),
        ]
        assert poll(api, topic) == []

    @pytest.mark.parametrize("retries", [0, 1])
    def test_none_or_one_delivery_is_one(self, api: Service, topic: str, retries: int) -> None:
        record = publish(api, topic, maxRetries=retries)
        assert record["maxRetries"] == 1
        poll(api, topic)
        assert api.post("/mq/message/fail", {"id": record["id"]}).json["status"] == "FAILED"

    def test_a_reason_is_not_needed(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        poll(api, topic)
        assert api.post("/mq/message/fail", {"id": record["id"]}).json["error"] == "the consumer gave no reason"

    def test_a_reason_may_be_long_and_of_many_lines(self, api: Service, topic: str) -> None:
        record = publish(api, topic, maxRetries=1)
        poll(api, topic)
        reason = "line 1\n\tline 2 ünï\r\n" + "x" * 10_000
        assert api.post("/mq/message/fail", {"id": record["id"], "error": reason}).json["error"] == reason[:500]
        assert trace(api, record["traceId"])[-1] == ("MOVED_TO_DLQ", {"attempt": 1, "error": reason[:80]})


class TestList:
    def test_pages_newest_first(self, api: Service, topic: str) -> None:
        records = []
        for n in range(23):
            records.append(publish(api, topic, {"n": n}))
            api.clock.move(1 if n % 4 else 0)
        newest_first = records[::-1]

        first = api.get("/mq/message/list", {"topic": topic}).json
        assert first == {"pageData": newest_first[:20], "totalCount": 23, "totalIsExact": True}
        second = api.get("/mq/message/list", {"topic": topic, "currentPage": 2}).json
        assert second == {"pageData": newest_first[20:], "totalCount": 23, "totalIsExact": True}
        small = api.get("/mq/message/list", {"topic": topic, "perPage": 5, "currentPage": 3}).json
        assert small["pageData"] == newest_first[10:15]
        beyond = api.get("/mq/message/list", {"topic": topic, "currentPage": 9}).json
        assert (beyond["pageData"], beyond["totalCount"]) == ([], 23)

    def test_by_status(self, api: Service, topic: str) -> None:
        pending, processing, completed, dead = (
            publish(api, topic, {"n": n}, priority=20 - n, maxRetries=1) for n in range(4)
        )
        order = [message["id"] for message in poll(api, topic)]
        assert order == [pending["id"], processing["id"], completed["id"], dead["id"]]
        api.post("/mq/message/complete", {"id": completed["id"]})
        api.post("/mq/message/fail", {"id": dead["id"]})
        later = publish(api, topic, executeAt=api.now(HOUR_MS))

        def ids(**query: Any) -> list[str]:
            return [message["id"] for message in listed(api, topic=topic, **query)]

        assert ids(status="PENDING") == [later["id"]]
        assert ids(status="PROCESSING") == [processing["id"], pending["id"]]
        assert ids(status="COMPLETED") == [completed["id"]]
        assert ids(status="FAILED") == [dead["id"]]
        api.post("/mq/dlq/replay", {"id": dead["id"]})
        assert ids(status="FAILED") == [dead["id"]]
        assert len(ids()) == 6

    def test_by_trace(self, api: Service, topic: str) -> None:
        own = f"trace of {topic}"
        first = publish(api, topic, {"n": 1}, traceId=own)
        api.clock.move(1)
        second = publish(api, f"{topic}.b", {"n": 2}, traceId=own)
        made_here = publish(api, topic, {"n": 3})
        assert listed(api, traceId=own) == [second, first]
        assert listed(api, traceId=own, topic=topic) == [first]
        assert listed(api, traceId=own, status="COMPLETED") == []
        assert listed(api, traceId=own, perPage=1, currentPage=2) == [first]
        assert api.get("/mq/message/list", {"traceId": own, "perPage": 1}).json["totalCount"] == 2
        assert listed(api, traceId=made_here["traceId"]) == [made_here]
        assert listed(api, traceId="nobody's") == []

    def test_all_topics_without_tasks(self, api: Service, topic: str) -> None:
        api.clock.move(10)
        record = publish(api, topic)
        api.post("/api/task/create", {"type": "by hand", "targetId": "1", "targetType": "t"})
        assert listed(api, perPage=1) == [record]

    def test_a_payload_in_the_bucket_is_not_shown_in_lists(self, api: Service, topic: str) -> None:
        publish(api, topic, {"big": "x" * 300_000}, meta={"m": 1})
        publish(api, topic, {"text": "y" * 5_000}, meta={"m": 2})
        middling, large = listed(api, topic=topic)
        assert (middling["payload"], middling["options"]) == ({"text": "y" * 5_000}, {"m": 2})
        assert (large["payload"], large["options"]) == (None, None)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"status": "DONE"}, "status"),
            ({"status": "pending"}, "status"),
            ({"perPage": 0}, "perPage"),
            ({"perPage": 101}, "perPage"),
            ({"perPage": "many"}, "perPage"),
            ({"currentPage": 0}, "currentPage"),
            ({"currentPage": 100_001}, "currentPage"),
            ({"topic": ""}, "topic"),
            ({"traceId": ""}, "traceId"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, query: dict[str, Any], field: str) -> None:
        assert problem(api.get("/mq/message/list", query))[:2] == (422, field)


class TestDeadLetters:
    def test_every_field(self, api: Service, topic: str) -> None:
        record = publish(api, topic, {"n": 1}, maxRetries=1)
        api.clock.move(5)
        poll(api, topic)
        api.clock.move(5)
        api.post("/mq/message/fail", {"id": record["id"], "error": "payment is down"})
        reply = api.get("/mq/dlq/list", {"topic": topic})
        assert reply.status == 200
        assert reply.json == {
            "pageData": [
                {
                    "id": record["id"],
                    "originalId": record["id"],
                    "topic": topic,
                    "payload": {"n": 1},
                    "errorMessage": "payment is down",
                    "retryCount": 1,
                    "traceId": record["traceId"],
                    "replayed": False,
                    "replayedAt": None,
                    "replayedAs": None,
                    "createdAt": api.now(),
                    "updatedAt": api.now(),
                }
            ],
            "totalCount": 1,
            "totalIsExact": True,
        }

    def test_replayed_or_not(self, api: Service, topic: str) -> None:
        letters = []
        for n in range(4):
            letters.append(dead_letter(api, topic, {"n": n})["id"])
            api.clock.move(1)
        successor = api.post("/mq/dlq/replay", {"id": letters[1]}).json["messageId"]
        replayed_at = api.now()
        api.clock.move(1)

        def page(**query: Any) -> Any:
            return api.get("/mq/dlq/list", {"topic": topic, **query}).json

        assert [letter["id"] for letter in page()["pageData"]] == letters[::-1]
        assert [letter["id"] for letter in page(replayed=False)["pageData"]] == [letters[3], letters[2], letters[0]]
        (replayed,) = page(replayed=True)["pageData"]
        assert (replayed["id"], replayed["replayed"], replayed["replayedAt"], replayed["replayedAs"]) == (
            letters[1],
            True,
            replayed_at,
            successor,
        )
        assert [page(**query)["totalCount"] for query in ({}, {"replayed": False}, {"replayed": "true"})] == [4, 3, 1]
        assert [letter["id"] for letter in page(perPage=3, currentPage=2)["pageData"]] == [letters[0]]

    def test_a_canceled_or_live_message_is_none(self, api: Service, topic: str) -> None:
        publish(api, topic)
        assert api.get("/mq/dlq/list", {"topic": topic}).json == {"pageData": [], "totalCount": 0, "totalIsExact": True}

    def test_what_is_wrong_is_told(self, api: Service) -> None:
        assert problem(api.get("/mq/dlq/list", {"replayed": "maybe"}))[:2] == (422, "replayed")


class TestReplay:
    @pytest.mark.parametrize("by_path", [True, False])
    def test_a_new_message_with_a_trace_of_its_own(self, api: Service, topic: str, by_path: bool) -> None:
        dead = dead_letter(api, topic, {"n": 1}, meta={"m": 1}, priority=4)
        api.clock.move(100)
        reply = api.post(f"/mq/dlq/replay/{dead['id']}") if by_path else api.post("/mq/dlq/replay", {"id": dead["id"]})
        assert reply.status == 200
        new_id = reply.json["messageId"]
        assert reply.json == {"id": dead["id"], "success": True, "messageId": new_id, "error": None}
        assert new_id != dead["id"]

        (taken,) = poll(api, topic)
        assert taken["traceId"] != dead["traceId"]
        assert taken == {
            **dead,
            "id": new_id,
            "traceId": taken["traceId"],
            "status": "PROCESSING",
            "retryCount": 0,
            "error": None,
            "consumerId": "local",
            "lockedAt": api.now(),
            "lockExpiresAt": api.now(30_000),
            "createdAt": api.now(),
            "updatedAt": api.now(),
        }
        detail = {"originalId": dead["id"], "deadLetterId": dead["id"]}
        assert trace(api, taken["traceId"]) == [("REPLAYED", detail), ("PROCESSING", None)]

    def test_once_only(self, api: Service, topic: str) -> None:
        dead = dead_letter(api, topic)
        assert api.post("/mq/dlq/replay", {"id": dead["id"]}).status == 200
        for again in (
            api.post("/mq/dlq/replay", {"id": dead["id"]}),
            api.post(f"/mq/dlq/replay/{dead['id']}"),
        ):
            assert (again.status, again.json["message"]) == (400, "this dead letter was replayed already")
            assert again.json["error"] == "Bad Request"
        assert len(poll(api, topic)) == 1

    @pytest.mark.parametrize("letter_id", ["999999999", "0", "abc", "-1", "9" * 40])
    def test_an_id_of_nobody_is_not_found(self, api: Service, letter_id: str) -> None:
        assert api.post("/mq/dlq/replay", {"id": letter_id}).status == 404
        assert api.post(f"/mq/dlq/replay/{letter_id}").status == 404

    def test_an_odd_path_is_not_found(self, api: Service) -> None:
        assert api.post(f"/mq/dlq/replay/{quote('письмо 1/2', safe='')}").status == 404
        assert api.post("/mq/dlq/replay/%FF").status == 400

    def test_a_message_that_is_no_dead_letter_is_not_found(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        assert api.post("/mq/dlq/replay", {"id": record["id"]}).status == 404
        assert listed(api, topic=topic) == [record]

    def test_several_in_order(self, api: Service, topic: str) -> None:
        first, second, third = (dead_letter(api, topic, {"n": n})["id"] for n in range(3))
        api.post("/mq/dlq/replay", {"id": second})
        live = publish(api, f"{topic}.live")["id"]
        reply = api.post("/mq/dlq/replay", {"ids": [third, second, "nonsense", live, int(first), third]})
        assert reply.status == 200
        outcomes = reply.json
        assert [(outcome["id"], outcome["success"]) for outcome in outcomes] == [
            (third, True),
            (second, False),
            ("nonsense", False),
            (live, False),
            (first, True),
            (third, False),
        ]
        assert [outcome["error"] for outcome in outcomes] == [
            None,
            "this dead letter was replayed already",
            "there is no dead letter 'nonsense'",
            f"there is no dead letter {live}",
            None,
            "this dead letter was replayed already",
        ]
        made = {outcome["messageId"] for outcome in outcomes if outcome["success"]}
        assert {outcome["messageId"] for outcome in outcomes if not outcome["success"]} == {None}
        payloads = {message["id"]: message["payload"]["n"] for message in poll(api, topic) if message["id"] in made}
        assert sorted(payloads.values()) == [0, 2]

    @pytest.mark.parametrize("body", [{}, {"id": "1", "ids": ["2"]}, {"id": None, "ids": None}])
    def test_one_way_or_the_other(self, api: Service, body: Any) -> None:
        reply = api.post("/mq/dlq/replay", body)
        assert reply.status == 422
        assert reply.json["details"][0]["expected"] == "either id or ids, and not both"

    @pytest.mark.parametrize("ids", [[], ["1"] * 101, [None], "1"])
    def test_one_to_a_hundred_ids(self, api: Service, ids: Any) -> None:
        reply = api.post("/mq/dlq/replay", {"ids": ids})
        assert reply.status == 422
        assert reply.json["details"][0]["field"].startswith("ids")


class TestTrace:
    def test_every_field(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        published_at = api.now()
        api.clock.move(7)
        poll(api, topic)
        assert api.get(f"/mq/trace/{record['traceId']}").json == [
            {
                "traceId": record["traceId"],
                "messageId": record["id"],
                "topic": topic,
                "event": "PUBLISHED",
                "detail": None,
                "createdAt": published_at,
            },
            {
                "traceId": record["traceId"],
                "messageId": record["id"],
                "topic": topic,
                "event": "PROCESSING",
                "detail": None,
                "createdAt": api.now(),
            },
        ]

    def test_one_trace_of_several_messages_oldest_first(self, api: Service, topic: str) -> None:
        own = f"{topic}/заказ 7?#%"
        first = publish(api, topic, traceId=own)
        api.clock.move(1)
        second = publish(api, f"{topic}.b", traceId=own)
        api.clock.move(1)
        poll(api, topic)
        entries = api.get(f"/mq/trace/{quote(own, safe='')}").json
        assert [(entry["messageId"], entry["event"]) for entry in entries] == [
            (first["id"], "PUBLISHED"),
            (second["id"], "PUBLISHED"),
            (first["id"], "PROCESSING"),
        ]
        assert {entry["traceId"] for entry in entries} == {own}

    def test_a_message_may_go_on_with_the_trace_of_another(self, api: Service, topic: str) -> None:
        first = publish(api, topic)
        api.clock.move(1)
        second = publish(api, f"{topic}.b", traceId=first["traceId"])
        entries = api.get(f"/mq/trace/{first['traceId']}").json
        assert [entry["messageId"] for entry in entries] == [first["id"], second["id"]]
        assert listed(api, traceId=first["traceId"]) == [second, first]

    def test_the_trace_of_nobody(self, api: Service) -> None:
        for trace_id in ("nobody", "00000000-0000-80d6-ae48-654ceacda405", "x" * 256):
            assert api.get(f"/mq/trace/{trace_id}").status == 404
        assert api.get(f"/mq/trace/{'x' * 257}").status == 422

    def test_a_guess_at_another_s_trace_id_finds_nothing(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        guess = record["traceId"][:-1] + ("0" if record["traceId"][-1] != "0" else "1")
        assert api.get(f"/mq/trace/{guess}").status == 404

    def test_tasks_have_none_here(self, api: Service) -> None:
        task = api.post("/api/task/create", {"type": "by hand", "targetId": "1", "targetType": "t"}).json
        assert api.get(f"/mq/trace/{task['traceId']}").status == 404


class TestSubscribers:
    """Messages of a topic with a subscriber, run by the worker function."""

    TOPIC = "scripted.topic"

    def test_published_processing_completed(self, api: Service) -> None:
        record = publish(api, self.TOPIC, {"n": 1})
        api.clock.move(3)
        assert api.work(self.TOPIC) == []
        (done,) = listed(api, topic=self.TOPIC, traceId=record["traceId"])
        assert done == {**record, "status": "COMPLETED", "updatedAt": api.now()}
        assert [event for event, _ in trace(api, record["traceId"])] == ["PUBLISHED", "PROCESSING", "COMPLETED"]

    def test_failing_until_it_is_a_dead_letter_and_replayed(self, api: Service) -> None:
        record = publish(api, self.TOPIC, {"fail": "no good"})
        waits = []
        for _ in range(2):
            assert len(api.work(self.TOPIC)) == 1
            (now,) = listed(api, topic=self.TOPIC, traceId=record["traceId"])
            assert (now["status"], now["error"], now["consumerId"]) == ("PENDING", "no good", None)
            waits.append(now["nextRetryAt"])
            assert waits[-1] == api.now((1_000, 2_000)[len(waits) - 1])
            assert api.receive(self.TOPIC) == []
            api.clock.move((1_001, 2_001)[len(waits) - 1])
        assert api.work(self.TOPIC) == []
        assert [event for event, _ in trace(api, record["traceId"])] == [
            "PUBLISHED",
            "PROCESSING",
            "FAILED",
            "PROCESSING",
            "FAILED",
            "PROCESSING",
            "MOVED_TO_DLQ",
        ]
        (letter,) = [
            letter
            for letter in api.get("/mq/dlq/list", {"topic": self.TOPIC}).json["pageData"]
            if letter["id"] == record["id"]
        ]
        assert (letter["errorMessage"], letter["retryCount"]) == ("no good", 3)
        replayed = api.post(f"/mq/dlq/replay/{record['id']}").json["messageId"]
        for wait_ms in (1_001, 2_001, 0):
            api.work(self.TOPIC)
            api.clock.move(wait_ms)
        assert (api.job(replayed).state, api.job(replayed).failures) == ("failed", 3)

    def test_recovered_on_the_second_attempt(self, api: Service) -> None:
        record = publish(api, self.TOPIC, {"fail": "not yet", "until": 1})
        api.work(self.TOPIC)
        api.clock.move(1_001)
        assert api.work(self.TOPIC) == []
        (done,) = listed(api, topic=self.TOPIC, traceId=record["traceId"])
        assert (done["status"], done["retryCount"], done["error"]) == ("COMPLETED", 1, None)

    def test_a_client_cannot_settle_what_a_subscriber_has(self, api: Service) -> None:
        record = publish(api, self.TOPIC, {"n": 1})
        for route in ("complete", "fail"):
            assert api.post(f"/mq/message/{route}", {"id": record["id"]}).status == 409
        assert api.work(self.TOPIC) == []


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
        "createdAt": api.now(),
        "updatedAt": api.now(),
    }
