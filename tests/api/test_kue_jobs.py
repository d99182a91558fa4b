"""One kue job: how it is shown through its life, and what can be done to it by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.services import installation, pauses
from tests.support.kue import created, delete, put, shown, work_off
from tests.support.service import Service
from tests.support.tasks import create, detail, problem

UPDATED = {"message": "updated state"}


def tenfold(given: int) -> int:
    return given * 10


def unknown(written: str) -> dict[str, str]:
    return {"error": f'job "{written}" doesnt exist'}


class TestShown:
    def test_a_success(self, api: Service) -> None:
        job_id, made_ms = created(api, "scripted", {"progress": [1, 3]}, attempts=2), api.clock.ms
        api.clock.move(40)
        work_off(api)
        job = shown(api, job_id)
        worker = job.pop("workerId")
        assert worker
        assert job == {
            "id": job_id,
            "type": "scripted",
            "data": {"progress": [1, 3]},
            "result": {"progress": [1, 3]},
            "priority": 0,
            "progress": "100",
            "state": "complete",
            "created_at": str(made_ms),
            "promote_at": str(made_ms),
            "updated_at": str(made_ms + 40),
            "started_at": str(made_ms + 40),
            "duration": "0",
            "attempts": {"made": 1, "remaining": 1, "max": 2},
        }
        assert list(job)[:5] == ["id", "type", "data", "result", "priority"]

    def test_failed_attempts(self, api: Service) -> None:
        job_id = created(api, "scripted", {"fail": "no good"}, attempts=2, backoff={"delay": 3_000, "type": "fixed"})
        work_off(api)
        job, failed_ms = shown(api, job_id), api.clock.ms
        assert (job["state"], job["error"], job["failed_at"]) == ("delayed", "no good", str(failed_ms))
        assert (job["attempts"], job["promote_at"]) == ({"made": 1, "remaining": 1, "max": 2}, str(failed_ms + 3_000))
        api.clock.move(3_000)
        assert shown(api, job_id)["state"] == "inactive"
        api.clock.move(1_000)  # SQS knows whole seconds
        work_off(api)
        job = shown(api, job_id)
        assert (job["state"], job["attempts"]) == ("failed", {"made": 2, "remaining": 0, "max": 2})
        assert "duration" not in job
        assert api.get(f"/job/{job_id}/log").json == ["no good", "no good"]

    def test_without_a_backoff_the_next_attempt_follows_at_once(self, api: Service) -> None:
        job_id = created(api, "scripted", {"fail": "once", "until": 1}, attempts=2)
        work_off(api)
        assert shown(api, job_id)["state"] == "inactive"
        api.clock.move(1)
        work_off(api)
        assert shown(api, job_id)["state"] == "complete"

    def test_an_overrun_is_told_in_kues_words(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, ttl=1_500)
        assert put(api, f"/job/{job_id}/state/active").json == UPDATED
        api.clock.move(63_000)
        api.tick()
        assert (shown(api, job_id)["state"], shown(api, job_id)["error"]) == ("failed", "TTL exceeded")
        assert api.get(f"/job/{job_id}/log").json == ["TTL exceeded"]

    def test_the_log(self, api: Service, kind: str) -> None:
        job_id = created(api, kind)
        for line in ({"message": "$12 sent to tj"}, {"message": "with", "data": {"a": 1}}, {"data": [1]}):
            assert api.post("/api/task/log", {"id": job_id, **line}).status == 200
            api.clock.move(1)
        assert api.get(f"/job/{job_id}/log").json == ["$12 sent to tj", 'with {"a": 1}', "[1]"]
        assert api.get("/job/999/log").json == []

    def test_a_task_of_another_dialect(self, api: Service, kind: str) -> None:
        task_id = create(api, kind, input={"to": "tj"}, priority="high", delay=60)["id"]
        job = shown(api, task_id)
        assert (job["data"], job["priority"], job["state"], job["delay"]) == ({"to": "tj"}, -10, "delayed", "60000")
        api.post("/api/task/cancel", {"id": task_id})
        assert shown(api, task_id)["state"] == "canceled"

    @pytest.mark.parametrize("written", ["999", "01", "abc", "1.0", "-1", "9" * 30])
    def test_no_job(self, api: Service, written: str) -> None:
        for reply in (
            api.get(f"/job/{written}"),
            put(api, f"/job/{written}/state/inactive"),
            put(api, f"/job/{written}/priority/1"),
            api.get(f"/inactive/{written}"),
            delete(api, f"/job/{written}"),
        ):
            assert (reply.status, reply.json) == (200, unknown(written))

    def test_a_message_is_no_job(self, api: Service, topic: str) -> None:
        message = api.post("/mq/message/publish", {"topic": topic, "payload": {"a": 1}}).json
        assert api.get(f"/job/{message['id']}").json == unknown(message["id"])


class TestStates:
    def test_a_delay_is_ended(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, delay=60_000)
        assert put(api, f"/job/{job_id}/state/delayed").json == UPDATED
        assert shown(api, job_id)["state"] == "delayed"
        assert put(api, f"/job/{job_id}/state/inactive").json == UPDATED
        assert shown(api, job_id)["state"] == "inactive"

    def test_a_failed_job_is_restarted(self, api: Service) -> None:
        job_id = created(api, "scripted", {"fail": "twice", "until": 2}, attempts=1)
        work_off(api)
        assert shown(api, job_id)["state"] == "failed"
        assert put(api, f"/job/{job_id}/state/inactive").json == UPDATED
        work_off(api)
        assert api.get(f"/inactive/{job_id}").json == {"message": f"job {job_id} inactive"}
        work_off(api)
        job = shown(api, job_id)
        assert (job["state"], job["attempts"]) == ("complete", {"made": 1, "remaining": 0, "max": 1})

    def test_complete_and_failed_by_hand(self, api: Service, kind: str) -> None:
        for state, told in (("complete", "success"), ("failed", "failed")):
            job_id = created(api, kind)
            assert put(api, f"/job/{job_id}/state/{state}").json == UPDATED
            assert (shown(api, job_id)["state"], detail(api, job_id)["status"]) == (state, told)
            again = put(api, f"/job/{job_id}/state/complete")
            assert (again.status, "not done" in again.json["error"]) == (200, True)

    def test_what_succeeded_is_not_undone(self, api: Service, kind: str) -> None:
        job_id = created(api, kind)
        put(api, f"/job/{job_id}/state/complete")
        refusal = {"error": "a job that is complete is not run again; create another one"}
        assert put(api, f"/job/{job_id}/state/inactive").json == refusal
        assert shown(api, job_id)["state"] == "complete"

    @pytest.mark.parametrize("state", ["banana", "pending", "canceled"])
    def test_other_words(self, api: Service, kind: str, state: str) -> None:
        job_id = created(api, kind)
        reply = put(api, f"/job/{job_id}/state/{state}")
        assert (reply.status, "inactive, active, complete, failed or delayed" in reply.json["error"]) == (200, True)
        assert shown(api, job_id)["state"] == "inactive"


class TestDeleted:
    @pytest.mark.parametrize("state", ["inactive", "active", "complete", "failed"])
    def test_in_every_state(self, api: Service, kind: str, state: str) -> None:
        job_id = created(api, kind)
        put(api, f"/job/{job_id}/state/{state}")
        assert delete(api, f"/job/{job_id}").json == {"message": f"job {job_id} removed"}
        for reply in (api.get(f"/job/{job_id}"), delete(api, f"/job/{job_id}")):
            assert reply.json == unknown(job_id)
        assert api.get(f"/job/{job_id}/log").json == []
        assert api.get(f"/jobs/{kind}/0..9").json == []
        work_off(api)
        assert api.get(f"/job/{job_id}").json == unknown(job_id)

    def test_the_number_is_written_as_it_came(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, delay=60_000)
        assert delete(api, f"/job/{job_id}").json == {"message": f"job {job_id} removed"}


class TestTakenElsewhere:
    """A type without a handler: a program elsewhere works on its jobs."""

    def test_one_gets_it(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, {"to": "tj"})
        assert put(api, f"/job/{job_id}/state/active").json == UPDATED
        assert (shown(api, job_id)["state"], shown(api, job_id)["workerId"]) == ("active", "elsewhere:local")
        refused = put(api, f"/job/{job_id}/state/active")
        assert refused.json == {"error": "only an inactive job can be taken, and this one is active"}
        work_off(api)
        assert shown(api, job_id)["state"] == "active"
        reply = api.post("/api/task/callback", {"id": job_id, "code": 0, "data": {"sent": 1}})
        assert reply.status == 200
        assert (shown(api, job_id)["state"], shown(api, job_id)["result"]) == ("complete", {"sent": 1})

    def test_its_time_runs_out(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, ttl=5_000, attempts=2)
        put(api, f"/job/{job_id}/state/active")
        api.clock.move(66_000)
        api.tick()
        assert (shown(api, job_id)["state"], shown(api, job_id)["attempts"]["remaining"]) == ("inactive", 1)
        assert put(api, f"/job/{job_id}/state/active").json == UPDATED

    def test_it_is_given_back(self, api: Service, kind: str) -> None:
        job_id = created(api, kind)
        put(api, f"/job/{job_id}/state/active")
        assert put(api, f"/job/{job_id}/state/inactive").json == UPDATED
        job = shown(api, job_id)
        assert (job["state"], job["attempts"]) == ("inactive", {"made": 0, "remaining": 1, "max": 1})
        assert put(api, f"/job/{job_id}/state/active").json == UPDATED

    def test_a_delayed_one_is_not_taken(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, delay=60_000)
        reply = put(api, f"/job/{job_id}/state/active")
        assert reply.json == {"error": "only an inactive job can be taken, and this one is delayed"}

    def test_the_slot_of_a_limited_type_is_free_once_it_is_done(self, api: Service) -> None:
        job_id = created(api, "scarce")
        put(api, f"/job/{job_id}/state/active")
        assert api.job(job_id).slot is True
        put(api, f"/job/{job_id}/state/complete")
        assert api.job(job_id).slot is False
        other = created(api, "scarce")
        work_off(api)
        assert shown(api, other)["state"] == "complete"


class TestWithoutHandler:
    def test_it_waits_until_its_handler_is_deployed(
        self, api: Service, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_ids = [created(api, kind, place) for place in (1, 2)]
        work_off(api)
        api.tick()
        assert [shown(api, job_id)["state"] for job_id in job_ids] == ["inactive", "inactive"]
        with installation.using(api.yard):
            assert [found.unhandled for found in pauses.paused() if found.type == kind] == [True]
        late = created(api, kind, 3)
        work_off(api)
        deployed = replace(api.yard, handlers=Registry.of([task(kind)(tenfold)]))
        monkeypatch.setattr(api.module, "yard", lambda: deployed)
        assert api.tick()["resumed_sent"] == 3
        work_off(api)
        assert [shown(api, job_id)["result"] for job_id in (*job_ids, late)] == [10, 20, 30]
        assert [pause.target for pause in api.yard.pauses.all() if pause.target == f"type#{kind}"] == []

    def test_other_dialects_refuse_it_as_before(self, api: Service, kind: str) -> None:
        body = {"type": kind, "targetId": "1", "targetType": "t", "runnerType": "system"}
        assert problem(api.post("/api/task/create", body))[:2] == (422, "type")


class TestPriority:
    def test_a_waiting_job_takes_its_new_place(self, api: Service, kind: str) -> None:
        job_id = created(api, "scripted", kind, priority="low")
        assert put(api, f"/job/{job_id}/priority/critical").json == {"message": "updated priority"}
        assert shown(api, job_id)["priority"] == -15
        work_off(api, 15)
        assert shown(api, job_id)["state"] == "complete"
        work_off(api, -10)  # the message before is void
        assert shown(api, job_id)["attempts"]["made"] == 1

    @pytest.mark.parametrize(
        ("written", "told"), [("10abc", 10), ("2.7", 2), ("%2B7", 7), ("0x10", 0), ("-15", -15), ("high", -10)]
    )
    def test_numbers_and_names(self, api: Service, kind: str, written: str, told: int) -> None:
        job_id = created(api, kind)
        assert put(api, f"/job/{job_id}/priority/{written}").json == {"message": "updated priority"}
        assert shown(api, job_id)["priority"] == told

    @pytest.mark.parametrize("written", ["urgent", "x10", "1001", "9" * 40])
    def test_no_priority(self, api: Service, kind: str, written: str) -> None:
        reply = put(api, f"/job/{created(api, kind)}/priority/{written}")
        assert (reply.status, reply.json) == (200, {"error": "invalid priority"})

    def test_in_any_state_and_a_delay_stays(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, delay=3_600_000)
        put(api, f"/job/{job_id}/priority/high")
        job = shown(api, job_id)
        assert (job["state"], job["priority"], job["delay"]) == ("delayed", -10, "3600000")
        put(api, f"/job/{job_id}/state/inactive")
        put(api, f"/job/{job_id}/state/active")
        put(api, f"/job/{job_id}/priority/low")
        assert (shown(api, job_id)["state"], shown(api, job_id)["priority"]) == ("active", 10)
        put(api, f"/job/{job_id}/state/complete")
        put(api, f"/job/{job_id}/priority/normal")
        assert (shown(api, job_id)["state"], shown(api, job_id)["priority"]) == ("complete", 0)
