"""Dead letters and their replay."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import pytest

from chalicelib.core.kafka import Inward, Record
from chalicelib.engine.handlers.bridged import Bridged
from chalicelib.engine.publish.records import accept
from tests.support.mq import dead_letter, listed, poll, problem, publish, trace
from tests.support.service import Service


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
                    "cause": "consumer",
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
            "nextCursor": None,
        }

    def test_replayed_or_not(self, api: Service, topic: str) -> None:
        letters = []
        for n in range(4):
            letters.append(dead_letter(api, topic, {"n": n})["id"])
            api.clock.move(1)
        successor = api.post("/mq/dlq/replay", {"id": letters[1]}).json["id"]
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
        assert api.get("/mq/dlq/list", {"topic": topic}).json["pageData"] == []

    def test_what_is_wrong_is_told(self, api: Service) -> None:
        assert problem(api.get("/mq/dlq/list", {"replayed": "maybe"}))[:2] == (422, "replayed")


class TestReplay:
    @pytest.mark.parametrize("by_path", [True, False])
    def test_a_new_message_with_a_trace_of_its_own(self, api: Service, topic: str, by_path: bool) -> None:
        dead = dead_letter(api, topic, {"n": 1}, meta={"m": 1}, priority=4)
        api.clock.move(100)
        reply = api.post(f"/mq/dlq/replay/{dead['id']}") if by_path else api.post("/mq/dlq/replay", {"id": dead["id"]})
        assert reply.status == 200
        new_id, new_trace = reply.json["id"], reply.json["traceId"]
        assert new_id != dead["id"]
        assert reply.json == {
            **dead,
            "id": new_id,
            "traceId": new_trace,
            "status": "PENDING",
            "retryCount": 0,
            "error": None,
            "createdAt": api.now(),
            "updatedAt": api.now(),
            "deadLetterId": dead["id"],
        }

        (taken,) = poll(api, topic)
        assert taken["traceId"] == new_trace != dead["traceId"]
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
            "lockToken": ANY,
            "createdAt": api.now(),
            "updatedAt": api.now(),
        }
        detail = {"originalId": dead["id"], "deadLetterId": dead["id"]}
        assert trace(api, taken["traceId"]) == [("REPLAYED", detail), ("PROCESSING", {"consumerId": "local"})]

    def test_once_only(self, api: Service, topic: str) -> None:
        dead = dead_letter(api, topic)
        successor = api.post("/mq/dlq/replay", {"id": dead["id"]}).json["id"]
        told = f"dead letter {dead['id']} was replayed already, as message {successor}"
        for again in (
            api.post("/mq/dlq/replay", {"id": dead["id"]}),
            api.post(f"/mq/dlq/replay/{dead['id']}"),
        ):
            assert (again.status, again.json["message"]) == (400, told)
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
        earlier = api.post("/mq/dlq/replay", {"id": second}).json["id"]
        live = publish(api, f"{topic}.live")["id"]
        reply = api.post("/mq/dlq/replay", {"ids": [third, second, "nonsense", live, int(first), third]})
        assert reply.status == 200
        outcomes = reply.json
        made = [outcomes[0]["messageId"], outcomes[4]["messageId"]]
        assert outcomes == [
            {"id": third, "success": True, "messageId": made[0]},
            {
                "id": second,
                "success": False,
                "error": f"dead letter {second} was replayed already, as message {earlier}",
            },
            {"id": "nonsense", "success": False, "error": "there is no dead letter 'nonsense'"},
            {"id": live, "success": False, "error": f"there is no dead letter {live}"},
            {"id": first, "success": True, "messageId": made[1]},
            {
                "id": third,
                "success": False,
                "error": f"dead letter {third} was replayed already, as message {made[0]}",
            },
        ]
        payloads = {message["id"]: message["payload"]["n"] for message in poll(api, topic) if message["id"] in made}
        assert sorted(payloads.values()) == [0, 2]

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (b"{", "the record cannot be read yet: value: this record cannot be read; expected JSON"),
            (
                b"x" * 6_000_000,
                "too large to be kept whole, so it can never be replayed: send it again from its source",
            ),
        ],
        ids=["unreadable", "cut"],
    )
    def test_a_record_of_kafka_that_cannot_be_replayed_says_why(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch, value: bytes, told: str
    ) -> None:
        inward = Inward(topic=topic, source=topic, cluster="k", group="g")
        monkeypatch.setattr("chalicelib.engine.handlers.bridged.bridged", lambda _: Bridged((inward,), ()))
        accept(api.yard, inward, [Record(topic, 0, 0, api.clock(), None, value)])
        (dead,) = api.get("/mq/dlq/list", {"topic": topic}).json["pageData"]
        one = api.post("/mq/dlq/replay", {"id": dead["id"]})
        assert one.status == 400
        (of_topic,) = api.post("/mq/dlq/replay", {"topic": topic}).json["results"]
        for text in (one.json["message"], of_topic["error"]):
            assert told in text
            assert "already" not in text

    @pytest.mark.parametrize(
        ("body", "got"),
        [({}, "none of them"), ({"id": "1", "ids": ["2"]}, "id and ids"), ({"id": None, "ids": None}, "none of them")],
    )
    def test_one_way_or_the_other(self, api: Service, body: Any, got: str) -> None:
        reply = api.post("/mq/dlq/replay", body)
        assert problem(reply) == (422, "body", "one of id, ids and topic", got)

    @pytest.mark.parametrize("ids", [[], ["1"] * 101, [None], "1"])
    def test_one_to_a_hundred_ids(self, api: Service, ids: Any) -> None:
        reply = api.post("/mq/dlq/replay", {"ids": ids})
        assert reply.status == 422
        assert reply.json["details"][0]["field"].startswith("ids")
