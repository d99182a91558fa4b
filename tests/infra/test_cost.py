"""What a deployment costs: sums done by hand, relations, and the measured figures measured again."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chalicelib.cli.cost import cost
from chalicelib.core.audit import AuditReport
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.lanes import SOONEST_FIRST, Band
from chalicelib.core.prices import PRICES, WRITE_UNIT_BYTES, Item
from chalicelib.engine import cost_figures as figures
from chalicelib.engine.cost_figures import Attempt, Place, place_of
from chalicelib.engine.polling import poll
from chalicelib.engine.publish.publish import publish
from chalicelib.functions import clock
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.code import code_template
from infra.cost.estimate import Bill, bills
from infra.cost.idle import FREE, PRICED
from infra.cost.jobs import added
from infra.cost.load import Deployment, Load, deployment
from infra.deploy.stages import config_of
from infra.functions import Function
from tests.benchmarks import aws_calls
from tests.benchmarks.aws_calls import BATCH, BULK, Measured
from tests.support.waiting import until
from tests.support.worlds import Remaining

DEV = Settings(stage="dev", metrics="off")
MEMORY_MB = {Function.API: 512, Function.WORKER: 1_024, Function.DEAD_LETTERS: 512, Function.CLOCK: 512} | {
    Function.PROJECTOR: 512
}
QUEUE_SOURCE = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"BatchSize": 10, "ScalingConfig": {}}}
LIMITED_SOURCE = {
    "Type": "AWS::Lambda::EventSourceMapping",
    "Properties": {"BatchSize": 10, "ScalingConfig": {"MaximumConcurrency": 2}},
}
CLOCK_RULE = {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(1 minute)"}}
DOCS = Path(__file__).parents[2] / "docs" / "costs.md"


def deployed(settings: Settings = DEV, **resources: Any) -> Deployment:
    """A deployment of few resources."""
    return Deployment(settings=settings, resources=resources, queues=2, types=3, memory_mb=MEMORY_MB)


def of_template(settings: Settings = DEV, bands: tuple[Band, ...] = ()) -> Deployment:
    """The deployment of infra's templates, with one queue beside ``default`` if it has bands."""
    return deployment(settings, {"orders": bands} if bands else {}, 3, config_of())


def amounts(bill: Bill) -> dict[tuple[Item, str], float]:
    """The amounts of a bill by item and purpose."""
    return {(line.usage.item, line.usage.what): line.usage.amount for line in bill.lines}


def total(deployment: Deployment, **load: Any) -> float:
    """What a million jobs cost."""
    return bills(deployment, Load(**{"jobs": 1_000_000, **load}))[1].usd


