"""kue's ``POST /job``, by the examples of its documentation and by what kue 0.11.6 was seen to answer."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import aws
from chalicelib.core.retry import Exponential, Fixed, Named
from tests.support.kue import created, shown
from tests.support.service import Service
from tests.support.steps import failing
from tests.support.tasks import detail

EMAIL = {"title": "welcome email for tj", "to": "tj@learnboost.com", "template": "welcome-email"}
FOLLOW_UP = {"title": "followup email for tj", "to": "tj@learnboost.com", "template": "followup-email"}
NO_TYPE = {"error": "Must provide job type"}


class TestOne:
    def test_the_documented_job(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, EMAIL, attempts=5, priority="high")
        at_ms = str(api.clock.ms)
        assert shown(api, job_id) == {
            "id": job_id,
            "type": kind,
            "data": EMAIL,
            "priority": -10,
            "progress": 0,
            "state": "inactive",
            "created_at": at_ms,
            "promote_at": at_ms,
            "updated_at": at_ms,
            "attempts": {"made": 0, "remaining": 5, "max": 5},
        }

    def test_it_is_a_task_like_any_other(self, api: Service, kind: str) -> None:
        options = {"attempts": 5, "priority": "high", "searchKeys": ["to", "title"]}
        task = detail(api, created(api, kind, EMAIL, **options))
        assert (task["type"], task["input"], task["options"]) == (kind, EMAIL, options)
        assert (task["runnerType"], task["status"], task["priority"], task["maxRetries"]) == (
            "system",
            "pending",
            10,
            4,
        )
        assert (task["targetId"], task["targetType"]) == (None, None)

    def test_a_delay(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, EMAIL, delay=86_400)
        job, made_ms = shown(api, job_id), api.clock.ms
        assert (job["state"], job["delay"], job["promote_at"]) == ("delayed", "86400", str(made_ms + 86_400))
        api.clock.move(86_400)
        job = shown(api, job_id)
        assert (job["state"], job["delay"], job["promote_at"]) == ("inactive", "86400", str(made_ms + 86_400))

    @pytest.mark.parametrize(
        ("priority", "told", "engine"),
        [
            ("low", 10, -10),
            ("normal", 0, 0),
            ("medium", -5, 5),
            ("high", -10, 10),
            ("critical", -15, 15),
            (3, 3, -3),
            ("-7", -7, 7),
            (2.7, 2, -2),
            ("", 0, 0),
            (None, 0, 0),
        ],
    )
    def test_priorities(self, api: Service, kind: str, priority: Any, told: int, engine: int) -> None:
        job_id = created(api, kind, priority=priority)
        assert (shown(api, job_id)["priority"], api.job(job_id).priority) == (told, engine)

    @pytest.mark.parametrize("priority", ["urgent", 1_001, "-1001", True])
    def test_no_priority(self, api: Service, kind: str, priority: Any) -> None:
        reply = api.post("/job", {"type": kind, "options": {"priority": priority}})
        assert (reply.status, reply.json) == (400, {"error": "invalid priority"})

    @pytest.mark.parametrize(
        ("attempts", "most"), [(5, 5), ("5", 5), (0, 1), (None, 1), ("many", 1), (-2, 1), (2.9, 2), (100, 100)]
    )
    def test_attempts(self, api: Service, kind: str, attempts: Any, most: int) -> None:
        job = shown(api, created(api, kind, attempts=attempts))
        assert job["attempts"] == {"made": 0, "remaining": most, "max": most}

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, Fixed(0)),
            ({"delay": 1_500, "backoff": True}, Fixed(1_500)),
            ({"backoff": True}, Fixed(0)),
            ({"backoff": {"delay": 60_000, "type": "fixed"}}, Fixed(60_000)),
            ({"backoff": {"delay": "60000"}}, Fixed(60_000)),
            ({"delay": 1_000, "backoff": {"type": "exponential"}}, Exponential(2_000, 30 * 86_400_000)),
            ({"backoff": {"type": "exponential", "delay": 500, "maxDelay": 4_000}}, Exponential(1_000, 4_000)),
            ({"backoff": "weekdays"}, Named("weekdays")),
        ],
    )
    def test_backoffs(self, api: Service, kind: str, options: dict[str, Any], expected: object) -> None:
        if expected == Named("weekdays"):
            reply = api.post("/job", {"type": kind, "options": options})
            assert reply.status == 400
            assert "weekdays" in reply.json["error"]
            return
        assert api.job(created(api, kind, **options)).backoff == expected

    def test_a_handler_that_says_how_often_and_when_is_heard(self, api: Service) -> None:
        job = api.job(created(api, "patient"))
        assert (job.max_attempts, job.backoff, job.timeout_ms) == (2, None, None)
        job = api.job(created(api, "patient", attempts=7, backoff=True, ttl=1_500))
        assert (job.max_attempts, job.backoff, job.timeout_ms) == (7, Fixed(0), 1_500)

    def test_the_rest_of_the_options(self, api: Service, kind: str) -> None:
        job_id = created(api, kind, ttl="1500", removeOnComplete=1, delay="soon", unknown=[1])
        assert (shown(api, job_id)["ttl"], api.job(job_id).remove_on_complete) == ("1500", True)
        assert "delay" not in shown(api, job_id)

    @pytest.mark.parametrize("data", [0, "", None, False, {}])
    def test_no_data_is_an_empty_object(self, api: Service, kind: str, data: Any) -> None:
        assert shown(api, created(api, kind, data))["data"] == {}

    @pytest.mark.parametrize("data", ["text", 7, [1, {"a": None}], True, {"é": "\U0001f600", "n": 0}, "x" * 300_000])
    def test_any_data(self, api: Service, kind: str, data: Any) -> None:
        assert shown(api, created(api, kind, data))["data"] == data

    @pytest.mark.parametrize(("given", "kept"), [(7, "7"), (True, "true"), ("a/b c", "a/b c"), ("邮件", "邮件")])
    def test_a_type_is_made_text(self, api: Service, given: Any, kept: str) -> None:
        reply = api.post("/job", {"type": given})
        assert shown(api, str(reply.json["id"]))["type"] == kept

    @pytest.mark.parametrize("order", [{"data": EMAIL}, {"type": ""}, {"type": None}, {"type": False}, {"type": ["a"]}])
    def test_without_a_type(self, api: Service, order: dict[str, Any]) -> None:
        reply = api.post("/job", order)
        assert (reply.status, reply.json) == (400, NO_TYPE)

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]"])
    def test_nothing(self, api: Service, content: bytes) -> None:
        reply = api.post("/job", content)
        assert (reply.status, reply.text) == (204, "")

    @pytest.mark.parametrize(("content", "status"), [(b"{", 400), (b'"email"', 400), (b"7", 400), (b"null", 204)])
    def test_what_is_no_order(self, api: Service, content: bytes, status: int) -> None:
        assert api.post("/job", content).status == status

    def test_a_form_is_refused_rather_than_passed_over(self, api: Service) -> None:
        reply = api.post("/job", b"type=email", Content_Type="application/x-www-form-urlencoded")
        assert reply.status == 415
        assert "application/json" in reply.json["error"]

    def test_options_of_the_wrong_kind_name_the_field(self, api: Service, kind: str) -> None:
        reply = api.post("/job", {"type": kind, "options": {"searchKeys": [7]}})
        assert reply.status == 400
        assert reply.json["error"].startswith("searchKeys")

    def test_too_much(self, api: Service, kind: str) -> None:
        assert api.post("/job", {"type": kind, "data": "x" * 5_300_000}).status == 413

    def test_an_idempotency_key(self, api: Service, kind: str) -> None:
        order = {"type": kind, "data": EMAIL}
        first, again = (api.post("/job", order, Idempotency_Key=f"one {kind}").json for _ in range(2))
        assert first == again
        other = api.post("/job", {"type": kind}, Idempotency_Key=f"one {kind}")
        assert (other.status, "Idempotency" in other.json["error"] or "idempotency" in other.json["error"]) == (
            409,
            True,
        )


class TestMany:
    def test_the_documented_list(self, api: Service, kind: str) -> None:
        orders = [
            {"type": kind, "data": EMAIL, "options": {"attempts": 5, "priority": "high"}},
            {"type": kind, "data": FOLLOW_UP, "options": {"delay": 86_400, "attempts": 5, "priority": "high"}},
        ]
        reply = api.post("/job", orders)
        assert reply.status == 200
        first, second = (entry["id"] for entry in reply.json)
        assert reply.json == [{"message": "job created", "id": first}, {"message": "job created", "id": second}]
        assert first < second
        assert [shown(api, str(made))["data"] for made in (first, second)] == [EMAIL, FOLLOW_UP]

    def test_a_bad_entry_among_good_ones(self, api: Service, kind: str) -> None:
        orders = [
            {"type": kind},
            {"data": EMAIL},
            7,
            "text",
            [],
            {"type": kind, "options": {"priority": "x"}},
            {"type": kind},
        ]
        reply = api.post("/job", orders)
        assert reply.status == 400
        first, *bad, last = reply.json
        assert bad == [NO_TYPE, NO_TYPE, NO_TYPE, NO_TYPE, {"error": "invalid priority"}]
        assert [shown(api, str(made["id"]))["state"] for made in (first, last)] == ["inactive", "inactive"]

    def test_in_order_and_once_under_a_key(self, api: Service, kind: str) -> None:
        orders = [{"type": kind, "data": place} for place in range(1, 41)]
        first = api.post("/job", orders, Idempotency_Key=f"many {kind}").json
        again = api.post("/job", orders, Idempotency_Key=f"many {kind}").json
        assert first == again
        listed = api.get(f"/jobs/{kind}/0..99").json
        assert [job["data"] for job in listed] == list(range(1, 41))
        assert [job["id"] for job in listed] == [entry["id"] for entry in first]

    def test_what_aws_does_not_take_is_told_as_an_outage(self, api: Service, kind: str) -> None:
        orders = [{"type": kind, "data": "x" * size} for size in (1, 300_000)]
        created(api, kind)  # the bucket is known by now
        with failing(aws.client("s3"), "PutObject"):
            reply = api.post("/job", orders, Idempotency_Key=f"cut {kind}")
        assert reply.status == 503
        good, bad = reply.json
        assert (good["message"], "try again" in bad["error"]) == ("job created", True)
        again = api.post("/job", orders, Idempotency_Key=f"cut {kind}")
        assert (again.status, again.json[0]) == (200, good)

    def test_an_option_out_of_range_is_named_as_it_was_written(self, api: Service, kind: str) -> None:
        error = "this value is out of range; attempts: expected at most 100 attempts, got 1000"
        assert api.post("/job", {"type": kind, "options": {"attempts": 1_000}}).json == {"error": error}

    def test_what_is_wrong_is_said_once(self, api: Service, kind: str) -> None:
        reply = api.post("/job", {"type": kind, "options": 5})
        assert (reply.status, reply.json) == (400, {"error": "the options: expected an object, got 5"})

    def test_too_many(self, api: Service, kind: str) -> None:
        reply = api.post("/job", [{"type": kind}] * 2_001)
        assert reply.status == 413
        assert "at most 2000" in reply.json["error"]
        assert api.get(f"/jobs/{kind}/0..0").json == []
