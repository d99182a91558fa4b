"""What is delivered to an application: signed, tried again step by step, and never to a receiver that asks for rest."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.access import AccessKey, digest_of, new_key
from chalicelib.core.states import State
from chalicelib.engine.worker import concurrency
from chalicelib.queue import webhooks
from tests.support.dialect_handlers.serendipity_jobs import SIMPLE_JOB
from tests.support.serendipity import Application, Receiver, application, is_signed, receiving, work_off
from tests.support.service import Service, service


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def stood(app: Application, task_id: int) -> tuple[int, str | None]:
    """The status of a task, and its error."""
    found = app.detail(task_id)
    return found["status"], found["error"]


def logged(api: Service, task_id: int) -> list[Any]:
    return [entry["data"] for entry in api.get("/api/task/log", {"id": task_id}).json["log"]]


def rest_ms(app: Application) -> int:
    """How much longer nothing is delivered to an application."""
    found = app.api.yard.applications.find(app.key)
    assert found is not None
    return max(0, found.resting_until_ms - app.api.clock.ms)


def in_vain(api: Service) -> Any:
    """A post that nobody answers for 10 s."""

    def post(*_: Any, **__: Any) -> webhooks.Reply:
        api.clock.move(10_000)
        raise webhooks.NotTaken("no answer within 10 s")

    return post


class TestSuccess:
    def test_the_content_is_posted_and_signed(self, api: Service, receiver: Receiver) -> None:
        app = application(api, receiver.url)
        task_id = app.create("1", content={"amount": 5, "for": "帅"})
        work_off(api)
        (delivered,) = receiver.seen
        assert json.loads(delivered.body) == {"data": {"amount": 5, "for": "帅"}}
        assert is_signed(delivered, app.secret)
        assert (delivered.headers["app_key"], delivered.headers["app-key"]) == (app.key, app.key)
        assert delivered.headers["timestamps"] == str(api.clock.ms // 1_000)
        assert delivered.headers["content-type"] == "application/json"
        found = app.detail(task_id)
        assert (found["status"], found["result"]) == (2, {"status": 200, "response": "success"})

    @pytest.mark.parametrize(("status", "body"), [(200, b"  success\n"), (299, b"success")])
    def test_what_counts(self, api: Service, receiver: Receiver, status: int, body: bytes) -> None:
        receiver.answer(status, body)
        app = application(api, receiver.url)
        task_id = app.create("1")
        work_off(api)
        assert stood(app, task_id) == (2, None)

    def test_while_a_rotation_goes_on_the_old_secret_signs(self, api: Service, receiver: Receiver) -> None:
        app = application(api, receiver.url)
        made = api.post("/application/rotate", {"app_key": app.key, "grace": 60}).json["data"]
        for number, secret in enumerate((app.secret, made["secretKey"])):
            Application(api, app.key, made["secretKey"], app.name).create(str(number))
            work_off(api)
            assert is_signed(receiver.newest, secret)
            api.clock.move(60_000)


class TestFailure:
    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (200, b"ok", "linkUrl answered 200 instead of success: ok"),
            (200, b"success!", "linkUrl answered 200 instead of success: success!"),
            (200, b"Success", "linkUrl answered 200 instead of success: Success"),
            (500, b"success", "linkUrl answered 500: success"),
            (302, b"success", "linkUrl answered 302: success"),
        ],
    )
    def test_what_does_not_count(self, api: Service, receiver: Receiver, status: int, body: bytes, error: str) -> None:
        receiver.answer(status, body, Location=receiver.url)
        app = application(api, receiver.url, retryTotal=0)
        task_id = app.create("1")
        work_off(api)
        assert stood(app, task_id) == (4, error)
        assert len(receiver.seen) == 1
        assert logged(api, task_id) == [{"status": status, "response": body.decode()}]

    def test_an_answer_that_goes_on_after_its_first_kilobyte(self, api: Service, receiver: Receiver) -> None:
        receiver.answer(200, b"success" + b" " * 1_100 + b"not")
        app = application(api, receiver.url, retryTotal=0)
        task_id = app.create("1")
        work_off(api)
        assert stood(app, task_id)[0] == 4

    def test_the_first_kilobyte_is_kept(self, api: Service, receiver: Receiver) -> None:
        receiver.answer(500, b"x" * 5_000)
        app = application(api, receiver.url, retryTotal=0)
        task_id = app.create("1")
        work_off(api)
        assert logged(api, task_id) == [{"status": 500, "response": "x" * 1_024}]

    def test_it_is_tried_again_step_by_step(self, api: Service, receiver: Receiver) -> None:
        """step 1: one second after the first failure, two seconds after the second."""
        receiver.answers[:] = [(500, b"no", {}), (200, b"not yet", {}), (200, b"success", {})]
        app = application(api, receiver.url, step=1)
        task_id = app.create("1")
        times = []
        for wait_ms in (0, 999, 2, 1_999, 2):  # SQS shows a message after its time
            api.clock.move(wait_ms)
            work_off(api)
            times.append(len(receiver.seen))
        assert times == [1, 1, 2, 2, 3]
        assert [is_signed(each, app.secret) for each in receiver.seen] == [True] * 3
        assert len({each.headers["nonce"] for each in receiver.seen}) == 3
        found = app.detail(task_id)
        assert (found["status"], found["retries"], found["result"]) == (2, 2, {"status": 200, "response": "success"})

    def test_it_fails_after_the_last_retry_and_is_sent_again_by_request(self, api: Service, receiver: Receiver) -> None:
        receiver.answer(500, b"")
        app = application(api, receiver.url, step=3_600, retryTotal=2)
        task_id = app.create("1")
        for _ in range(4):
            work_off(api)
            api.clock.move(3_600_000)
            api.tick()
        assert (len(receiver.seen), stood(app, task_id)[0]) == (3, 4)
        receiver.answer()
        assert app.post("/nsq/publish", {"task_id": task_id}).json["code"] == 0
        work_off(api)
        assert (len(receiver.seen), stood(app, task_id)) == (4, (2, None))

    def test_a_receiver_that_does_not_answer_in_time_is_told_of_before_the_attempt_is_over(self, api: Service) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            app = application(api, f"http://127.0.0.1:{silent.getsockname()[1]}/", retryTotal=0)
            task_id = app.create("1", timeout=500)
            work_off(api)
        assert stood(app, task_id) == (4, "linkUrl was not reached: no answer within 0.25 s")
        assert logged(api, task_id) == [{"error": "no answer within 0.25 s"}]


class TestRest:
    @pytest.mark.parametrize(
        ("status", "headers", "rest_s"),
        [(429, {"Retry_After": "30"}, 30), (429, {}, 60), (503, {"Retry_After": "7"}, 7), (410, {}, 3_600)],
    )
    def test_a_receiver_that_asks_for_rest_gets_it(
        self, api: Service, receiver: Receiver, status: int, headers: dict[str, str], rest_s: int
    ) -> None:
        receiver.answer(status, b"", **headers)
        app = application(api, receiver.url, step=1)
        first = app.create("1")
        work_off(api)
        other = app.create("2")  # and its other tasks do not hammer, either
        receiver.answer()
        for _ in range(2):
            api.clock.move(2_000)
            work_off(api)
        assert len(receiver.seen) == 1
        assert [stood(app, each)[0] for each in (first, other)] == [0, 0]
        (listed,) = [each for each in api.get("/application/list").json["data"] if each["appKey"] == app.key]
        assert listed["restingUntil"] == api.now(rest_s * 1_000 - 4_000)
        api.clock.move(rest_s * 1_000)
        api.tick()
        work_off(api)
        assert len(receiver.seen) == 3
        assert [api.job(str(each)).tries for each in (first, other)] == [2, 1]
        assert [stood(app, each) for each in (first, other)] == [(2, None), (2, None)]

    def test_one_that_does_not_answer_rests_longer_and_longer_until_it_takes_something(
        self, api: Service, receiver: Receiver
    ) -> None:
        """What it costs to wait for it again and again is bounded, and what is due meanwhile uses no attempt."""
        app = application(api, receiver.url, step=0, retryTotal=10)
        first, rests_s, tries = app.create("1"), [], []
        for _ in range(6):
            with patch.object(webhooks, "post", in_vain(api)):
                for _ in range(2):
                    work_off(api)
                    api.clock.move(1_000)
            rests_s.append((rest_ms(app) + 2_000) // 1_000)
            tries.append(api.job(str(first)).tries)
            api.clock.move(rest_ms(app) + 1_000)
            api.tick()
        assert (rests_s, tries) == ([30, 60, 120, 240, 300, 300], [1, 2, 3, 4, 5, 6])
        work_off(api)
        assert stood(app, first) == (2, None)
        second = app.create("2")
        with patch.object(webhooks, "post", in_vain(api)):
            work_off(api)
        assert rest_ms(app) == 30_000
        app.post("/task/cancel", {"id": second})

    def test_who_enables_it_ends_the_rest(self, api: Service, receiver: Receiver) -> None:
        receiver.answer(410, b"")
        app = application(api, receiver.url, step=1)
        task_id = app.create("1")
        work_off(api)
        api.clock.move(2_000)
        receiver.answer()
        told = app.post("/nsq/publish", {"task_id": task_id}).json
        assert told == {"code": 0, "msg": "ok!", "data": {"restingUntil": api.now(3_598_000)}}
        work_off(api)
        assert stood(app, task_id)[0] == 0
        assert api.post("/application/enable", {"app_key": app.key}).json["data"]["restingUntil"] is None
        assert app.post("/nsq/publish", {"task_id": task_id}).json["data"] == {}
        work_off(api)
        assert stood(app, task_id) == (2, None)

    def test_what_waits_for_the_end_of_a_long_rest_looks_again_every_quarter_of_an_hour(
        self, api: Service, receiver: Receiver
    ) -> None:
        receiver.answer(410, b"")
        app = application(api, receiver.url, step=1)
        task_id = app.create("1")
        work_off(api)
        api.clock.move(2_000)
        work_off(api)
        receiver.answer()
        api.post("/application/enable", {"app_key": app.key})
        api.clock.move(900_001)
        api.tick()
        work_off(api)
        assert stood(app, task_id) == (2, None)

    def test_one_that_asks_for_no_rest_gets_none(self, api: Service, receiver: Receiver) -> None:
        receiver.answer(429, b"", Retry_After="0")
        app = application(api, receiver.url, retryTotal=0)
        app.create("1")
        work_off(api)
        assert rest_ms(app) == 0

    def test_any_other_refusal_is_none_of_all(self, api: Service, receiver: Receiver) -> None:
        receiver.answer(503, b"")
        app = application(api, receiver.url, retryTotal=0)
        for number in range(2):
            app.create(str(number))
        work_off(api)
        assert len(receiver.seen) == 2

    def test_a_disabled_application_gets_nothing_until_it_is_enabled(self, api: Service, receiver: Receiver) -> None:
        app = application(api, receiver.url, retryTotal=0)
        task_id = app.create("1")
        api.post("/application/disable", {"app_key": app.key})
        work_off(api)
        assert (api.job(str(task_id)).state, api.job(str(task_id)).tries) == (State.PENDING, 0)
        api.post("/application/enable", {"app_key": app.key})
        api.clock.move(900_001)
        work_off(api)
        assert (len(receiver.seen), stood(app, task_id)) == (1, (2, None))


def test_an_application_has_so_many_deliveries_at_a_time(api: Service, receiver: Receiver) -> None:
    """While its receiver is slow, what is more waits on the ledger, and the workers are others'."""
    app, other = application(api, receiver.url, concurrency=2), application(api, receiver.url)
    tasks = [app.create(str(number)) for number in range(4)]
    others = other.create("1")
    at_once: list[list[int]] = []
    really_post = webhooks.post

    def post(*given: Any, **named: Any) -> webhooks.Reply:
        """While this one is under way, another worker takes what there is."""
        work_off(api, most=1)
        at_once.append([app.detail(each)["status"] for each in tasks])
        return really_post(*given, **named)

    with patch.object(webhooks, "post", post):
        work_off(api, most=1)
    assert max(found.count(1) for found in at_once) == 2
    work_off(api)
    assert [app.detail(each)["status"] for each in tasks] == [2, 2, 2, 2]
    assert other.detail(others)["status"] == 2
    count = api.yard.concurrency.of(f"application\n{app.key}")
    assert (count.running, count.unfinished) == (0, 0)


