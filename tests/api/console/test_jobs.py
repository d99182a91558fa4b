"""Tasks and messages in one list, counted, shown whole, and acted on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service import Service


def create(api: Service, kind: str, **more: Any) -> str:
    reply = api.post("/api/task/create", {"type": kind, "targetId": "1", "targetType": "thing", **more})
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


def publish(api: Service, topic: str, **more: Any) -> str:
    return str(api.post("/mq/message/publish", {"topic": topic, "payload": {"n": 1}, **more}).json["id"])


def ids(api: Service, **query: Any) -> list[str]:
    reply = api.get("/api/jobs", query)
    assert reply.status == 200, reply.text
    return [row["id"] for row in reply.json["items"]]


def act(api: Service, job_id: str, what: str, **more: Any) -> Any:
    return api.post(f"/api/job/{job_id}/act", {"act": what, **more})


def failed(api: Service) -> str:
    """A task that has failed for good."""
    job_id = create(api, "scripted", runnerType="system", input={"reject": "no\nway"})
    api.work("default")
    return job_id


class TestList:
    def test_both_kinds_are_one_list_newest_first(self, api: Service, kind: str) -> None:
        api.clock.move(1)
        since = api.now()
        first = create(api, kind, input={"name": "a"}, priority=3, tenant="acme", flowKey="k")
        api.clock.move(1)
        second = publish(api, kind, traceId=f"trace-{kind}")
        api.clock.move(1)
        third = create(api, f"{kind}.other")
        assert ids(api, since=since) == [third, second, first]
        assert ids(api, since=since, descending=False) == [first, second, third]
        assert ids(api, type=kind) == [second, first]
        assert ids(api, type=kind, kind="task") == [first]
        assert ids(api, since=since, kind="message") == [second]
        shown = api.get("/api/jobs", {"type": kind, "kind": "task"}).json
        assert {**shown, "items": None} == {"items": None, "nextCursor": None, "looked": None, "complete": True}
        (row,) = shown["items"]
        assert row == {
            "id": first,
            "kind": "task",
            "type": kind,
            "state": "pending",
            "priority": 3,
            "attempts": 0,
            "maxAttempts": 3,
            "progress": None,
            "error": None,
            "cause": None,
            "fingerprint": None,
            "targetType": "thing",
            "targetId": "1",
            "traceId": row["traceId"],
            "flowKey": "k",
            "tenant": "acme",
            "createdAt": since,
            "updatedAt": since,
            "dueAt": since,
            "startedAt": None,
            "completedAt": None,
            "runMs": 0,
            "worker": None,
            "leaseUntil": None,
            "recoverable": False,
            "replayed": False,
            "summary": '{"name":"a"}',
        }

    def test_pages_go_on_where_the_one_before_ended(self, api: Service, kind: str) -> None:
        made = []
        for number in range(7):
            api.clock.move(1)
            made.append(create(api, kind) if number % 2 else publish(api, kind))
        seen: list[str] = []
        cursor = None
        while True:
            query = {"type": kind, "perPage": 3, **({} if cursor is None else {"cursor": cursor})}
            page = api.get("/api/jobs", query).json
            seen += [row["id"] for row in page["items"]]
            if (cursor := page["nextCursor"]) is None:
                break
        assert seen == made[::-1]
        first = api.get("/api/jobs", {"type": kind, "perPage": 3}).json["nextCursor"]
        foreign = api.get("/api/jobs", {"type": kind, "perPage": 3, "cursor": first, "state": "failed"})
        assert (foreign.status, foreign.json["details"][0]["field"]) == (422, "cursor")

    def test_states_and_what_no_index_answers(self, api: Service, kind: str) -> None:
        waiting, canceled = create(api, kind, tenant="acme"), create(api, kind)
        message = publish(api, kind, flowKey="f")
        api.post("/api/task/cancel", {"id": canceled})
        assert ids(api, type=kind, state="canceled") == [canceled]
        assert set(ids(api, type=kind, state=["canceled", "pending"])) == {waiting, canceled, message}
        assert ids(api, type=kind, tenant="acme") == [waiting]
        assert ids(api, type=kind, flowKey="f") == [message]
        assert ids(api, type=kind, targetType="other") == []
        by_tenant = api.get("/api/jobs", {"type": kind, "tenant": "acme"}).json
        assert (by_tenant["looked"], by_tenant["complete"]) == (3, True)
        api.clock.move(1)
        api.post("/api/task/complete", {"id": waiting, "status": "success"})
        assert ids(api, type=kind, order="updatedAt")[0] == waiting

    def test_words_find_tasks_alone(self, api: Service) -> None:
        found = api.get("/api/jobs", {"text": "zebra"})
        refused = api.get("/api/jobs", {"text": "zebra", "kind": "message"})
        assert (found.status, refused.status) == (200, 422)
        assert refused.json["message"] == "messages are not searched"

    def test_they_are_counted(self, api: Service, kind: str) -> None:
        create(api, kind), publish(api, kind)
        assert api.get("/api/job/count", {"type": kind}).json == {"count": 2, "exact": True}
        assert api.get("/api/job/count", {"type": kind, "state": "failed"}).json == {"count": 0, "exact": True}
        assert api.get("/api/job/count", {"type": kind, "targetType": "thing"}).json == {"count": 1, "exact": True}


class TestDetail:
    def test_all_that_belongs_to_a_task(self, api: Service) -> None:
        context = {"secret": "s3cr3t-word", "note": "n"}
        job_id = create(api, "scripted", runnerType="system", input={"progress": [1, 4, "word"], "reject": "no\nway"},
                        context=context, next={"type": "scripted", "context": context})  # fmt: skip
        child = create(api, "scripted", runnerType="system", parentTaskId=job_id)
        published = api.now()
        api.clock.move(100)
        api.work("default")
        reply = api.get(f"/api/job/{job_id}/detail")
        assert (reply.status, "s3cr3t-word" in reply.text) == (200, False)
        shown = reply.json
        assert shown["row"]["error"] == "Reject: no"
        assert (shown["error"], shown["errorType"]) == ("no\nway", "Reject")
        assert shown["errorWhere"] == "scripted.py:23 obey"
        assert (shown["row"]["state"], shown["row"]["cause"]) == ("failed", "rejected")
        assert shown["why"]["reason"] == "failed"
        assert shown["similar"] == {"fingerprint": shown["row"]["fingerprint"], "count": 1}
        assert [(event["event"], event["at"], event["sincePreviousMs"]) for event in shown["timeline"]] == [
            ("published", published, None),
            ("started", api.now(), 100),
            ("dead", api.now(), 0),
        ]
        assert (shown["input"]["reject"], shown["inputIsLeftOut"]) == ("no\nway", False)
        assert (shown["context"], shown["next"]["context"]) == ({"note": "n"}, {"note": "n"})
        assert (shown["message"], shown["row"]["progress"]) == ("word", 25.0)
        assert [row["id"] for row in shown["children"]] == [child]
        assert shown["usage"]["attempts"] == 1
        assert shown["acts"] == ["retry", "replay", "delete", "rerun"]
        assert api.get(f"/api/job/{child}/detail").json["parent"]["id"] == job_id

    def test_what_is_in_the_bucket_is_read_on_demand(self, api: Service, topic: str) -> None:
        large = {"text": "x" * 300_000}
        job_id = str(api.post("/mq/message/publish", {"topic": topic, "payload": large}).json["id"])
        shown = api.get(f"/api/job/{job_id}/detail").json
        assert (shown["input"], shown["inputIsLeftOut"]) == (None, True)
        assert shown["row"]["summary"] is None
        whole = api.get(f"/api/job/{job_id}/detail", {"whole": True}).json
        assert (whole["input"], whole["inputIsLeftOut"]) == (large, False)
        api.yard.payloads.delete_objects([str(api.job(job_id).body_at)])
        lost = api.get(f"/api/job/{job_id}/detail", {"whole": True}).json
        assert (lost["input"], lost["lost"]) == (None, ["input"])

    @pytest.mark.parametrize("job_id", ["999999", "x", "0"])
    def test_there_is_none(self, api: Service, job_id: str) -> None:
        assert api.get(f"/api/job/{job_id}/detail").status == 404
        assert act(api, job_id, "cancel").status == 404


class TestActs:
    def test_a_failing_job_is_retried(self, api: Service) -> None:
        job_id = failed(api)
        done = act(api, job_id, "retry").json
        assert (done["id"], done["act"], done["row"]["state"], done["made"]) == (job_id, "retry", "pending", None)
        assert api.get("/api/acts").json["items"][0] == {
            "at": api.now(),
            "by": "local",
            "act": "retry",
            "on": {"kind": "task", "type": "scripted", "id": job_id},
            "detail": {},
        }
        refused = act(api, job_id, "retry")
        assert refused.status == 409
        assert refused.json["message"] == "this task is pending: retry does not apply"
        expected = "a job that has failed or was canceled, and was not replayed"
        assert refused.json["details"] == [{"field": "act", "expected": expected, "got": "pending"}]
        assert refused.json["remedy"].startswith("wait until it has failed")
        api.work("default")
        assert api.job(job_id).attempts == 2

    def test_a_dead_letter_is_replayed_once(self, api: Service) -> None:
        job_id = failed(api)
        done = act(api, job_id, "replay").json
        assert (done["row"]["id"], done["row"]["replayed"]) == (job_id, True)
        made = api.get(f"/api/job/{done['made']}/detail").json
        assert (made["replayOf"], made["input"]) == (job_id, {"reject": "no\nway"})
        assert act(api, job_id, "replay").json["details"][0]["got"] == "replayed"
        api.work("default")

    def test_it_runs_again_with_another_input(self, api: Service) -> None:
        job_id = failed(api)
        same = act(api, job_id, "rerun").json["made"]
        other = act(api, job_id, "rerun", input={"better": True}).json["made"]
        none = act(api, job_id, "rerun", input=None).json["made"]
        api.work("default")
        assert [api.job(each).state for each in (same, other, none)] == ["failed", "success", "success"]
        assert api.get(f"/api/job/{other}/detail").json["output"] == {"better": True}
        assert api.job(other).created_by == "local"
        assert api.job(other).replay_of is None

    def test_the_others(self, api: Service, kind: str, topic: str) -> None:
        later = create(api, kind, delay=60)
        assert act(api, later, "promote").json["row"]["dueAt"] == api.now()
        assert act(api, later, "promote").status == 409
        done = act(api, later, "complete", output={"a": 1}).json
        assert done["row"]["state"] == "success"
        assert act(api, later, "delete").json == {"id": later, "act": "delete", "row": None, "made": None}
        assert act(api, later, "delete").status == 404
        message = publish(api, topic)
        assert act(api, message, "complete").json["details"][0]["expected"] == "a task that is not done"
        assert act(api, message, "cancel").json["row"]["state"] == "canceled"
        wrong = create(api, kind)
        assert act(api, wrong, "complete", status="failed", output="no paper").json["row"]["error"] == "no paper"

    def test_what_stands_in_the_way_of_a_new_job_is_told(self, api: Service) -> None:
        job_id = create(api, "scarce", runnerType="system", input=1)
        assert act(api, job_id, "rerun").status == 429
