"""The lines of the log: whose they are, and what they never say."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from pydantic import BaseModel

from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker import heartbeat
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard
from chalicelib.functions import clock, dead_letters, logs, projector, worker
from chalicelib.functions.logs import ColdStart, logged
from chalicelib.logger import logger
from tests.support.service import Service, service
from tests.support.steps import a_message, a_task, failing, name_of, stolen, using
from tests.support.waiting import DEADLINE_S
from tests.support.worlds import World, sqs_event, wiped, world

SECRET = "sw0rdfish"  # noqa: S105  # what no line may hold
PUBLISH = Path(__file__).parents[2] / "events" / "api-gateway-publish.json"


class Order(BaseModel):
    amount: int


class Invocation:
    """Lambda's context object."""

    aws_request_id = "lambda-1"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the logger has written since, parsed."""
    written = io.StringIO()
    handler = logger.registered_handler
    stream = handler.stream  # type: ignore[attr-defined]
    handler.setStream(written)  # type: ignore[attr-defined]
    monkeypatch.setattr(logs, "cold_start", ColdStart())
    level = logger.log_level
    logger.setLevel("DEBUG")
    try:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    finally:
        logger.setLevel(level)
        handler.setStream(stream)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    @subscribe("news")
    def reader(_: Any) -> None:
        raise AssertionError("every test brings its own subscribers")

    with world([reader]) as used:
        yield used


@pytest.fixture
def w(ground: World) -> World:
    return wiped(ground)


def run_one(w: World, queue: str = "default") -> None:
    """The worker's function on what a lane shows now, invoked as Lambda does it."""
    name = name_of(w, queue)
    url = w.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    messages = w.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    worker.handle(w.yard, sqs_event(name, messages), Invocation())


# -- while a job runs ---------------------------------------------------------------------------------


def test_every_line_of_a_run_names_job_trace_and_attempt(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    @task("t", max_attempts=1)
    def handler(_: Any, context: Context) -> None:
        context.log.info("from the handler")
        logger.info("from somewhere below")
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w, trace_id="trace-7")
    run_one(w)

    assert [line["message"] for line in lines()] == [
        "from the handler",
        "from somewhere below",
        "handler failed",
        "dead letter",
    ]
    for line in lines():
        assert (line["job_id"], line["trace_id"], line["attempt"]) == (job.id, "trace-7", 1)
        assert line["function_request_id"] == "lambda-1"
        assert line["service"] == "taskyard"


