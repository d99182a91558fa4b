"""Cursors: walking through lists, and what is no cursor of a list."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.api.mq.listing import MessageQuery
from chalicelib.core import cursors
from chalicelib.core.cursors import Cursor
from chalicelib.services.task_lists import SORT_KEYS
from chalicelib.store import job_lists
from tests.support.mq import dead_letter, problem, publish
from tests.support.service import Service

LISTS = ("/mq/message/list", "/mq/dlq/list", "/mq/trace/list", "/api/task/list")
EXPECTED = "the nextCursor of an answer to the same list with the same filters"


def pages(api: Service, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    """Every answer of a walk by cursor."""
    cursor: dict[str, str] = {}
    while True:
        reply = api.get(path, {**query, **cursor})
        assert reply.status == 200, reply.text
        yield reply.json
        if reply.json["nextCursor"] is None:
            return
        cursor = {"cursor": reply.json["nextCursor"]}


def walk(api: Service, path: str, **query: Any) -> list[list[str]]:
    return [[entry["id"] for entry in page["pageData"]] for page in pages(api, path, **query)]


def cursor_of(api: Service, path: str, **query: Any) -> str:
    cursor = api.get(path, query).json["nextCursor"]
    assert isinstance(cursor, str)
    return cursor


class TestWalks:
    def test_messages(self, api: Service, topic: str) -> None:
        ids = []
        for n in range(11):
            ids.insert(0, publish(api, topic, {"n": n})["id"])
            api.clock.move(n % 2)
        assert walk(api, "/mq/message/list", topic=topic, perPage=4) == [ids[:4], ids[4:8], ids[8:]]
        assert walk(api, "/mq/message/list", topic=topic, perPage=11) == [ids]
        assert walk(api, "/mq/message/list", topic=topic, status="PENDING", perPage=6) == [ids[:6], ids[6:]]
        assert walk(api, "/mq/message/list", topic=topic, status="COMPLETED") == [[]]

    def test_what_is_published_meanwhile_moves_pages_but_no_cursor(self, api: Service, topic: str) -> None:
        ids = [publish(api, topic)["id"] for _ in range(6)][::-1]
        cursor = cursor_of(api, "/mq/message/list", topic=topic, perPage=3)
        api.clock.move(1)
        newest = publish(api, topic)["id"]
        by_number = api.get("/mq/message/list", {"topic": topic, "perPage": 3, "currentPage": 2}).json
        assert [message["id"] for message in by_number["pageData"]] == ids[2:5]
        behind = api.get("/mq/message/list", {"topic": topic, "perPage": 3, "cursor": cursor}).json
        assert [message["id"] for message in behind["pageData"]] == ids[3:]
        assert walk(api, "/mq/message/list", topic=topic, perPage=100) == [[newest, *ids]]

    def test_the_total_is_the_first_page_s(self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(5):
            publish(api, topic)
        first, *later = pages(api, "/mq/message/list", topic=topic, perPage=2)
        assert [(page["totalCount"], page["totalIsExact"]) for page in (first, *later)] == [(5, True)] * 3
        publish(api, topic)
        cursor = {"topic": topic, "cursor": first["nextCursor"]}
        assert api.get("/mq/message/list", cursor).json["totalCount"] == 5
        monkeypatch.setattr(job_lists, "WINDOW", 4)
        totals = [(page["totalCount"], page["totalIsExact"]) for page in pages(api, "/mq/message/list", topic=topic)]
        assert totals == [(4, False)]

    def test_the_size_of_pages_may_change(self, api: Service, topic: str) -> None:
        ids = [publish(api, topic)["id"] for _ in range(6)][::-1]
        cursor = cursor_of(api, "/mq/message/list", topic=topic, perPage=1)
        page = api.get("/mq/message/list", {"topic": topic, "perPage": 100, "cursor": cursor, "currentPage": 1}).json
        assert [message["id"] for message in page["pageData"]] == ids[1:]

    def test_messages_of_a_trace(self, api: Service, topic: str) -> None:
        own = f"walk of {topic}"
        ids = [publish(api, f"{topic}.{n % 2}", traceId=own)["id"] for n in range(5)][::-1]
        assert walk(api, "/mq/message/list", traceId=own, perPage=2) == [ids[:2], ids[2:4], ids[4:]]
        assert walk(api, "/mq/message/list", traceId=own, topic=f"{topic}.0", perPage=2) == [
            [ids[0], ids[2]],
            [ids[4]],
        ]

    def test_dead_letters(self, api: Service, topic: str) -> None:
        letters = [dead_letter(api, topic)["id"] for _ in range(5)][::-1]
        api.post("/mq/dlq/replay", {"id": letters[2]})
        assert walk(api, "/mq/dlq/list", topic=topic, perPage=2) == [letters[:2], letters[2:4], letters[4:]]
        assert walk(api, "/mq/dlq/list", topic=topic, replayed=False, perPage=2) == [
            letters[:2],
            letters[3:],
        ]
        assert walk(api, "/mq/dlq/list", topic=topic, replayed=True, perPage=2) == [[letters[2]]]

    @pytest.mark.parametrize("direction", ["ASC", "DESC"])
    @pytest.mark.parametrize("key", ["createdAt", "targetId", "id"])
    def test_tasks_in_any_order(self, api: Service, topic: str, key: str, direction: str) -> None:
        ids = []
        for n in range(7):
            body = {"type": topic, "targetId": f"t{n:02d}", "targetType": "x", "input": {"name": f"odd{n % 2}"}}
            ids.append(api.post("/api/task/create", body).json["id"])
            api.clock.move(1)
        expected = ids if direction == "ASC" else ids[::-1]
        query = {"filter.type": topic, f"sort.{key}": direction, "perPage": 3}
        assert walk(api, "/api/task/list", **query) == [expected[:3], expected[3:6], expected[6:]]
        odd = [found for found in expected if ids.index(found) % 2]
        assert walk(api, "/api/task/list", **query, **{"filter.targetName": "ODD1"}) == [odd]

    @pytest.mark.parametrize("direction", ["ASC", "DESC"])
    @pytest.mark.parametrize("key", sorted(SORT_KEYS))
    def test_tasks_that_are_completed_and_created_meanwhile(
        self, api: Service, topic: str, key: str, direction: str
    ) -> None:
        def create(n: int) -> str:
            body = {"type": topic, "targetId": f"t{n % 5}", "targetType": f"🜁.{n % 3}/", "runnerType": "manual"}
            api.clock.move(1)
            made: str = api.post("/api/task/create", body).json["id"]
            return made

        there = [create(n) for n in range(12)]
        query = {"filter.type": topic, "filter.status": "pending", f"sort.{key}": direction, "perPage": 3}
        met: list[str] = []
        for n, page in enumerate(pages(api, "/api/task/list", **query)):
            met += [entry["id"] for entry in page["pageData"]]
            for done in met[n::3]:
                api.post("/api/task/complete", {"id": done})
            create(n)
        assert len(set(met)) == len(met)
        assert set(there) <= set(met)


class TestWhatIsNoCursor:
    @pytest.fixture(scope="class")
    @staticmethod
    def stocked(api: Service) -> str:
        """A topic whose messages, dead letters and namesake tasks need two pages."""
        for _ in range(2):
            dead_letter(api, "stocked")
            api.post("/api/task/create", {"type": "stocked", "targetId": "1", "targetType": "t"})
        return "stocked"

    @pytest.mark.parametrize("path", LISTS)
    @pytest.mark.parametrize(
        "cursor",
        ["x", "AAAA", "null", "%00", "=" * 8, "ключ", "\ud83d", "WyIxIiwxLHRydWVd", "A" * 300, "a b", "-_-_" * 9],
        ids=ascii,
    )
    def test_any_other_text(self, api: Service, path: str, cursor: str) -> None:
        reply = api.get(path, {"cursor": cursor.encode(errors="replace").decode()})
        assert reply.status == 400, reply.text
        assert problem(reply)[:3] == (400, "cursor", EXPECTED)

    @pytest.mark.parametrize("path", LISTS)
    def test_one_that_was_changed(self, api: Service, stocked: str, path: str) -> None:
        query = {"filter.type" if path.startswith("/api") else "topic": stocked, "perPage": 1}
        cursor = cursor_of(api, path, **query)
        assert api.get(path, {**query, "cursor": cursor}).status == 200
        for place in range(0, len(cursor), 5):
            changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
            reply = api.get(path, {**query, "cursor": changed})
            assert problem(reply) == (400, "cursor", EXPECTED, changed[:120]), place
        assert api.get(path, {**query, "cursor": cursor[:-4]}).status == 400

    def test_one_of_another_list_or_filter(self, api: Service, stocked: str) -> None:
        query: dict[str, Any] = {"topic": stocked, "perPage": 1}
        cursor = cursor_of(api, "/mq/message/list", **query)
        for path, other in (
            ("/mq/dlq/list", query),
            ("/mq/trace/list", query),
            ("/api/task/list", {"filter.type": stocked}),
            ("/mq/message/list", {"topic": "another"}),
            ("/mq/message/list", {"topic": stocked, "status": "FAILED"}),
            ("/mq/message/list", {"topic": stocked, "traceId": "t"}),
            ("/mq/message/list", {}),
        ):
            reply = api.get(path, {**other, "cursor": cursor})
            assert problem(reply) == (400, "cursor", EXPECTED, cursor)

    @pytest.mark.parametrize(
        "content",
        [
            Cursor(7, 1, exact=True),
            Cursor("x", 1, exact=True),
            Cursor("1750000000000-0000000000000001/3", 1, exact=True),
            Cursor("1750000000000-0000000000000001", True, exact=True),
            Cursor("1750000000000-0000000000000001", 1, exact=None),  # type: ignore[arg-type]
        ],
        ids=ascii,
    )
    def test_one_made_by_hand_is_looked_through(self, api: Service, content: Cursor) -> None:
        text = content.to_text(MessageQuery(topic="by hand").filters)
        reply = api.get("/mq/message/list", {"topic": "by hand", "cursor": text})
        assert problem(reply) == (400, "cursor", EXPECTED, text)

    def test_a_cursor_holds_a_place_and_a_count_and_nothing_else(self, api: Service, topic: str) -> None:
        records = [publish(api, topic, {"secret": "hidden"}, traceId="private") for _ in range(2)]
        cursor = cursor_of(api, "/mq/message/list", topic=topic, perPage=1)
        written = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        position = f"{api.clock.ms:013d}-{int(records[1]['id']):016d}"
        assert written[cursors.CHECK_BYTES :] == f'["{position}",2,true]'.encode()

    @pytest.mark.parametrize("path", LISTS)
    def test_either_a_page_or_a_cursor(self, api: Service, path: str) -> None:
        reply = api.get(path, {"cursor": "x", "currentPage": 2})
        assert problem(reply) == (422, "query", "either cursor or currentPage, and not both", "both")
        assert reply.json["remedy"] == "leave out currentPage"

    @pytest.mark.parametrize("path", LISTS)
    def test_page_numbers_reach_a_hundred_thousand_entries(self, api: Service, path: str) -> None:
        assert api.get(path, {"perPage": 100, "currentPage": 1_001}).status == 200
        reply = api.get(path, {"perPage": 100, "currentPage": 1_002})
        assert problem(reply) == (
            422,
            "currentPage",
            "a page that begins within the first 100000 entries; nextCursor leads beyond",
            "1002",
        )
