"""The list of trace events, and a trace by query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from chalicelib.api.mq import traces
from chalicelib.api.mq.records import EVENT_OF
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.trace import TRACE_MAX_EVENTS, Event, TraceEvent
from tests.support.ledger import job_of, place
from tests.support.mq import dead_letter, poll, problem, publish
from tests.support.service import Service

WORDS = (
    "'PUBLISHED', 'PROCESSING', 'COMPLETED', 'FAILED', 'MOVED_TO_DLQ', 'REPLAYED', 'LOCK_RECOVERED', 'CANCELED', "
    "'RETRIED', 'REQUEUED', 'INTERRUPTED' or 'PROMOTED'"
)
Seen = tuple[str, str]  # a message's id and a word


def events(api: Service, **query: Any) -> list[Seen]:
    reply = api.get("/mq/trace/list", query)
    assert reply.status == 200, reply.text
    return [(entry["messageId"], entry["event"]) for entry in reply.json["pageData"]]


def walk(api: Service, **query: Any) -> list[list[Seen]]:
    """The events on each page, by cursor, to the end."""
    pages: list[list[Seen]] = []
    cursor: dict[str, str] = {}
    while True:
        reply = api.get("/mq/trace/list", {**query, **cursor})
        assert reply.status == 200, reply.text
        pages.append([(entry["messageId"], entry["event"]) for entry in reply.json["pageData"]])
        if reply.json["nextCursor"] is None:
            return pages
        cursor = {"cursor": reply.json["nextCursor"]}


def with_events(api: Service, topic: str, *words: Event) -> Job:
    """A message with a story of one event a millisecond."""
    lines = tuple(TraceEvent(word, api.clock.ms + n).to_line() for n, word in enumerate(words))
    api.clock.move(1)
    return place(api.yard, job_of(api.yard, type=topic, created_at_ms=api.clock.ms, trace=lines))


class TestEvents:
    def test_every_field(self, api: Service, topic: str) -> None:
        record = publish(api, topic)
        at = api.now()
        assert api.get("/mq/trace/list", {"topic": topic}).json == {
            "pageData": [
                {
                    "traceId": record["traceId"],
                    "messageId": record["id"],
                    "topic": topic,
                    "event": "PUBLISHED",
                    "detail": None,
                    "createdAt": at,
                }
            ],
            "totalCount": 1,
            "totalIsExact": True,
            "nextCursor": None,
        }

    def test_in_the_order_of_time_whichever_message_is_older(self, api: Service, topic: str) -> None:
        first = publish(api, topic)["id"]
        api.clock.move(1)
        second = publish(api, topic, priority=10)["id"]
        api.clock.move(1)
        poll(api, topic, limit=1)
        api.clock.move(1)
        poll(api, topic, limit=1)
        assert events(api, topic=topic) == [
            (first, "PROCESSING"),
            (second, "PROCESSING"),
            (second, "PUBLISHED"),
            (first, "PUBLISHED"),
        ]

    def test_newest_event_first(self, api: Service, topic: str) -> None:
        dead = dead_letter(api, topic)["id"]
        api.clock.move(1)
        replayed = api.post("/mq/dlq/replay", {"id": dead}).json["id"]
        poll(api, topic)
        assert events(api, topic=topic) == [
            (replayed, "PROCESSING"),
            (replayed, "REPLAYED"),
            (dead, "MOVED_TO_DLQ"),
            (dead, "PROCESSING"),
            (dead, "PUBLISHED"),
        ]
        (entry,) = api.get("/mq/trace/list", {"topic": topic, "event": "REPLAYED"}).json["pageData"]
        assert entry["detail"] == {"originalId": dead, "deadLetterId": dead}

    def test_filters_hold_together(self, api: Service, topic: str) -> None:
        first, second = publish(api, topic), publish(api, f"{topic}.b")
        for name in (topic, f"{topic}.b"):
            poll(api, name)
        assert events(api, messageId=first["id"]) == [(first["id"], "PROCESSING"), (first["id"], "PUBLISHED")]
        assert events(api, messageId=first["id"], event="PUBLISHED") == [(first["id"], "PUBLISHED")]
        assert events(api, messageId=first["id"], topic=f"{topic}.b") == []
        assert events(api, topic=f"{topic}.b", event="PROCESSING") == [(second["id"], "PROCESSING")]
        assert events(api, topic=f"{topic}.b", event="COMPLETED") == []

    def test_a_task_or_nobody_has_none(self, api: Service) -> None:
        task = api.post("/api/task/create", {"type": "by hand", "targetId": "1", "targetType": "t"}).json["id"]
        for found in (task, "999999999", "abc", "0"):
            page = api.get("/mq/trace/list", {"messageId": found}).json
            assert page == {"pageData": [], "totalCount": 0, "totalIsExact": True, "nextCursor": None}

    def test_all_topics(self, api: Service, topic: str) -> None:
        api.clock.move(1)
        record = publish(api, topic)
        assert events(api, perPage=1) == [(record["id"], "PUBLISHED")]

    def test_the_words_are_those_that_traces_use(self) -> None:
        assert set(get_args(traces.EventWord)) == set(EVENT_OF.values())

    @pytest.mark.parametrize(
        ("query", "field", "expected"),
        [
            ({"event": "DONE"}, "event", WORDS),
            ({"event": "published"}, "event", None),
            ({"perPage": 101}, "perPage", "less than or equal to 100"),
            ({"topic": "x" * 401}, "topic", "text of at most 400 characters"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, query: dict[str, Any], field: str, expected: str | None) -> None:
        status, where, wanted, _ = problem(api.get("/mq/trace/list", query))
        assert (status, where) == (422, field)
        assert expected in (None, wanted)


class TestPages:
    WORDS = (Event.PUBLISHED, Event.STARTED, Event.FAILED, Event.STARTED, Event.SUCCEEDED)

    def everything(self, jobs: list[Job]) -> list[Seen]:
        """What happened to messages of one window, the newest event first."""
        happened = [(event.at_ms, job.id, n, event) for job in jobs for n, event in enumerate(job.events)]
        return [(str(job_id), EVENT_OF[event.event]) for _, job_id, _, event in sorted(happened, reverse=True)]

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
    def test_by_cursor_and_by_number(self, api: Service, topic: str, size: int) -> None:
        jobs = [with_events(api, topic, *self.WORDS[: 1 + n % 5]) for n in range(7)]
        expected = self.everything(jobs)
        chunks = [expected[start : start + size] for start in range(0, len(expected), size)]
        assert walk(api, topic=topic, perPage=size) == chunks
        numbers = range(1, len(chunks) + 1)
        assert [events(api, topic=topic, perPage=size, currentPage=number) for number in numbers] == chunks
        assert events(api, topic=topic, perPage=size, currentPage=len(chunks) + 1) == []

    def test_of_one_message(self, api: Service, topic: str) -> None:
        job = with_events(api, topic, *self.WORDS * 4)
        assert len(job.trace) == TRACE_MAX_EVENTS
        expected = self.everything([job])
        assert walk(api, messageId=job.id, perPage=8) == [expected[:8], expected[8:16], expected[16:]]
        page = api.get("/mq/trace/list", {"messageId": job.id, "perPage": 8, "currentPage": 3}).json
        assert (len(page["pageData"]), page["totalCount"], page["totalIsExact"]) == (4, 20, True)

    def test_what_happens_meanwhile_moves_no_cursor(self, api: Service, topic: str) -> None:
        older, newer = with_events(api, topic, *self.WORDS[:3]), with_events(api, topic, *self.WORDS[:3])
        cursor = api.get("/mq/trace/list", {"topic": topic, "perPage": 2}).json["nextCursor"]
        with_events(api, topic, Event.PUBLISHED)
        line = TraceEvent(Event.STARTED, api.clock.ms).to_line()
        place(api.yard, replace(newer, trace=(*newer.trace, line)))
        assert events(api, topic=topic, cursor=cursor) == self.everything([older, newer])[2:]

    def test_a_message_that_is_removed_meanwhile_is_told_of_still(self, api: Service, topic: str) -> None:
        older, newer = with_events(api, topic, *self.WORDS[:3]), with_events(api, topic, *self.WORDS[:3])
        cursor = api.get("/mq/trace/list", {"topic": topic, "perPage": 2}).json["nextCursor"]
        gone = place(api.yard, replace(newer, state=State.SUCCESS))
        api.yard.jobs.delete(gone, 1)
        assert events(api, topic=topic, cursor=cursor) == self.everything([older, newer])[2:]
        assert events(api, topic=topic) == self.everything([older, newer])
        assert events(api, topic=topic, messageId=str(newer.id)) == self.everything([newer])
        assert events(api, topic=topic, event="CANCELED") == []

    @pytest.mark.parametrize("size", [1, 4, 100])
    def test_window_by_window(self, api: Service, topic: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(traces, "WINDOW", 3)
        jobs = [with_events(api, topic, *self.WORDS[: 1 + n % 5]) for n in range(8)]
        expected = [seen for window in (jobs[5:], jobs[2:5], jobs[:2]) for seen in self.everything(window)]
        chunks = [expected[start : start + size] for start in range(0, len(expected), size)]
        assert walk(api, topic=topic, perPage=size) == chunks
        numbers = range(1, len(chunks) + 1)
        assert [events(api, topic=topic, perPage=size, currentPage=number) for number in numbers] == chunks

    def test_one_answer_looks_at_so_many_messages(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = [with_events(api, topic, Event.PUBLISHED, *([Event.FAILED] if n in (1, 6) else [])) for n in range(8)]
        monkeypatch.setattr(traces, "WINDOW", 3)
        monkeypatch.setattr(traces, "LOOKED_MAX", 3)
        first = api.get("/mq/trace/list", {"topic": topic, "event": "FAILED", "perPage": 5}).json
        assert (len(first["pageData"]), first["totalCount"], first["totalIsExact"]) == (1, 1, False)
        failed = [[(str(jobs[n].id), "FAILED")] for n in (6, 1)]
        assert walk(api, topic=topic, event="FAILED", perPage=5) == [failed[0], [], failed[1]]
        assert [len(page) for page in walk(api, topic=topic, perPage=5)] == [4, 3, 3]
        whole = api.get("/mq/trace/list", {"topic": topic, "perPage": 2, "currentPage": 2}).json
        assert (whole["totalCount"], whole["totalIsExact"]) == (4, False)


class TestDetail:
    def test_by_query_as_by_path(self, api: Service, topic: str) -> None:
        own = f"{topic} / list"
        publish(api, topic, traceId=own)
        poll(api, topic)
        detail = api.get("/mq/trace/detail", {"traceId": own})
        assert [entry["event"] for entry in detail.json] == ["PUBLISHED", "PROCESSING"]
        assert detail.json == api.get(f"/mq/trace/{topic}%20%2F%20list").json

    def test_traces_that_are_called_as_routes_are(self, api: Service, topic: str) -> None:
        for own in ("list", "detail"):
            record = publish(api, topic, traceId=own)
            assert api.get("/mq/trace/detail", {"traceId": own}).json[0]["messageId"] == record["id"]

    def test_nobody_s_and_none(self, api: Service) -> None:
        reply = api.get("/mq/trace/detail", {"traceId": "nobody"})
        assert (reply.status, reply.json["message"]) == (404, "there is no trace with this id")
        assert problem(api.get("/mq/trace/detail"))[:3] == (422, "traceId", "a value")
