"""System tasks over HTTP, the worker driven by hand."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.engine.worker.claim import claim, opened
from chalicelib.store.transitions.running import Lease
from tests.support.service import Service
from tests.support.tasks import POOL, as_listed, create, detail, ids, listed, system


class TestRuns:
    def test_a_success(self, api: Service) -> None:
        task = system(api, {"answer": 42})
        created_at = api.now()
        api.clock.move(30)
        assert api.work(POOL) == []
        assert detail(api, task["id"]) == {
            **task,
            "status": "success",
            "progress": 100.0,
            "output": {"answer": 42},
            "attempts": 1,
            "startedAt": api.now(),
            "completedAt": api.now(),
            "createdAt": created_at,
            "updatedAt": api.now(),
            "log": [],
            "console": [],
        }

    @pytest.mark.parametrize("size", [10, 3_000, 300_000])
    def test_outputs_of_any_size(self, api: Service, size: int, target: str) -> None:
        task = system(api, {"text": "ü" * size}, target)
        api.work(POOL)
        assert detail(api, task["id"])["output"] == {"text": "ü" * size}
        (shown,) = listed(api, {"filter.targetId": target})
        assert shown["output"] == ({"text": "ü" * size} if size == 10 else None)  # lists show small ones only
        assert shown["status"] == "success"

    def test_a_failure_is_tried_again_after_the_documented_backoff(self, api: Service) -> None:
        task = system(api, {"fail": "no good"}, maxRetries=3)
        for retry, wait_s in enumerate([5, 10, 20], start=1):
            assert len(api.work(POOL)) == 1
            now = detail(api, task["id"])
            assert (now["status"], now["retryCount"], now["attempts"]) == ("pending", retry, retry)
            assert (now["error"]["type"], now["error"]["message"]) == ("ValueError", "no good")
            assert now["error"]["where"].startswith("scripted.py:")
            assert now["completedAt"] is None
            api.clock.move(wait_s * 1_000 - 1)
            assert api.work(POOL) == []
            assert detail(api, task["id"])["attempts"] == retry
            api.clock.move(1_001)
        assert api.work(POOL) == []
        dead = detail(api, task["id"])
        assert (dead["status"], dead["retryCount"], dead["attempts"], dead["completedAt"]) == (
            "failed",
            3,
            4,
            api.now(),
        )
        assert dead["output"] is None

    @pytest.mark.parametrize(
        ("backoff", "delay_s", "waits_ms"),
        [
            (True, 3, [3_000, 3_000]),
            (True, 0, [0, 0]),
            ({"delay": 2_000, "type": "fixed"}, 3, [2_000, 2_000]),
            ({"delay": 1_000, "type": "exponential"}, 0, [2_000, 4_000]),
            ({"type": "exponential"}, 1.5, [3_000, 6_000]),
            ("by.sevens", 0, [7_000, 14_000]),
        ],
        ids=str,
    )
    def test_a_backoff_of_its_own(self, api: Service, backoff: Any, delay_s: float, waits_ms: list[int]) -> None:
        task = system(api, {"fail": "no"}, backoff=backoff, delay=delay_s, maxRetries=2)
        wait_ms = round(delay_s * 1_000)
        for next_wait_ms in waits_ms:
            api.clock.move(wait_ms + 1_000)
            api.work(POOL)
            job = api.job(task["id"])
            assert (job.state, job.due_at_ms - job.updated_at_ms) == ("pending", next_wait_ms)
            wait_ms = next_wait_ms
        api.clock.move(wait_ms + 1_000)
        api.work(POOL)
        assert detail(api, task["id"])["status"] == "failed"

    def test_a_script_of_its_type(self, api: Service) -> None:
        for script, output in ((None, "index of 7"), ("nightly_2-b", "nightly of 7")):
            task = create(api, "flow.scripts", runnerType="system", input=7, scriptName=script)
            api.work(POOL)
            shown = detail(api, task["id"])
            assert (shown["scriptName"], shown["output"]) == (script or "index", output)

    def test_polls(self, api: Service, target: str) -> None:
        answers = [
            {"result": "pending", "message": "one", "progress": 10, "data": {"n": 1}},
            {"result": "later", "progress": 40.5},
            {"result": "success", "data": {"n": 3}, "message": "there"},
        ]
        task = create(api, "flow.polled", target, runnerType="system", input=answers, maxRetries=0)
        found = []
        for answer in answers:
            api.work(POOL)
            found.append({**answer, "time": api.now()})
            shown = detail(api, task["id"])
            assert (shown["pollCount"], shown["pollResults"]) == (len(found), found)
            assert (shown["attempts"], shown["retryCount"]) == (len(found), 0)
            api.clock.move(2_001)
        assert (shown["status"], shown["output"], shown["progress"]) == ("success", {"n": 3}, 100.0)
        (in_list,) = listed(api, {"filter.targetId": target})
        assert (in_list["pollCount"], in_list["pollResults"]) == (3, None)

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            ({"result": "failed", "message": "gone"}, ("PollFailed", "gone")),
            ({"result": "no"}, ("PolledTooOften", "polled 3 times without an end")),
        ],
    )
    def test_polls_that_come_to_nothing(self, api: Service, answer: dict[str, Any], error: tuple[str, str]) -> None:
        task = create(api, "flow.polled", runnerType="system", input=[answer] * 3, maxRetries=0)
        for _ in range(3):
            api.work(POOL)
            api.clock.move(2_001)
        shown = detail(api, task["id"])
        assert (shown["status"], shown["error"]["type"], shown["error"]["message"]) == ("failed", *error)

    def test_a_task_that_parks_itself(self, api: Service) -> None:
        context = {"tenant": "a", "n": 1}
        task = create(api, "flow.parked", runnerType="system", context=context, input={"n": 2, "secret": "s"})
        api.work(POOL)
        shown = detail(api, task["id"])
        assert (shown["status"], shown["context"], shown["completedAt"]) == ("waiting", {"tenant": "a", "n": 2}, None)
        assert shown["log"] == [{"data": {"given": "with a context"}, "message": "parked", "time": api.now()}]
        (in_list,) = listed(api, {"filter.id": task["id"], "filter.status": "waiting"})
        assert in_list == as_listed(shown)
        assert api.post("/api/task/cancel", {"id": task["id"]}).json == {}
        assert detail(api, task["id"])["status"] == "canceled"

    @pytest.mark.parametrize(("given", "status"), [("fine", "success"), ("refuse", "failed")])
    def test_its_completion_handler_has_the_last_word(self, api: Service, given: str, status: str) -> None:
        task = create(api, "flow.reported", runnerType="system", input=given)
        api.work(POOL)
        shown = detail(api, task["id"])
        assert (shown["status"], shown["output"], shown["attempts"]) == (status, given, 1)
        assert [entry["data"] for entry in shown["log"]] == [given]

    def test_a_success_after_a_failure_forgets_the_error(self, api: Service) -> None:
        task = system(api, {"fail": "not yet", "until": 1})
        api.work(POOL)
        api.clock.move(5_001)
        api.work(POOL)
        now = detail(api, task["id"])
        assert (now["status"], now["error"], now["retryCount"], now["attempts"]) == ("success", None, 1, 2)

    def test_a_handler_s_own_backoff_and_attempts(self, api: Service) -> None:
        task = create(api, "patient", runnerType="system", input={"fail": "no"})
        assert len(api.work("patient")) == 1
        api.clock.move(1_999)
        assert api.work("patient") == []
        api.clock.move(1_001)
        assert api.work("patient") == []
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["attempts"]) == ("failed", 2)

    def test_progress_is_kept_when_it_fails(self, api: Service) -> None:
        task = system(api, {"progress": [1, 4, "one of four"], "reject": "stop"})
        api.work(POOL)
        now = detail(api, task["id"])
        assert (now["status"], now["progress"], now["msg"]) == ("failed", 25.0, "one of four")
        assert now["progressDetail"] == {"current": 1, "total": 4, "message": "one of four"}
        assert now["error"]["message"] == "stop"

    def test_a_handler_that_is_gone_is_told(self, api: Service) -> None:
        task = system(api, 1)
        with pytest.MonkeyPatch.context() as without:
            without.delitem(api.yard.handlers.scripts, ("scripted", "index"))  # type: ignore[arg-type]
            assert api.work(POOL) == []
        error = detail(api, task["id"])["error"]
        assert error["type"] == "NoHandler"
        assert "no handler for 'scripted' is deployed" in error["message"]

    def test_a_silent_worker_makes_it_recoverable(self, api: Service) -> None:
        task = system(api, 1)
        (message,) = api.receive(POOL)
        claim(api.yard, opened(message.text), Lease("0" * 16, api.clock.ms + 60_000, "gone"))
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["recoverable"]) == ("running", False)
        api.clock.move(60_001)
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["recoverable"]) == ("running", True)
        api.yard.transport.hide([message], 0)
        api.clock.move(1)
        api.work(POOL)
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["recoverable"]) == ("success", False)

    def test_a_delayed_task_starts_when_it_is_due(self, api: Service) -> None:
        task = system(api, 1, delay=30)
        assert task["startTime"] == api.now(30_000)
        assert api.work(POOL) == []
        api.clock.move(29_999)
        assert api.work(POOL) == []
        assert detail(api, task["id"])["attempts"] == 0
        api.clock.move(1_001)
        api.work(POOL)
        assert detail(api, task["id"])["status"] == "success"

    def test_larger_priorities_run_first(self, api: Service) -> None:
        tasks = [system(api, n, priority=priority) for n, priority in enumerate([0, 4, 2])]
        api.clock.move(1)
        api.work(POOL, most=10)
        started = {task["id"]: api.job(task["id"]) for task in tasks}
        order = sorted(started, key=lambda task_id: started[task_id].lease_until_ms or 0)
        assert set(order) == set(ids(tasks))
        assert all(job.state == "success" for job in started.values())

    def test_a_child_starts_after_its_parent(self, api: Service) -> None:
        parent = system(api, "parent")
        child = system(api, "child", parentTaskId=parent["id"])
        assert child["parentTaskId"] == parent["id"]
        api.work(POOL, most=1)
        assert detail(api, parent["id"])["status"] == "success"
        assert detail(api, child["id"])["status"] == "pending"
        api.work(POOL)
        assert (detail(api, child["id"])["status"], detail(api, child["id"])["output"]) == ("success", "child")
        late = system(api, "late", parentTaskId=int(parent["id"]))
        api.work(POOL)
        assert detail(api, late["id"])["status"] == "success"


class TestTheExamples:
    def test_the_statistics_of_a_text(self, api: Service) -> None:
        text = "to be or not to be\n"
        task = create(api, "text.statistics", runnerType="system", input={"text": text, "top": 2})
        api.work(POOL)
        assert detail(api, task["id"])["output"] == {
            "lines": 1,
            "words": 6,
            "bytes": 19,
            "mostFrequent": [{"word": "be", "count": 2}, {"word": "to", "count": 2}],
        }

    def test_an_export(self, api: Service) -> None:
        rows = [{"a": 1, "b": "=2+3"}, {"a": None, "c": True}]
        task = create(api, "documents.export", runnerType="system", input={"rows": rows, "name": "my rows"})
        api.work(POOL)
        output = detail(api, task["id"])["output"]
        assert (output["rows"], output["columns"]) == (2, ["a", "b", "c"])
        found = api.yard.objects.get_object(Bucket=api.yard.settings.objects_bucket, Key=output["key"])["Body"].read()
        assert found.decode() == "a,b,c\r\n1,'=2+3,\r\n,,True\r\n"
        assert output["bytes"] == len(found)