class TestAnIdleMonth:
    def test_a_queue_with_a_consumer_is_asked_six_times_a_minute(self) -> None:
        idle, _ = bills(deployed(Source=QUEUE_SOURCE), Load(jobs=0))
        # 2 pollers, each every 20 s, for 730 hours
        assert amounts(idle) == {(Item.QUEUE_REQUEST, "Lambda waits for messages at queues"): 262_800}
        assert idle.usd == pytest.approx(0.10512)
        assert idle.usd_by_service == {"SQS": idle.usd}

    def test_under_a_limit_of_workers_it_is_asked_fifteen_times_a_minute(self) -> None:
        idle, _ = bills(deployed(Source=LIMITED_SOURCE), Load(jobs=0))
        # 5 pollers, each every 20 s, for 730 hours
        assert amounts(idle) == {(Item.QUEUE_REQUEST, "Lambda waits for messages at queues under a limit"): 657_000}
        assert idle.usd == pytest.approx(0.2628)

    def test_the_clock_costs_its_ticks_and_what_they_ask(self) -> None:
        idle, _ = bills(deployed(Clock=CLOCK_RULE), Load(jobs=0))
        # 43,800 ticks of 17 queries, a get and a write (4 shards, 3 types); 730 make 122 queries and 2 gets more.
        seconds = 43_800 * (0.010 + 19 * 0.010) + 730 * 124 * 0.010
        assert amounts(idle) == {
            (Item.SCHEDULED_EVENT, "the clock"): 43_800,
            (Item.FUNCTION_REQUEST, "the clock"): 43_800,
            (Item.FUNCTION_TIME, "the clock"): pytest.approx(seconds / 2),
            (Item.TABLE_READ, "the clock looks for work"): 43_800 * (14 / 2 + 4) + 730 * (108 / 2 + 14 + 2),
            (Item.TABLE_WRITE, "the clock notes that it ran"): 43_800,
            (Item.LOG_INGESTION, "logs"): pytest.approx(0.01533),
            (Item.LOG_STORAGE, "logs"): pytest.approx(0.01533 * 30 / (730 / 24)),
        }
        assert idle.usd == pytest.approx(0.00876 + 0.0805435 + 0.0666125 + 0.027375 + 0.007665 + 0.000454, abs=1e-5)

    def test_the_clock_asks_once_more_where_cloudwatch_is_told(self) -> None:
        quiet, telling = (
            bills(deployed(replace(DEV, metrics=m), Clock=CLOCK_RULE), Load(jobs=0))[0] for m in ("off", "total")
        )
        more = {key: amount - amounts(quiet)[key] for key, amount in amounts(telling).items()}
        assert {key: amount for key, amount in more.items() if amount} == {
            (Item.FUNCTION_TIME, "the clock"): pytest.approx(43_800 * 0.010 / 2),
            (Item.TABLE_READ, "the clock looks for work"): 43_800,  # one query a tick, of a whole unit
        }

    def test_a_tick_is_a_trace_where_tracing_is_on(self) -> None:
        traced, _ = bills(deployed(replace(DEV, tracing="on"), Clock=CLOCK_RULE), Load(jobs=0))
        assert amounts(traced)[Item.TRACE, "invocations, at most: X-Ray samples them"] == 43_800

    def test_a_rarer_clock_costs_less(self) -> None:
        rarer = {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(5 minutes)"}}
        idle, _ = bills(deployed(Clock=rarer), Load(jobs=0))
        assert amounts(idle)[Item.FUNCTION_REQUEST, "the clock"] == 8_760

    def test_another_schedule_is_refused(self) -> None:
        odd = {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "cron(0 9 * * ? *)"}}
        with pytest.raises(InvalidInput, match="no price"):
            bills(deployed(Clock=odd), Load(jobs=0))

    def test_an_alarm_pays_for_each_metric_it_looks_at(self) -> None:
        plain = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}}
        queries = [{"Id": "e", "Expression": "a/b"}, {"Id": "a", "MetricStat": {}}, {"Id": "b", "MetricStat": {}}]
        ratio = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": queries}}
        dashboard = {"Type": "AWS::CloudWatch::Dashboard", "Properties": {}}
        both = {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {}}
        idle, _ = bills(deployed(Plain=plain, Ratio=ratio, Both=both, Dashboard=dashboard), Load(jobs=0))
        assert idle.usd == pytest.approx(3 * 0.10 + 0.50 + 3.00)

    def test_the_templates_have_a_source_for_each_lane_and_the_dead_letters(self) -> None:
        limited = replace(DEV, lane_concurrency="high=20", hooks="on")
        idle, _ = bills(of_template(limited, bands=(Band.HIGH, Band.NORMAL)), Load(jobs=0))
        # without a limit normal and low of default, normal of orders, the dead letters; under one high of both, hooks
        assert amounts(idle)[Item.QUEUE_REQUEST, "Lambda waits for messages at queues"] == 4 * 262_800
        assert amounts(idle)[Item.QUEUE_REQUEST, "Lambda waits for messages at queues under a limit"] == 3 * 657_000

    def test_each_lane_more_costs_more(self) -> None:
        costs = [
            bills(of_template(bands=SOONEST_FIRST[:count]), Load(jobs=0))[0].usd
            for count in range(1, len(SOONEST_FIRST) + 1)
        ]
        assert all(more - less >= 0.10512 - 1e-9 for less, more in pairwise(costs))

    def test_every_type_of_resource_is_priced_or_free_for_a_reason(self) -> None:
        everything = replace(DEV, tracing="on", metrics="queue", alarm_topic="arn:aws:sns:us-east-1:123456789012:a")
        types = {
            resource["Type"]
            for settings in (DEV, everything)
            for resource in of_template(settings, SOONEST_FIRST).resources.values()
        } | {resource["Type"] for resource in code_template(DEV)["Resources"].values()}
        assert types <= PRICED.keys() | FREE.keys()
        assert all(FREE.values())
        assert not PRICED.keys() & FREE.keys()

    def test_a_type_nobody_priced_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="AWS::EC2::NatGateway"):
            bills(deployed(Gateway={"Type": "AWS::EC2::NatGateway"}), Load(jobs=0))


