"""The list of messages: pages, filters, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.mq import HOUR_MS, dead_letter, listed, poll, problem, publish
from tests.support.service import Service


class TestList:
    def test_an_empty_value_is_no_filter(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        assert listed(api, topic=topic, status="", traceId="", perPage="", currentPage="") == [record]
        assert record in listed(api, topic="")
        letter = dead_letter(api, f"{topic}.dead")["id"]
        found = api.get("/mq/dlq/list", {"topic": f"{topic}.dead", "replayed": ""}).json["pageData"]
        assert [entry["id"] for entry in found] == [letter]
        events = api.get("/mq/trace/list", {"topic": topic, "event": "", "messageId": ""}).json["pageData"]
        assert [entry["event"] for entry in events] == ["PUBLISHED"]

    def test_pages_newest_first(self, api: Service, topic: str) -> None:
        records = []
        for n in range(23):
            records.append(publish(api, topic, {"n": n}))
            api.clock.move(1 if n % 4 else 0)
        newest_first = records[::-1]

        first = api.get("/mq/message/list", {"topic": topic}).json
        cursor = first.pop("nextCursor")
        assert first == {"pageData": newest_first[:20], "totalCount": 23, "totalIsExact": True}
        last = {"pageData": newest_first[20:], "totalCount": 23, "totalIsExact": True, "nextCursor": None}
        second = api.get("/mq/message/list", {"topic": topic, "currentPage": 2}).json
        assert second == last
        assert api.get("/mq/message/list", {"topic": topic, "cursor": cursor}).json == last
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
            ({"topic": "x" * 401}, "topic"),
            ({"traceId": "x" * 257}, "traceId"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, query: dict[str, Any], field: str) -> None:
        assert problem(api.get("/mq/message/list", query))[:2] == (422, field)
