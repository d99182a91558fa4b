"""Hooks and webhooks, from the change of a job's record to whoever is told of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from chalicelib.core.errors import Unavailable
from chalicelib.core.job import Job
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import CONTENT_TYPES, Format, Webhook, signature
from chalicelib.engine.commands.lifecycle import cancel, delete, promote
from chalicelib.engine.handlers.declare import on, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.projections import events
from chalicelib.engine.projections.event_documents import document_of
from chalicelib.engine.worker.context import Context
from chalicelib.functions import hooks as hooks_function
from chalicelib.functions import projector
from chalicelib.http import openapi
from chalicelib.queue.contract import Received
from chalicelib.queue.hooks import Letter, rows
from chalicelib.queue.webhooks import NotTaken, Reply
from chalicelib.settings import Settings
from infra.queues import HOOKS_RECEIVE_COUNT, HOOKS_VISIBILITY_S
from tests.support.steps import a_task, using, work
from tests.support.worlds import World, sqs_event

URL = "https://hooks.example/in?token=t0ken"
SECRET = "whsec_b2YgYSB0ZXN0LCBhbmQgbm9ib2R5J3M="  # noqa: S105
told: list[JobEvent] = []
posted: list[tuple[str, bytes, dict[str, str]]] = []


@task("t", backoff=Fixed(1_000))
def handler(what: Any, context: Context) -> Any:
    context.progress(1, 4, "begun", {"page": 1})
    if what == "fail" or (what == "once" and context.attempt == 1):
        raise RuntimeError("no luck")
    return {"answer": "x" * (1_000 if what == "large" else 1)}


@task("other")
def other(_: Any) -> None:
    return None


def noting(event: JobEvent) -> None:
    told.append(event)


for each_what in EventType:
    noting = on(each_what.value, "t")(noting)


@pytest.fixture
def w(w: World) -> Iterator[World]:
    told.clear()
    posted.clear()
    events._remembered.cache_clear()
    using(w, handler, other, noting)
    yield w
    events._remembered.cache_clear()


def webhook(w: World, webhook_id: str = "w1", **fields: Any) -> Webhook:
    made = Webhook(**{"id": webhook_id, "url": URL, "secret": SECRET, "created_at_ms": w.clock.ms, **fields})
    w.yard.directory.put_webhook(made)
    events._remembered.cache_clear()
    return made


def queue_url(w: World, name: str) -> str:
    return str(w.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def received(w: World, most: int = 10, name: str | None = None) -> list[Any]:
    """What the queue of hooks shows now."""
    url = queue_url(w, name or w.yard.settings.hooks_queue)
    answer = w.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most, MessageSystemAttributeNames=["All"])
    return list(answer.get("Messages", []))


def deliver(w: World) -> bool | None:
    """The next letter; returns whether it was taken, ``None`` if there is none."""
    name = w.yard.settings.hooks_queue
    messages = received(w, most=1)
    if not messages:
        return None
    response = w.invoke(hooks_function.handle, sqs_event(name, messages))
    back = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
    w.settle(queue_url(w, name), messages, back)
    return not back


def announced(w: World) -> None:
    """Everything that happened, told as far as it can be."""
    w.project()
    while deliver(w) is not None:
        continue


def names(job: Job, found: list[JobEvent] | None = None) -> list[str]:
    return [each.what.value for each in (told if found is None else found) if each.job_id == job.id]


def posts(job: Job) -> list[str]:
    bodies = [json.loads(body) for _, body, _ in posted]
    return [body["event"] for body in bodies if body["job"]["id"] == str(job.id)]


def answering(monkeypatch: pytest.MonkeyPatch, refuse: Any = lambda _url: False) -> None:
    """Webhooks take what is posted, unless ``refuse`` says so."""

    def post(url: str, body: bytes, headers: dict[str, str], *, local: bool) -> Reply:
        assert local
        if refuse(url):
            return Reply(500)
        posted.append((url, body, headers))
        return Reply(204)

    monkeypatch.setattr(events.deliver, "__defaults__", (post,))


# -- hooks in code ------------------------------------------------------------------------------------


def test_lives_are_told_in_order_with_what_belongs_to_each(w: World) -> None:
    large, once, failing, canceled = (a_task(w, input=what, max_attempts=2) for what in ("large", "once", "fail", "c"))
    delayed, pushed = (a_task(w, input="x", delay_ms=60_000) for _ in range(2))
    unheard = a_task(w, type="other")
    fleeting = a_task(w, input="x", remove_on_complete=True)
    cancel(w.yard, canceled.id, Kind.TASK)
    promote(w.yard, pushed.id, Kind.TASK)
    work(w)
    w.clock.move(1_001)
    work(w)
    w.clock.move(60_000)
    work(w)
    announced(w)
    delete(w.yard, once.id, Kind.TASK)
    announced(w)
    ran = ["start", "progress"]
    assert names(large) == ["create", "enqueue", *ran, "complete"]
    assert names(once) == ["create", "enqueue", *ran, "failed attempt", "start", "complete", "remove"]
    assert names(failing) == ["create", "enqueue", *ran, "failed attempt", "start", "failed"]
    assert names(canceled) == ["create", "enqueue", "cancel"]
    assert names(delayed) == ["create", "promotion", "enqueue", *ran, "complete"]
    assert names(pushed) == ["create", "promotion", "enqueue", *ran, "complete"]
    assert names(unheard) == []
    assert names(fleeting) == ["create", "enqueue", *ran, "complete", "remove"]
    by_name = {(each.job_id, each.what): each for each in told}
    assert by_name[large.id, EventType.COMPLETE].output() == {"answer": "x" * 1_000}
    assert by_name[once.id, EventType.REMOVE].job.state == "success"
    assert by_name[failing.id, EventType.FAILED].error is not None
    assert by_name[failing.id, EventType.FAILED].detail["error"] == {"type": "RuntimeError", "message": "no luck"}
    assert by_name[failing.id, EventType.FAILED_ATTEMPT].detail["attemptsRemaining"] == 1
    assert by_name[large.id, EventType.PROGRESS].detail == {
        "current": 1,
        "total": 4,
        "percent": 25.0,
        "message": "begun",
        "data": {"page": 1},
    }
    w.project()
    w.project()  # the whole stream again: counted, so not told again
    assert received(w) == []


@pytest.mark.parametrize("error", [ValueError("not my day"), asyncio.CancelledError(), SystemExit(1)])
def test_what_a_hook_raises_is_logged_and_changes_nothing_else(
    w: World, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    @on("create")
    def broken(_: JobEvent) -> None:
        raise error

    using(w, handler, broken, noting)
    job = a_task(w)
    with caplog.at_level(logging.ERROR):
        announced(w)
    assert names(job) == ["create", "enqueue"]
    (line,) = [record for record in caplog.records if record.getMessage().startswith("hook ")]
    assert vars(line)["hook"].endswith("broken")
    assert line.getMessage() == f"hook {vars(line)['hook']} failed"
    assert vars(line)["event"] == told[0].id


def test_what_dies_is_told_again_and_what_is_sent_again_at_once_is_not(w: World) -> None:
    job = a_task(w)
    w.project()
    assert events.send(w.yard, changes(w.stream())) == 2
    assert len(w.messages(w.yard.settings.hooks_queue)) == 2  # SQS knows them already
    assert len(received(w, most=1)) == 1  # whoever has it, dies
    assert received(w) == []  # what is behind it waits
    w.clock.move(HOOKS_VISIBILITY_S * 1_000 + 1)
    announced(w)
    assert names(job) == ["create", "enqueue"]


def changes(records: list[dict[str, Any]]) -> list[Any]:
    from chalicelib.functions.events import NO_SHARD, changes_by_shard

    return changes_by_shard({"Records": records})[NO_SHARD]


def test_what_could_not_be_sent_is_not_counted_either(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a_task(w)
    refused = {"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": False}]}
    client = events.queue_of(w.yard.settings).client
    with monkeypatch.context() as broken:
        broken.setattr(client, "send_message_batch", lambda **_: refused)
        with pytest.raises(Unavailable, match="did not take 1 events of 1; got InternalError"):
            projector.handle(w.yard, {"Records": w.stream()}, None)  # type: ignore[arg-type]
    assert w.yard.insights.counters() == {}
    announced(w)
    assert [each.what for each in told] == [EventType.CREATE, EventType.ENQUEUE]


def test_no_batch_holds_two_letters_of_a_group() -> None:
    letters = [Letter(group, f"{group}{number}", "") for number, group in enumerate("aabacb")]
    assert [[letter.id for letter in row] for row in rows(letters)] == [["a0", "b2", "c4"], ["a1", "b5"], ["a3"]]
    assert list(rows([])) == []


# -- webhooks -----------------------------------------------------------------------------------------


def test_a_webhook_is_told_what_it_asked_for_signed(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    webhook(w, events=frozenset({EventType.COMPLETE}), types=frozenset({"t"}))
    webhook(w, "w2", url="https://b.example/", types=frozenset({"other"}))
    job, another = a_task(w, input="x", target_id="7", target_type="u", created_by="ann"), a_task(w, type="other")
    work(w)
    announced(w)
    assert posts(job) == ["complete"]
    assert posts(another) == ["create", "enqueue", "start", "complete"]
    _, body, headers = next(post for post in posted if post[0] == URL)
    settled = w.job(job.id)
    (complete,) = [each for each in told if each.what is EventType.COMPLETE]
    assert json.loads(body) == {
        "id": complete.id,
        "event": "complete",
        "atMs": settled.completed_at_ms,
        "attempt": 1,
        "detail": {},
        "output": {"answer": "x"},
        "outputLeftOut": False,
        "job": {
            "id": str(job.id),
            "kind": "task",
            "type": "t",
            "queue": "default",
            "state": "success",
            "priority": 0,
            "targetId": "7",
            "targetType": "u",
            "parentId": None,
            "traceId": job.trace_id,
            "maxAttempts": 3,
            "createdBy": "ann",
            "createdAtMs": job.created_at_ms,
            "dueAtMs": job.due_at_ms,
            "startedAtMs": settled.started_at_ms,
            "completedAtMs": settled.completed_at_ms,
        },
    }
    assert headers == {
        "Content-Type": "application/json",
        "webhook-id": complete.id,
        "webhook-timestamp": str(w.clock.ms // 1_000),
        "webhook-signature": signature(SECRET, complete.id, w.clock.ms // 1_000, body),
        "Taskyard-Webhook": "w1",
    }


def test_one_who_asks_for_it_is_told_in_cloud_events(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    webhook(w, format=Format.CLOUDEVENTS, events=frozenset({EventType.FAILED_ATTEMPT}))
    job = a_task(w, input="fail")
    work(w)
    announced(w)
    ((_, body, headers),) = posted
    (failed,) = [each for each in told if each.what is EventType.FAILED_ATTEMPT]
    told_of = from_http_event(HTTPMessage(headers, body))
    assert headers["Content-Type"] == JSONFormat().get_content_type()
    assert headers["webhook-id"] == failed.id
    assert told_of.get_attributes() == {
        "specversion": "1.0",
        "id": failed.id,
        "source": "/taskyard-local",
        "type": "taskyard.job.failed-attempt",
        "subject": str(job.id),
        "time": datetime.fromtimestamp(failed.at_ms / 1_000, UTC),
        "datacontenttype": "application/json",
    }
    assert told_of.get_data() == document_of(failed)


def test_what_is_sent_is_what_the_openapi_document_says(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    for body_format in Format:
        webhook(w, body_format.value, format=body_format)
    using(w, handler)
    a_task(w, input="once", remove_on_complete=True)
    a_task(w, input="fail", max_attempts=1, target_id="7")
    cancel(w.yard, a_task(w).id, Kind.TASK)
    promote(w.yard, a_task(w, delay_ms=60_000).id, Kind.TASK)
    for _ in range(2):
        work(w)
        w.clock.move(1_001)
    announced(w)
    document = openapi.document([])
    request = document["webhooks"]["jobEvent"]["post"]
    always = set(document["components"]["schemas"]["EventDocument"]["required"])
    checked = set()
    for _, body, headers in posted:
        body_format, found = Format(headers["Taskyard-Webhook"]), json.loads(body)
        media = request["requestBody"]["content"][headers["Content-Type"]]
        assert CONTENT_TYPES[body_format] == headers["Content-Type"]
        assert headers.keys() == {"Content-Type", *(parameter["name"] for parameter in request["parameters"])}
        Draft202012Validator({**media["schema"], "components": document["components"]}).validate(found)
        data = found["data"] if body_format is Format.CLOUDEVENTS else found
        assert data.keys() - {"output", "outputLeftOut"} == always
        assert data["job"].keys() == document["components"]["schemas"]["EventJob"]["properties"].keys()
        checked.add((body_format, data["event"]))
    assert checked == set(product(Format, EventType))


@pytest.mark.parametrize(("stored", "left_out"), [("item", True), ("s3:outputs/1/a.json", True)])
def test_an_output_that_is_gone_or_too_large_is_left_out(w: World, stored: str, left_out: bool) -> None:
    job = replace(a_task(w), output_at=stored)
    event = JobEvent(what=EventType.COMPLETE, job=job, sequence="1", at_ms=0, read_output=w.yard.payloads.output)
    found = document_of(event)
    assert (found["output"], found["outputLeftOut"]) == (None, left_out)


def test_a_webhook_that_fails_holds_back_its_own_letters_of_that_job_and_nothing_else(
    w: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    down = {URL}
    answering(monkeypatch, refuse=lambda url: url in down)
    webhook(w)
    webhook(w, "w2", url="https://b.example/")
    job = a_task(w)
    with caplog.at_level(logging.WARNING):
        announced(w)
    assert names(job) == ["create", "enqueue"]
    assert posts(job) == ["create", "enqueue"]
    assert {url for url, _, _ in posted} == {"https://b.example/"}
    for wait_s in (10, 20, 40):
        w.clock.move(wait_s * 1_000 - 2)
        assert received(w) == [], wait_s
        w.clock.move(3)
        with caplog.at_level(logging.WARNING):
            assert deliver(w) is False
    down.clear()
    posted.clear()
    w.clock.move(80_001)
    while deliver(w):
        continue
    assert posts(job) == ["create", "enqueue"]
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "not told, and tried again: webhook w1: it answered 500"
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert SECRET not in logged
    assert "t0ken" not in logged


@pytest.mark.parametrize(("status", "asked_s", "wait_s"), [(503, 60, 60), (429, 3, 10), (500, None, 10), (302, 45, 45)])
def test_who_says_when_to_come_back_is_left_alone_until_then(
    w: World, monkeypatch: pytest.MonkeyPatch, status: int, asked_s: int | None, wait_s: int
) -> None:
    tried: list[int] = []

    def post(*_: Any, **__: Any) -> Reply:
        tried.append(w.clock.ms)
        return Reply(status, b"", asked_s) if len(tried) == 1 else Reply(204)

    monkeypatch.setattr(events.deliver, "__defaults__", (post,))
    webhook(w, events=frozenset({EventType.CREATE}))
    using(w, handler)
    a_task(w)
    w.project()
    assert deliver(w) is False
    w.clock.move(wait_s * 1_000 - 2)
    assert deliver(w) is None
    w.clock.move(3)
    assert deliver(w) is True
    assert len(tried) == 2


def test_who_is_gone_is_told_no_more_of_that_event_and_keeps_none_behind_it_waiting(
    w: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def post(_url: str, body: bytes, *_: Any, **__: Any) -> Reply:
        tried.append(json.loads(body)["event"])
        return Reply(410)

    monkeypatch.setattr(events.deliver, "__defaults__", (post,))
    webhook(w, events=frozenset({EventType.CREATE, EventType.ENQUEUE}))
    using(w, handler)
    a_task(w)
    with caplog.at_level(logging.WARNING):
        announced(w)
    assert tried == ["create", "enqueue"]
    assert w.messages(w.yard.settings.hooks_queue) == []
    gone = "not told: webhook w1 is gone for good (it answered 410)"
    assert [record.getMessage() for record in caplog.records] == [gone] * 2


def test_what_nobody_takes_ends_in_the_dead_queue_and_what_is_behind_it_gets_its_chance(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    answering(monkeypatch, refuse=lambda url: tried.append(url) or True)  # type: ignore[func-returns-value]
    webhook(w, events=frozenset({EventType.CREATE, EventType.ENQUEUE}))
    using(w, handler)
    a_task(w)
    w.project()
    waited_s = 0
    for receive in range(1, HOOKS_RECEIVE_COUNT):
        assert deliver(w) is False
        waited_s += events.wait_before(receive)
        w.clock.move(events.wait_before(receive) * 1_000 + 1)
    assert deliver(w) is False
    assert (len(tried), waited_s) == (HOOKS_RECEIVE_COUNT, 23_110)  # 6.4 hours
    w.clock.move(events.wait_before(HOOKS_RECEIVE_COUNT) * 1_000 + 1)
    (second,) = received(w, most=1)
    assert second["Attributes"]["ApproximateReceiveCount"] == "1"
    (dead,) = received(w, name=w.yard.settings.hooks_dead_queue)
    assert [events.Addressed.from_text(each["Body"]).event.what for each in (dead, second)] == ["create", "enqueue"]


def test_a_batch_stops_where_a_group_fails_or_the_time_is_short(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, refuse=lambda url: url == URL)
    webhook(w, events=frozenset({EventType.CREATE, EventType.ENQUEUE}))
    using(w, handler)
    jobs = [a_task(w) for _ in range(2)]
    w.project()
    messages = received(w)
    batch = [Received("q", m["MessageId"], m["ReceiptHandle"], m["Body"]) for m in messages]
    assert events.deliver(w.yard, batch, lambda: 60_000) == [message.message_id for message in batch]
    assert len(batch) == 2 * len(jobs)
    hidden_ms = {m.id: int(m.visible_at) - w.clock.ms for m in w.messages(w.yard.settings.hooks_queue)}
    assert [hidden_ms[message.message_id] for message in batch] == [10_000, 10_000, 0, 0]
    foreign = Received("q", "m", batch[1].receipt, '{"to":"w1"}')
    assert events.deliver(w.yard, [foreign], lambda: 60_000) == ["m"]
    assert events.deliver(w.yard, batch[1:2], lambda: events.DELIVERY_RESERVE_MS - 1) == [batch[1].message_id]


def test_one_that_does_not_answer_is_left_alone_by_all_invocations_and_keeps_no_other_waiting(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, tried = True, []

    def post(url: str, *_: Any, **__: Any) -> Reply:
        tried.append((w.clock.ms - begun_ms, url))
        if silent and url == URL:
            w.clock.move(10_000)
            raise NotTaken("no answer")
        return Reply(200)

    monkeypatch.setattr(events.deliver, "__defaults__", (post,))
    webhook(w, events=frozenset({EventType.CREATE}))
    other = "https://b.example/"
    webhook(w, "w2", url=other, events=frozenset({EventType.CREATE}))
    using(w, handler)
    for _ in range(12):
        a_task(w)
    w.project()
    begun_ms = w.clock.ms
    while deliver(w) is not None:
        continue
    assert sorted(at_ms for at_ms, url in tried if url == other)[1:] == [10_000] * 11
    assert [at_ms for at_ms, url in tried if url == URL] == [0]
    for _ in range(3):  # each time one is tried, and the others come back
        w.clock.move(events.LONGEST_WAIT_S * 1_000)
        while deliver(w) is not None:
            continue
    assert len([url for _, url in tried if url == URL]) == 4
    silent = False
    w.clock.move(events.LONGEST_WAIT_S * 1_000)
    while deliver(w) is not None:
        continue
    assert [url for _, url in tried].count(URL) == 4 + 12


def test_webhooks_are_remembered_for_half_a_minute_by_whoever_sends_and_looked_up_by_whoever_tells(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    queue = events.queue_of(w.yard.settings)
    monkeypatch.setattr(events, "queue_of", lambda _: queue)  # whatever the stage
    made = webhook(w, events=frozenset({EventType.CREATE}))
    using(w, handler)
    deployed = replace(w.yard, settings=replace(w.yard.settings, hooks="on", stage="dev"))
    a_task(w)
    sent = [events.send(deployed, changes(w.stream()))]
    w.yard.directory.delete_webhook(made.id)
    sent.append(events.send(deployed, changes(w.stream())))
    w.clock.move(events.REMEMBERED_MS)
    sent.append(events.send(deployed, changes(w.stream())))
    assert sent == [1, 1, 0]
    event = events._events(changes(w.stream())[:1])
    letter = events.Addressed(made.id, next(iter(event))).letter()
    assert events.deliver(w.yard, [Received("q", "m", "r", letter.text)], lambda: 60_000) == []
    assert posted == []


def test_who_decides_whether_anybody_is_told() -> None:
    declares, silent = Registry.of([noting]), Registry.of([handler])
    dev = Settings(stage="dev")
    expected = {"auto": (True, False), "on": (True, True), "off": (False, False)}
    for chosen, (with_hooks, without) in expected.items():
        settings = replace(dev, hooks=chosen)
        assert (events.are_on(settings, declares), events.are_on(settings, silent)) == (with_hooks, without)
        assert events.decided(settings, silent).hooks == ("on" if without else "off")
    assert events.are_on(Settings(), silent)  # where it costs nothing
    assert not events.are_on(Settings(hooks="off"), declares)
