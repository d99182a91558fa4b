"""Queue depth, cleanup, and the replay of a topic's dead letters."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from chalicelib import aws
from chalicelib.api.mq import queues
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.states import State
from chalicelib.engine.clock import retention
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.projections import depth as depths
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.engine.yard import Yard
from chalicelib.store import job_lists
from tests.support.lambda_shapes import Time, sqs_event
from tests.support.ledger import job_of, parts_of, place
from tests.support.mq import HOUR_MS, ODD_TOPICS, dead_letter, listed, poll, problem, publish, trace
from tests.support.service import Service


def depth(api: Service, **query: Any) -> dict[str, Any]:
    reply = api.get("/mq/queue/depth", query)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def clean(api: Service, **body: Any) -> dict[str, Any]:
    reply = api.post("/mq/queue/cleanup", body)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def completed(api: Service, topic: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
    """A message that was polled and completed."""
    record = publish(api, topic, payload, **fields)
    (message,) = poll(api, topic)
    reply = api.post("/mq/message/complete", {"id": message["id"]})
    assert (reply.status, reply.json["id"]) == (200, record["id"])
    return dict(reply.json)


def ids(api: Service, topic: str) -> list[str]:
    return [message["id"] for message in listed(api, topic=topic, perPage=100)]


class TestDepth:
    def test_of_a_topic(self, api: Service, topic: str) -> None:
        assert depth(api, topic=topic) == {"depth": 0, "isExact": True, "byTopic": None}
        for _ in range(3):
            publish(api, topic)
        publish(api, topic, executeAt=api.now(HOUR_MS))
        publish(api, f"{topic}.other")
        assert depth(api, topic=topic)["depth"] == 4
        first, second = poll(api, topic, limit=2)
        assert depth(api, topic=topic)["depth"] == 2
        api.post("/mq/message/complete", {"id": first["id"]})
        api.post("/mq/message/fail", {"id": second["id"]})  # it will be tried again
        assert depth(api, topic=topic)["depth"] == 3

    @pytest.mark.parametrize("odd", ODD_TOPICS.values(), ids=ODD_TOPICS)
    def test_of_an_odd_topic(self, api: Service, odd: str) -> None:
        publish(api, odd)
        assert depth(api, topic=odd)["depth"] == 1

    def test_tasks_are_no_messages(self, api: Service, topic: str) -> None:
        before = depth(api)["depth"]
        api.post("/api/task/create", {"type": topic, "targetId": "1", "targetType": "t"})
        publish(api, topic)
        assert depth(api)["depth"] == before + 1
        assert depth(api, topic=topic)["depth"] == 1

    def test_all_topics_and_what_the_counters_say_of_each(self, api: Service, topic: str) -> None:
        for name, number in ((topic, 2), (f"{topic}.b", 1)):
            for _ in range(number):
                publish(api, name)
        completed(api, f"{topic}.c")
        rebuild_counters(api.yard)
        found = depth(api)
        assert found["isExact"] is True
        assert found["depth"] == sum(found["byTopic"].values())
        ours = {name: number for name, number in found["byTopic"].items() if name.startswith(topic)}
        assert ours == {topic: 2, f"{topic}.b": 1}

    def test_beyond_what_is_counted_the_counters_answer(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(5):
            publish(api, topic)
        monkeypatch.setattr(job_lists, "WINDOW", 3)
        monkeypatch.setattr(depths, "WINDOW", 3)
        assert depth(api, topic=topic) == {"depth": 4, "isExact": False, "byTopic": None}  # at least
        rebuild_counters(api.yard)
        assert depth(api, topic=topic) == {"depth": 5, "isExact": False, "byTopic": None}


class TestCleanup:
    def test_what_is_completed_goes_with_all_it_kept(self, api: Service, topic: str) -> None:
        kept = publish(api, topic, {"n": 0})
        poll(api, topic)
        done = [
            completed(api, topic, payload) for payload in ({"n": 1}, {"beside": "x" * 5_000}, {"bucket": "x" * 300_000})
        ]
        dead = dead_letter(api, topic)["id"]
        in_bucket = objects(api)
        assert [key for key in in_bucket if done[2]["id"] in key] == [
            f"bodies/{done[2]['id']}/{uid(api, done[2])}.json"
        ]
        assert clean(api, topic=topic) == {"deleted": 3, "kept": 0, "hasMore": False, "nextCursor": None}
        assert ids(api, topic) == [dead, kept["id"]]
        for message in done:
            assert [event for event, _ in trace(api, message["traceId"])] == ["PUBLISHED", "PROCESSING", "COMPLETED"]
            assert api.yard.jobs.ledger(int(message["id"])) == Tombstone(int(message["id"]))
            assert parts_of(api.yard, int(message["id"])).keys() == {"state"}
        assert [key for key in objects(api) if done[2]["id"] in key] == []
        assert clean(api, topic=topic)["deleted"] == 0

    def test_a_late_delivery_brings_nothing_back(self, api: Service) -> None:
        topic = "scripted.topic"
        record = publish(api, topic, {"n": 1})
        (message,) = api.receive(topic)
        api.clock.move(331_000)  # it shows again, to another worker
        assert api.work(topic) == []
        assert clean(api, topic=topic)["deleted"] == 1
        api.module.worker(sqs_event([message]), Time())
        assert api.yard.jobs.ledger(int(record["id"])) == Tombstone(int(record["id"]))
        assert ids(api, topic) == []

    def test_failed_are_dead_letters_that_were_replayed_and_what_was_canceled(self, api: Service, topic: str) -> None:
        letters = [dead_letter(api, topic) for _ in range(2)]
        successor = api.post("/mq/dlq/replay", {"ids": [letters[0]["id"]]}).json[0]["messageId"]
        place(api.yard, job_of(api.yard, type=topic, state=State.CANCELED))
        kept = place(api.yard, job_of(api.yard, type=topic, state=State.SUCCESS))
        assert clean(api, topic=topic, status="FAILED") == {
            "deleted": 2,
            "kept": 1,
            "hasMore": False,
            "nextCursor": None,
        }
        assert set(ids(api, topic)) == {successor, str(kept.id), letters[1]["id"]}
        assert [letter["id"] for letter in api.get("/mq/dlq/list", {"topic": topic}).json["pageData"]] == [
            letters[1]["id"]
        ]
        gone = clean(api, topic=topic, status="FAILED", includeUnreplayed=True)
        assert (gone["deleted"], gone["kept"]) == (1, 0)
        assert api.get("/mq/dlq/list", {"topic": topic}).json["pageData"] == []
        assert api.post("/mq/dlq/replay", {"id": letters[1]["id"]}).status == 404
        told = ["PUBLISHED", "PROCESSING", "MOVED_TO_DLQ"]
        assert [[event for event, _ in trace(api, letter["traceId"])] for letter in letters] == [told, told]

    def test_a_trace_id_of_the_client_s_outlives_its_message(self, api: Service, topic: str) -> None:
        own = f"ours {topic}"
        publish(api, topic, traceId=own)
        (message,) = poll(api, topic)
        api.post("/mq/message/complete", {"id": message["id"]})
        before = trace(api, own)
        assert clean(api, topic=topic)["deleted"] == 1
        assert trace(api, own) == before
        assert listed(api, traceId=own) == []
        events = api.get("/mq/trace/list", {"topic": topic, "event": "COMPLETED"}).json
        assert ([entry["messageId"] for entry in events["pageData"]], events["totalCount"]) == ([message["id"]], 1)

    def test_without_a_body_nothing_is_removed(self, api: Service, topic: str) -> None:
        done = completed(api, topic)
        reply = api.post("/mq/queue/cleanup")
        assert (reply.status, reply.json["message"]) == (422, "the request has no body")
        assert ids(api, topic) == [done["id"]]
        for path in ("/mq/dlq/replay", "/api/task/cancel", "/api/task/retry", "/api/task/complete"):
            assert api.post(path).status == 422, path

    def test_older_than(self, api: Service, topic: str) -> None:
        """It is the last change that counts, not the creation."""
        early = publish(api, topic, priority=1)
        late_done = publish(api, topic)
        api.clock.move(1_000)
        (first,) = poll(api, topic, limit=1)
        assert first["id"] == early["id"]
        api.post("/mq/message/complete", {"id": early["id"]})
        api.clock.move(1_000)
        (second,) = poll(api, topic)
        api.post("/mq/message/complete", {"id": second["id"]})
        assert second["id"] == late_done["id"]
        api.clock.move(1_000)
        assert clean(api, topic=topic, olderThan=api.now(-2_000))["deleted"] == 0
        assert clean(api, topic=topic, olderThan=api.now(-1_999))["deleted"] == 1
        assert ids(api, topic) == [late_done["id"]]
        assert clean(api, topic=topic, olderThan=api.now())["deleted"] == 1

    def test_a_request_is_bounded_and_the_next_goes_on(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(25):
            place(api.yard, job_of(api.yard, type=topic, state=State.SUCCESS))
        live = publish(api, topic)
        monkeypatch.setattr(retention, "READ_CHUNK", 5)
        monkeypatch.setattr(queues, "REMOVALS_MAX", 8)
        answers = []
        while not answers or answers[-1]["hasMore"]:
            answers.append(clean(api, topic=topic))
        assert [answer["deleted"] for answer in answers] == [10, 10, 5]
        assert ids(api, topic) == [live["id"]]

    def test_a_request_takes_so_long_and_no_longer(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(12):
            place(api.yard, job_of(api.yard, type=topic, state=State.SUCCESS))
        monkeypatch.setattr(retention, "READ_CHUNK", 4)
        monkeypatch.setattr(queues, "CLEANUP_BUDGET_MS", 0)
        assert [clean(api, topic=topic)["deleted"] for _ in range(4)] == [4, 4, 4, 0]

    def test_what_is_too_young_does_not_stop_it(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_ms = api.clock.ms
        young = [
            place(
                api.yard,
                job_of(api.yard, type=topic, state=State.SUCCESS, created_at_ms=now_ms - 100 + n, updated_at_ms=now_ms),
            )
            for n in range(8)
        ]
        old = [
            place(
                api.yard,
                job_of(
                    api.yard, type=topic, state=State.SUCCESS, created_at_ms=now_ms - 50 + n, updated_at_ms=now_ms - 10
                ),
            )
            for n in range(3)
        ]
        monkeypatch.setattr(retention, "READ_CHUNK", 3)
        monkeypatch.setattr(retention, "SKIPS_MAX", 3)
        body = {"topic": topic, "olderThan": api.now(-5)}
        first = clean(api, **body)
        assert (first["deleted"], first["hasMore"]) == (0, True)
        assert clean(api, **body) == first
        answers = [first]
        while answers[-1]["hasMore"]:
            answers.append(clean(api, **body, cursor=answers[-1]["nextCursor"]))
        assert sum(answer["deleted"] for answer in answers) == len(old)
        assert set(ids(api, topic)) == {str(job.id) for job in young}

    def test_a_key_whose_message_was_removed_tells_its_acceptance(self, api: Service, topic: str) -> None:
        body = {"topic": topic, "payload": {"n": 1}, "idempotencyKey": f"key of {topic}"}
        accepted = api.post("/mq/message/publish", body).json
        poll(api, topic)
        api.post("/mq/message/complete", {"id": accepted["id"]})
        clean(api, topic=topic)
        api.clock.move(1_000)
        assert api.post("/mq/message/publish", body).json == accepted
        assert api.post("/mq/message/publish-batch", {"messages": [body]}).json["results"][0]["message"] == accepted
        assert poll(api, topic) == []

    def test_tasks_are_left_alone(self, api: Service, topic: str) -> None:
        task = place(api.yard, job_of(api.yard, kind="task", type=topic, state=State.SUCCESS))
        assert clean(api, topic=topic)["deleted"] == 0
        assert api.get("/api/task/detail", {"id": str(task.id)}).status == 200

    @pytest.mark.parametrize(
        ("body", "status", "field", "expected"),
        [
            ({"status": "PENDING"}, 422, "status", "'COMPLETED' or 'FAILED'"),
            ({"status": "PROCESSING"}, 422, "status", "'COMPLETED' or 'FAILED'"),
            ({"status": "completed"}, 422, "status", "'COMPLETED' or 'FAILED'"),
            ({"olderThan": "yesterday"}, 422, "olderThan", None),
            ({"topic": ""}, 422, "topic", None),
            ({"cursor": "x"}, 400, "cursor", "the nextCursor of an answer to the same list with the same filters"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(
        self, api: Service, body: dict[str, Any], status: int, field: str, expected: str | None
    ) -> None:
        found = problem(api.post("/mq/queue/cleanup", body))
        assert found[:2] == (status, field)
        assert expected in (None, found[2])


class TestReplayOfATopic:
    def test_the_oldest_first_and_again_for_more(
        self, api: Service, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        letters = [dead_letter(api, topic, {"n": n})["id"] for n in range(5)]
        other = dead_letter(api, f"{topic}.b")["id"]
        api.post("/mq/dlq/replay", {"id": letters[1]})
        monkeypatch.setattr("chalicelib.api.mq.dead_letters.REPLAYS_MAX", 3)
        first = api.post("/mq/dlq/replay", {"topic": topic}).json
        assert (first["replayed"], first["failed"], first["hasMore"]) == (3, 0, True)
        assert [result["id"] for result in first["results"]] == [letters[0], letters[2], letters[3]]
        assert all(result["success"] and "error" not in result for result in first["results"])
        again = api.post("/mq/dlq/replay", {"topic": topic}).json
        assert ([result["id"] for result in again["results"]], again["hasMore"]) == ([letters[4]], False)
        assert api.post("/mq/dlq/replay", {"topic": topic}).json == {
            "replayed": 0,
            "failed": 0,
            "hasMore": False,
            "results": [],
        }
        assert {message["payload"]["n"] for message in poll(api, topic)} == {0, 1, 2, 3, 4}
        left = api.get("/mq/dlq/list", {"replayed": False, "topic": f"{topic}.b"}).json["pageData"]
        assert [letter["id"] for letter in left] == [other]

    def test_one_that_cannot_be_replayed_is_counted(self, api: Service, topic: str) -> None:
        first, second = (dead_letter(api, topic)["id"] for _ in range(2))
        replay = lifecycle.replay

        def taken(yard: Yard, job_id: int) -> Job:
            if job_id == int(first):
                replay(yard, job_id)  # somebody else is a moment faster
            return replay(yard, job_id)

        with patch.object(lifecycle, "replay", taken):
            found = api.post("/mq/dlq/replay", {"topic": topic}).json
        assert (found["replayed"], found["failed"], found["hasMore"]) == (1, 1, False)
        assert found["results"][0] == {
            "id": first,
            "success": False,
            "error": f"dead letter {first} was replayed already, as message {api.job(first).replayed_as}",
        }
        assert (found["results"][1]["id"], found["results"][1]["success"]) == (second, True)

    def test_a_replay_of_a_replay(self, api: Service, topic: str) -> None:
        first = dead_letter(api, topic)["id"]
        for _ in range(2):
            second = api.post("/mq/dlq/replay", {"topic": topic}).json["results"][0]["messageId"]
            trace_id = next(message for message in listed(api, topic=topic) if message["id"] == second)["traceId"]
            (story, *_) = api.get("/mq/trace/detail", {"traceId": trace_id}).json
            assert (story["event"], story["detail"]) == ("REPLAYED", {"originalId": first, "deadLetterId": first})
            poll(api, topic)
            assert api.post("/mq/message/fail", {"id": second}).json["status"] == "FAILED"
            first = second
        letters = api.get("/mq/dlq/list", {"topic": topic}).json["pageData"]
        assert [letter["replayed"] for letter in letters] == [False, True, True]


def objects(api: Service) -> list[str]:
    answer = aws.client("s3").list_objects_v2(Bucket=api.yard.settings.objects_bucket)
    return [entry["Key"] for entry in answer.get("Contents", [])]


def uid(api: Service, message: dict[str, Any]) -> str:
    return api.job(message["id"]).uid
