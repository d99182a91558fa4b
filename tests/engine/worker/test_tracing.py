"""X-Ray: a job that one invocation publishes and another runs is in one trace; a trace costs no job anything."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.lanes import Band, Lane
from chalicelib.core.states import State
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker import tracing
from chalicelib.engine.worker.context import Reject
from chalicelib.engine.worker.tracing import Origin, daemon_of, origin_of
from chalicelib.engine.yard import Yard
from chalicelib.functions import worker
from chalicelib.queue.sqs import TRACE_VARIABLE
from tests.support.steps import a_message, a_task, name_of, using
from tests.support.worlds import Remaining, World, sqs_event
from tests.support.yards import START_MS

PUBLISHER = "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1"
UNSAMPLED = "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=0"
CLOCK = "Root=1-67891299-000000012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
TRACE = "1-67891233-abcdef012345678912345678"


class Daemon:
    """What stands where Lambda has X-Ray's daemon."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def documents(self) -> list[dict[str, Any]]:
        """The segments sent so far. On one machine a datagram has arrived when it is sent."""
        self._socket.setblocking(False)
        found = []
        while True:
            try:
                head, _, body = self._socket.recv(65_536).decode().partition("\n")
            except BlockingIOError:
                return found
            assert json.loads(head) == {"format": "json", "version": 1}
            found.append(json.loads(body))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    listening = Daemon()
    monkeypatch.setenv(tracing.DAEMON_VARIABLE, listening.address)
    yield listening
    listening.close()


def traced(w: World) -> Yard:
    """The world's yard with tracing on; the ids of its segments are random."""
    w.yard.transport.tracing = True  # type: ignore[attr-defined]
    numbers = iter(range(1, 1_000))
    settings = replace(w.yard.settings, tracing="on")
    return replace(w.yard, settings=settings, random_bytes=lambda n: next(numbers).to_bytes(n, "big"))


def run_lane(w: World, yard: Yard, queue: str = "default") -> list[str]:
    """One invocation of the worker, its event as SQS makes it of what it holds; what is done is deleted."""
    name = name_of(w, queue)
    url = w.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    answer = w.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    messages = answer.get("Messages", [])
    response = worker.handle(yard, sqs_event(name, messages), Remaining(300_000))  # type: ignore[arg-type]
    back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
    for message in messages:
        if message["MessageId"] not in back:
            w.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return back


