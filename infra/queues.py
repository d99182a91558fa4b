"""The SQS queues: a lane for each band of each consumed queue, and the dead-letter queue behind them all; the FIFO
queue of what hooks and webhooks are told, and one behind it.

Queues stay, with the messages in them, when code declares them no longer or their stack is deleted: these are
accepted jobs. The queues of hooks are there whether anybody is told or not: a queue that nobody reads costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from chalicelib.core.lanes import DEFAULT_BANDS, Band, Lane, soonest_first, sqs_name
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.settings import Settings
from infra.fragment import Fragment, attribute

# The limits of SQS: Amazon SQS Developer Guide, "Amazon SQS message quotas".
RETENTION_S = 14 * 86_400
MESSAGE_MAX_BYTES = 1_048_576
# Far above the largest attempt budget (100): redrive catches only what never reaches a claim. SQS allows 1,000.
MAX_RECEIVE_COUNT = 1_000

# So often is told what cannot be told: with the growing waits between, over some six and a half hours.
HOOKS_RECEIVE_COUNT = 15
HOOKS_TIMEOUT_S = 60  # of the function that tells, in .chalice/config.json
HOOKS_VISIBILITY_S = HOOKS_TIMEOUT_S + 30

DEAD_LETTER_QUEUE = "DeadLetterQueue"  # its logical id
HOOKS_QUEUE = "HooksQueue"
HOOKS_DEAD_QUEUE = "HooksDeadQueue"


def queues(settings: Settings, lanes: Sequence[Lane]) -> Fragment:
    """The dead-letter queue, the queue of each lane and those of hooks, by their logical ids."""
    return {
        DEAD_LETTER_QUEUE: _queue(settings.dead_letter_queue, settings.visibility_s),
        **_hooks(settings),
        **{lane_id(lane): _lane(settings, lane) for lane in lanes},
    }


def lanes_of(queues: Mapping[str, Sequence[Band]]) -> list[Lane]:
    """Every lane of ``queues``, in the order of queue names, the soonest band first.

    The queue ``default`` has at least the default bands, declared or not: its normal lane is the pattern whose
    attributes the service copies for topics that are only polled.
    """
    bands = {**queues, DEFAULT_POOL: (*DEFAULT_BANDS, *queues.get(DEFAULT_POOL, ()))}
    return [Lane(queue, band) for queue in sorted(bands) for band in soonest_first(bands[queue])]


def lane_id(lane: Lane) -> str:
    """The logical id of a lane's SQS queue: ``Lane``, then the parts of its SQS name without the prefix."""
    return "Lane" + "".join(part.capitalize() for part in re.findall("[A-Za-z0-9]+", sqs_name("", lane)))


def _lane(settings: Settings, lane: Lane) -> Fragment:
    queue = _queue(sqs_name(settings.base_name, lane), settings.visibility_s)
    queue["Properties"]["RedrivePolicy"] = {
        "deadLetterTargetArn": attribute(DEAD_LETTER_QUEUE, "Arn"),
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    }
    return queue


def _hooks(settings: Settings) -> Fragment:
    """The FIFO queue of hooks and its dead-letter queue, which must be FIFO, too.

    High throughput, by group: Amazon SQS Developer Guide, "High throughput for FIFO queues in Amazon SQS".
    """
    queue = _queue(settings.hooks_queue, HOOKS_VISIBILITY_S)
    queue["Properties"] |= {
        "FifoQueue": True,
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "RedrivePolicy": {
            "deadLetterTargetArn": attribute(HOOKS_DEAD_QUEUE, "Arn"),
            "maxReceiveCount": HOOKS_RECEIVE_COUNT,
        },
    }
    dead = _queue(settings.hooks_dead_queue, HOOKS_VISIBILITY_S)
    dead["Properties"]["FifoQueue"] = True
    return {HOOKS_QUEUE: queue, HOOKS_DEAD_QUEUE: dead}


def _queue(name: str, visibility_s: int) -> Fragment:
    return {
        "Type": "AWS::SQS::Queue",
        "DeletionPolicy": "RetainExceptOnCreate",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "QueueName": name,
            "VisibilityTimeout": visibility_s,
            "MessageRetentionPeriod": RETENTION_S,
            "MaximumMessageSize": MESSAGE_MAX_BYTES,
            "SqsManagedSseEnabled": True,
        },
    }
