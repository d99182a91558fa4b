"""What happened to messages, event by event; the worker driven by hand."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.api.mq import traces
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from tests.support.mq import dead_letter, listed, poll, publish, trace
from tests.support.service import Service


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
                "detail": {"consumerId": "local"},
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
        replayed = api.post(f"/mq/dlq/replay/{record['id']}").json["id"]
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


class TestRareEvents:
    """Events of old messages behind many newer ones, which no index tells of."""

    @pytest.fixture
    def filled(self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """Three dead letters, a message completed after a failure, a canceled one, then six that nobody polls."""
        monkeypatch.setattr(traces, "WINDOW", 2)
        for _ in range(3):
            dead_letter(api, topic)
        record = publish(api, topic)
        for way, wait_ms in (("fail", 1_001), ("complete", 1)):
            poll(api, topic)
            assert api.post(f"/mq/message/{way}", {"id": record["id"]}).status == 200
            api.clock.move(wait_ms)
        lifecycle.cancel(api.yard, int(publish(api, topic)["id"]), Kind.MESSAGE)
        for _ in range(6):
            publish(api, topic)
        return topic

    @staticmethod
    def page(api: Service, **query: Any) -> tuple[list[str], int, bool, str | None]:
        answer = api.get("/mq/trace/list", query).json
        events = [entry["event"] for entry in answer["pageData"]]
        return events, answer["totalCount"], answer["totalIsExact"], answer["nextCursor"]

    def test_they_are_found_and_counted(self, api: Service, filled: str) -> None:
        for event, count in (("MOVED_TO_DLQ", 3), ("COMPLETED", 1), ("CANCELED", 1), ("FAILED", 1), ("REPLAYED", 0)):
            assert self.page(api, topic=filled, event=event) == ([event] * count, count, True, None)
        assert self.page(api, topic=filled, event="PUBLISHED", perPage=11) == (["PUBLISHED"] * 11, 11, True, None)

    def test_a_short_page_of_ends_tells_how_many_there_are(self, api: Service, filled: str) -> None:
        events, total, exact, cursor = self.page(api, topic=filled, event="MOVED_TO_DLQ", perPage=1)
        assert (events, total, exact) == (["MOVED_TO_DLQ"], 3, True)
        assert self.page(api, topic=filled, event="MOVED_TO_DLQ", cursor=cursor)[0] == ["MOVED_TO_DLQ"] * 2
        *_, exact, cursor = self.page(api, topic=filled, event="PUBLISHED", perPage=1)
        assert not exact
        assert len(self.page(api, topic=filled, event="PUBLISHED", cursor=cursor)[0]) == 10

    @pytest.mark.parametrize("bound", ["count", "time"])
    def test_an_answer_gives_up_in_the_end_and_says_where_to_go_on(
        self, api: Service, filled: str, bound: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bounds = {"LOOKED_MAX": 4} if bound == "count" else {"WINDOW": 4, "BUDGET_MS": 0}
        for name, value in bounds.items():
            monkeypatch.setattr(traces, name, value)
        events, total, exact, cursor = self.page(api, topic=filled, event="FAILED")
        assert (events, total, exact) == ([], 0, False)
        assert self.page(api, topic=filled, event="FAILED", cursor=cursor)[0] == ["FAILED"]
