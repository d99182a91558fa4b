"""Completing, canceling, retrying and deleting tasks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service import Service
from tests.support.tasks import POOL, create, detail, listed, problem, system


class TestComplete:
    def test_a_success(self, api: Service, kind: str) -> None:
        task = create(api, kind)
        api.clock.move(90)
        body = {"id": task["id"], "status": "success", "output": {"n": [1]}, "msg": "by hand", "userId": "u-9"}
        reply = api.post("/api/task/complete", {**body, "error": "is not kept"})
        assert (reply.status, reply.json) == (200, {})
        assert detail(api, task["id"]) == {
            **task,
            "status": "success",
            "progress": 100.0,
            "output": {"n": [1]},
            "msg": "by hand",
            "completedUserId": "u-9",
            "completedAt": api.now(),
            "updatedAt": api.now(),
            "log": [],
            "console": [],
        }
        assert problem(api.post("/api/task/complete", body)) == (409, "id", "pending or running or waiting", "success")

    def test_a_failure(self, api: Service, kind: str) -> None:
        task = create(api, kind)
        api.clock.move(90)
        body = {"id": int(task["id"]), "status": "failed", "error": "no stock", "output": "half of it"}
        assert api.post("/api/task/complete", body).json == {}
        assert detail(api, task["id"]) == {
            **task,
            "status": "failed",
            "output": "half of it",
            "error": {"type": "Failed", "message": "no stock", "where": None},
            "cause": "consumer",
            "completedAt": api.now(),
            "updatedAt": api.now(),
            "log": [],
            "console": [],
        }
        api.post("/api/task/retry", {"id": task["id"]})
        again = detail(api, task["id"])
        assert [again[name] for name in ("status", "error", "cause", "completedAt", "completedUserId")] == [
            "pending",
            *[None] * 4,
        ]

    def test_a_system_task_is_not_run_any_more(self, api: Service) -> None:
        task = system(api, 1)
        assert api.post("/api/task/complete", {"id": task["id"], "status": "success", "output": 2}).json == {}
        assert api.work(POOL) == []
        now = detail(api, task["id"])
        assert (now["status"], now["output"], now["attempts"], now["startedAt"]) == ("success", 2, 0, None)

    @pytest.mark.parametrize(
        ("output", "status", "error"), [("fine", "success", None), ("refuse", "failed", "nobody wants this result")]
    )
    def test_its_completion_handler_has_the_last_word(
        self, api: Service, output: str, status: str, error: str | None
    ) -> None:
        task = create(api, "flow.reported")
        body = {"id": task["id"], "status": "success", "output": output, "userId": "u-1", "msg": "by hand"}
        assert api.post("/api/task/complete", body).json == {}
        assert problem(api.post("/api/task/complete", body))[::3] == (409, "being completed")
        api.work(POOL)
        now = detail(api, task["id"])
        assert [now[name] for name in ("status", "output", "completedUserId", "msg", "attempts")] == [
            status,
            output,
            "u-1",
            "by hand",
            1,
        ]
        assert (now["error"] or {}).get("message") == error
        assert [(entry["message"], entry["data"]) for entry in now["log"]] == [("reported", output)]

    def test_what_follows_it_is_created(self, api: Service, kind: str, target: str) -> None:
        follow_up = {"type": kind, "runnerType": "manual", "options": {"o": 1}, "maxRetries": 0, "priority": 3}
        task = create(api, kind, target, userId="u-2", next=follow_up)
        api.post("/api/task/complete", {"id": task["id"], "status": "success", "output": {"made": 1}})
        (next_task,) = [found for found in listed(api, {"filter.targetId": target}) if found["id"] != task["id"]]
        told = {name: next_task[name] for name in ("type", "input", "options", "createdUserId", "targetType", "next")}
        assert told == {
            "type": kind,
            "input": {"made": 1},
            "options": {"o": 1},
            "createdUserId": "u-2",
            "targetType": "document",
            "next": None,
        }
        assert (next_task["status"], next_task["maxRetries"], next_task["priority"]) == ("pending", 0, 3)

    def test_one_that_is_removed_on_success(self, api: Service, kind: str) -> None:
        ends = {}
        for status in ("failed", "success"):
            task = create(api, kind, removeOnComplete=True)
            api.post("/api/task/complete", {"id": task["id"], "status": status})
            ends[status] = api.get("/api/task/detail", {"id": task["id"]}).status
        assert ends == {"failed": 200, "success": 404}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"status": "done"}, "status"),
            ({"status": "canceled"}, "status"),
            ({"status": None}, "status"),
            ({"id": None}, "id"),
            ({"error": 7}, "error"),
            ({"userId": ""}, "userId"),
        ],
    )
    def test_what_is_wrong_is_told(self, api: Service, kind: str, change: dict[str, Any], field: str) -> None:
        task = create(api, kind)
        body = {"id": task["id"], "status": "success", **change}
        assert problem(api.post("/api/task/complete", body))[:2] == (422, field)
        assert detail(api, task["id"])["status"] == "pending"
        assert api.post("/api/task/complete", {"id": "999999999", "status": "success"}).status == 404


class TestCancel:
    def test_a_pending_task_does_not_run(self, api: Service) -> None:
        task = system(api, 1)
        api.clock.move(10)
        reply = api.post("/api/task/cancel", {"id": task["id"]})
        assert (reply.status, reply.json) == (200, {})
        canceled = {
            **task,
            "status": "canceled",
            "completedAt": api.now(),
            "updatedAt": api.now(),
            "log": [],
            "console": [],
        }
        assert detail(api, task["id"]) == canceled
        assert api.work(POOL) == []
        assert detail(api, task["id"]) == canceled
        assert api.receive(POOL) == []

    def test_on_a_task_that_is_done_it_does_nothing(self, api: Service) -> None:
        task = system(api, 1)
        api.work(POOL)
        done = detail(api, task["id"])
        api.clock.move(10)
        assert api.post("/api/task/cancel", {"id": int(task["id"])}).json == {}
        assert detail(api, task["id"]) == done

    @pytest.mark.parametrize("task_id", ["999999999", "abc", 0, -1, 2**60])
    def test_an_id_of_nobody_is_not_found(self, api: Service, task_id: Any) -> None:
        assert api.post("/api/task/cancel", {"id": task_id}).status == 404
        assert api.post("/api/task/retry", {"id": task_id}).status == 404

    def test_an_id_is_needed(self, api: Service) -> None:
        for body, got, remedy in (
            ({}, "none of them", "say what is meant"),
            ({"id": "1", "type": "x"}, "id and type", "leave out what is not meant"),
            ({"targetId": "1", "type": "x"}, "targetId and type", "give what is missing, or leave out the others"),
            ({"targetType": "x"}, "targetType", "give what is missing, or leave out the others"),
        ):
            reply = api.post("/api/task/cancel", body)
            expected = "either id, or targetId, targetType and type together"
            assert (*problem(reply), reply.json["remedy"]) == (422, "body", expected, got, remedy)

    def test_all_of_a_type_about_one_target(self, api: Service, kind: str, target: str) -> None:
        ours = [create(api, kind, target)["id"] for _ in range(3)]
        others = [
            create(api, f"{kind}.other", target)["id"],
            create(api, kind, f"{target}.other")["id"],
            create(api, kind, target, targetType="other")["id"],
        ]
        done = create(api, kind, target)["id"]
        api.post("/api/task/complete", {"id": done, "status": "success"})
        about = {"targetId": target, "targetType": "document", "type": kind}
        for _ in range(2):
            assert api.post("/api/task/cancel", about).json == {}
            assert [detail(api, task_id)["status"] for task_id in (*ours, *others, done)] == [
                *["canceled"] * 3,
                *["pending"] * 3,
                "success",
            ]


class TestPromote:
    def test_a_delay_is_ended_and_nothing_else_is_promoted(self, api: Service) -> None:
        task = system(api, "now", delay=86_400)
        assert api.post("/api/task/promote", {"id": task["id"]}).json == {}
        assert api.work(POOL) == []
        assert detail(api, task["id"])["status"] == "success"
        assert problem(api.post("/api/task/promote", {"id": task["id"]})) == (409, "id", "pending", "success")
        assert api.post("/api/task/promote", {"id": "9007199254740991"}).status == 404


class TestRetry:
    def test_a_failed_task_runs_again_from_the_start(self, api: Service) -> None:
        task = system(api, {"fail": "no", "until": 1}, maxRetries=0)
        api.work(POOL)
        dead = detail(api, task["id"])
        assert (dead["status"], dead["retryCount"]) == ("failed", 0)
        api.clock.move(10)

        reply = api.post("/api/task/retry", {"id": task["id"]})
        assert (reply.status, reply.json) == (200, {})
        waiting = detail(api, task["id"])
        assert (waiting["status"], waiting["error"], waiting["completedAt"], waiting["retryCount"]) == (
            "pending",
            None,
            None,
            0,
        )
        api.work(POOL)
        assert detail(api, task["id"])["status"] == "success"

    def test_a_canceled_task_too(self, api: Service) -> None:
        task = system(api, "again")
        api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"id": int(task["id"])}).json == {}
        api.work(POOL)
        done = detail(api, task["id"])
        assert (done["status"], done["output"], done["attempts"]) == ("success", "again", 1)

    def test_a_manual_task_waits_for_its_person_again(self, api: Service, kind: str) -> None:
        task = create(api, kind)
        api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"id": task["id"]}).json == {}
        assert detail(api, task["id"])["status"] == "pending"
        assert api.receive(POOL) == []

    def test_only_what_failed_or_was_canceled(self, api: Service, kind: str) -> None:
        pending = create(api, kind)
        done = system(api, 1)
        api.work(POOL)
        for task, state in ((pending, "pending"), (done, "success")):
            reply = api.post("/api/task/retry", {"id": task["id"]})
            assert problem(reply) == (409, "id", "failed or canceled, and not replayed", state)

    def test_several_whatever_becomes_of_the_others(self, api: Service, kind: str) -> None:
        first, second, live = (create(api, kind) for _ in range(3))
        for task in (first, second):
            api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"taskIds": [first["id"]]}).json == {}

        reply = api.post("/api/task/retry", {"taskIds": [live["id"], second["id"], "nobody", first["id"]]})

        assert reply.status == 409
        assert reply.json["message"].startswith("3 of 4 tasks were not retried: ")
        for named in (live["id"], "nobody", first["id"]):
            assert f"{named}: " in reply.json["message"]
        assert [detail(api, task["id"])["status"] for task in (first, second, live)] == ["pending"] * 3

    @pytest.mark.parametrize("body", [{}, {"id": "1", "taskIds": ["2"]}])
    def test_one_way_or_the_other(self, api: Service, body: Any) -> None:
        reply = api.post("/api/task/retry", body)
        assert reply.status == 422
        assert reply.json["details"][0]["expected"] == "either id or taskIds, and not both"

    @pytest.mark.parametrize("task_ids", [[], ["1"] * 101, "1", [None]])
    def test_one_to_a_hundred_ids(self, api: Service, task_ids: Any) -> None:
        assert problem(api.post("/api/task/retry", {"taskIds": task_ids}))[0] == 422


class TestDelete:
    def test_what_is_done_is_gone_with_all_it_kept(self, api: Service, kind: str) -> None:
        task_id = create(api, kind, input="x" * 5_000)["id"]
        api.post("/api/task/log", {"id": task_id, "message": "here"})
        api.post("/api/task/complete", {"id": task_id, "status": "success", "output": "x" * 5_000})
        reply = api.post("/api/task/delete", {"id": task_id})
        assert (reply.status, reply.json) == (200, {})
        assert api.get("/api/task/detail", {"id": task_id}).status == 404
        assert listed(api, {"filter.type": kind}) == []
        rows = api.yard.jobs.table.query_all("{job} = :job", {":job": int(task_id)}, consistent=True)
        assert [row["part"] for row in rows] == ["state"]

    def test_what_is_not_done_needs_force(self, api: Service) -> None:
        task_id = system(api, 1)["id"]
        refused = api.post("/api/task/delete", {"id": task_id})
        assert problem(refused) == (409, "id", "canceled or failed or success", "pending")
        assert refused.json["remedy"] == "cancel it first, or force it"
        assert api.post("/api/task/delete", {"id": task_id, "force": True}).json == {}
        assert api.work(POOL) == []
        assert api.get("/api/task/detail", {"id": task_id}).status == 404

    def test_what_is_deleted_already_is_not_found(self, api: Service, kind: str) -> None:
        task_id = create(api, kind)["id"]
        body = {"id": task_id, "force": True}
        assert [api.post("/api/task/delete", body).status for _ in range(2)] == [200, 404]
        for path in ("cancel", "retry", "promote"):
            assert api.post(f"/api/task/{path}", {"id": task_id}).status == 404

    def test_several_whatever_becomes_of_the_others(self, api: Service, kind: str) -> None:
        done, open_, canceled = (create(api, kind)["id"] for _ in range(3))
        api.post("/api/task/complete", {"id": done, "status": "failed"})
        api.post("/api/task/cancel", {"id": canceled})
        reply = api.post("/api/task/delete", {"taskIds": [done, open_, canceled, "none"]})
        assert (reply.status, reply.json["message"]) == (
            409,
            f"2 of 4 tasks were not deleted: {open_}: only a job that is done can be deleted; "
            "none: there is no task 'none'",
        )
        assert [task["id"] for task in listed(api, {"filter.type": kind})] == [open_]
        assert api.post("/api/task/delete", {"taskIds": [open_, open_], "force": True}).json == {}
        assert listed(api, {"filter.type": kind}) == []

    @pytest.mark.parametrize(
        ("body", "got"),
        [({}, "none of them"), ({"id": "1", "taskIds": ["1"]}, "id and taskIds"), ({"force": True}, "none of them")],
    )
    def test_one_way_or_the_other(self, api: Service, body: Any, got: str) -> None:
        refused = problem(api.post("/api/task/delete", body))
        assert refused == (422, "body", "either id or taskIds, and not both", got)

    def test_a_key_stands_for_the_task_after_it_was_deleted(self, api: Service, kind: str) -> None:
        first = create(api, kind, idempotencyKey=f"key of {kind}")
        api.post("/api/task/delete", {"id": first["id"], "force": True})
        assert create(api, kind, idempotencyKey=f"key of {kind}") == first
        assert listed(api, {"filter.type": kind}) == []


def test_an_error_may_be_an_object_and_a_target_a_number(api: Service, kind: str) -> None:
    task = create(api, kind, target_id=42)  # type: ignore[arg-type]
    assert task["targetId"] == "42"
    reply = api.post("/api/task/complete", {"id": task["id"], "status": "failed", "error": {"message": "no"}})
    assert reply.json == {}
    assert detail(api, task["id"])["error"]["message"] == '{"message":"no"}'
    waiting = create(api, kind, target_id="42")
    api.post("/api/task/cancel", {"targetId": 42, "targetType": "document", "type": kind})
    assert detail(api, waiting["id"])["status"] == "canceled"
    assert problem(api.post("/api/task/create", {"type": kind, "targetId": True, "targetType": "t"}))[1] == "targetId"
