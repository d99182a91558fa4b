"""What jobs add, by the measured figures of ``figures``."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chalicelib.core.cloudwatch import METRICS, MQ_METRICS, OF_ALL_KINDS
from chalicelib.core.prices import GB_BYTES, SQS_CHUNK_BYTES, WRITE_UNIT_BYTES, Item
from chalicelib.core.projection import Measure
from chalicelib.core.search import WORDS_MAX
from chalicelib.engine import cost_figures as figures
from chalicelib.engine.cost_figures import Attempt, Place
from chalicelib.engine.publish.bulk import MAX_ACTIONS, MAX_BYTES
from chalicelib.engine.publish.bulk import RECORD_BYTES as RECORD_ALLOWANCE_BYTES
from chalicelib.engine.publish.records import AT_ONCE as RECORDS_AT_ONCE
from chalicelib.queue.contract import MESSAGE_MAX_BYTES
from chalicelib.settings import Settings
from chalicelib.store.payloads import INLINE_MAX_BYTES
from chalicelib.store.search import PARALLEL
from chalicelib.store.table import BATCH_WRITE_MAX_ITEMS
from infra.cost.load import Deployment, Load
from infra.cost.usage import MB_A_GB, Usage, api_calls, invocations
from infra.events import STREAM_BATCH_SIZE
from infra.functions import Function
from infra.kafka import BATCH_SIZE

READ_UNIT_BYTES = 4_096
API_BATCH_JOBS = 100  # how many jobs one request may publish
TOLD_METRICS = [metric for measure, metric in METRICS.items() if measure not in (Measure.DEAD, Measure.CANCELED)]

SMALLER_PAYLOADS = f"payloads of up to {INLINE_MAX_BYTES - figures.BODY_OVERHEAD_BYTES} bytes, or the key of an object"
LARGER_BATCHES = "fuller batches, TASKYARD_WORKER_BATCH_SIZE=10"


def added(deployed: Deployment, load: Load) -> Iterator[Usage]:
    """What ``load`` takes from publish to done, and for being kept a month."""
    if load.slots:
        written = load.slots * figures.SLOT_WRITE_UNITS
        yield Usage(Item.TABLE_WRITE, written, "slots of schedules", "slots of a schedule that are due close together")
    if load.jobs == 0:
        return
    yield from _bringing_in(deployed, load) if load.from_kafka else _publishing(deployed, load)
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
    yield from api_calls(deployed, requests, table_requests + sends + puts, what, smaller)
    yield Usage(Item.QUEUE_REQUEST, sends * _chunks(load, batch), what, smaller)
    yield Usage(Item.TABLE_WRITE, load.jobs * writes, what)
    yield from _bodies(load)


def _bringing_in(deployed: Deployment, load: Load) -> Iterator[Usage]:
    """Records of Kafka, in full batches of Lambda's: reading them costs nothing but the function's runs."""
    what = "records of Kafka"
    chunks = load.jobs / RECORDS_AT_ONCE
    together = _transactions(load, RECORDS_AT_ONCE)
    batch = _messages_at_once(load, figures.MESSAGES_A_BATCH)
    sends = chunks * together * math.ceil(RECORDS_AT_ONCE / together / batch)
    requests = chunks * together * figures.MARKER_TABLE_REQUESTS + sends
    requests += load.jobs if load.place is Place.OBJECT else 0
    yield from invocations(deployed, Function.KAFKA, load.jobs / BATCH_SIZE, requests, 0, what)
    yield Usage(Item.QUEUE_REQUEST, sends * _chunks(load, batch), what)
    writes = figures.PUBLISHED_IN_BULK_WRITE_UNITS + figures.RECORD_KEY_WRITE_UNITS
    yield Usage(Item.TABLE_WRITE, load.jobs * writes + chunks * together * figures.MARKER_WRITE_UNITS, what)
    yield from _bodies(load)


def _bodies(load: Load) -> Iterator[Usage]:
    if load.place is Place.ITEM:
        units = figures.BODY_WRITE_UNITS_A_KB * math.ceil(_body_item_bytes(load) / WRITE_UNIT_BYTES)
        yield Usage(Item.TABLE_WRITE, load.jobs * units, "payloads", SMALLER_PAYLOADS)
    if load.place is Place.OBJECT:
        yield Usage(Item.OBJECT_PUT, load.jobs, "payloads")


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
    yield from invocations(
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
    yield from api_calls(deployed, polls + attempts, own_requests, what, "polling more at once")
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
    yield from invocations(
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


def _published_at_once(settings: Settings, load: Load) -> int:
    """How many jobs one request publishes."""
    if not load.bulk:
        return 1
    return max(1, min(API_BATCH_JOBS, settings.payload_max_bytes // (load.payload_bytes + figures.ENVELOPE_BYTES)))


def _transactions(load: Load, jobs: int) -> int:
    """In how many transactions a bulk of ``jobs`` is recorded, by count and by bytes."""
    beside = load.place is Place.ITEM
    record_bytes = RECORD_ALLOWANCE_BYTES + (load.payload_bytes + figures.BODY_OVERHEAD_BYTES if beside else 0)
    in_each = min(MAX_ACTIONS // (1 + beside + load.from_kafka), MAX_BYTES // record_bytes)
    return math.ceil(jobs / in_each)


def _messages_at_once(load: Load, most: int) -> int:
    """How many messages one request carries: at most ``most``, at most 1 MiB together."""
    return max(1, min(most, MESSAGE_MAX_BYTES // load.message_bytes))


def _chunks(load: Load, messages: int) -> int:
    """As how many requests SQS bills one that carries so many messages."""
    return math.ceil(messages * load.message_bytes / SQS_CHUNK_BYTES)


def _body_item_bytes(load: Load) -> int:
    return load.payload_bytes + figures.BODY_OVERHEAD_BYTES + figures.ITEM_OVERHEAD_BYTES
