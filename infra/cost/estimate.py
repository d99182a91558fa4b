"""What a deployment costs: a month in which nobody uses it, and what jobs add.

An idle month is computed from the resources of infra's templates, what a job takes from the measured figures of
``cost_figures``, and money comes from ``prices`` alone. Nothing here asks AWS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.core.cloudwatch import METRICS, MQ_METRICS, OF_ALL_KINDS
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.lanes import Band
from chalicelib.core.projection import Measure
from chalicelib.core.search import WORDS_MAX
from chalicelib.engine.publish.bulk import MAX_ACTIONS, MAX_BYTES
from chalicelib.engine.publish.bulk import RECORD_BYTES as RECORD_ALLOWANCE_BYTES
from chalicelib.queue.contract import MESSAGE_MAX_BYTES
from chalicelib.settings import FUNCTION_TIMEOUT_MAX_S, Settings
from chalicelib.store.payloads import INLINE_MAX_BYTES
from chalicelib.store.search import PARALLEL
from chalicelib.store.table import BATCH_WRITE_MAX_ITEMS
from infra.cost import figures as figures
from infra.cost.figures import Attempt, Place, place_of
from infra.cost.prices import GB_BYTES, PRICES, SQS_CHUNK_BYTES, WRITE_UNIT_BYTES, Item, Price
from infra.deploy.stages import Config, architecture_of, function_config
from infra.events import STREAM_BATCH_SIZE
from infra.fragment import Fragment
from infra.functions import LOG_RETENTION_DAYS, Function
from infra.queues import lanes_of
from infra.template import events_template, template

MONTH_HOURS = 730  # what AWS's own calculator takes for a month
MONTH_DAYS = MONTH_HOURS / 24
HOUR_MINUTES = 60
HOUR_S = 3_600
MB_A_GB = 1_024  # of a function's memory
CHALICE_MEMORY_MB = 128  # of a function for which the configuration names none
READ_UNIT_BYTES = 4_096
FUNCTION_MAX_MS = FUNCTION_TIMEOUT_MAX_S * 1_000

# AWS Lambda Developer Guide, "Configuring scaling behavior for SQS event source mappings": on a quiet standard queue
# Lambda goes back to five batches at a time, and on to two, but not where a maximum concurrency is set.
POLLERS = 2
POLLERS_UNDER_A_LIMIT = 5
# The longest that SQS holds a receive: Amazon SQS Developer Guide, "Amazon SQS short and long polling".
LONG_POLL_S = 20
STREAM_POLLS_A_S = 4  # of each shard (AWS Lambda Developer Guide, "Polling and batching streams"); free

API_BATCH_JOBS = 100  # how many jobs one request may publish
# The lines START, END and REPORT that Lambda writes of each invocation, with the 26 bytes that CloudWatch adds to each
# (CloudWatch Logs API Reference, "PutLogEvents").
INVOCATION_LOG_BYTES = 350

TOLD_METRICS = [metric for measure, metric in METRICS.items() if measure not in (Measure.DEAD, Measure.CANCELED)]

FEWER_LANES = "fewer bands or queues"
NO_LIMIT = "no TASKYARD_LANE_CONCURRENCY, no hooks"
SHORTER_LOGS = "a higher TASKYARD_LOG_LEVEL, shorter retention"
SMALLER_PAYLOADS = f"payloads of up to {INLINE_MAX_BYTES - figures.BODY_OVERHEAD_BYTES} bytes, or the key of an object"
LARGER_BATCHES = "fuller batches, TASKYARD_WORKER_BATCH_SIZE=10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take on AWS: assumed, as no emulator tells; a function's REPORT lines do."""

    request_ms: float = 10.0  # one request to DynamoDB, SQS or S3
    invocation_ms: float = 10.0  # an invocation, beside its requests and the handlers that it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is deployed: settings, the resources of both templates, and the memory of each function in MB."""

    settings: Settings
    resources: Mapping[str, Fragment]
    queues: int
    types: int  # of tasks and messages, that the code declares
    memory_mb: Mapping[Function, int]
    arm: bool = False  # whether the functions run on arm64
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Jobs of one sort. A payload is so many bytes of JSON; ``attempts`` are a job's average, 1 or more."""

    jobs: int
    payload_bytes: int = 1_024
    attempts: float = 1.0
    run_ms: float = 100.0  # what a handler takes for an attempt
    polled: bool = False  # by a client, instead of being run by a worker
    bulk: bool = False  # published a hundred at a time, or as many as one request may carry
    light: bool = False  # run by light handlers
    slots: int = 0  # of schedules, each handed over by itself; their jobs are beside them

    def checked(self, settings: Settings) -> Load:
        """This load, or ``InvalidInput`` naming what cannot be."""
        _expect(self.jobs >= 0, "jobs", "0 or more", self.jobs)
        at_most = settings.payload_max_bytes
        _expect(0 <= self.payload_bytes <= at_most, "payload-bytes", f"0 to {at_most}", self.payload_bytes)
        _expect(1 <= self.attempts <= ATTEMPTS_MAX, "attempts", f"1 to {ATTEMPTS_MAX}", self.attempts)
        _expect(0 <= self.run_ms <= FUNCTION_MAX_MS, "run-ms", f"0 to {FUNCTION_MAX_MS}", self.run_ms)
        _expect(self.slots >= 0, "slots", "0 or more", self.slots)
        _expect(not (self.light and self.polled), "light", "jobs that a worker runs", "polled ones")
        return self

    @property
    def success(self) -> Attempt:
        """What a worker's attempt takes that succeeds."""
        return figures.SUCCEEDED_LIGHT if self.light else figures.SUCCEEDED

    @property
    def place(self) -> Place:
        """Where the bodies are."""
        return place_of(self.payload_bytes)

    @property
    def message_bytes(self) -> int:
        """The size of a job's SQS message; a body in the bucket does not travel in it."""
        return figures.ENVELOPE_BYTES + (0 if self.place is Place.OBJECT else self.payload_bytes)


