"""The test kit, as those who write handlers use it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import chalicelib.tasks
from chalicelib import aws, schedule
from chalicelib.core.errors import Conflict, Full, InvalidInput, NotFound
from chalicelib.core.job_events import JobEvent
from chalicelib.core.lanes import DEFAULT_BANDS
from chalicelib.core.retry import Fixed
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.handlers.declare import on, subscribe, task
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.services import messages, tasks
from chalicelib.testing import Posted, Restless, Workbench, workbench_fixture
from chalicelib.testing import cloud as clouds
from chalicelib.testing import world as worlds
from tests.support.yards import SETTINGS

PROJECT = Path(__file__).parents[2]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
told: list[str] = []
checks: list[int] = []


class Order(BaseModel):
    order: int
    email: str


@subscribe("order.created")
def ship(order: Order, context: Context) -> None:
    tasks.create(
        "mail.send",
        target_id=str(order.order),
        target_type="order",
        runner_type="system",
        input={"to": order.email},
        once="mail",
        within=context,
    )


@task("mail.send", max_attempts=3, backoff=Fixed(30_000))
def send_mail(mail: dict[str, str], context: Context) -> dict[str, Any]:
    context.progress(1, 4, "connecting", {"host": "smtp"})
    context.write_log("try", {"attempt": context.attempt})
    if context.attempt == 1:
        raise ConnectionError("smtp is away")
    context.heartbeat()
    return {"sent_to": mail["to"], "attempt": context.attempt}


@task("export.poll")
def export(_: Any, context: Context) -> Any:
    def look() -> dict[str, Any]:
        checks.append(1)
        return {"result": "success", "data": len(checks)} if len(checks) == 3 else {"result": "running"}

    return context.polling(look, poll_interval_ms=10_000)


@task("approval")
def approve(_: Any, context: Context) -> None:
    context.next({"asked": "Ada"})


@task("strict")
def strict(value: int) -> int:
    if value < 0:
        raise Reject("no negative numbers")
    return value * 2


@task("slow", concurrency=1, size=1)
def slow(_: Any) -> None:
    while True:
        pass


@on("complete", "mail.send")
def hear(event: JobEvent) -> None:
    told.append(f"{event.what} {event.job_id} {event.output()['attempt']}")


HANDLERS = (ship, send_mail, export, approve, strict, slow, hear)
bench = workbench_fixture(*HANDLERS, at=AT)


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    yield
    told.clear()
    checks.clear()


def test_a_flow_from_a_message_to_a_hook(bench: Workbench) -> None:
    message = bench.publish("order.created", {"order": 7, "email": "ada@example.org"})
    assert bench.depth("order.created") == 1
    first = bench.run()
    (mail,) = bench.tasks("mail.send")
    assert [(ran.type, ran.number, ran.status, ran.error) for ran in first] == [
        ("order.created", 1, "success", None),
        ("mail.send", 1, "pending", "ConnectionError: smtp is away"),
    ]
    assert (bench.message(message).status, mail.status, mail.target_id) == ("COMPLETED", "pending", "7")
    assert told == []

    assert bench.advance(seconds=29) == []
    (second,) = bench.advance(seconds=1)
    assert (second.id, second.number, second.status, second.error) == (mail.id, 2, "success", None)
    done = bench.task(mail)
    assert done.output == {"sent_to": "ada@example.org", "attempt": 2}
    assert [(entry.message, entry.data) for entry in done.log or ()] == [("try", {"attempt": n}) for n in (2, 1)]
    assert told == [f"complete {mail.id} 2"]
    assert bench.now == AT + timedelta(seconds=30)
    assert (bench.depth(), bench.depth("order.created"), bench.messages()) == (0, 0, [bench.message(message.id)])
    assert [each.what.value for each in bench.events if each.job_id == mail.id] == [
        *("create", "enqueue", "start", "progress", "failed attempt", "start", "complete")
    ]


def test_delays_polls_and_waits_obey_the_clock(bench: Workbench) -> None:
    later = bench.create("strict", 21, delay_s=86_400)
    polled, parked = bench.create("export.poll"), bench.create("approval")
    assert [(ran.type, ran.status) for ran in bench.run()] == [("export.poll", "pending"), ("approval", "waiting")]
    assert bench.task(parked).context == {"asked": "Ada"}
    assert bench.advance(hours=23)[-1].status == "success"
    assert (bench.task(polled).output, bench.task(polled).poll_count) == (3, 3)
    assert bench.task(later).status == "pending"
    assert [(ran.id, ran.status) for ran in bench.finish()] == [(later.id, "success")]
    assert bench.now == AT + timedelta(days=1)
    assert (bench.task(later).output, bench.task(parked).status) == (42, "waiting")
    tasks.process_next(parked, '{"code": 0, "data": "yes"}')
    assert bench.task(parked).output == {"code": 0, "data": "yes"}
    with pytest.raises(Restless, match=r"something is still to come; expected an end within 1 day"):
        bench.create("strict", 1, delay_s=2 * 86_400), bench.finish(within=timedelta(days=1))


def test_schedules_run_at_their_times_and_are_never_waited_for() -> None:
    @schedule(every_s=600, input="{{slot}}")
    @task("every.ten.minutes")
    def scheduled(slot: str) -> str:
        return slot

    with Workbench(scheduled, at=AT) as bench:
        ran = bench.advance(minutes=35)
        assert [each.status for each in ran] == ["success"] * 3
        assert [bench.task(each.id).output for each in ran] == [
            (AT + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            for minutes in (10, 20, 30)
        ]
        assert (bench.finish(), bench.now) == ([], AT + timedelta(minutes=35))


def test_one_call_of_one_handler(bench: Workbench) -> None:
    failed = bench.call(send_mail, {"to": "bob"})
    assert (failed.status, failed.error, failed.final) == ("failed", "ConnectionError: smtp is away", False)
    again = bench.call(send_mail, {"to": "bob"}, attempt=2)
    assert (again.status, again.output, again.error) == ("success", {"sent_to": "bob", "attempt": 2}, None)
    (progress,) = again.progress
    assert (progress.current, progress.total, progress.message, progress.data) == (1, 4, "connecting", {"host": "smtp"})
    assert [(entry.message, entry.data) for entry in again.log] == [("try", {"attempt": 2})]
    assert again.heartbeats == 1

    canceled = bench.call(send_mail, {"to": "bob"}, attempt=2, canceled=True)
    assert (canceled.status, canceled.log, canceled.progress) == ("failed", [], [])
    assert canceled.error is not None
    assert canceled.error.startswith("JobCanceled: ")
    overrun = bench.call(slow, timeout_s=0.05)
    assert (overrun.status, overrun.error) == ("failed", "Timeout: attempt 1 overran its time")
    assert bench.call(slow, timeout_s=0.01).error == overrun.error  # no call takes a slot of the type
    rejected = bench.call(strict, -1)
    assert (rejected.error, rejected.final) == ("Reject: no negative numbers", True)
    assert bench.call(approve).status == "waiting"
    looking = bench.call(export)
    assert (looking.status, looking.again_in_ms) == ("polling", 10_000)
    unread = bench.call(ship, {"order": 1})
    assert (unread.status, unread.final) == ("failed", True)
    assert unread.error is not None
    assert unread.error.startswith("InvalidInput: input.email: order.created cannot take this input")
    assert bench.call(ship, {"order": 1, "email": "eve"}).status == "success"

    assert [left.type for left in bench.tasks()] == ["mail.send"]  # what the last call created, and no call's own job
    assert {each.type for each in bench.events} == {"mail.send"}
    with pytest.raises(InvalidInput, match=r"no handler of the workbench.*got len"):
        bench.call(len)


@pytest.mark.parametrize(("at", "logged"), [("start", 1), ("progress", 1), ("end", 2)])
def test_a_worker_that_dies_in_the_middle(bench: Workbench, at: str, logged: int) -> None:
    made = bench.create("mail.send", {"to": "bob"})
    bench.run()
    with bench.crash(at, "mail.send"):
        assert bench.advance(seconds=30) == []
    assert (bench.task(made).status, len(bench.task(made).log or ())) == ("running", logged)
    lost, last = bench.advance(minutes=3)
    assert (lost.number, lost.status, lost.error) == (2, "pending", "LeaseLost: the worker vanished")
    assert (last.number, last.status, bench.task(made).output) == (3, "success", {"sent_to": "bob", "attempt": 3})
    with pytest.raises(AssertionError, match="0 of 2 workers died at the end of a handler"), bench.crash(times=2):
        bench.run()


def test_webhooks_leave_nothing_but_a_note(bench: Workbench) -> None:
    hook = Webhook(id="w1", url="https://example.org/told", secret="s" * 32, created_at_ms=0)
    bench.yard.directory.put_webhook(hook)
    bench.create("strict", 4)
    bench.run()
    assert [each.document["event"] for each in bench.posted] == ["create", "enqueue", "start", "complete"]
    last: Posted = bench.posted[-1]
    assert (last.url, last.document["output"], last.headers["Content-Type"]) == (hook.url, 8, "application/json")


def test_modules_functions_and_pools_share_a_bench() -> None:
    with Workbench(chalicelib.tasks, strict) as bench:
        counted, doubled = bench.create("text.statistics", {"text": "to be or not to be"}), bench.create("strict", 2)
        added = bench.pool("csv_summary").add("city,people\nBerlin,3700000\n")
        bench.finish()
        assert (bench.task(counted).output["words"], bench.task(doubled).output) == (6, 4)
        assert bench.pool("csv_summary").get(added)["status"] == "SUCCESS"


def test_each_bench_is_new_costs_no_template_and_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    client = aws.client
    with Workbench(strict) as first:
        assert first.create("strict", 1).id == 1
        messages.publish("polled.topic", {"n": 1})
        first.yard.objects.put_object(Bucket=first.yard.settings.objects_bucket, Key="mine", Body=b"1")
        assert first.objects == ["mine"]
    with Workbench(strict), pytest.raises(Conflict, match="another workbench is open in this process"):
        Workbench(send_mail).__enter__()
    monkeypatch.setattr(clouds.stack, "apply", lambda *_: pytest.fail("the template was applied again"))
    with Workbench(strict) as second:
        assert (second.tasks(), second.messages(), second.objects, second.events) == ([], [], [], [])
        assert messages.poll("polled.topic") == []
        assert second.create("strict", 1).id == 1
        with pytest.raises(NotFound):
            second.message(1)
    assert (aws.client, os.environ["AWS_ENDPOINT_URL"]) == (client, "http://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="the workbench is not open"):
        second.run()


def test_a_bench_is_new_whatever_the_one_before_refused_or_changed() -> None:
    with Workbench(strict, slow) as first:
        first.create("strict", 1)
        first.create("slow")
        with pytest.raises(Full, match="as many tasks of the type slow are unfinished as may be"):
            first.create("slow")  # a transaction, after which moto has other tables than before
        first.yard.jobs.table.client.delete_table(TableName=first.yard.settings.directory_table)
    with Workbench(strict, slow) as second:
        assert (second.tasks(), second.events, second.depth()) == ([], [], 0)
        assert second.create("slow").id == 1


def test_a_flow_that_feeds_itself_for_ever_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    @task("loop")
    def loop(_: Any) -> None:
        tasks.create("loop", target_id="1", target_type="test", runner_type="system")

    monkeypatch.setattr(worlds, "BATCHES_MAX", 5)
    with Workbench(loop) as bench:
        bench.create("loop")
        with pytest.raises(Restless, match=r"messages keep showing up: 5 batches, and more; got task \d+ \(loop, pend"):
            bench.run()


def test_without_moto_it_says_what_to_install() -> None:
    code = "import sys\nsys.modules['moto'] = None\nimport chalicelib.testing"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "the test kit needs moto, which stands in for AWS" in run.stderr
    assert "pip install 'taskyard[testing]'" in run.stderr


def test_a_cloud_within_another_leaves_nothing_of_it_for_later_ones() -> None:
    consumed = {"default": DEFAULT_BANDS}
    more = {**consumed, "news": DEFAULT_BANDS}
    with clouds.cloud(SETTINGS, more, lambda: 0), clouds.cloud(SETTINGS, consumed, lambda: 0):
        assert any("-news-" in name for name in clouds.queues())  # moto has one cloud for all
    with clouds.cloud(SETTINGS, consumed, lambda: 0):
        assert [name for name in clouds.queues() if "-news-" in name] == []