class TestJobs:
    def test_a_million_small_ones_run_by_a_worker(self) -> None:
        _, added = bills(deployed(), Load(jobs=1_000_000, payload_bytes=200, run_ms=100))
        found = amounts(added)
        # A publish: 1 send, a put of 2 units. An attempt: 3 and 4 units. A batch of ten: receive, lease, delete.
        assert found[Item.API_REQUEST, "publish"] == 1_000_000
        assert found[Item.QUEUE_REQUEST, "publish"] == 1_000_000
        assert found[Item.QUEUE_REQUEST, "attempts"] == 300_000
        assert found[Item.TABLE_WRITE, "publish"] == 2_000_000
        assert found[Item.TABLE_WRITE, "attempts"] == 7_000_000
        assert found[Item.TABLE_WRITE, "counters and series"] == 30_000 * 10
        assert found[Item.FUNCTION_REQUEST, "attempts"] == 100_000
        assert found[Item.FUNCTION_REQUEST, "counters and series"] == 30_000
        # 1,000,000 x (100 ms + 2 requests) + 100,000 x (10 ms + 1 request), at 1 GB
        assert found[Item.FUNCTION_TIME, "attempts"] == pytest.approx(122_000)
        assert found[Item.FUNCTION_TIME, "publish"] == pytest.approx(1_000_000 * 0.030 / 2)
        assert found[Item.FUNCTION_TIME, "counters and series"] == pytest.approx(30_000 * 0.030 / 2)
        # 1,130,000 invocations of 350 bytes
        assert found[Item.LOG_INGESTION, "logs"] == pytest.approx(0.3955)
        # a record of 500 + 210 + 100 bytes, two index entries of 160 + 200
        assert found[Item.TABLE_STORAGE, "jobs kept, each month"] == pytest.approx(1.17)
        assert found[Item.TABLE_BACKUP, "jobs kept, each month"] == pytest.approx(0.81)
        units = 9_300_000 * 0.625e-6 + 30_000 * 0.125e-6
        functions = 1_130_000 * 0.2e-6 + 137_450 * 16.6667e-6
        logs = 0.3955 * 0.5 + 0.3955 * 30 / (730 / 24) * 0.03
        kept = 1.17 * 0.25 + 0.81 * 0.20
        assert added.usd == pytest.approx(3.50 + 1.3 * 0.40 + units + functions + logs + kept, abs=1e-4)

    def test_light_handlers_settle_ten_at_once(self) -> None:
        fenced, light = (
            bills(deployed(), Load(jobs=1_000, payload_bytes=200, light=light))[1] for light in (False, True)
        )
        assert amounts(fenced)[Item.TABLE_WRITE, "attempts"] == 7_000
        assert amounts(light)[Item.TABLE_WRITE, "attempts"] == 5_000
        assert amounts(light)[Item.TABLE_READ, "attempts"] == 1_000
        # 1,000 x 100 ms + 100 x (10 ms + 3 requests), at 1 GB
        assert amounts(light)[Item.FUNCTION_TIME, "attempts"] == pytest.approx(104)
        assert amounts(light)[Item.FUNCTION_REQUEST, "counters and series"] == 20  # of two changes a job, not three
        with pytest.raises(InvalidInput, match="light"):
            bills(deployed(), Load(jobs=1, light=True, polled=True))

    def test_slots_of_a_schedule_that_runs_every_minute(self) -> None:
        _, added = bills(deployed(), Load(jobs=0, slots=43_800))
        assert amounts(added) == {(Item.TABLE_WRITE, "slots of schedules"): 525_600}
        assert added.usd == pytest.approx(0.3285)
        with pytest.raises(InvalidInput, match="slots"):
            bills(deployed(), Load(jobs=0, slots=-1))

    def test_a_payload_of_a_kilobyte_is_an_item_of_two(self) -> None:
        _, added = bills(deployed(), Load(jobs=1, payload_bytes=1_024))
        assert amounts(added)[Item.TABLE_WRITE, "publish"] == 3
        assert amounts(added)[Item.TABLE_WRITE, "payloads"] == 4  # two started KB, in a transaction

    def test_a_large_payload_is_an_object(self) -> None:
        _, added = bills(deployed(), Load(jobs=10, payload_bytes=1_000_000))
        found = amounts(added)
        assert found[Item.OBJECT_PUT, "payloads"] == found[Item.OBJECT_GET, "attempts"] == 10
        assert found[Item.OBJECT_STORAGE, "jobs kept, each month"] == pytest.approx(0.01)
        assert found[Item.QUEUE_REQUEST, "publish"] == 10  # the message only points to it

    def test_a_message_of_100_kb_is_two_requests_and_ten_are_sixteen(self) -> None:
        _, added = bills(deployed(), Load(jobs=100, payload_bytes=100_000))
        assert amounts(added)[Item.QUEUE_REQUEST, "publish"] == 200
        assert amounts(added)[Item.QUEUE_REQUEST, "attempts"] == 10 * (16 + 2)

    def test_published_in_bulk(self) -> None:
        _, added = bills(deployed(), Load(jobs=1_000, payload_bytes=100, bulk=True))
        found = amounts(added)
        # 10 requests of 100 jobs: each two transactions (99 and 1) of 3 units a job and 3 for the marker
        assert found[Item.API_REQUEST, "publish"] == 10
        assert found[Item.TABLE_WRITE, "publish"] == pytest.approx(3_000 + 60)

    def test_records_of_kafka(self) -> None:
        comes_in = json.dumps([{"topic": "orders", "direction": "in", "group": "g"}])
        stage = deployed(replace(DEV, kafka_topics=comes_in))
        stage = replace(stage, memory_mb={**MEMORY_MB, Function.KAFKA: 512})
        _, added = bills(stage, Load(jobs=980, payload_bytes=100, from_kafka=True))
        found = amounts(added)
        # 2 batches; 20 transactions of 49 records, 3 units a record, 2 for its key, 3 for a marker; 5 sends each
        assert (Item.API_REQUEST, "publish") not in found
        assert found[Item.FUNCTION_REQUEST, "records of Kafka"] == 2
        assert found[Item.TABLE_WRITE, "records of Kafka"] == 980 * 5 + 20 * 3
        assert found[Item.QUEUE_REQUEST, "records of Kafka"] == 100
        assert found[Item.FUNCTION_TIME, "records of Kafka"] == pytest.approx((2 * 10 + 140 * 10) / 1_000 / 2)
        with pytest.raises(InvalidInput, match=r"from-kafka: the stage dev .* in \.chalice/config\.json"):
            bills(deployed(), Load(jobs=1, from_kafka=True))
        with pytest.raises(InvalidInput, match=r"from-kafka: .*expected records that a worker runs"):
            bills(stage, Load(jobs=1, from_kafka=True, polled=True))

    def test_polled_by_clients(self) -> None:
        _, added = bills(deployed(), Load(jobs=1_000, payload_bytes=5_000, polled=True))
        found = amounts(added)
        assert found[Item.API_REQUEST, "polls and reports"] == 100 + 1_000
        assert found[Item.QUEUE_REQUEST, "polls and reports"] == 100 + 1_000
        assert found[Item.TABLE_WRITE, "polls and reports"] == 7_000
        assert found[Item.TABLE_READ, "polls and reports"] == 1_000 * (1 + 2)  # the record; a body of two times 4 KB
        assert not any(what == "attempts" for _, what in found)

    def test_a_failed_attempt_hides_its_message_and_is_logged(self) -> None:
        once, twice = (bills(deployed(), Load(jobs=100, attempts=attempts))[1] for attempts in (1, 2))
        more = {key: amount - amounts(once)[key] for key, amount in amounts(twice).items()}
        assert more[Item.QUEUE_REQUEST, "attempts"] == 10 * 2 + 100
        assert more[Item.TABLE_WRITE, "attempts"] == 800
        # 10 invocations of the worker and 2 of the projector, and 100 lines
        assert more[Item.LOG_INGESTION, "logs"] == pytest.approx((12 * 350 + 100 * 700) / 1e9)

    def test_no_jobs_cost_nothing(self) -> None:
        for settings in (DEV, replace(DEV, metrics="queue", tracing="on")):
            assert bills(deployed(settings), Load(jobs=0))[1] == Bill([])

    @pytest.mark.parametrize(
        ("cheaper", "dearer"),
        [
            ({"payload_bytes": 200}, {"payload_bytes": 400}),
            ({"payload_bytes": 10_000}, {"payload_bytes": 20_000}),
            ({"attempts": 1}, {"attempts": 1.5}),
            ({"run_ms": 50}, {"run_ms": 100}),
            ({"bulk": True}, {"bulk": False}),
            ({"polled": False, "run_ms": 1}, {"polled": True, "run_ms": 1}),
            ({"polled": True}, {"polled": True, "attempts": 2}),
            ({"jobs": 1_000_000}, {"jobs": 2_000_000}),
        ],
    )
    def test_what_costs_more(self, cheaper: Mapping[str, Any], dearer: Mapping[str, Any]) -> None:
        assert total(deployed(), **cheaper) < total(deployed(), **dearer)

    def test_settings_that_cost_more(self) -> None:
        base = total(deployed())
        # 6 metrics in all; by queue one of all kinds, 6 of the kind and of each of 2 queues; a line or two of some
        # 1,500 bytes for each of 40,000 batches
        assert total(deployed(replace(DEV, metrics="total"))) == pytest.approx(base + 6 * 0.30 + 0.03, abs=0.005)
        assert total(deployed(replace(DEV, metrics="queue"))) == pytest.approx(base + 19 * 0.30 + 0.03, abs=0.005)
        # what alarms look at is one of them: a 1 or a 0 for each attempt
        assert total(deployed(replace(DEV, metrics="alarms"))) == pytest.approx(base + 0.30 + 0.01, abs=0.005)
        # of messages, which polled jobs are, 5 more: 11 in all
        polled, told = (total(deployed(replace(DEV, metrics=m)), polled=True) for m in ("off", "total"))
        assert told == pytest.approx(polled + 11 * 0.30 + 0.03, abs=0.005)
        # 1,000,000 publishes, 100,000 batches of messages, 40,000 of changes
        assert total(deployed(replace(DEV, tracing="on"))) == pytest.approx(base + 1.14 * 5.00)
        assert total(deployed(replace(DEV, worker_batch_size=1))) > base
        # 102 words of a payload of 1,024 bytes and the list of them; 5 requests of 10 ms, eight at a time, at 512 MB
        search = 103 * 0.625 + 103 / 25 * 0.01 / 8 / 2 * 1_000_000 * 0.0000166667
        assert total(deployed(replace(DEV, search="on"))) == pytest.approx(base + search, abs=0.01)
        assert total(deployed(replace(DEV, search="on")), polled=True) == total(deployed(), polled=True)
        assert total(replace(deployed(), arm=True)) < base

    @pytest.mark.parametrize(
        "load",
        [
            Load(jobs=-1),
            Load(jobs=1, attempts=0.9),
            Load(jobs=1, payload_bytes=10**9),
            Load(jobs=1, run_ms=-1),
            Load(jobs=1, run_ms=math.inf),
            Load(jobs=1, attempts=math.nan),
        ],
    )
    def test_a_load_that_cannot_be_is_refused(self, load: Load) -> None:
        with pytest.raises(InvalidInput, match="expected"):
            bills(deployed(), load)