def test_the_heartbeat_names_the_job_too(
    w: World, lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TICK_S", 0.002)
    logged_failure = threading.Event()
    monkeypatch.setattr(heartbeat.logger, "exception", _then(heartbeat.logger.exception, logged_failure.set))

    @task("t")
    def handler(_: Any) -> None:
        with failing(w.yard.transport.client, "ChangeMessageVisibilityBatch"):  # type: ignore[attr-defined]
            w.clock.move(25_000)
            assert logged_failure.wait(DEADLINE_S)

    using(w, handler)
    job = a_task(w, trace_id="trace-7")
    run_one(w)

    beats = [line for line in lines() if line["message"] == "heartbeat failed"]
    assert beats
    for line in beats:
        assert (line["job_id"], line["trace_id"], line["attempt"]) == (job.id, "trace-7", 1)


def test_a_run_that_came_too_late_says_whose_it_was(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    @task("t")
    def handler(_: Any) -> None:
        w.clock.move(70_000)
        stolen(w, w.jobs()[0])

    using(w, handler)
    job = a_task(w)
    run_one(w)

    (line,) = [line for line in lines() if line["message"].startswith("attempt not recorded")]
    assert (line["job_id"], line["trace_id"], line["attempt"]) == (job.id, job.trace_id, 1)


def test_a_message_that_goes_back_says_whose_it_is(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    @task("t")
    def handler(_: Any) -> None:
        raise AssertionError("not reached")

    using(w, handler)
    job = a_task(w)
    with failing(w.yard.jobs.table.client, "UpdateItem"):
        run_one(w)

    (line,) = [line for line in lines() if line["message"] == "message goes back"]
    assert (line["job_id"], line["trace_id"]) == (job.id, job.trace_id)
    assert "attempt" not in line  # it has none before its claim


def test_one_jobs_keys_are_not_the_next_ones(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        context.log.info("working")

    using(w, handler)
    jobs = [a_task(w) for _ in range(2)]
    run_one(w)
    logger.info("afterwards")

    first, second, afterwards = lines()
    assert [(line["job_id"], line["trace_id"]) for line in (first, second)] == [(j.id, j.trace_id) for j in jobs]
    assert not {"job_id", "trace_id", "attempt", "function_request_id", "cold_start"} & afterwards.keys()


# -- of a function ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [worker.handle, dead_letters.handle, projector.handle])
def test_a_function_names_its_invocation(
    w: World, lines: Callable[[], list[dict[str, Any]]], function: Callable[..., Any]
) -> None:
    """The event has no records, and says so only when it is read: a line is written in the middle."""

    class Records(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            logger.info("reading")
            return []

    for _ in range(2):
        function(w.yard, Records(), Invocation())

    assert [(line["function_request_id"], line["cold_start"]) for line in lines()] == [
        ("lambda-1", True),
        ("lambda-1", False),
    ]


def test_the_clock_names_its_invocation(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    with failing(w.yard.jobs.table.client, "Query"), pytest.raises(EndpointConnectionError):
        clock.handle(w.yard, {}, Invocation())

    assert lines()
    assert {line["function_request_id"] for line in lines()} == {"lambda-1"}
    assert {line["message"] for line in lines()} == {"clock step failed"}


def test_a_function_that_fails_leaves_no_keys_behind(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    @logged
    def handle(_yard: Yard, _event: object, _context: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        handle(w.yard, {}, Invocation())
    logger.info("afterwards")

    assert "function_request_id" not in lines()[0]


# -- of the API ---------------------------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[Service]:
    with service() as running:
        yield running


def test_a_line_of_a_request_names_it_and_its_route(api: Service, lines: Callable[[], list[dict[str, Any]]]) -> None:
    event = json.loads(PUBLISH.read_text())
    event["headers"]["authorization"] = f"Bearer {SECRET}"
    event["body"] = json.dumps({"topic": "order.created", "payload": {"password": SECRET}})
    with failing(api.yard.jobs.table.client, "PutItem"):
        reply = api.module.app(event, Invocation())
    logger.info("afterwards")

    assert reply["statusCode"] == 503
    told, afterwards = lines()
    assert told["message"].startswith("the record was not written")
    assert told["request_id"] == reply["headers"]["x-request-id"] == event["requestContext"]["requestId"]
    assert told["function_request_id"] == "lambda-1"
    assert told["route"] == "POST /mq/message/publish"
    assert told["cold_start"] is True
    assert not {"request_id", "route"} & afterwards.keys()
    assert SECRET not in json.dumps(lines())


def test_requests_side_by_side_keep_their_own_keys(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A local server answers in threads."""
    both_inside = threading.Barrier(2, timeout=DEADLINE_S)

    class Asked:
        lambda_context = Invocation()
        method = "GET"

        def __init__(self, number: int) -> None:
            self.context = {"requestId": f"r{number}", "resourcePath": f"/{number}"}

    def serve(asked: Asked) -> str:
        both_inside.wait()
        logger.info("inside")
        return asked.context["requestId"]

    threads = [
        threading.Thread(target=logs.logged_request, args=(Asked(number), serve))  # type: ignore[arg-type]
        for number in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert sorted((line["request_id"], line["route"]) for line in lines()) == [("r1", "GET /1"), ("r2", "GET /2")]


# -- what no line says --------------------------------------------------------------------------------


def test_no_payload_is_logged_by_itself(w: World, lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Neither of a job that runs, nor of one whose input its handler cannot take, nor of an unreadable message."""

    @subscribe("news", max_attempts=1)
    def reader(_: Order) -> dict[str, str]:
        return {"output": SECRET}

    using(w, reader)
    for payload in ({"amount": SECRET}, {"amount": 1, "password": SECRET}):
        a_message(w, input=payload, options={"key": SECRET}, context={"key": SECRET})
    url = w.sqs.get_queue_url(QueueName=name_of(w, "news"))["QueueUrl"]
    w.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"not": "ours", "password": SECRET}))
    run_one(w, "news")

    assert {job.state.value for job in w.jobs()} == {"success", "failed"}
    assert {line["message"] for line in lines()} >= {"dead letter", "unreadable message"}
    assert SECRET not in json.dumps(lines())


def _then(log: Callable[..., None], act: Callable[[], None]) -> Callable[..., None]:
    def both(*arguments: Any, **keywords: Any) -> None:
        log(*arguments, **keywords)
        act()

    return both
