"""Locks on polled messages, batches of reports and recovery, request by request; and whatever else may be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.local.emulator import Emulator
from tests.support.mq import HOUR_MS, ODD_TOPICS, listed, poll, problem, publish, trace
from tests.support.service import Service, service

SETTLING = ("complete", "fail", "extend")


def locked(api: Service, topic: str, number: int = 1, **fields: Any) -> list[dict[str, Any]]:
    """Messages, polled."""
    for n in range(number):
        publish(api, topic, {"n": n}, **fields)
    messages = poll(api, topic, limit=number, consumerId="worker 1")
    assert len(messages) == number
    return messages


def extended(api: Service, message: dict[str, Any], lock_ms: int) -> None:
    """A sign of life from who polled a message."""
    body = {"id": message["id"], "lockToken": message["lockToken"], "lockTimeout": lock_ms}
    assert api.post("/mq/message/extend", body).status == 200


class TestLockToken:
    def test_it_settles(self, api: Service, topic: str) -> None:
        first, second = locked(api, topic, 2)
        assert first["lockToken"] != second["lockToken"]
        done = api.post("/mq/message/complete", {"id": first["id"], "lockToken": first["lockToken"]})
        assert (done.status, done.json["status"]) == (200, "COMPLETED")
        failed = api.post("/mq/message/fail", {"id": second["id"], "lockToken": second["lockToken"]})
        assert (failed.status, failed.json["status"]) == (200, "PENDING")

    @pytest.mark.parametrize("route", SETTLING)
    def test_another_s_is_a_conflict_that_changes_nothing(self, api: Service, topic: str, route: str) -> None:
        ours, theirs = locked(api, topic, 2)
        reply = api.post(f"/mq/message/{route}", {"id": ours["id"], "lockToken": theirs["lockToken"]})
        assert problem(reply) == (
            409,
            "lockToken",
            "the lock token of the newest poll that brought the message",
            "[redacted]",
        )
        assert reply.json["message"] == (
            f"message {ours['id']} is held under another lock than this one, which ran out if it ever held"
        )
        assert reply.json["remedy"] == "leave the message to its holder"
        assert listed(api, topic=topic, status="PROCESSING") == [
            {name: value for name, value in message.items() if name != "lockToken"} for message in (theirs, ours)
        ]

    def test_a_late_consumer_does_not_settle_for_the_next(self, api: Service, topic: str) -> None:
        (late,) = locked(api, topic)
        api.clock.move(30_001)
        (holder,) = poll(api, topic, consumerId="worker 2")
        for route in SETTLING:
            assert api.post(f"/mq/message/{route}", {"id": late["id"], "lockToken": late["lockToken"]}).status == 409
        assert api.post("/mq/message/complete", {"id": holder["id"], "lockToken": holder["lockToken"]}).status == 200

    def test_without_one_whoever_holds_it_is_settled_for(self, api: Service, topic: str) -> None:
        (late,) = locked(api, topic)
        api.clock.move(30_001)
        poll(api, topic, consumerId="worker 2")
        assert api.post("/mq/message/complete", {"id": late["id"]}).json["status"] == "COMPLETED"

    def test_it_is_shown_to_its_holder_alone(self, api: Service, topic: str, capfd: pytest.CaptureFixture[str]) -> None:
        own = f"trace of {topic}"
        (message,) = locked(api, topic, traceId=own, idempotencyKey=f"key of {topic}", maxRetries=1)
        token = message["lockToken"]
        told = [
            api.get("/mq/message/list", {"topic": topic}),
            api.get("/mq/message/list", {"traceId": own}),
            api.get("/mq/message/poll", {"topic": topic}),
            api.get(f"/mq/trace/{own}"),
            api.get("/mq/trace/list", {"topic": topic}),
            api.post(
                "/mq/message/publish",
                {
                    "topic": topic,
                    "payload": {"n": 0},
                    "traceId": own,
                    "maxRetries": 1,
                    "idempotencyKey": f"key of {topic}",
                },
            ),
            api.post("/mq/message/extend", {"id": message["id"], "lockToken": token}),
            api.post("/mq/message/extend", {"id": message["id"], "lockToken": token, "lockTimeout": "soon"}),
            api.post("/mq/message/complete-batch", {"messages": [{"id": [], "lockToken": token}]}),
            api.post("/mq/message/fail", {"id": message["id"], "lockToken": token}),
            api.post("/mq/message/fail", {"id": message["id"], "lockToken": token}),
            api.get("/mq/dlq/list", {"topic": topic}),
        ]
        assert [reply.status for reply in told] == [200] * 7 + [422, 200, 200, 409, 200]
        assert told[5].json["id"] == message["id"]
        assert [reply.text for reply in told if token in reply.text] == []
        written = capfd.readouterr()
        assert token not in written.out + written.err

    @pytest.mark.parametrize("route", SETTLING)
    @pytest.mark.parametrize("token", ["", 7, [], {}, True, "a\nb", "x" * 257])
    def test_what_is_none_is_told_but_not_told_back(self, api: Service, topic: str, route: str, token: Any) -> None:
        (message,) = locked(api, topic)
        reply = api.post(f"/mq/message/{route}", {"id": message["id"], "lockToken": token})
        assert problem(reply) == (422, "lockToken", ANY, "[redacted]")
        assert listed(api, topic=topic)[0]["status"] == "PROCESSING"


class TestExtend:
    def test_the_lock_holds_from_now_on(self, api: Service, topic: str) -> None:
        (message,) = locked(api, topic)
        api.clock.move(20_000)
        body = {"id": message["id"], "lockToken": message["lockToken"]}
        reply = api.post("/mq/message/extend", {**body, "lockTimeout": 60_000})
        assert reply.status == 200
        assert {**reply.json, "lockToken": body["lockToken"]} == {**message, "lockExpiresAt": api.now(60_000)}
        api.clock.move(60_000)
        assert poll(api, topic) == []
        assert api.post("/mq/message/extend", body).json["lockExpiresAt"] == api.now(30_000)
        api.clock.move(31_001)
        assert [again["id"] for again in poll(api, topic)] == [message["id"]]

    def test_it_does_not_change_the_trace(self, api: Service, topic: str) -> None:
        (message,) = locked(api, topic)
        before = trace(api, message["traceId"])
        api.post("/mq/message/extend", {"id": message["id"], "lockToken": message["lockToken"]})
        assert trace(api, message["traceId"]) == before

    def test_what_is_not_in_hand_is_a_conflict(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        reply = api.post("/mq/message/extend", {"id": record["id"], "lockToken": "0" * 16})
        assert problem(reply) == (409, "id", "a message that is PROCESSING", "PENDING")
        assert api.post("/mq/message/extend", {"id": "999999999", "lockToken": "0" * 16}).status == 404

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"lockToken": None}, "lockToken"),
            ({"lockTimeout": 999}, "lockTimeout"),
            ({"lockTimeout": 43_200_001}, "lockTimeout"),
            ({"lockTimeout": -1}, "lockTimeout"),
            ({"lockTimeout": "soon"}, "lockTimeout"),
            ({"lockTimeout": True}, "lockTimeout"),
            ({"id": None}, "id"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, change: dict[str, Any], field: str) -> None:
        reply = api.post("/mq/message/extend", {"id": "1", "lockToken": "0" * 16, **change})
        assert problem(reply)[:2] == (422, field)


class TestBatches:
    def settle(self, api: Service, how: str, *entries: Any) -> list[dict[str, Any]]:
        reply = api.post(f"/mq/message/{how}-batch", {"messages": list(entries)})
        assert reply.status == 200, reply.text
        return list(reply.json["results"])

    def test_many_are_completed_in_order(self, api: Service, topic: str) -> None:
        batch = [{"topic": topic, "payload": {"n": n}} for n in range(25)]
        api.post("/mq/message/publish-batch", {"messages": batch})
        messages = poll(api, topic, limit=100)
        entries = [{"id": message["id"], "lockToken": message["lockToken"]} for message in messages]
        assert self.settle(api, "complete", *entries) == [
            {"id": message["id"], "success": True, "status": "COMPLETED", "error": None} for message in messages
        ]
        api.clock.move(HOUR_MS)
        assert poll(api, topic) == []

    def test_failed_with_their_own_reasons(self, api: Service, topic: str) -> None:
        first, second, last = locked(api, topic, 3)
        (dead,) = locked(api, f"{topic}.b", maxRetries=1)
        entries = [
            {"id": first["id"], "error": "no paper"},
            {"id": int(second["id"])},
            {"id": last["id"], "error": None},
            {"id": dead["id"], "error": "x" * 600},
        ]
        results = self.settle(api, "fail", *entries)
        assert [(result["success"], result["status"]) for result in results] == [
            (True, "PENDING"),
            (True, "PENDING"),
            (True, "PENDING"),
            (True, "FAILED"),
        ]
        errors = {message["id"]: message["error"] for message in listed(api, topic=topic)}
        assert errors == {
            first["id"]: "no paper",
            second["id"]: "the consumer gave no reason",
            last["id"]: "the consumer gave no reason",
        }
        assert listed(api, topic=f"{topic}.b")[0]["error"] == "x" * 500
        assert poll(api, topic) == []
        api.clock.move(1_001)
        assert len(poll(api, topic)) == 3

    def test_each_entry_is_told_for_itself(self, api: Service, topic: str) -> None:
        pending = publish(api, f"{topic}.b")
        ours, theirs, over = locked(api, topic, 3)
        api.post("/mq/message/complete", {"id": over["id"]})
        results = self.settle(
            api,
            "complete",
            {"id": theirs["id"], "lockToken": ours["lockToken"]},
            {"id": ours["id"], "lockToken": ours["lockToken"]},
            {"id": ours["id"]},
            {"id": over["id"]},
            {"id": pending["id"]},
            {"id": "999999999"},
            {"id": "nonsense"},
            {"id": "9" * 5_000},
            {"id": None},
            {"id": True},
            {"lockToken": "7"},
            {"id": "7", "lockToken": 7},
            5,
            None,
            [],
        )
        assert [result["success"] for result in results] == [False, True, *[False] * 13]
        assert [result["id"] for result in results] == [
            theirs["id"],
            ours["id"],
            ours["id"],
            over["id"],
            pending["id"],
            "999999999",
            "nonsense",
            "9" * 120 + "…",
            None,
            None,
            None,
            "7",
            None,
            None,
            None,
        ]
        assert [result["error"] for result in results] == [
            f"message {theirs['id']} is held under another lock than this one, which ran out if it ever held",
            None,
            "an earlier entry of this batch is about the same message",
            f"message {over['id']} is COMPLETED, not PROCESSING",
            f"message {pending['id']} is PENDING, not PROCESSING",
            "there is no message 999999999",
            "there is no message 'nonsense'",
            f"there is no message '{'9' * 40}'",
            ANY,
            ANY,
            "id in the entry: expected a value, got nothing",
            "lockToken in the entry: expected a valid string, got [redacted]",
            "the entry: expected an object, got 5",
            "the entry: expected an object, got null",
            "the entry: expected an object, got a list of 0",
        ]
        assert [message["status"] for message in listed(api, topic=topic)] == ["COMPLETED", "PROCESSING", "COMPLETED"]

    @pytest.mark.parametrize("how", ["complete", "fail"])
    @pytest.mark.parametrize(
        ("body", "field"),
        [({}, "messages"), ({"messages": []}, "messages"), ({"messages": [{"id": "1"}] * 101}, "messages")],
        ids=["nothing", "none", "101"],
    )
    def test_an_envelope_that_is_none_is_refused(self, api: Service, how: str, body: Any, field: str) -> None:
        assert problem(api.post(f"/mq/message/{how}-batch", body))[:2] == (422, field)

    def test_a_subscriber_s_message_is_not_settled(self, api: Service) -> None:
        record = publish(api, "scripted.topic", {"n": 1})
        (result,) = self.settle(api, "complete", {"id": record["id"]})
        assert (result["success"], result["error"]) == (False, f"message {record['id']} is PENDING, not PROCESSING")


class TestRecovery:
    def test_what_a_vanished_consumer_held_is_pending_at_once(self, api: Service, topic: str) -> None:
        (message,) = locked(api, topic)
        (other,) = locked(api, f"{topic}.b")
        assert api.post("/mq/queue/recover-locked", {"topic": topic}).json == {"recovered": 0}
        api.clock.move(30_001)
        assert api.post("/mq/queue/recover-locked", {"topic": topic}).json == {"recovered": 1}
        (recovered,) = listed(api, topic=topic)
        assert (recovered["status"], recovered["retryCount"], recovered["consumerId"]) == ("PENDING", 0, None)
        assert listed(api, topic=f"{topic}.b")[0]["status"] == "PROCESSING"
        late = api.post("/mq/message/complete", {"id": message["id"], "lockToken": message["lockToken"]})
        assert problem(late) == (409, "id", "a message that is PROCESSING", "PENDING")
        (again,) = poll(api, topic)
        assert (again["id"], again["retryCount"]) == (message["id"], 0)
        assert trace(api, message["traceId"]) == [
            ("PUBLISHED", None),
            ("PROCESSING", {"consumerId": "worker 1"}),
            ("LOCK_RECOVERED", {"attempt": 1, "consumerId": "worker 1", "silent": 1, "silentMax": 20}),
            ("PROCESSING", {"consumerId": "local"}),
        ]
        assert api.post("/mq/queue/recover-locked").json["recovered"] >= 1  # of all topics
        assert listed(api, topic=f"{topic}.b")[0]["status"] == "PENDING"
        assert other["id"] == listed(api, topic=f"{topic}.b")[0]["id"]

    def test_every_extended_lock_that_runs_out_is_a_delivery_used_up(self, api: Service, topic: str) -> None:
        publish(api, topic, maxRetries=3)
        counts = []
        for _ in range(3):
            (message,) = poll(api, topic, lockTimeout=1_000)
            extended(api, message, 1_000)
            counts.append(message["retryCount"])
            api.clock.move(2_001)
        assert poll(api, topic) == []
        (dead,) = api.get("/mq/dlq/list", {"topic": topic}).json["pageData"]
        assert (counts, dead["retryCount"], dead["id"]) == ([0, 1, 2], 3, message["id"])

    def test_the_last_delivery_is_a_dead_letter(self, api: Service, topic: str) -> None:
        (message,) = locked(api, topic, maxRetries=1)
        extended(api, message, 30_000)
        api.clock.move(30_001)
        assert api.post("/mq/queue/recover-locked", {"topic": topic}).json == {"recovered": 1}
        (dead,) = listed(api, topic=topic)
        assert (dead["status"], dead["retryCount"]) == ("FAILED", 1)
        assert trace(api, message["traceId"])[-1][0] == "MOVED_TO_DLQ"
        assert poll(api, topic) == []

    @pytest.mark.parametrize("topic", ["", 7, "a\nb", "x" * 401, []])
    def test_what_is_wrong_is_told(self, api: Service, topic: Any) -> None:
        assert problem(api.post("/mq/queue/recover-locked", {"topic": topic}))[:2] == (422, "topic")


class TestWaiting:
    @pytest.mark.parametrize("wait", [-1, 21, "long", 1.5, True])
    def test_a_wait_is_0_to_20_seconds(self, api: Service, topic: str, wait: Any) -> None:
        assert problem(api.get("/mq/message/poll", {"topic": topic, "wait": wait}))[:2] == (422, "wait")

    def test_what_is_there_is_not_waited_for(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        assert [message["id"] for message in poll(api, topic, wait=20, limit=1)] == [record["id"]]


ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(-1, 60).map(str) | st.integers(-1, 60)},
        optional={
            "lockToken": st.sampled_from(["0" * 16, "é", "\U0001f511"]),
            "error": st.text(max_size=10) | st.just("\ud800"),
        },
    )
    | st.sampled_from([None, 5, "x", [], {}, {"id": {}}, {"id": "1", "lockToken": []}, {"id": 2**80}]),
    min_size=1,
    max_size=6,
)
BODIES = st.fixed_dictionaries(
    {"id": st.integers(-1, 60), "lockToken": st.sampled_from(["0" * 16, "é"]), "messages": ENTRIES},
    optional={
        "topic": st.sampled_from([*ODD_TOPICS.values(), "", None, 7]),
        "lockTimeout": st.integers(-1, 10**9) | st.none() | st.text(max_size=3),
        "error": st.text(max_size=10) | st.lists(st.none()),
    },
)
ROUTES = [
    "/mq/message/complete",
    "/mq/message/fail",
    "/mq/message/extend",
    "/mq/message/complete-batch",
    "/mq/message/fail-batch",
    "/mq/queue/recover-locked",
]


class TestNoInputMakesItFail:
    @pytest.fixture(scope="class", params=["moto", "ministack"])
    @staticmethod
    def anywhere(request: pytest.FixtureRequest) -> Iterator[Service]:
        """An installation on either emulator, with messages in every state."""
        if request.param == "moto":
            with service() as made:
                yield stocked(made)
        else:
            with Emulator.start() as emulator, service(emulator.endpoint_url) as made:
                yield stocked(made)

    @given(route=st.sampled_from(ROUTES), body=BODIES)
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_body(self, anywhere: Service, route: str, body: dict[str, Any]) -> None:
        reply = anywhere.request("POST", route, json.dumps(body).encode(), {"Content-Type": "application/json"})
        assert reply.status in (200, 404, 409, 422), reply.text


def stocked(api: Service) -> Service:
    """An installation whose first ids are messages: pending, in hand and done."""
    for topic in list(ODD_TOPICS.values())[:4]:
        locked(api, topic, 3)
        publish(api, topic)
    api.post("/mq/message/complete", {"id": "2"})
    return api


def test_the_documentation_tells_which_routes_know_of_no_such_thing(api: Service) -> None:
    paths = api.get("/openapi.json").json["paths"]
    missing = {path for path, methods in paths.items() for route in methods.values() if "404" in route["responses"]}
    assert {path for path in missing if path.startswith("/mq/")} == {
        "/mq/message/complete",
        "/mq/message/fail",
        "/mq/message/extend",
        "/mq/dlq/replay",
        "/mq/dlq/replay/{id}",
        "/mq/trace/detail",
        "/mq/trace/{traceId}",
    }


def test_an_error_may_be_an_object(api: Service, topic: str) -> None:
    publish(api, topic)
    (message,) = poll(api, topic)
    reply = api.post("/mq/message/fail", {"id": message["id"], "error": {"code": 7, "message": "\u00fcbel"}})
    assert (reply.status, reply.json["error"]) == (200, '{"code":7,"message":"\u00fcbel"}')
    assert problem(api.post("/mq/message/fail", {"id": message["id"], "error": [1]}))[:2] == (422, "error")