class TestTheFreeTier:
    def test_is_taken_off_the_idle_bill_first_and_only_once(self) -> None:
        sources = {"A": QUEUE_SOURCE, "B": QUEUE_SOURCE}
        idle, added = bills(deployed(**sources), Load(jobs=1_000_000, payload_bytes=100), free_tier=True)
        requests = [line for line in (*idle.lines, *added.lines) if line.usage.item is Item.QUEUE_REQUEST]
        assert [line.free for line in requests] == [525_600, 474_400, 0]
        assert idle.usd == 0

    def test_covers_what_is_left_of_it(self) -> None:
        _, added = bills(deployed(Source=QUEUE_SOURCE), Load(jobs=1_000_000, payload_bytes=100), free_tier=True)
        requests = [line for line in added.lines if line.usage.item is Item.QUEUE_REQUEST]
        assert sum(line.free for line in requests) == 1_000_000 - 262_800

    def test_is_not_taken_off_unless_asked_for(self) -> None:
        idle, added = bills(deployed(Source=QUEUE_SOURCE), Load(jobs=1_000_000))
        assert {line.free for line in (*idle.lines, *added.lines)} == {0}


def test_every_price_names_its_page() -> None:
    assert PRICES.keys() == set(Item)
    assert all(
        re.fullmatch(r"https://aws\.amazon\.com/[a-z0-9-]+/pricing/.*", price.source) for price in PRICES.values()
    )
    assert PRICES[Item.TABLE_WRITE].usd_each == pytest.approx(0.000000625)


