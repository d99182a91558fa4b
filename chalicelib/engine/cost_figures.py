"""What a piece of work takes of AWS, measured: the figures that ``taskyard cost`` multiplies with prices.

``python -m tests.benchmarks.aws_calls`` measures them on the embedded emulator, which counts capacity as DynamoDB does;
``tests/infra/test_cost.py`` measures each of them again and fails where one has moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from chalicelib.store.payloads import INLINE_MAX_BYTES, ITEM_MAX_BYTES

MESSAGES_A_BATCH = 10  # the SQS limit of a send, and what one poll of a client brings unless it says otherwise

# A body is {"input": <payload>}; in its item there are keys and attribute names around it, in its message the record.
BODY_OVERHEAD_BYTES = 10
ITEM_OVERHEAD_BYTES = 20
ENVELOPE_BYTES = 320

# A job that is done, in the table: its record, and two index entries of their keys. DynamoDB adds 100 bytes to every
# item and entry when it bills storage (Amazon DynamoDB Developer Guide, "Estimate your DynamoDB table size").
STORAGE_OVERHEAD_BYTES = 100
RECORD_BYTES = 500
INDEX_ENTRIES = 2
INDEX_ENTRIES_BYTES = 160

FAILURE_LOG_BYTES = 700  # the line of an attempt that fails, with a short traceback

# A tick of the clock with nothing to do. Each query finds nothing, and costs half a read unit.
TICK_QUERIES = 9  # bulks, limited types, pauses, waited-for lists, graphs, acts, what was set aside, two for schedules
TICK_GETS = 1  # of what the code declares; it costs as much as a query that finds nothing
TICK_QUERIES_A_SHARD = 1
TICK_QUERIES_FOR_TYPES = 4  # what types there are, of tasks and of messages, read consistently
TICK_QUERIES_A_TYPE_AND_SHARD = 1  # of a type that never had a job, or has one on its way: not of an idle month
# Once an hour of every type, for what waits too long, for what runs too long, and for the audit, which reads the
# accounts of days and counts the seven lists of each type, and for the audit of slots:
TICK_QUERIES_FOR_TYPES_ONCE_AN_HOUR = 8 + 5 + 1
TICK_QUERIES_A_TYPE_AND_SHARD_ONCE_AN_HOUR = 2 + 7
TICK_GETS_ONCE_AN_HOUR = 2  # each of which costs a read unit
TICK_WRITES = 1
EMPTY_QUERY_READ_UNITS = 0.5
TICK_QUERIES_OF_TOPICS = 1  # unless TASKYARD_METRICS is off; read consistently, so that an empty one costs a whole unit
EMPTY_CONSISTENT_QUERY_READ_UNITS = 1.0

# A slot of a schedule that is handed over by itself, beside its job's record.
SLOT_WRITE_UNITS = 12

# A batch of changes projected, when all are of one type and one minute.
PROJECTED_TABLE_REQUESTS = 2
PROJECTED_WRITE_UNITS = 10  # of tasks; of messages 8, which are in no statistics
PROJECTED_READ_UNITS = 1
SHOWN_BYTES: Mapping[str, int] = {
    "off": 0,
    "alarms": 330,
    "total": 1_201,
    "queue": 1_438,
}  # to CloudWatch, by TASKYARD_METRICS

# What indexes a task where search is on: an entry for each word, and a list of them.
BYTES_A_WORD = 10  # of payload: assumed, as it depends on the payload

CHANGES_PUBLISHED = 1


class Place(Enum):
    """Where a job's body is."""

    RECORD = auto()
    ITEM = auto()
    OBJECT = auto()


def place_of(payload_bytes: int) -> Place:
    """Where the body of a payload of so many bytes of JSON goes."""
    body_bytes = payload_bytes + BODY_OVERHEAD_BYTES
    if body_bytes <= INLINE_MAX_BYTES:
        return Place.RECORD
    return Place.ITEM if body_bytes <= ITEM_MAX_BYTES else Place.OBJECT


# Publishing one job: write units of its record and index entries. Beside an item it is written in a transaction.
PUBLISHED_WRITE_UNITS: Mapping[Place, int] = {Place.RECORD: 2, Place.ITEM: 3, Place.OBJECT: 2}
# In bulk every record is written in a transaction, with one marker for all of them that is deleted when all are sent.
PUBLISHED_IN_BULK_WRITE_UNITS = 3
MARKER_WRITE_UNITS = 3
MARKER_TABLE_REQUESTS = 2
# A record of Kafka: the item that makes it one job, in the same transaction, and what its message tells of it.
RECORD_KEY_WRITE_UNITS = 2
RECORD_META_BYTES = 130  # without its key and headers
BODY_WRITE_UNITS_A_KB = 2  # for each started KB of an item with a body, always in a transaction


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt takes, beside receiving its message and reading its body."""

    batch_requests: int  # to SQS, for a whole batch of messages
    requests: int  # to SQS, for each job
    table_requests: float
    write_units: int
    read_units: int = 0
    log_bytes: int = 0
    changes: int = 2  # of the record: the claim and the end


# A worker: the lease of a batch is set at the start, its messages are deleted in the end.
SUCCEEDED = Attempt(batch_requests=2, requests=0, table_requests=2, write_units=7)
# By a light handler: the records of a batch are read together, their ends are one transaction.
SUCCEEDED_LIGHT = Attempt(
    batch_requests=2, requests=0, table_requests=2 / MESSAGES_A_BATCH, write_units=5, read_units=1, changes=1
)
# A failure hides its message for the backoff. The entry in the clock's index is written here and removed by the next
# attempt, which is counted here, too.
FAILED = Attempt(batch_requests=1, requests=1, table_requests=2, write_units=8, log_bytes=FAILURE_LOG_BYTES)
# A client: its poll, and its report.
POLLED = Attempt(batch_requests=0, requests=0, table_requests=1, write_units=3)
COMPLETED_BY_CLIENT = Attempt(batch_requests=0, requests=1, table_requests=2, write_units=4, read_units=1)
FAILED_BY_CLIENT = Attempt(batch_requests=0, requests=1, table_requests=2, write_units=5, read_units=1)