def test_one_that_does_not_answer_holds_one_worker_by_default(api: Service) -> None:
    """``taskyard up`` has two: the other one runs what is others'."""
    dead, other = application(api), application(api)
    tasks = [dead.create(str(number)) for number in range(3)]
    content = {"class": SIMPLE_JOB, "_params": {}}
    others: list[int] = []
    seen: list[tuple[list[int], int]] = []

    def post(*_: Any, **__: Any) -> webhooks.Reply:
        others.append(other.create(str(len(others)), content=content))
        work_off(api, most=1)
        seen.append(([dead.detail(each)["status"] for each in tasks], other.detail(others[-1])["status"]))
        api.clock.move(10_000)
        raise webhooks.NotTaken("no answer within 10 s")

    with patch.object(webhooks, "post", post):
        work_off(api, most=1)
    assert seen == [([1, 0, 0], 2)]
    assert [api.job(str(each)).tries for each in tasks] == [1, 0, 0]


def test_the_clock_sends_what_a_freed_slot_did_not(api: Service, receiver: Receiver) -> None:
    app = application(api, receiver.url, concurrency=1)
    tasks = [app.create(str(number)) for number in range(2)]
    really_post = webhooks.post

    def post(*given: Any, **named: Any) -> webhooks.Reply:
        work_off(api, most=1)  # the second one is deferred
        return really_post(*given, **named)

    with patch.object(webhooks, "post", post), patch.object(concurrency, "send_next_safely"):
        work_off(api, most=1)
    assert [app.detail(each)["status"] for each in tasks] == [2, 0]
    assert api.tick()["slots_filled"] == 1
    work_off(api)
    assert app.detail(tasks[1])["status"] == 2