# -- the measured figures -------------------------------------------------------------------------


SIZES_BYTES = {Place.RECORD: (40, 285), Place.ITEM: (400, 10_000), Place.OBJECT: (300_000,)}


@dataclass
class Measurements:
    """Each scenario, measured once."""

    published: dict[int, Measured]
    about_a_target: Measured
    in_bulk: dict[int, Measured]
    records: Measured
    succeeded: dict[int, Measured]
    light: Measured
    polled: dict[int, Measured]
    completed: dict[int, Measured]
    stored: dict[int, dict[str, int]]
    failed: Measured
    after_failure: Measured
    failed_by_client: Measured
    polled_again: Measured
    tick: Measured
    told_ticks: dict[str, Measured]
    tick_of_the_hour: Measured
    projected: dict[str, Measured]
    slot: Measured


def payload(size_bytes: int) -> dict[str, str]:
    """A payload of so many bytes of JSON."""
    return {"text": "x" * (size_bytes - len('{"text":""}'))}


def every_size() -> list[tuple[int, Place]]:
    return [(size, place) for place, sizes in SIZES_BYTES.items() for size in sizes]


@pytest.fixture(scope="module")
def measured() -> Measurements:
    """Measured on an emulator that is gone before the first test begins."""
    with Emulator.start() as emulator:
        published, in_bulk, succeeded, polled, completed, stored = {}, {}, {}, {}, {}, {}
        with aws_calls.metered_bench(emulator) as (bench, meter):
            bench.yard.insights.task_days.remember_condensed(bench.clock())  # as every tick but the very first finds it
            bench.yard.insights.accounts.note_audit(AuditReport(bench.clock(), since_ms=0))
            tick_of_the_hour = aws_calls.ticking(bench, meter)
            bench.clock.move(60_000)
            tick = aws_calls.ticking(bench, meter)
            told_ticks = {metrics: ticking_and_telling(bench, meter, metrics) for metrics in figures.SHOWN_BYTES}
            projected = {metrics: aws_calls.projecting(bench, meter, metrics) for metrics in figures.SHOWN_BYTES}
            bench.work(aws_calls.LANE)
            failed, after_failure = aws_calls.retrying(bench, meter)
            for size_bytes, _ in every_size():
                published[size_bytes] = aws_calls.publishing(bench, meter, payload(size_bytes), BATCH)
                succeeded[size_bytes] = aws_calls.working(bench, meter, BATCH)
                polled[size_bytes], ids = aws_calls.polling_once(bench, meter, payload(size_bytes))
                complete = partial(poll.complete, bench.yard)
                completed[size_bytes] = aws_calls.reporting(bench, meter, ids, complete)
                stored[size_bytes] = aws_calls.stored_bytes(bench, ids[0])
            for _ in range(BATCH):
                publish(bench.yard, replace(aws_calls.task_draft(payload(100)), type="bench.light"))
            light = aws_calls.working(bench, meter, BATCH)
            with meter.measuring(1) as about_a_target:
                publish(bench.yard, replace(aws_calls.task_draft(payload(100)), target_id="7", target_type="t"))
            for size_bytes, _ in every_size():  # last, as nobody works on them
                in_bulk[size_bytes] = aws_calls.publishing_in_bulk(bench, meter, payload(size_bytes), BULK)
            records = aws_calls.bringing_in(bench, meter)
        with aws_calls.metered_bench(emulator) as (bench, meter):
            _, ids = aws_calls.polling_once(bench, meter)
            fail = partial(poll.fail, bench.yard, error="as asked")
            failed_by_client = aws_calls.reporting(bench, meter, ids, fail)
            bench.clock.move(aws_calls.RETRY_MS)
            with meter.measuring(BATCH) as polled_again:
                _poll_until(bench, BATCH)
            slot = aws_calls.handing_over(bench, meter)
    return Measurements(
        published, about_a_target, in_bulk, records, succeeded, light, polled, completed, stored, failed, after_failure,
        failed_by_client, polled_again, tick, told_ticks, tick_of_the_hour, projected, slot,
    )  # fmt: skip


