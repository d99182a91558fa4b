"""The alarms of a deployed installation.

CloudWatch bills each metric that an alarm looks at, in an expression, too. So an alarm has one metric, one that shows
the consequence of many causes: what its function does not do shows in the dead-letter queue's depth, the stream's lag,
the API's 5xx. The causes are told by the doctor, the logs and the dashboard, which costs more than all alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.core.cloudwatch import LATE_JOBS, METRICS
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.core.projection import Measure
from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.functions import Function, function_name, functions_of
from infra.metrics import Metric, of_api, of_function, of_queue, of_stage
from infra.queues import lane_id

MINUTE_S = 60
SPAN_S = 300
# Nothing that goes well is older: a message hidden for the longest wait of SQS (15 minutes), then run for the longest
# time of a function (30 minutes).
LANE_AGE_MAX_S = 2_700
STREAM_LAG_MAX_MS = 300_000
KAFKA_LAG_MAX = 10_000  # records of a topic; Lambda adds pollers within three minutes, as far as the lag shows a need
API_FAILURES_MAX_SHARE = 0.01  # of the requests in a span
FAILURES_MAX_SHARE = 0.5  # of the attempts that ended in a span
CLOCK_FAILURES_MAX_SHARE = 0.5  # of its runs in a span

ABOVE = "GreaterThanThreshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """When to ring: all, or ``datapoints``, of the last ``spans`` spans of ``span_s`` seconds are beyond the threshold.

    ``meaning`` is what has happened, ``first`` what to do first. ``silence`` is what a span without data means.
    """

    logical_id: str
    name: str  # behind the base name
    meaning: str
    first: str
    metric: Metric
    threshold: float
    comparison: str = ABOVE
    span_s: int = SPAN_S
    spans: int = 1
    datapoints: int | None = None
    silence: str = "notBreaching"


def alarms_of(settings: Settings, lanes: Sequence[Lane]) -> list[Alarm]:
    """Every alarm of an installation.

    Without metrics of our own nothing tells that a job waits too long but the lanes themselves, each for itself.
    """
    told = [*(_lane_age(settings, lane) for lane in lanes)]
    if settings.told_metrics != "off":
        told = [_dead_letters(settings), _failures(settings), _late_jobs(settings)]
    return [
        *told,
        _dead_letter_queue(settings),
        *([_unchecked(settings)] if settings.hooks == "on" else []),
        _worker_errors(settings),
        _stream_lag(settings),
        *([_kafka_lag(settings)] if Function.KAFKA in functions_of(settings) else []),
        _clock(settings),
        _api_failures(settings),
    ]


def _dead_letter_queue(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="DeadLetterQueueAlarm",
        name="dead-letter-queue",
        meaning="Messages lie in the dead-letter queue for five minutes: the function that empties it does not.",
        first=f"read the log of {function_name(settings, Function.DEAD_LETTERS)}; the messages stay for 14 days",
        metric=of_queue(settings.dead_letter_queue, "ApproximateNumberOfMessagesVisible"),
        threshold=0,
        span_s=MINUTE_S,
        spans=5,
    )


def _unchecked(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="HooksDeadQueueAlarm",
        name="hooks-dead-queue",
        meaning="A hook or a webhook could not be told of something, for six hours and more.",
        first=f"read why in the log of {function_name(settings, Function.HOOKS)}; mend; move the messages back within "
        "14 days",
        metric=of_queue(settings.hooks_dead_queue, "ApproximateNumberOfMessagesVisible"),
        threshold=0,
    )


def _dead_letters(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="DeadLettersAlarm",
        name="dead-letters",
        meaning="A task or a message has used up its attempts or was rejected by its handler.",
        first="list the failed ones with their errors (taskyard dlq list, taskyard tasks list); mend; replay or retry",
        metric=of_stage(settings, METRICS[Measure.DEAD].name, "Sum"),
        threshold=0,
    )


def _failures(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="FailuresAlarm",
        name="failures",
        meaning="More than half of the attempts at tasks and messages have failed for ten minutes.",
        first=f"read why in the log of {function_name(settings, Function.WORKER)}; retries go on meanwhile",
        metric=of_stage(settings, METRICS[Measure.FAILED].name, "Average"),
        threshold=FAILURES_MAX_SHARE,
        spans=2,
    )


def _late_jobs(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="LateJobsAlarm",
        name="late-jobs",
        meaning="Jobs were sent half an hour ago and nobody has begun them, or slots of schedules were made more than "
        "ten seconds after their time.",
        first="see which wait (taskyard tasks list, oldestReadyAgeMs in GET /mq/dashboard), and whether their workers "
        "or consumers run, are too few, throttled (taskyard doctor) or paused",
        metric=of_stage(settings, LATE_JOBS.name, "Sum"),
        threshold=0,
    )


def _lane_age(settings: Settings, lane: Lane) -> Alarm:
    name = sqs_name(settings.base_name, lane)
    return Alarm(
        logical_id=f"{lane_id(lane)}AgeAlarm",
        name=f"{sqs_name('', lane).lstrip('-')}-age",
        meaning="A message has been on this lane for more than three quarters of an hour.",
        first="see whether its workers run, fail, or are too few (LANE_CONCURRENCY)",
        metric=of_queue(name, "ApproximateAgeOfOldestMessage"),
        threshold=LANE_AGE_MAX_S,
    )


def _worker_errors(settings: Settings) -> Alarm:
    name = function_name(settings, Function.WORKER)
    return Alarm(
        logical_id="WorkerErrorsAlarm",
        name="worker-errors",
        meaning=f"The function {name} raised, ran out of time or was ended, in two of the last three five minutes. "
        "A handler that raises does not count here.",
        first=f"search the log group /aws/lambda/{name} for ERROR, Task timed out and Runtime exited",
        metric=of_function(settings, Function.WORKER, "Errors", "Sum"),
        threshold=0,
        spans=3,
        datapoints=2,
    )


def _stream_lag(settings: Settings) -> Alarm:
    name = function_name(settings, Function.PROJECTOR)
    return Alarm(
        logical_id="StreamLagAlarm",
        name="stream-lag",
        meaning="Counters, series and metrics are more than five minutes behind the ledger; jobs are not affected.",
        first=f"read the log of {name}; a change is kept for 24 hours, then the counters miss it",
        metric=of_function(settings, Function.PROJECTOR, "IteratorAge", "Maximum"),
        threshold=STREAM_LAG_MAX_MS,
        spans=2,
    )


def _kafka_lag(settings: Settings) -> Alarm:
    name = function_name(settings, Function.KAFKA)
    return Alarm(
        logical_id="KafkaLagAlarm",
        name="kafka-lag",
        meaning=f"Lambda has been more than {KAFKA_LAG_MAX:,} records behind a topic on Kafka for fifteen minutes.",
        first=f"read the log of {name} for records that were not accepted, look whether it is throttled (taskyard "
        "doctor), and for how long Kafka keeps records: what it deletes before is lost",
        metric=of_function(settings, Function.KAFKA, "OffsetLag", "Maximum"),
        threshold=KAFKA_LAG_MAX,
        spans=3,
    )


def _clock(settings: Settings) -> Alarm:
    """Lambda tells a 0 or a 1 of each run: without any it has not run, and an average above a half are failures."""
    name = function_name(settings, Function.CLOCK)
    return Alarm(
        logical_id="ClockAlarm",
        name="clock",
        meaning="The clock has not run for five minutes, or most of its runs failed: long delays and abandoned jobs "
        "wait.",
        first=f"see whether the rule {settings.base_name}-clock is enabled and the function {name} is throttled; read "
        "its log",
        metric=of_function(settings, Function.CLOCK, "Errors", "Average"),
        threshold=CLOCK_FAILURES_MAX_SHARE,
        silence="breaching",
    )


def _api_failures(settings: Settings) -> Alarm:
    """Of API Gateway, which answers 5xx for a function that raises, is throttled or runs out of time as well."""
    return Alarm(
        logical_id="ApiFailuresAlarm",
        name="api-failures",
        meaning="More than one in a hundred requests was answered 5xx, in two of the last three five minutes.",
        first="ask GET /health which dependency fails; search the API function's log for ERROR and WARNING",
        metric=of_api(settings, "5XXError", "Average"),
        threshold=API_FAILURES_MAX_SHARE,
        spans=3,
        datapoints=2,
    )


def resource_of(settings: Settings, alarm: Alarm) -> Fragment:
    """An alarm as CloudFormation takes it."""
    properties: Fragment = {
        "AlarmName": alarm_name(settings, alarm),
        "AlarmDescription": f"{alarm.meaning} First: {alarm.first}.",
        "Namespace": alarm.metric.namespace,
        "MetricName": alarm.metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in alarm.metric.dimensions.items()],
        "Statistic": alarm.metric.statistic,
        "Period": alarm.span_s,
        "EvaluationPeriods": alarm.spans,
        "Threshold": alarm.threshold,
        "ComparisonOperator": alarm.comparison,
        "TreatMissingData": alarm.silence,
    }
    if alarm.datapoints is not None:
        properties["DatapointsToAlarm"] = alarm.datapoints
    if settings.alarm_topic:
        properties |= {"AlarmActions": [settings.alarm_topic], "OKActions": [settings.alarm_topic]}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def alarm_name(settings: Settings, alarm: Alarm) -> str:
    """What an alarm is called within its account and region."""
    return f"{settings.base_name}-{alarm.name}"