def in_trace(monkeypatch: pytest.MonkeyPatch, header: str | None) -> None:
    """From here on the process is in an invocation with this header; ``None``: not on Lambda."""
    if header is None:
        monkeypatch.delenv(TRACE_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(TRACE_VARIABLE, header)


# -- one trace from the publish to the run ------------------------------------------------------------


def test_a_run_is_a_segment_of_its_publishers_trace(w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    @task("t")
    def handler(_: Any) -> None:
        w.clock.move(1_234)

    using(w, handler)
    yard = traced(w)
    in_trace(monkeypatch, PUBLISHER)
    job = a_task(w, trace_id="ours-1")
    in_trace(monkeypatch, CLOCK)  # the worker's own
    w.clock.move(500)
    assert run_lane(w, yard) == []

    (document,) = daemon.documents()
    assert document.pop("id") != "463ac35c9f6413ad"
    assert document == {
        "name": "taskyard-local-run",
        "trace_id": TRACE,
        "parent_id": "463ac35c9f6413ad",
        "start_time": (START_MS + 500) / 1_000,
        "end_time": (START_MS + 1_734) / 1_000,
        "annotations": {
            "job_id": str(job.id),
            "trace_id": "ours-1",
            "type": "t",
            "queue": "default",
            "attempt": 1,
        },
    }


@pytest.mark.parametrize(
    ("raised", "mark"), [(RuntimeError("no paper"), "fault"), (Reject("never"), "error")], ids=["fault", "error"]
)
def test_a_failed_run_says_why(
    w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, raised: Exception, mark: str
) -> None:
    @task("t", max_attempts=3)
    def handler(_: Any) -> None:
        raise raised

    using(w, handler)
    yard = traced(w)
    in_trace(monkeypatch, PUBLISHER)
    a_task(w)
    run_lane(w, yard)

    (document,) = daemon.documents()
    assert {"error", "fault", "throttle"} & document.keys() == {mark}
    assert document[mark] is True
    (cause,) = document["cause"]["exceptions"]
    assert cause.pop("id") != document["id"]
    assert cause == {"type": type(raised).__name__, "message": str(raised)}


def test_every_attempt_is_a_segment_of_its_own_under_the_same_parent(
    w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = iter([RuntimeError("no"), None])

    @task("t")
    def handler(_: Any) -> None:
        error = next(outcomes)
        if error is not None:
            raise error

    using(w, handler)
    yard = traced(w)
    in_trace(monkeypatch, PUBLISHER)
    job = a_task(w)
    in_trace(monkeypatch, CLOCK)
    run_lane(w, yard)
    w.clock.move(10_000)
    run_lane(w, yard)

    first, second = daemon.documents()
    assert w.job(job.id).state is State.SUCCESS
    assert [(d["trace_id"], d["parent_id"]) for d in (first, second)] == [(TRACE, "463ac35c9f6413ad")] * 2
    assert [d["annotations"]["attempt"] for d in (first, second)] == [1, 2]
    assert first["id"] != second["id"]
    assert ("fault" in first, "fault" in second) == (True, False)


def test_the_jobs_of_one_batch_keep_their_traces_apart(
    w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    @subscribe("news")
    def handler(_: Any) -> None:
        pass

    using(w, handler)
    yard = traced(w)
    in_trace(monkeypatch, PUBLISHER)
    early = a_message(w)
    in_trace(monkeypatch, CLOCK)
    late = a_message(w)
    run_lane(w, yard, "news")

    traces = {d["annotations"]["job_id"]: d["trace_id"] for d in daemon.documents()}
    assert traces == {
        str(early.id): TRACE,
        str(late.id): "1-67891299-000000012345678912345678",
    }


# -- what is not traced -------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [UNSAMPLED, None, "Root=1-67891233-abcdef012345678912345678", "gibberish"])
def test_a_trace_that_is_not_sampled_gets_no_segment(
    w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, header: str | None
) -> None:
    @task("t")
    def handler(_: Any) -> None:
        pass

    using(w, handler)
    yard = traced(w)
    in_trace(monkeypatch, header)
    job = a_task(w)
    run_lane(w, yard)

    assert w.job(job.id).state is State.SUCCESS
    assert daemon.documents() == []


def test_with_tracing_off_neither_messages_nor_runs_are_traced(
    w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task("t")
    def handler(_: Any) -> None:
        pass

    using(w, handler)
    in_trace(monkeypatch, PUBLISHER)
    a_task(w)
    assert [message.system_attributes for message in w.messages()] == [{}]
    w.yard.transport.tracing = True  # type: ignore[attr-defined]  # of an API that is deployed already
    a_task(w)
    run_lane(w, w.yard)

    assert {job.state for job in w.jobs()} == {State.SUCCESS}
    assert daemon.documents() == []


# -- a trace costs no job anything --------------------------------------------------------------------


def _refuse(*_: Any) -> None:
    raise OSError("no such network")


@pytest.mark.parametrize(
    "disturb",
    [
        lambda patch: patch.setattr(tracing, "_send", _refuse),
        lambda patch: patch.setattr(tracing, "_segment", _refuse),
        lambda patch: patch.setenv(tracing.DAEMON_VARIABLE, "127.0.0.1:1"),
        lambda patch: patch.setenv(tracing.DAEMON_VARIABLE, "127.0.0.1:99999"),
        lambda patch: patch.setenv(tracing.DAEMON_VARIABLE, "nonsense"),
        lambda patch: patch.delenv(tracing.DAEMON_VARIABLE),
    ],
    ids=["no network", "a mistake of ours", "nobody listens", "no such port", "no address", "no daemon"],
)
def test_a_daemon_out_of_reach_does_not_touch_the_job(
    w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, disturb: Callable[[pytest.MonkeyPatch], None]
) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "done"

    using(w, handler)
    yard = traced(w)
    in_trace(monkeypatch, PUBLISHER)
    job = a_task(w)
    disturb(monkeypatch)
    assert run_lane(w, yard) == []

    assert (w.job(job.id).state, w.job(job.id).output) == (State.SUCCESS, '"done"')
    assert daemon.documents() == []


def test_a_long_error_still_fits_into_a_datagram(w: World, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = "🚀" * 400

    @subscribe(topic, max_attempts=1)
    def handler(_: Any) -> None:
        raise RuntimeError("🚀" * 100_000)

    using(w, handler)
    yard = traced(w)
    w.yard.transport.open_lane(Lane(topic, Band.NORMAL))
    in_trace(monkeypatch, PUBLISHER)
    a_message(w, topic)
    run_lane(w, yard, topic)

    (document,) = daemon.documents()
    assert len(json.dumps(document)) < 20_000
    assert document["annotations"]["queue"] == topic


# -- reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "origin"),
    [
        (PUBLISHER, Origin(TRACE, "463ac35c9f6413ad")),
        (PUBLISHER + ";Lineage=a87bd80c:1|68fd508a:5", Origin(TRACE, "463ac35c9f6413ad")),
        (f"Self=1-67891234-12456789abcdef012345678; Root={TRACE} ; Sampled=1", Origin(TRACE, None)),
        (f"Root={TRACE};Parent=shorter;Sampled=1", Origin(TRACE, None)),
        (UNSAMPLED, None),
        (f"Root={TRACE};Parent=463ac35c9f6413ad;Sampled=?", None),
        ("Root=1-x-y;Sampled=1", None),
        ("Sampled=1", None),
        ("", None),
    ],
)
def test_a_header_is_read_as_aws_writes_it(header: str, origin: Origin | None) -> None:
    assert origin_of(header) == origin


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("169.254.79.129:2000", ("169.254.79.129", 2000)),
        ("tcp:127.0.0.1:2000 udp:127.0.0.2:2001", ("127.0.0.2", 2001)),
        ("udp:127.0.0.2:2001 tcp:127.0.0.1:2000", ("127.0.0.2", 2001)),
        ("tcp:127.0.0.1:2000", None),
        ("127.0.0.1", None),
        ("", None),
    ],
)
def test_the_daemons_address_is_read_in_both_its_forms(text: str, address: tuple[str, int] | None) -> None:
    assert daemon_of(text) == address