def ticking_and_telling(bench: aws_calls.Bench, meter: aws_calls.Meter, metrics: str) -> Measured:
    """One run of the clock with nothing to do, with what CloudWatch is told where there never was a topic."""
    settings = replace(bench.yard.settings, stage="dev", metrics=metrics)
    with meter.measuring(1) as measured:
        clock.handle(replace(bench.yard, settings=settings), {}, Remaining(300_000))
    return measured


def _poll_until(bench: aws_calls.Bench, count: int) -> None:
    """Poll until so many messages are in hand: SQS hides what failed for a second, and keeps its own time."""
    taken: list[Job] = []

    def all_taken() -> bool:
        taken.extend(poll.poll(bench.yard, aws_calls.POLLED_TOPIC, count - len(taken), 30_000, "bench"))
        return len(taken) == count

    until(all_taken)


def per_job(deployed: Deployment, what: str, **load: Any) -> dict[Item, float]:
    """What the model says of one purpose, for each of 1,000 jobs."""
    found: dict[Item, float] = {}
    for usage in added(deployed, Load(jobs=1_000, **load)):
        if usage.what == what:
            found[usage.item] = found.get(usage.item, 0.0) + usage.amount / 1_000
    return found


class TestTheFiguresAreStillTrue:
    @pytest.mark.parametrize(("size_bytes", "place"), every_size())
    def test_where_a_body_goes(self, measured: Measurements, size_bytes: int, place: Place) -> None:
        assert place_of(size_bytes) is place
        assert ("body" in measured.stored[size_bytes]) == (place is Place.ITEM)
        assert measured.published[size_bytes].each("s3.PutObject") == (place is Place.OBJECT)

    @pytest.mark.parametrize(("size_bytes", "place"), every_size())
    def test_a_publish(self, measured: Measurements, size_bytes: int, place: Place) -> None:
        found = measured.published[size_bytes]
        model = per_job(deployed(), "publish", payload_bytes=size_bytes)
        payloads = per_job(deployed(), "payloads", payload_bytes=size_bytes)
        assert found.each("dynamodb.") == found.each("sqs.") == 1
        assert found.write_units == model[Item.TABLE_WRITE] + payloads.get(Item.TABLE_WRITE, 0)
        assert found.read_units == 0
        assert found.each("s3.") == payloads.get(Item.OBJECT_PUT, 0)
        envelope_bytes = found.sent_bytes / found.jobs - (0 if place is Place.OBJECT else size_bytes)
        assert envelope_bytes == pytest.approx(figures.ENVELOPE_BYTES, rel=0.1)

    def test_the_target_of_a_task_is_one_write_unit(self, measured: Measurements) -> None:
        assert measured.about_a_target.write_units == figures.PUBLISHED_WRITE_UNITS[Place.RECORD] + 1

    @pytest.mark.parametrize(("size_bytes", "place"), every_size())
    def test_a_publish_in_bulk(self, measured: Measurements, size_bytes: int, place: Place) -> None:
        del place
        found = measured.in_bulk[size_bytes]
        # as many at once as were measured, whatever one request over HTTP may carry
        roomy = deployed(replace(DEV, payload_max_bytes=10**9))
        model = per_job(roomy, "publish", payload_bytes=size_bytes, bulk=True)
        payloads = per_job(roomy, "payloads", payload_bytes=size_bytes, bulk=True)
        assert found.write_units == pytest.approx(model[Item.TABLE_WRITE] + payloads.get(Item.TABLE_WRITE, 0), abs=0.01)
        assert found.each("sqs.") <= model[Item.QUEUE_REQUEST] + 0.011
        assert found.each("s3.") == payloads.get(Item.OBJECT_PUT, 0)

    def test_records_of_kafka(self, measured: Measurements) -> None:
        found = measured.records
        marker_units = 2 * figures.MARKER_WRITE_UNITS / found.jobs
        each = figures.PUBLISHED_IN_BULK_WRITE_UNITS + figures.RECORD_KEY_WRITE_UNITS
        assert found.write_units == pytest.approx(each + marker_units)
        assert found.read_units == 0
        assert found.each("sqs.") * found.jobs == 10
        kept_bytes = found.sent_bytes / found.jobs - figures.ENVELOPE_BYTES - len(json.dumps(aws_calls.BODY))
        assert kept_bytes == pytest.approx(figures.RECORD_META_BYTES, rel=0.3)

    @pytest.mark.parametrize(("size_bytes", "place"), every_size())
    def test_an_attempt_of_a_worker(self, measured: Measurements, size_bytes: int, place: Place) -> None:
        found = measured.succeeded[size_bytes]
        assert_attempt(found, figures.SUCCEEDED, receives=1)
        assert found.each("s3.GetObject") == (place is Place.OBJECT)
        assert found.logged_bytes == 0

    def test_an_attempt_of_a_light_handler(self, measured: Measurements) -> None:
        """The emulator does not tell what a BatchGetItem takes: a read unit for each record, read consistently."""
        assert_attempt(measured.light, replace(figures.SUCCEEDED_LIGHT, read_units=0), receives=1)

    def test_a_failed_attempt_and_the_one_after_it(self, measured: Measurements) -> None:
        both = aws_calls.together(measured.failed, measured.after_failure)
        assert both.write_units == figures.FAILED.write_units + figures.SUCCEEDED.write_units
        assert measured.failed.each("dynamodb.") == figures.FAILED.table_requests
        requests = (1 + figures.FAILED.batch_requests) / BATCH + figures.FAILED.requests
        assert measured.failed.each("sqs.") == pytest.approx(requests)
        logged_bytes = measured.failed.logged_bytes / BATCH
        assert logged_bytes == pytest.approx(figures.FAILED.log_bytes, rel=0.2)

    @pytest.mark.parametrize(("size_bytes", "place"), [(s, p) for s, p in every_size() if p is not Place.OBJECT])
    def test_a_poll_of_ten(self, measured: Measurements, size_bytes: int, place: Place) -> None:
        del place
        assert_attempt(measured.polled[size_bytes], figures.POLLED, receives=1)

    def test_a_poll_of_ten_that_are_in_the_bucket(self, measured: Measurements) -> None:
        found = measured.polled[300_000]
        assert found.calls == {"sqs.ReceiveMessage": 1, "dynamodb.UpdateItem": BATCH, "s3.GetObject": BATCH}

    @pytest.mark.parametrize(("size_bytes", "place"), every_size())
    def test_a_report_of_success(self, measured: Measurements, size_bytes: int, place: Place) -> None:
        found = measured.completed[size_bytes]
        report = figures.COMPLETED_BY_CLIENT
        body_reads = int(place is Place.ITEM)
        assert found.write_units == report.write_units
        assert found.each("dynamodb.") == report.table_requests + body_reads
        assert found.each("s3.") == (place is Place.OBJECT)
        assert found.each("sqs.") == report.requests
        # The emulator counts a read of any size as one unit.
        assert found.read_units == report.read_units + body_reads

    def test_a_report_of_failure_and_the_poll_after_it(self, measured: Measurements) -> None:
        report, again = measured.failed_by_client, measured.polled_again
        assert (
            report.write_units + again.write_units == figures.FAILED_BY_CLIENT.write_units + figures.POLLED.write_units
        )
        assert report.each("dynamodb.") == figures.FAILED_BY_CLIENT.table_requests
        assert report.each("sqs.") == figures.FAILED_BY_CLIENT.requests
        assert report.read_units == figures.FAILED_BY_CLIENT.read_units

    def test_a_tick_with_nothing_to_do(self, measured: Measurements) -> None:
        shards, types = 2, len(("bench.task", "bench.light", "bench.topic", aws_calls.POLLED_TOPIC))  # of the bench
        never_counted = types * shards * figures.TICK_QUERIES_A_TYPE_AND_SHARD
        of_types = figures.TICK_QUERIES_FOR_TYPES
        queries = figures.TICK_QUERIES + shards * figures.TICK_QUERIES_A_SHARD + never_counted
        calls = {"Query": queries + of_types, "GetItem": figures.TICK_GETS, "UpdateItem": figures.TICK_WRITES}
        assert measured.tick.calls == {f"dynamodb.{name}": number for name, number in calls.items()}
        assert measured.tick.write_units == figures.TICK_WRITES
        of_types_units = of_types * figures.EMPTY_CONSISTENT_QUERY_READ_UNITS
        units = (queries + figures.TICK_GETS) * figures.EMPTY_QUERY_READ_UNITS + of_types_units
        assert measured.tick.read_units == units
        of_the_hour = types * shards * figures.TICK_QUERIES_A_TYPE_AND_SHARD_ONCE_AN_HOUR
        of_the_hour += figures.TICK_QUERIES_FOR_TYPES_ONCE_AN_HOUR
        assert measured.tick_of_the_hour.calls["dynamodb.Query"] == queries + of_types + of_the_hour
        assert measured.tick_of_the_hour.calls["dynamodb.GetItem"] == figures.TICK_GETS + figures.TICK_GETS_ONCE_AN_HOUR
        assert measured.tick.logged_bytes == 0

    @pytest.mark.parametrize("metrics", figures.SHOWN_BYTES)
    def test_what_a_tick_asks_to_tell_of_topics(self, measured: Measurements, metrics: str) -> None:
        found, of_topics = measured.told_ticks[metrics], figures.TICK_QUERIES_OF_TOPICS * (metrics != "off")
        assert found.calls - measured.tick.calls == Counter({"dynamodb.Query": of_topics} if of_topics else {})
        more_units = found.read_units - measured.tick.read_units
        assert more_units == of_topics * figures.EMPTY_CONSISTENT_QUERY_READ_UNITS
        assert found.logged_bytes == 0

    def test_a_slot_of_a_schedule(self, measured: Measurements) -> None:
        job = figures.PUBLISHED_IN_BULK_WRITE_UNITS
        assert measured.slot.write_units == figures.TICK_WRITES + job + figures.SLOT_WRITE_UNITS

    @pytest.mark.parametrize("metrics", figures.SHOWN_BYTES)
    def test_a_batch_of_changes(self, measured: Measurements, metrics: str) -> None:
        found = measured.projected[metrics]
        assert found.each("") == found.each("dynamodb.") == figures.PROJECTED_TABLE_REQUESTS
        assert found.write_units == figures.PROJECTED_WRITE_UNITS
        assert found.read_units == figures.PROJECTED_READ_UNITS
        assert found.logged_bytes == pytest.approx(figures.SHOWN_BYTES[metrics], rel=0.1)

    def test_what_is_stored_of_a_job(self, measured: Measurements) -> None:
        sizes = measured.stored[10_000]
        assert sizes["state"] == pytest.approx(figures.RECORD_BYTES, rel=0.15)
        around = sizes["body"] - 10_000 - figures.BODY_OVERHEAD_BYTES
        assert around == pytest.approx(figures.ITEM_OVERHEAD_BYTES, abs=10)
        entries = {name: size for name, size in sizes.items() if name not in ("state", "body")}
        assert len(entries) == figures.INDEX_ENTRIES
        assert sum(entries.values()) == pytest.approx(figures.INDEX_ENTRIES_BYTES, rel=0.15)

    def test_a_body_is_billed_by_its_started_kilobytes(self, measured: Measurements) -> None:
        more = measured.published[10_000].write_units - measured.published[400].write_units
        assert more == figures.BODY_WRITE_UNITS_A_KB * (math.ceil(10_030 / WRITE_UNIT_BYTES) - 1)


