"""The lines of the embedded metric format that the projector writes, checked against AWS's own schema of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from chalicelib.core.audit import AuditReport
from chalicelib.core.canary import LATE_MS
from chalicelib.core.cloudwatch import METRICS
from chalicelib.core.job import MANUAL
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.due import UNTAKEN_AFTER_MS
from chalicelib.engine.clock.tick import HOUR_MS
from chalicelib.engine.commands.lifecycle import cancel
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.polling.poll import complete, fail, poll
from chalicelib.engine.projections.dashboard import Topic
from chalicelib.engine.projections.project import Change
from chalicelib.functions import clock, projector
from chalicelib.functions.metrics import TOPICS_SHOWN_MAX, report, report_topics
from chalicelib.settings import Settings
from chalicelib.store.job_items import state_key
from tests.support.steps import a_message, a_task, counting, failing, using, work
from tests.support.worlds import Remaining, World, wiped, world

# Amazon CloudWatch User Guide, "Specification: Embedded metric format", "Embedded metric format schema", with the
# limits that its text adds: 100 values of a metric, namespaces that are not AWS's.
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^(?!AWS/)"},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                                        "Unit": {"enum": ["Count", "Milliseconds", "Seconds"]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
    "additionalProperties": {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": 1024},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 100},
        ]
    },
}


@task("t", max_attempts=1)
def obedient(what: Any) -> None:
    if what == "fail":
        raise RuntimeError("no")


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([obedient], Settings(index_shards=2)) as used:
        yield used


@pytest.fixture
def w(ground: World) -> World:
    used = wiped(ground)
    using(used, obedient)
    return used


def lines_of(w: World, capsys: pytest.CaptureFixture[str], *, deliveries: int = 1, **chosen: str) -> list[Any]:
    """What the projector prints for the whole stream under these settings, each line checked."""
    capsys.readouterr()
    yard = replace(w.yard, settings=replace(w.yard.settings, **chosen))
    for _ in range(deliveries):
        projector.handle(yard, {"Records": w.stream(), "shardId": "s"}, None)  # type: ignore[arg-type]
    return printed(capsys)


def printed(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """The lines printed since the last look, each checked."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Taskyard"
        assert {name for names in directive["Dimensions"] for name in names} <= line.keys()
        assert {metric["Name"] for metric in directive["Metrics"]} <= line.keys()
        # A stream that is read late is told late: an alarm judges a minute once.
        assert abs(line["_aws"]["Timestamp"] / 1_000 - time.time()) < 60
    return lines


def values(line: Mapping[str, Any]) -> dict[str, list[float]]:
    return {name: value for name, value in line.items() if isinstance(value, list)}


