"""What CloudWatch is told: sums of counts, every single time, by dimensions that stay few."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.core.cloudwatch import METRICS, Unit, dimension_value, reports_of
from chalicelib.core.job import Job
from chalicelib.core.projection import Measure
from chalicelib.core.states import Kind, State

NOON_MS = 1_750_000_020_000
NEW = Job(
    id=1,
    uid="b",
    kind=Kind.TASK,
    type="work",
    queue="default",
    created_at_ms=NOON_MS,
    updated_at_ms=NOON_MS,
    due_at_ms=NOON_MS,
    trace_id="t",
)
RUNS = replace(NEW, state=State.RUNNING, updated_at_ms=NOON_MS + 700, started_at_ms=NOON_MS + 700, lease="l1")
DONE = replace(RUNS, state=State.SUCCESS, updated_at_ms=NOON_MS + 750)
DEAD = replace(RUNS, state=State.FAILED, updated_at_ms=NOON_MS + 800, failures=1)
LIFE = [(None, NEW), (NEW, RUNS), (RUNS, DONE)]
WAIT, RUN = METRICS[Measure.WAIT_MS], METRICS[Measure.RUN_MS]


def counts(report: object) -> dict[str, int]:
    return {metric.name: amount for metric, amount in report.counts.items()}  # type: ignore[attr-defined]


def test_every_measure_is_a_metric_and_every_time_is_in_milliseconds() -> None:
    assert set(METRICS) == set(Measure) - {Measure.BACKLOG}  # a difference, of which no sum can be told
    assert {metric.name for metric in METRICS.values() if metric.unit is Unit.MILLISECONDS} == {"wait_ms", "run_ms"}
    assert {metric.name for metric in METRICS.values() if metric.unit is Unit.COUNT} == {
        "published",
        "started",
        "succeeded",
        "attempts_failed",
        "dead_letters",
        "canceled",
    }


def test_a_life_is_told_with_its_times() -> None:
    (report,) = reports_of(LIFE, by_queue=False)

    assert (report.kind, report.queue) == ("task", None)
    assert counts(report) == {"published": 1, "started": 1, "succeeded": 1}
    assert report.times_ms == {WAIT: [700], RUN: [50]}


def test_counts_are_added_up_and_times_are_not_even_where_they_are_zero() -> None:
    at_once = replace(RUNS, updated_at_ms=NOON_MS, started_at_ms=NOON_MS)
    (report,) = reports_of([(NEW, RUNS), (NEW, at_once), (RUNS, DEAD)], by_queue=False)

    assert counts(report) == {"started": 2, "attempts_failed": 1, "dead_letters": 1}
    assert report.times_ms == {WAIT: [700, 0], RUN: [100]}


def test_kinds_are_told_apart_and_queues_where_that_is_wanted() -> None:
    message = replace(NEW, kind=Kind.MESSAGE, type="orders", queue="orders")
    other = replace(message, type="mail", queue="mail")
    changes = [(None, NEW), (None, message), (None, other), (None, other)]

    def metrics_of(*, by_queue: bool) -> dict[tuple[str, str | None], int]:
        return {(r.kind, r.queue): counts(r)["published"] for r in reports_of(changes, by_queue=by_queue)}

    assert metrics_of(by_queue=False) == {("task", None): 1, ("message", None): 3}
    assert metrics_of(by_queue=True) == {("task", "default"): 1, ("message", "orders"): 1, ("message", "mail"): 2}


def test_what_tells_nothing_makes_no_report() -> None:
    beat = replace(RUNS, updated_at_ms=NOON_MS + 720)

    assert reports_of([(RUNS, beat), (DONE, None), (None, None)], by_queue=True) == []


@pytest.mark.parametrize(
    ("queue", "value"),
    [
        ("orders.created", "orders.created"),
        ("订单", "\\u8ba2\\u5355"),
        ("tab\there", "tab\\there"),
        ("back\\slash", "back\\\\slash"),
        ("🚀" * 400, ("\\U0001f680" * 400)[:1_024]),
    ],
)
def test_a_queue_of_any_script_becomes_what_cloudwatch_takes(queue: str, value: str) -> None:
    assert dimension_value(queue) == value


def test_a_topic_s_metrics_come_all_together_or_not_at_all() -> None:
    message = replace(RUNS, kind=Kind.MESSAGE, type="orders", queue="orders")
    done = replace(message, state=State.SUCCESS, updated_at_ms=NOON_MS + 750)
    (settled,) = reports_of([(message, done)], by_queue=True)
    (published,) = reports_of([(None, replace(NEW, kind=Kind.MESSAGE))], by_queue=True)

    assert {metric.name: amount for metric, amount in settled.mq_counts.items()} == {
        "mq_consumed_total": 1,
        "mq_failed_total": 0,
        "mq_dlq_total": 0,
    }
    assert published.mq_counts == {}


@pytest.mark.parametrize(
    ("kind", "queue", "by_queue", "topic"),
    [
        (Kind.MESSAGE, "orders", True, "orders"),
        (Kind.MESSAGE, "orders", False, None),
        (Kind.MESSAGE, " ", True, None),
        (Kind.TASK, "default", True, None),
    ],
)
def test_topics_are_told_of_by_name_alone(kind: Kind, queue: str, by_queue: bool, topic: str | None) -> None:
    (report,) = reports_of([(None, replace(NEW, kind=kind, queue=queue))], by_queue=by_queue)

    assert report.topic == topic
