"""Polling, completing and failing, request by request: every field's value, every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.mq import HOUR_MS, listed, poll, problem, publish, trace
from tests.support.service import Service


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
                "lockToken": api.job(record["id"]).lease,
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
        assert [len(taken) for taken in polls] == [2, 1, 0, 0]
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
            ({"topic": ""}, "topic", "a value"),
            ({"topic": ["a", "b"]}, "topic", "a valid string"),
            ({"topic": "a", "limit": 0}, "limit", "greater than or equal to 1"),
            ({"topic": "a", "limit": 101}, "limit", "less than or equal to 100"),
            ({"topic": "a", "limit": "ten"}, "limit", "a whole number, 1 to 100"),
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
            ("PROCESSING", {"consumerId": "one"}),
            ("LOCK_RECOVERED", {"attempt": 1, "consumerId": "one", "silent": 1, "silentMax": 20}),
            ("PROCESSING", {"consumerId": "two"}),
        ]

    def test_a_lock_that_ran_out_on_the_last_delivery_is_a_dead_letter(self, api: Service, topic: str) -> None:
        record = publish(api, topic, maxRetries=1)
        (polled,) = poll(api, topic, lockTimeout=5_000)
        token = {"id": record["id"], "lockToken": polled["lockToken"], "lockTimeout": 5_000}
        assert api.post("/mq/message/extend", token).status == 200
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
            assert reply.json["remedy"] == "it is settled already"

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
        states, waits = [], []
        for wait_ms in (2_000, 3_000, 0):
            poll(api, topic)
            waits.append(api.now(1_000 * 2 ** len(waits)))
            states.append(api.post("/mq/message/fail", {"id": record["id"], "error": "no"}).json["status"])
            api.clock.move(wait_ms)
        assert states == ["PENDING", "PENDING", "FAILED"]
        assert trace(api, record["traceId"]) == [
            ("PUBLISHED", None),
            ("PROCESSING", {"consumerId": "local"}),
            ("FAILED", {"attempt": 1, "error": "no", "nextRetryAt": waits[0]}),
            ("PROCESSING", {"consumerId": "local"}),
            ("FAILED", {"attempt": 2, "error": "no", "nextRetryAt": waits[1]}),
            ("PROCESSING", {"consumerId": "local"}),
            ("MOVED_TO_DLQ", {"attempt": 3, "error": "no", "cause": "consumer"}),
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

    def test_a_reason_is_made_readable_and_never_refused(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        poll(api, topic)
        told = api.post("/mq/message/fail", {"id": record["id"], "error": "\x1b[31mno paper\x1b[0m\x00\n"}).json
        assert (told["status"], told["error"]) == ("PENDING", "no paper\ufffd\n")

    def test_a_reason_may_be_long_and_of_many_lines(self, api: Service, topic: str) -> None:
        record = publish(api, topic, maxRetries=1)
        poll(api, topic)
        reason = "line 1\n\tline 2 ünï\r\n" + "x" * 10_000
        assert api.post("/mq/message/fail", {"id": record["id"], "error": reason}).json["error"] == reason[:500]
        detail = {"attempt": 1, "error": f"{reason[:79]}…", "cause": "consumer"}
        assert trace(api, record["traceId"])[-1] == ("MOVED_TO_DLQ", detail)