def units(line: Mapping[str, Any]) -> dict[str, str]:
    return {metric["Name"]: metric["Unit"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}


def a_morning(w: World) -> None:
    """Three tasks of which one succeeds, one fails and one is canceled; a message that nobody polls."""
    a_task(w)
    a_task(w, input="fail")
    cancel(w.yard, a_task(w).id, Kind.TASK)
    a_message(w, "notes")
    w.clock.move(250)
    work(w)


def test_totals_are_a_line_for_each_kind(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    a_morning(w)
    task_line, message_line, failures = lines_of(w, capsys, stage="dev", metrics="total")

    assert task_line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage", "kind"]]
    assert (task_line["stage"], task_line["kind"]) == ("taskyard-dev", "task")
    assert values(task_line) == {
        "published": [3],
        "started": [2],
        "succeeded": [1],
        "canceled": [1],
        "wait_ms": [250, 250],
        "run_ms": [0, 0],
    }
    assert (message_line["kind"], values(message_line)) == ("message", {"published": [1]})
    assert failures["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage"]]
    assert values(failures) == {
        "attempts_failed": [1, 0],  # of two that ended: the sum is how many failed, the average which share
        "dead_letters": [1],
    }
    told = {**units(task_line), **units(failures)}
    assert told == {metric.name: metric.unit.value for metric in METRICS.values()}


@pytest.mark.parametrize("chosen", [{}, {"metrics": "alarms"}, {"metrics": "auto", "watch": "off"}], ids=str)
def test_without_a_dashboard_only_what_alarms_look_at_is_told(
    w: World, capsys: pytest.CaptureFixture[str], chosen: dict[str, str]
) -> None:
    a_morning(w)
    (failures,) = lines_of(w, capsys, stage="dev", **chosen)
    assert values(failures) == {"attempts_failed": [1, 0], "dead_letters": [1]}


def test_a_dashboard_is_told_all_that_it_shows(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    a_morning(w)
    assert len(lines_of(w, capsys, stage="dev", watch="dashboard")) == 3


def test_what_failed_is_told_of_all_kinds_together(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    """And by kind and queue where queues are told of."""
    a_task(w, input="fail")
    work(w)
    a_message(w, "notes", max_attempts=1)
    fail(w.yard, poll(w.yard, "notes", 1, 30_000, "consumer")[0].id, "no")
    *by_queue, failures, _ = lines_of(w, capsys, stage="dev", metrics="queue")

    assert values(failures) == {"attempts_failed": [1, 1], "dead_letters": [1, 1]}
    assert [(line["kind"], line["attempts_failed"], line["dead_letters"]) for line in by_queue if "kind" in line] == [
        ("task", [1], [1]),
        ("message", [1], [1]),
    ]


def test_a_line_of_failures_alone_is_the_only_one(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    job = a_task(w)
    w.project()
    dead = replace(w.job(job.id), state=State.FAILED)
    report(replace(w.yard.settings, stage="dev"), [Change("1", w.job(job.id), dead)])

    assert [values(line) for line in printed(capsys)] == [{"dead_letters": [1]}]


def test_queues_are_told_beside_the_totals(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    a_message(w, "notes")
    a_message(w, "订单")
    lines = lines_of(w, capsys, stage="dev", metrics="queue")

    assert [line["queue"] for line in lines] == ["notes", "\\u8ba2\\u5355"]
    for line in lines:
        assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage", "kind"], ["stage", "kind", "queue"]]
        assert values(line) == {"published": [1]}


def test_a_queue_without_a_visible_name_counts_in_the_totals_alone(
    w: World, capsys: pytest.CaptureFixture[str]
) -> None:
    a_message(w, " ")
    (line,) = lines_of(w, capsys, stage="dev", metrics="queue")

    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage", "kind"]]


@pytest.mark.parametrize("chosen", [{"stage": "dev", "metrics": "off"}, {"stage": "local", "metrics": "queue"}])
def test_nothing_is_told_where_nobody_listens(
    w: World, capsys: pytest.CaptureFixture[str], chosen: dict[str, str]
) -> None:
    a_morning(w)

    assert lines_of(w, capsys, **chosen) == []
    assert w.counted() == w.counts()


def test_a_batch_delivered_twice_is_told_once(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    a_task(w)

    assert [values(line) for line in lines_of(w, capsys, deliveries=2, stage="dev", metrics="total")] == [
        {"published": [1]}
    ]


def test_a_hundred_times_are_all_told(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A line holds 100 values of a metric; what is told in more lines adds up to the same."""
    for wait_ms in range(100):
        a_task(w)
        w.clock.move(wait_ms)
        work(w)
    lines = lines_of(w, capsys, stage="dev", metrics="total")

    assert sorted(time_ms for line in lines for time_ms in values(line).get("wait_ms", [])) == list(range(100))
    assert sum(sum(values(line).get("started", [])) for line in lines) == 100


def test_no_environment_adds_a_dimension(
    w: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "somebody else's")
    a_task(w)
    (line,) = lines_of(w, capsys, stage="dev", metrics="total")

    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage", "kind"]]


# -- the message dialect's metrics --------------------------------------------------------------------


def topic_lines(lines: list[Any]) -> dict[str, dict[str, list[float]]]:
    """What is told of each topic under the message dialect's names."""
    told = [line for line in lines if line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage", "topic"]]]
    assert len({line["topic"] for line in told}) == len(told)
    assert {line["stage"] for line in told} <= {"taskyard-dev"}
    return {line["topic"]: values(line) for line in told}


def total_of(lines: list[Any]) -> dict[str, list[float]]:
    """What is told of all topics together: one line at most."""
    told = [line for line in lines if line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage"]]]
    told = [line for line in told if any(name.startswith("mq_") for name in line)]
    assert len(told) <= 1
    assert {line["stage"] for line in told} <= {"taskyard-dev"}
    return values(told[0]) if told else {}


def settled_messages(w: World) -> None:
    """Of two notes one is completed and one is dead; a mail fails and waits; a task succeeds."""
    for topic, attempts in (("notes", 1), ("notes", 1), ("mail", 2)):
        a_message(w, topic, max_attempts=attempts)
    first, second = poll(w.yard, "notes", 2, 30_000, "consumer")
    complete(w.yard, first.id)
    fail(w.yard, second.id, "no")
    fail(w.yard, poll(w.yard, "mail", 1, 30_000, "consumer")[0].id, "no")
    a_task(w)
    work(w)


def test_topics_have_the_names_that_prometheus_has(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With zeros, so that a ratio never lacks one of its parts."""
    settled_messages(w)
    lines = lines_of(w, capsys, stage="dev", metrics="queue")

    assert topic_lines(lines) == {
        "notes": {"mq_consumed_total": [1], "mq_failed_total": [1], "mq_dlq_total": [1]},
        "mail": {"mq_consumed_total": [0], "mq_failed_total": [1], "mq_dlq_total": [0]},
    }
    (line,) = [line for line in lines if line.get("topic") == "mail"]
    assert set(units(line).values()) == {"Count"}


@pytest.mark.parametrize("metrics", ["total", "queue"])
def test_all_topics_together_are_a_line_of_the_same_names(
    w: World, capsys: pytest.CaptureFixture[str], metrics: str
) -> None:
    """Of messages alone: the task that succeeded is none of them."""
    settled_messages(w)
    lines = lines_of(w, capsys, stage="dev", metrics=metrics)

    assert total_of(lines) == {"mq_consumed_total": [1], "mq_failed_total": [2], "mq_dlq_total": [1]}
    assert topic_lines(lines).keys() == ({"notes", "mail"} if metrics == "queue" else set())


def ticked(w: World, capsys: pytest.CaptureFixture[str], **chosen: str) -> list[Any]:
    """What the clock prints under these settings."""
    yard = replace(w.yard, settings=replace(w.yard.settings, **chosen))
    capsys.readouterr()
    assert not any(clock.handle(yard, {}, Remaining(300_000)).values())
    return printed(capsys)


@pytest.mark.parametrize("metrics", ["total", "queue"])
def test_the_clock_tells_how_deep_topics_are_and_how_old(
    w: World, capsys: pytest.CaptureFixture[str], metrics: str
) -> None:
    a_message(w, "notes")
    a_message(w, "notes")
    w.clock.move(90_000)
    a_message(w, "订单")
    complete(w.yard, poll(w.yard, "订单", 1, 30_000, "consumer")[0].id)
    w.project()
    w.clock.move(5_000)
    a_message(w, "mail")
    w.project()
    w.clock.move(10_000)
    lines = ticked(w, capsys, stage="dev", metrics=metrics)

    assert total_of(lines) == {"mq_queue_depth": [3], "mq_oldest_ready_age_seconds": [105]}
    by_topic = {
        "notes": {"mq_queue_depth": [2], "mq_oldest_ready_age_seconds": [105]},
        "mail": {"mq_queue_depth": [1], "mq_oldest_ready_age_seconds": [10]},
        "\\u8ba2\\u5355": {"mq_queue_depth": [0], "mq_oldest_ready_age_seconds": [0]},
    }
    assert topic_lines(lines) == (by_topic if metrics == "queue" else {})
    assert units(lines[0]) == {"mq_queue_depth": "Count", "mq_oldest_ready_age_seconds": "Seconds"}


def test_the_clock_tells_nothing_where_there_never_was_a_message(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Zeros would be metrics to be paid for; finding that out is one query."""
    a_task(w)
    w.project()
    w.tick()  # with the hourly steps
    with counting(w) as without:
        ticked(w, capsys, stage="dev", metrics="off")
    with counting(w) as calls:
        assert ticked(w, capsys, stage="dev", metrics="queue") == []
    # the counters; and as a task is pending, which types of tasks there are, and an index of two shards
    assert calls - without == Counter({"Query": 1 + 2 + 2})


def test_the_clock_tells_of_jobs_that_nobody_takes(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Sent half an hour ago and not begun: neither those that are to start later, nor what a person is to do."""
    a_task(w)
    a_message(w, "notes")
    a_task(w, delay_ms=7_200_000)
    a_task(w, runner=MANUAL)
    w.project()
    w.clock.move(UNTAKEN_AFTER_MS - 1)
    assert [line for line in ticked(w, capsys, stage="dev") if "late_jobs" in line] == []
    w.clock.move(1)
    (line,) = [line for line in ticked(w, capsys, stage="dev") if "late_jobs" in line]
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage"]]
    assert (values(line), units(line)) == ({"late_jobs": [2]}, {"late_jobs": "Count"})
    work(w)
    (line,) = [line for line in ticked(w, capsys, stage="dev") if "late_jobs" in line]
    assert values(line) == {"late_jobs": [1]}  # the message, which no client polls


@pytest.mark.parametrize("chosen", [{"stage": "dev", "metrics": "off"}, {"stage": "local", "metrics": "queue"}])
def test_the_clock_reads_no_topics_where_nobody_listens(
    w: World, capsys: pytest.CaptureFixture[str], chosen: dict[str, str]
) -> None:
    w.tick()  # with the hourly steps
    with counting(w) as without:
        ticked(w, capsys, stage="dev", metrics="off")
    a_message(w, "notes")
    w.project()
    with counting(w) as calls:
        assert ticked(w, capsys, **chosen) == []
    assert calls - without == Counter({"Query": 2})  # for lost leases of what is on its way, in two shards


def test_the_clock_tells_of_the_deepest_hundred_topics(capsys: pytest.CaptureFixture[str]) -> None:
    topics = {f"topic-{number:03}": Topic(number, Counter(), None) for number in range(150)}
    report_topics(Settings(stage="dev", metrics="queue"), {**topics, "  ": Topic(1_000, Counter(), None)})
    lines = printed(capsys)
    told = topic_lines(lines)

    assert total_of(lines) == {"mq_queue_depth": [sum(range(150)) + 1_000]}  # of those that are not told of, too
    assert len(told) == TOPICS_SHOWN_MAX
    assert list(told) == [f"topic-{number:03}" for number in range(149, 49, -1)]
    assert told["topic-149"] == {"mq_queue_depth": [149]}  # the age is not known


def test_the_clock_tells_of_jobs_that_do_not_add_up(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    w.yard.insights.accounts.note_audit(AuditReport(w.clock.ms, since_ms=0))
    lost = a_task(w)
    w.yard.jobs.table.delete(state_key(lost.id))
    w.project()
    w.clock.move(HOUR_MS)
    capsys.readouterr()
    touched = clock.handle(replace(w.yard, settings=replace(w.yard.settings, stage="dev")), {}, Remaining(300_000))
    assert touched["unaccounted_found"] == 1
    (line,) = [line for line in printed(capsys) if "unaccounted_jobs" in line]
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage"]]
    assert (values(line), units(line)) == ({"unaccounted_jobs": [1]}, {"unaccounted_jobs": "Count"})
    assert [line for line in ticked(w, capsys, stage="dev") if "unaccounted_jobs" in line] == []  # told once an hour


def test_the_clock_tells_of_canaries_that_are_missing(w: World, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = replace(w.yard.settings, stage="dev", canary_every_s=3_600)
    yard = replace(w.yard, settings=chosen, handlers=Registry.of([obedient]))
    with failing(w.yard.transport.client, "SendMessage"):
        clock.handle(yard, {}, Remaining(300_000))
    w.clock.move(LATE_MS + 1)
    capsys.readouterr()
    clock.handle(yard, {}, Remaining(300_000))
    (line,) = [line for line in printed(capsys) if "missing_canaries" in line]
    assert (values(line), units(line)) == ({"missing_canaries": [4]}, {"missing_canaries": "Count"})
