"""What calls the functions: event sources of lanes, dead letters, hooks, Kafka, the change stream; the clock's rule.

They are applied after the functions exist: as a stack of their own behind `chalice deploy`, or in the one stack of
everything. The API's routes are Chalice's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from chalicelib.core.batch import Batch
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import Lane
from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.functions import Function
from infra.kafka import kafka_sources
from infra.queues import DEAD_LETTER_QUEUE, HOOKS_QUEUE, lane_id

DEAD_LETTERS_BATCH_SIZE = 10
# One at a time, so that SQS counts for each letter how often it was tried: those behind it in its group stay there.
HOOKS_BATCH_SIZE = 1
HOOKS_CONCURRENCY = 20  # jobs and webhooks told at the same time
STREAM_BATCH_SIZE = 100
# A window makes the events of a stream name their shard, by which the projector keeps its place. Lambda: 0 to 900 s.
STREAM_WINDOW_S = 30
CLOCK_RATE = "rate(1 minute)"  # the shortest that EventBridge has

Expression = str | Fragment  # a text, or what CloudFormation makes one of
Batches = Mapping[str, Batch]  # of each queue whose handlers take batches: what is gathered there
NO_BATCHES: Batches = MappingProxyType({})


def event_sources(
    settings: Settings,
    lanes: Sequence[Lane],
    function_arn: Callable[[Function], Expression],
    queue_arn: Callable[[str], Expression],
    stream_arn: Expression,
    batches: Batches = NO_BATCHES,
) -> Fragment:
    """The resources that feed the functions. ``queue_arn`` takes the logical id of a queue.

    Lambda's waiting for letters to hooks costs a little, so it waits only where settings say that hooks are ``on``
    (``engine.hooks.decided``). Raises ``InvalidInput`` where ``batches`` are gathered for longer than messages surely
    stay hidden, and as ``kafka_sources``.
    """
    return {
        **{
            f"{Function.WORKER.logical_id}From{lane_id(lane)}": _lane_source(
                settings, lane, function_arn(Function.WORKER), queue_arn(lane_id(lane)), batches.get(lane.queue)
            )
            for lane in lanes
        },
        "DeadLettersFromQueue": _sqs_source(
            function_arn(Function.DEAD_LETTERS), queue_arn(DEAD_LETTER_QUEUE), DEAD_LETTERS_BATCH_SIZE, None
        ),
        **_hooks(settings, function_arn, queue_arn),
        "ProjectorFromStream": _stream_source(function_arn(Function.PROJECTOR), stream_arn),
        **kafka_sources(settings, function_arn(Function.KAFKA)),
        **_clock(settings, function_arn(Function.CLOCK)),
    }


def _hooks(
    settings: Settings, function_arn: Callable[[Function], Expression], queue_arn: Callable[[str], Expression]
) -> Fragment:
    if settings.hooks != "on":
        return {}
    source = _sqs_source(function_arn(Function.HOOKS), queue_arn(HOOKS_QUEUE), HOOKS_BATCH_SIZE, HOOKS_CONCURRENCY)
    return {"HooksFromQueue": source}


def _lane_source(
    settings: Settings, lane: Lane, function: Expression, queue: Expression, batch: Batch | None
) -> Fragment:
    """A lane's, which waits for a batch where handlers of its queue take some.

    Messages that are gathered are hidden for the function's time-out and a little more, from the first on.
    """
    wait_s = 0 if batch is None else batch.max_wait_s
    if wait_s > settings.function_timeout_s:
        raise InvalidInput(
            "a batch is gathered for longer than its messages stay hidden",
            field=lane.queue,
            expected=f"max_wait_s up to TASKYARD_FUNCTION_TIMEOUT_S, {settings.function_timeout_s}",
            got=wait_s,
        )
    most = settings.worker_batch_size if batch is None else batch.max_size
    source = _sqs_source(function, queue, most, settings.concurrency_of(lane.band))
    source["Properties"]["MaximumBatchingWindowInSeconds"] = wait_s  # said in any case: left out, an earlier one stays
    return source


def _sqs_source(function: Expression, queue: Expression, batch_size: int, concurrency: int | None) -> Fragment:
    # Empty where there is no limit: left out, an earlier one would stay (AWS CloudFormation Template Reference,
    # "AWS::Lambda::EventSourceMapping ScalingConfig").
    scaling = {} if concurrency is None else {"MaximumConcurrency": concurrency}
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": queue,
            "FunctionName": function,
            "BatchSize": batch_size,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": scaling,
        },
    }


def _stream_source(function: Expression, stream: Expression) -> Fragment:
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": stream,
            "FunctionName": function,
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": STREAM_BATCH_SIZE,
            "ParallelizationFactor": 1,
            "TumblingWindowInSeconds": STREAM_WINDOW_S,
        },
    }


def _clock(settings: Settings, function: Expression) -> Fragment:
    return {
        "ClockRule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "Name": f"{settings.base_name}-clock",
                "Description": "Sends what is due and recovers what was abandoned",
                "ScheduleExpression": CLOCK_RATE,
                "State": "ENABLED",
                "Targets": [{"Id": "clock", "Arn": function}],
            },
        },
        "ClockPermission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": function,
                "Action": "lambda:InvokeFunction",
                "Principal": "events.amazonaws.com",
                "SourceArn": {"Fn::GetAtt": ["ClockRule", "Arn"]},
            },
        },
    }