@dataclass(frozen=True, slots=True)
class Usage:
    """An amount of something that AWS bills: what for, and what makes it smaller."""

    item: Item
    amount: float
    what: str
    smaller: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill: ``free`` of the amount costs nothing."""

    usage: Usage
    free: float = 0.0

    @property
    def price(self) -> Price:
        """The list price that applies."""
        return PRICES[self.usage.item]

    @property
    def usd(self) -> float:
        """What the line costs."""
        return (self.usage.amount - self.free) * self.price.usd_each


@dataclass(frozen=True, slots=True)
class Bill:
    """The lines of a bill."""

    lines: Sequence[Line]

    @property
    def usd(self) -> float:
        """What it costs in all."""
        return sum(line.usd for line in self.lines)


def deployment(settings: Settings, consumed: Mapping[str, Sequence[Band]], types: int, config: Config) -> Deployment:
    """What a stage deploys, by its settings, the queues that its code consumes, how many types of jobs it declares, and
    Chalice's configuration.
    """
    base = template(settings, consumed)
    outputs = {name: name for name in base["Outputs"]}  # stand-ins: what is deployed does not depend on them
    return Deployment(
        settings=settings,
        resources={**base["Resources"], **events_template(settings, consumed, outputs)["Resources"]},
        queues=len({lane.queue for lane in lanes_of(consumed)}),
        types=types,
        memory_mb={
            function: function_config(config, settings.stage, function, "lambda_memory_size") or CHALICE_MEMORY_MB
            for function in Function
        },
        arm=architecture_of(settings.stage, config) == "arm64",
    )


def bills(deployed: Deployment, load: Load, *, free_tier: bool = False) -> tuple[Bill, Bill]:
    """The bill of an idle month, and what ``load`` adds to it within a month.

    With ``free_tier``, what AWS gives every account each month is taken off, from the idle bill first. Raises
    ``InvalidInput`` for a load that cannot be, or a resource that nobody priced.
    """
    left = {item: price.free_a_month if free_tier else 0.0 for item, price in PRICES.items()}
    for_time = Item.FUNCTION_TIME_ARM if deployed.arm else Item.FUNCTION_TIME
    idle_usages = [_on(for_time, usage) for usage in idle(deployed)]
    load_usages = [_on(for_time, usage) for usage in added(deployed, load.checked(deployed.settings))]
    return Bill(_lines(idle_usages, left)), Bill(_lines(load_usages, left))


def _on(for_time: Item, usage: Usage) -> Usage:
    return replace(usage, item=for_time) if usage.item is Item.FUNCTION_TIME else usage


def _lines(usages: Iterable[Usage], left: dict[Item, float]) -> list[Line]:
    """``usages`` of the same item and purpose added up; takes off what is ``left`` of the free amounts."""
    amounts: dict[tuple[Item, str, str], float] = {}
    for usage in usages:
        key = (usage.item, usage.what, usage.smaller)
        amounts[key] = amounts.get(key, 0.0) + usage.amount
    lines = []
    for (item, what, smaller), amount in amounts.items():
        free = min(amount, left[item])
        left[item] -= free
        lines.append(Line(Usage(item, amount, what, smaller), free))
    return lines


# -- an idle month --------------------------------------------------------------------------------


def idle(deployed: Deployment) -> Iterator[Usage]:
    """What the resources take in a month in which nobody uses them, resource by resource.

    Raises ``InvalidInput`` for a resource of a type that is neither priced nor known to be free.
    """
    for logical_id, resource in deployed.resources.items():
        kind = resource["Type"]
        if kind in PRICED:
            yield from PRICED[kind](resource.get("Properties", {}), deployed)
        elif kind not in FREE:
            raise InvalidInput(
                f"nobody has said what {logical_id} costs",
                field="type",
                expected="a type of resource that infra/cost/estimate.py prices or declares free",
                got=kind,
                remedy="add it there",
            )


def _of_mapping(properties: Mapping[str, Any], _: Deployment) -> Iterator[Usage]:
    if "StartingPosition" in properties:
        reads = STREAM_POLLS_A_S * HOUR_S * MONTH_HOURS
        yield Usage(Item.STREAM_READ, reads, "Lambda reads the change stream, for each shard")
    else:
        limited = bool(properties.get("ScalingConfig"))
        receives = (POLLERS_UNDER_A_LIMIT if limited else POLLERS) * MONTH_HOURS * HOUR_S / LONG_POLL_S
        what, smaller = ("queues under a limit", NO_LIMIT) if limited else ("queues", FEWER_LANES)
        yield Usage(Item.QUEUE_REQUEST, receives, f"Lambda waits for messages at {what}", smaller)


def _of_rule(properties: Mapping[str, Any], deployed: Deployment) -> Iterator[Usage]:
    """The clock: its ticks and what each does when there is nothing to do."""
    shards = deployed.settings.index_shards
    ticks = MONTH_HOURS * HOUR_MINUTES / _rate_minutes(properties["ScheduleExpression"])
    queries = ticks * (figures.TICK_QUERIES + shards * figures.TICK_QUERIES_A_SHARD)
    queries += MONTH_HOURS * deployed.types * shards * figures.TICK_QUERIES_A_TYPE_AND_SHARD_ONCE_AN_HOUR
    of_types = ticks * figures.TICK_QUERIES_FOR_TYPES + MONTH_HOURS * figures.TICK_QUERIES_FOR_TYPES_ONCE_AN_HOUR
    of_topics = 0 if deployed.settings.told_metrics == "off" else ticks * figures.TICK_QUERIES_OF_TOPICS
    looks = ticks * figures.TICK_GETS
    gets = MONTH_HOURS * figures.TICK_GETS_ONCE_AN_HOUR
    writes = ticks * figures.TICK_WRITES
    what = "the clock"
    yield Usage(Item.SCHEDULED_EVENT, ticks, what)
    yield from _invocations(
        deployed, Function.CLOCK, ticks, queries + of_types + of_topics + looks + gets + writes, 0, what
    )
    reads = (queries + looks) * figures.EMPTY_QUERY_READ_UNITS + gets
    reads += (of_types + of_topics) * figures.EMPTY_CONSISTENT_QUERY_READ_UNITS
    yield Usage(
        Item.TABLE_READ, reads, f"{what} looks for work", "fewer TASKYARD_INDEX_SHARDS, before the first deploy"
    )
    yield Usage(Item.TABLE_WRITE, writes, f"{what} notes that it ran")


def _rate_minutes(expression: str) -> int:
    """The minutes of ``rate(n minutes)``; raises ``InvalidInput`` for any other schedule."""
    found = re.fullmatch(r"rate\((\d+) minutes?\)", expression)
    if found is None:
        raise InvalidInput("this schedule has no price", expected="rate(n minutes)", got=expression)
    return int(found[1])


def _of_alarm(properties: Mapping[str, Any], _: Deployment) -> Iterator[Usage]:
    """An alarm pays for each metric that it looks at: one, or those in its expression."""
    metrics = sum("MetricStat" in query for query in properties.get("Metrics", [])) or 1
    yield Usage(Item.ALARM_METRIC, metrics, "alarms", "ten of an account are free; TASKYARD_WATCH=off")


def _of_composite_alarm(_: Mapping[str, Any], __: Deployment) -> Iterator[Usage]:
    yield Usage(Item.COMPOSITE_ALARM, 1, "alarms over alarms")


def _of_dashboard(_: Mapping[str, Any], __: Deployment) -> Iterator[Usage]:
    yield Usage(Item.DASHBOARD, 1, "dashboards", "three of an account are free; TASKYARD_WATCH=on")


def _of_table(properties: Mapping[str, Any], _: Deployment) -> Iterator[Usage]:
    yield Usage(Item.TABLE_STORAGE, 0, "tables, empty")
    if properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield Usage(Item.TABLE_BACKUP, 0, "tables, empty, to any point of 35 days")


def _of_bucket(_: Mapping[str, Any], __: Deployment) -> Iterator[Usage]:
    yield Usage(Item.OBJECT_STORAGE, 0, "bucket, empty")


PRICED: Mapping[str, Callable[[Mapping[str, Any], Deployment], Iterator[Usage]]] = {
    "AWS::CloudWatch::Alarm": _of_alarm,
    "AWS::CloudWatch::CompositeAlarm": _of_composite_alarm,
    "AWS::CloudWatch::Dashboard": _of_dashboard,
    "AWS::DynamoDB::Table": _of_table,
    "AWS::Events::Rule": _of_rule,
    "AWS::Lambda::EventSourceMapping": _of_mapping,
    "AWS::S3::Bucket": _of_bucket,
}
FREE: Mapping[str, str] = {
    "AWS::IAM::Role": "IAM costs nothing",
    "AWS::Lambda::Permission": "a policy of a function",
    "AWS::Logs::LogGroup": "what is written into it costs, and is counted with the functions",
    "AWS::SQS::Queue": "requests cost, and are counted with what makes them",
}


# -- what jobs add --------------------------------------------------------------------------------


def added(deployed: Deployment, load: Load) -> Iterator[Usage]:
    """What ``load`` takes from publish to done, and for being kept a month."""
    if load.slots:
        written = load.slots * figures.SLOT_WRITE_UNITS
        yield Usage(Item.TABLE_WRITE, written, "slots of schedules", "slots of a schedule that are due close together")
    if load.jobs == 0:
        return
    yield from _publishing(deployed, load)
    failures = load.jobs * (load.attempts - 1)
    if load.polled:
        yield from _polling(deployed, load, load.jobs, figures.COMPLETED_BY_CLIENT)
        yield from _polling(deployed, load, failures, figures.FAILED_BY_CLIENT)
    else:
        yield from _working(deployed, load, load.jobs, load.success)
        yield from _working(deployed, load, failures, figures.FAILED)
    yield from _projecting(deployed, load)
    if deployed.settings.search_is_on and not load.polled:
        yield from _indexing(deployed, load)
    yield from _keeping(load)
    yield from _metrics(deployed, load)


def _publishing(deployed: Deployment, load: Load) -> Iterator[Usage]:
    what = "publish"
    in_request = _published_at_once(deployed.settings, load)
    requests = load.jobs / in_request
    if load.bulk:
        together = _transactions(load, in_request)
        writes = figures.PUBLISHED_IN_BULK_WRITE_UNITS + figures.MARKER_WRITE_UNITS * together / in_request
        table_requests = requests * together * figures.MARKER_TABLE_REQUESTS
        batch = _messages_at_once(load, figures.MESSAGES_A_BATCH)
        sends = requests * together * math.ceil(in_request / together / batch)
    else:
        writes, table_requests, batch, sends = figures.PUBLISHED_WRITE_UNITS[load.place], load.jobs, 1, load.jobs
    puts = load.jobs if load.place is Place.OBJECT else 0
    smaller = "" if load.bulk else "publishing in bulk"
    yield from _api(deployed, requests, table_requests + sends + puts, what, smaller)
    yield Usage(Item.QUEUE_REQUEST, sends * _chunks(load, batch), what, smaller)
    yield Usage(Item.TABLE_WRITE, load.jobs * writes, what)
    if load.place is Place.ITEM:
        units = figures.BODY_WRITE_UNITS_A_KB * math.ceil(_body_item_bytes(load) / WRITE_UNIT_BYTES)
        yield Usage(Item.TABLE_WRITE, load.jobs * units, "payloads", SMALLER_PAYLOADS)
    if puts:
        yield Usage(Item.OBJECT_PUT, puts, "payloads")


def _working(deployed: Deployment, load: Load, attempts: float, attempt: Attempt) -> Iterator[Usage]:
    """Attempts of workers, in full batches."""
    what = "attempts"
    batch = _messages_at_once(load, deployed.settings.worker_batch_size)
    batches = attempts / batch
    reads = attempts if load.place is Place.OBJECT else 0
    own_requests = batches + attempts * (attempt.requests + attempt.table_requests) + reads
    log_bytes = attempts * attempt.log_bytes
    yield Usage(Item.QUEUE_REQUEST, batches * _chunks(load, batch), what, LARGER_BATCHES)
    yield Usage(
        Item.QUEUE_REQUEST, batches * attempt.batch_requests + attempts * attempt.requests, what, LARGER_BATCHES
    )
    yield Usage(Item.TABLE_WRITE, attempts * attempt.write_units, what)
    if attempt.read_units:
        yield Usage(Item.TABLE_READ, attempts * attempt.read_units, what)
    yield from _invocations(
        deployed, Function.WORKER, batches, own_requests, log_bytes, what, LARGER_BATCHES, attempts * load.run_ms
    )
    if reads:
        yield Usage(Item.OBJECT_GET, reads, what)


def _polling(deployed: Deployment, load: Load, attempts: float, report: Attempt) -> Iterator[Usage]:
    """Attempts of clients: polls of ten messages, and a report of each."""
    what = "polls and reports"
    in_bucket = load.place is Place.OBJECT  # an answer has room for one of these; the others are shown again
    batch = 1 if in_bucket else _messages_at_once(load, figures.MESSAGES_A_BATCH)
    polls = attempts / batch
    body_reads = 2 * attempts  # by the poll, and by the report, which answers the message again
    table_requests = attempts * (figures.POLLED.table_requests + report.table_requests)
    table_reads = attempts * report.read_units
    if load.place is Place.ITEM:  # the claim has the body from the message, the report reads it
        table_requests += attempts
        table_reads += attempts * math.ceil(_body_item_bytes(load) / READ_UNIT_BYTES)
    queue_requests = polls * (2 if in_bucket else 1) + attempts * report.requests
    own_requests = table_requests + queue_requests + (body_reads if in_bucket else 0)
    yield from _api(deployed, polls + attempts, own_requests, what, "polling more at once")
    yield Usage(Item.QUEUE_REQUEST, polls * _chunks(load, batch) + queue_requests - polls, what)
    yield Usage(Item.TABLE_WRITE, attempts * (figures.POLLED.write_units + report.write_units), what)
    yield Usage(Item.TABLE_READ, table_reads, what)
    if in_bucket:
        yield Usage(Item.OBJECT_GET, body_reads, what)


def _projecting(deployed: Deployment, load: Load) -> Iterator[Usage]:
    """The change stream into counters and series, in full batches."""
    what = "counters and series"
    failures = load.attempts - 1
    changes = load.jobs * (figures.CHANGES_PUBLISHED + load.success.changes + failures * figures.FAILED.changes)
    changes += load.jobs if load.place is Place.ITEM else 0
    batches = changes / STREAM_BATCH_SIZE
    shown_bytes = batches * figures.SHOWN_BYTES[deployed.settings.told_metrics]
    yield from _invocations(
        deployed, Function.PROJECTOR, batches, batches * figures.PROJECTED_TABLE_REQUESTS, shown_bytes, what
    )
    yield Usage(Item.TABLE_WRITE, batches * figures.PROJECTED_WRITE_UNITS, what)
    yield Usage(Item.TABLE_READ, batches * figures.PROJECTED_READ_UNITS, what)


def _indexing(deployed: Deployment, load: Load) -> Iterator[Usage]:
    """The words of tasks into the search index; its storage is not counted."""
    what, smaller = "search index", "searchKeys, TASKYARD_SEARCH=off"
    entries = load.jobs * (1 + min(WORDS_MAX, load.payload_bytes // figures.BYTES_A_WORD))
    requests_ms = entries / BATCH_WRITE_MAX_ITEMS * deployed.pace.request_ms / PARALLEL
    gb_seconds = requests_ms / 1_000 * deployed.memory_mb[Function.PROJECTOR] / MB_A_GB
    yield Usage(Item.TABLE_WRITE, entries, what, smaller)
    yield Usage(Item.FUNCTION_TIME, gb_seconds, what, smaller)


def _keeping(load: Load) -> Iterator[Usage]:
    """The records, kept for a month."""
    what, smaller = "jobs kept, each month", "deleting what is done"
    place = load.place
    record_bytes = figures.RECORD_BYTES + figures.STORAGE_OVERHEAD_BYTES
    record_bytes += load.payload_bytes + figures.BODY_OVERHEAD_BYTES if place is Place.RECORD else 0
    record_bytes += _body_item_bytes(load) + figures.STORAGE_OVERHEAD_BYTES if place is Place.ITEM else 0
    index_bytes = figures.INDEX_ENTRIES_BYTES + figures.INDEX_ENTRIES * figures.STORAGE_OVERHEAD_BYTES
    yield Usage(Item.TABLE_STORAGE, load.jobs * (record_bytes + index_bytes) / GB_BYTES, what, smaller)
    yield Usage(Item.TABLE_BACKUP, load.jobs * record_bytes / GB_BYTES, what, smaller)
    if place is Place.OBJECT:
        yield Usage(Item.OBJECT_STORAGE, load.jobs * load.payload_bytes / GB_BYTES, what, smaller)


def _metrics(deployed: Deployment, load: Load) -> Iterator[Usage]:
    """What CloudWatch is told of one kind of job, if jobs flow in every hour of the month; polled ones are messages.

    A metric is paid for in the hours in which it has values: dead letters, canceled and late jobs are not counted.
    """
    level = deployed.settings.told_metrics
    if level == "off":
        return
    of_all_kinds = sum(metric in OF_ALL_KINDS for metric in TOLD_METRICS)
    told = of_all_kinds if level == "alarms" else len(TOLD_METRICS)
    if level == "queue":  # by kind and by queue as well
        told = of_all_kinds + len(TOLD_METRICS) * (1 + deployed.queues)
    mq = 0 if level == "alarms" else len(MQ_METRICS) * (1 + (deployed.queues if level == "queue" else 0))
    yield Usage(
        Item.METRIC, told + (mq if load.polled else 0), "metrics, if jobs come at all hours", "TASKYARD_METRICS=off"
    )


# -- parts ----------------------------------------------------------------------------------------


def _api(deployed: Deployment, calls: float, requests: float, what: str, smaller: str = "") -> Iterator[Usage]:
    """Calls over HTTP that make so many requests to AWS in all."""
    yield Usage(Item.API_REQUEST, calls, what, smaller)
    yield from _invocations(deployed, Function.API, calls, requests, 0, what, smaller)


def _invocations(
    deployed: Deployment,
    function: Function,
    count: float,
    requests: float,
    log_bytes: float,
    what: str,
    smaller: str = "",
    handlers_ms: float = 0.0,
) -> Iterator[Usage]:
    """``count`` invocations that make ``requests`` to AWS one after the other, and log ``log_bytes``, all in all."""
    pace = deployed.pace
    time_ms = count * pace.invocation_ms + requests * pace.request_ms + handlers_ms
    gb_seconds = time_ms / 1_000 * deployed.memory_mb[function] / MB_A_GB
    logged_gb = (count * INVOCATION_LOG_BYTES + log_bytes) / GB_BYTES
    if deployed.settings.tracing == "on":
        yield Usage(Item.TRACE, count, "invocations, at most: X-Ray samples them", "TASKYARD_TRACING=off")
    yield Usage(Item.FUNCTION_REQUEST, count, what, smaller)
    yield Usage(Item.FUNCTION_TIME, gb_seconds, what, "less lambda_memory_size, arm64")
    yield Usage(Item.LOG_INGESTION, logged_gb, "logs", SHORTER_LOGS)
    yield Usage(Item.LOG_STORAGE, logged_gb * LOG_RETENTION_DAYS / MONTH_DAYS, "logs", SHORTER_LOGS)


def _published_at_once(settings: Settings, load: Load) -> int:
    """How many jobs one request publishes."""
    if not load.bulk:
        return 1
    return max(1, min(API_BATCH_JOBS, settings.payload_max_bytes // (load.payload_bytes + figures.ENVELOPE_BYTES)))


def _transactions(load: Load, jobs: int) -> int:
    """In how many transactions a bulk of ``jobs`` is recorded, by count and by bytes."""
    beside = load.place is Place.ITEM
    record_bytes = RECORD_ALLOWANCE_BYTES + (load.payload_bytes + figures.BODY_OVERHEAD_BYTES if beside else 0)
    in_each = min(MAX_ACTIONS // (2 if beside else 1), MAX_BYTES // record_bytes)
    return math.ceil(jobs / in_each)


def _messages_at_once(load: Load, most: int) -> int:
    """How many messages one request carries: at most ``most``, at most 1 MiB together."""
    return max(1, min(most, MESSAGE_MAX_BYTES // load.message_bytes))


def _chunks(load: Load, messages: int) -> int:
    """As how many requests SQS bills one that carries so many messages."""
    return math.ceil(messages * load.message_bytes / SQS_CHUNK_BYTES)


def _body_item_bytes(load: Load) -> int:
    return load.payload_bytes + figures.BODY_OVERHEAD_BYTES + figures.ITEM_OVERHEAD_BYTES


def _expect(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise InvalidInput("there is no such load", field=name, expected=expected, got=got)