def test_a_destination_that_may_not_be_called_is_named_and_not_tried_again() -> None:
    """The name of one that looks like any other may lead into the network of the service."""
    with service(stage="prod", bucket="objects-of-prod") as api:
        key = new_key(os.urandom)
        api.yard.directory.put_access_key(
            AccessKey(name="tester", scopes=frozenset({"application"}), digest=digest_of(key), created_at_ms=0)
        )
        api.default_headers["Authorization"] = f"Bearer {key}"
        for url in ("http://example.com/", "https://10.0.0.1/", "https://localhost/"):
            reply = api.post("/application/create", {"appName": "n", "linkUrl": url})
            assert (reply.status, reply.json["code"], "linkUrl" in reply.json["msg"]) == (422, 422, True)
        app = application(api, "https://inside.example.com/")
        task_id = app.create("1")
        inside = [(0, 0, 0, "", ("169.254.169.254", 443))]
        with patch.object(
            webhooks.post, "__kwdefaults__", {**webhooks.post.__kwdefaults__, "resolve": lambda *_, **__: inside}
        ):
            work_off(api)
        assert stood(app, task_id) == (
            4,
            "linkUrl was not reached: its host has an address that is not public: 169.254.169.254",
        )
        assert app.detail(task_id)["round"] == 1