def assert_attempt(found: Measured, attempt: Attempt, receives: int) -> None:
    """``found`` is a batch of ten of which each job took what ``attempt`` says."""
    assert found.each("sqs.") == pytest.approx((receives + attempt.batch_requests) / BATCH + attempt.requests)
    assert found.each("dynamodb.") == pytest.approx(attempt.table_requests)
    assert found.write_units == attempt.write_units
    assert found.read_units == attempt.read_units


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command as a shell without AWS credentials would."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TASKYARD_REGION"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cost, arguments)

    return call


class TestTheCommand:
    def test_shows_both_bills_with_their_totals(self, run: Any) -> None:
        answer = json.loads(run("--json").stdout)
        shown = run().stdout
        totals = [line.split() for line in shown.splitlines() if line.startswith("total")]
        assert totals == [["total", f"{answer[bill]['usd']:.2f}"] for bill in ("idleMonth", "jobs")]
        assert "An idle month of stage dev" in shown
        assert "1,000,000 jobs more, run: payload 1,024 bytes, 1 attempts a job, 100 ms each at 512 MB" in shown
        assert "List prices of us-east-1, read 2026-11-21" in shown

    def test_answers_programs_with_each_line(self, run: Any) -> None:
        answer = json.loads(run("--json", "--jobs", "1000", "--polled", "--bulk").stdout)
        assert answer["jobs"]["polled"] is True
        assert answer["jobs"]["usd"] == pytest.approx(sum(line["usd"] for line in answer["jobs"]["lines"]), abs=1e-4)
        published = next(line for line in answer["jobs"]["lines"] if line["item"] == "api-gateway.request")
        assert published == {
            "item": "api-gateway.request",
            "service": "API Gateway",
            "for": "publish",
            "amount": 10,
            "free": 0,
            "unit": "REST requests",
            "usdEach": 0.0000035,
            "usd": 0.000035,
            "smaller": None,
            "source": "https://aws.amazon.com/api-gateway/pricing/",
        }

    def test_takes_the_memory_of_the_worker_and_the_architecture(self, run: Any) -> None:
        half = json.loads(run("--json", "--memory-mb", "512", "--arm").stdout)
        times = {line["for"]: line for line in half["jobs"]["lines"] if line["unit"] == "GB-seconds on arm64"}
        assert times["attempts"]["amount"] == pytest.approx(61_000)
        assert times["attempts"]["usd"] == pytest.approx(61_000 * 13.3334e-6)

    def test_says_where_prices_differ(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert "The stage is in eu-west-1, where prices differ." in run().stdout

    def test_takes_the_free_tier_off(self, run: Any) -> None:
        assert "1,000,000 free" in run("--free-tier").stdout
        assert "free," not in run().stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [(["--stage", "nope"], "the stage nope is not declared"), (["--attempts", "0"], "attempts"), (["--x"], "--x")],
    )
    def test_refuses_what_cannot_be(self, run: Any, arguments: list[str], said: str) -> None:
        refused = run(*arguments)
        assert refused.exit_code == 2
        assert said in refused.stderr


def test_the_command_leaves_the_settings_to_others_until_it_runs() -> None:
    """The engine reads settings as it is imported: with it, other commands could not choose their stage."""
    program = "import sys, chalicelib.cli.cost; print([m for m in sys.modules if 'chalicelib.engine' in m])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_page_says_what_the_command_says(run: Any) -> None:
    text = DOCS.read_text()
    rows = re.findall(r"^\| .*`taskyard cost(.*?)` \| \$([\d.]+) \|$", text, re.MULTILINE)
    assert len(rows) >= 5
    answers = [json.loads(run("--json", *shlex.split(arguments)).stdout) for arguments, _ in rows]
    assert [f"{answer['jobs']['usd']:.2f}" for answer in answers] == [usd for _, usd in rows]
    assert f"idle month of the stage `dev` costs ${answers[0]['idleMonth']['usd']:.2f}" in text
