"""Publishing: every field, every refusal, idempotency keys, later starts, batches."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import ANY

import pytest

from chalicelib.core.lanes import PRIORITY_EXPECTED, PRIORITY_OF
from tests.support.mq import HOUR_MS, ODD_TOPICS, listed, poll, problem, publish, publish_like, with_offset
from tests.support.service import Reply, Service, written

TIME = "a time, ISO 8601, such as 2027-06-01T09:00:00Z"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
            "options": {},
            "error": None,
            "schedule": None,
            "slotTime": None,
            "createdAt": api.now(),
            "updatedAt": api.now(),
        }
        assert isinstance(record["id"], str)
        assert int(record["id"]) > 0
        assert listed(api, topic=topic) == [record]

    def test_a_priority_by_name(self, api: Service, topic: str) -> None:
        published = {name: publish(api, topic, priority=name)["priority"] for name in PRIORITY_OF}
        assert published == {"low": -10, "normal": 0, "medium": 5, "high": 10, "critical": 15}
        messages = [{"topic": topic, "payload": {}, "priority": name} for name in ("high", "low")]
        results = api.post("/mq/message/publish-batch", {"messages": messages}).json["results"]
        assert [result["message"]["priority"] for result in results] == [10, -10]
        assert [message["priority"] for message in poll(api, topic)] == [15, 10, 10, 5, 0, -10, -10]

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

    @pytest.mark.parametrize(
        ("field", "expected"),
        [
            ("maxRetry", "maxRetries"),
            ("trace_id", "traceId"),
            ("execute-at", "executeAt"),
            (
                "wish",
                "topic or payload or priority or executeAt or maxRetries or traceId or meta or idempotencyKey "
                "or tenant or flowKey",
            ),
        ],
    )
    def test_a_field_that_there_is_not_is_refused_with_the_one_meant(
        self, api: Service, topic: str, field: str, expected: str
    ) -> None:
        reply = api.post("/mq/message/publish", {"topic": topic, "payload": {"any": {"thing": 1}}, field: 9})
        assert reply.status == 422
        assert reply.json["details"] == [{"field": field, "expected": expected, "got": field}]
        assert listed(api, topic=topic) == []

    def test_an_entry_with_a_field_that_there_is_not_is_told_in_its_result(self, api: Service, topic: str) -> None:
        entries = [{"topic": topic, "payload": {}}, {"topic": topic, "payload": {}, "maxRetry": 1}]
        results = api.post("/mq/message/publish-batch", {"messages": entries}).json["results"]
        assert [result["success"] for result in results] == [True, False]
        assert results[1]["error"] == "maxRetry in the entry: expected maxRetries, got maxRetry"

    def test_a_misspelt_query_is_refused(self, api: Service, topic: str) -> None:
        reply = api.get("/mq/message/list", {"topic": topic, "curentPage": "2"})
        assert (reply.status, reply.json["details"][0]["expected"]) == (422, "currentPage")

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
            ({"topic": " \u3000"}, ("topic", "a topic without control characters, not all blank", " \u3000")),
            ({"topic": "a\nb"}, ("topic", "a topic without control characters, not all blank", "a\nb")),
            ({"topic": 7}, ("topic", "a valid string", "7")),
            ({"payload": None}, ("payload", "an object", "null")),
            ({"payload": "text"}, ("payload", "an object", "text")),
            ({"payload": [1]}, ("payload", "an object", "a list of 1")),
            ({"priority": "urgent"}, ("priority", PRIORITY_EXPECTED, "urgent")),
            ({"priority": "High"}, ("priority", PRIORITY_EXPECTED, "High")),
            ({"priority": True}, ("priority", PRIORITY_EXPECTED, "true")),
            ({"priority": ["high"]}, ("priority", PRIORITY_EXPECTED, "a list of 1")),
            ({"priority": 1.5}, ("priority", PRIORITY_EXPECTED, "1.5")),
            ({"priority": 1_001}, ("priority", PRIORITY_EXPECTED, "1001")),
            ({"priority": -1_001}, ("priority", PRIORITY_EXPECTED, "-1001")),
            ({"maxRetries": -1}, ("maxRetries", "greater than or equal to 0", "-1")),
            ({"maxRetries": 101}, ("maxRetries", "less than or equal to 100", "101")),
            ({"traceId": ""}, ("traceId", "text of at least 1 character", "an empty text")),
            ({"traceId": "x" * 257}, ("traceId", "text of at most 256 characters", "x" * 120 + "…")),
            ({"meta": "x"}, ("meta", "an object", "x")),
            ({"executeAt": "1969-12-31T23:59:59Z"}, ("executeAt", "a time between the years 1970 and 9998", ANY)),
            ({"executeAt": "soon"}, ("executeAt", ANY, "soon")),
            ({"executeAt": []}, ("executeAt", TIME, "a list of 0")),
            ({"executeAt": "tomorrow"}, ("executeAt", TIME, "tomorrow")),
            ({"executeAt": "2027-02-30T00:00:00Z"}, ("executeAt", TIME, "2027-02-30T00:00:00Z")),
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
        reply = api.post("/mq/message/publish", {"priority": "urgent"})
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

    def test_the_header_makes_a_batch_one(self, api: Service, topic: str) -> None:
        entries = [{"topic": topic, "payload": {"n": n}} for n in range(3)]
        own = {"topic": topic, "payload": {}, "idempotencyKey": f"own of {topic}"}
        sent: dict[str, Any] = {"messages": [entries[0], "wrong", entries[1], own, entries[2]]}
        key = f"batch of {topic}"
        first, second = (api.post("/mq/message/publish-batch", sent, Idempotency_Key=key).json for _ in range(2))
        ids = [result["message"] and result["message"]["id"] for result in first["results"]]
        assert [result["message"] and result["message"]["id"] for result in second["results"]] == ids
        assert len(set(filter(None, ids))) == len(listed(api, topic=topic)) == 4
        assert publish(api, topic, {"n": 1}, idempotencyKey=f"{key}#2")["id"] == ids[2]
        assert publish(api, topic, {"n": 9}, idempotencyKey=f"{key}#3")["id"] not in ids  # the entry has its own

    def test_a_header_that_differs_from_the_body_is_refused(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {}, "idempotencyKey": "one"}
        reply = api.post("/mq/message/publish", body, Idempotency_Key="other")
        assert problem(reply) == (422, "Idempotency-Key", "the body's idempotencyKey", ANY)
        assert listed(api, topic=topic) == []
        assert api.post("/mq/message/publish", body, Idempotency_Key="one").status == 200

    def test_what_is_null_is_absent(self, api: Service, topic: str) -> None:
        names = ("priority", "executeAt", "maxRetries", "traceId", "meta", "idempotencyKey")
        record = publish(api, topic, **dict.fromkeys(names))
        assert (record["priority"], record["maxRetries"], record["options"]) == (0, 3, {})

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
        told = "2199-01-01T00:00:00.000+00:00"
        assert problem(reply) == (422, "executeAt", "a start within ten years", told)


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
            (None, "messages", "a valid list"),
            ({"topic": "a", "payload": {}}, "messages", "a valid list"),
        ],
        ids=["none", "101", "null", "object"],
    )
    def test_an_envelope_that_is_none_is_refused(self, api: Service, messages: Any, field: str, expected: str) -> None:
        reply = api.post("/mq/message/publish-batch", {"messages": messages})
        assert problem(reply)[:3] == (422, field, expected)

    def test_an_entry_that_is_none_costs_the_others_nothing(self, api: Service, topic: str) -> None:
        good = {"topic": topic, "payload": {"n": 1}}
        results = self.publish(
            api,
            {"payload": {}},
            good,
            5,
            None,
            [good],
            {**good, "priority": "urgent"},
            {**good, "topic": "x" * 401},
            {**good, "idempotencyKey": ""},
            good,
        ).json["results"]
        assert [result["success"] for result in results] == [False, True, *[False] * 6, True]
        errors = [result["error"] for result in results if not result["success"]]
        assert [error.partition(":")[0] for error in errors] == [
            "topic in the entry",
            "the entry",
            "the entry",
            "the entry",
            "priority in the entry",
            "topic in the entry",
            "idempotencyKey in the entry",
        ]
        assert errors[:3] == [
            "topic in the entry: expected a value, got nothing",
            "the entry: expected an object, got 5",
            "the entry: expected an object, got null",
        ]
        assert {result["message"]["id"] for result in results if result["success"]} == {
            message["id"] for message in poll(api, topic)
        }

    def test_the_keys_of_entries_are_their_own(self, api: Service, topic: str) -> None:
        """Twice in a batch, and once more in the next, a key is one message; another body under it is refused."""
        keyed = {"topic": topic, "payload": {"n": 1}, "idempotencyKey": f"key of {topic}"}
        other = {**keyed, "payload": {"n": 2}}
        plain = {"topic": topic, "payload": {"n": 3}}
        first = self.publish(api, keyed, plain, keyed, other).json["results"]
        again = self.publish(api, keyed).json["results"]
        assert [result["success"] for result in first + again] == [True, True, True, False, True]
        assert first[0]["message"]["id"] == first[2]["message"]["id"] == again[0]["message"]["id"]
        assert "used with another request" in first[3]["error"]
        assert sorted(message["payload"]["n"] for message in poll(api, topic)) == [1, 3]

    def test_each_entry_has_its_own_time(self, api: Service, topic: str) -> None:
        times = [None, "2001-02-03T04:05:06Z", api.now(60_000), api.now(2 * HOUR_MS), "soon"]
        results = self.publish(
            api, *({"topic": topic, "payload": {"n": n}, "executeAt": at} for n, at in enumerate(times))
        ).json["results"]
        assert [result["success"] for result in results] == [True] * 4 + [False]
        assert {message["payload"]["n"] for message in poll(api, topic, lockTimeout=43_200_000)} == {0, 1}
        api.clock.move(61_000)
        assert [message["payload"]["n"] for message in poll(api, topic, lockTimeout=43_200_000)] == [2]
        api.clock.move(2 * HOUR_MS - 11 * 60_000)
        api.tick()
        api.clock.move(11 * 60_000)
        assert [message["payload"]["n"] for message in poll(api, topic)] == [3]

    def test_what_the_answer_could_not_tell_back_is_refused_as_a_whole(self, api: Service, topic: str) -> None:
        """Quotes take three times their room in an answer: published, they could not be told of."""
        large = {"topic": topic, "payload": {"text": '"' * 560_000}}
        reply = self.publish(api, *[large] * 4)
        assert reply.status == 413
        assert reply.json["details"][0]["field"] == "messages"
        assert reply.json["remedy"] == "send fewer at once"
        assert poll(api, topic) == []
        assert self.publish(api, *[large] * 2).status == 200
