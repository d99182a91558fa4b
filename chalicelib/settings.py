"""Every setting, read once from the environment and checked, relations included."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from chalicelib.core.dialects import DIALECTS, TAKEN_PREFIXES
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.lanes import Band
from chalicelib.core.retry import DELAY_MAX_MS, Exponential
from chalicelib.core.sqs import VISIBILITY_MAX_S

BANDS = tuple(Band)
# What Lambda takes as the MaximumConcurrency of an SQS source: AWS Lambda Developer Guide, "Scaling for SQS".
LANE_CONCURRENCY_MIN = 2
LANE_CONCURRENCY_MAX = 1_000
# Of an invocation: the service model of AWS Lambda of 2026-11-19 (CreateFunction, Timeout); before, it was 900.
FUNCTION_TIMEOUT_MAX_S = 1_800
OFF_ON = ("off", "on")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "metrics": ("off", "alarms", "total", "queue", "auto"),
    "tracing": OFF_ON,
    "aws_client": ("lean", "boto3"),
    "console": OFF_ON,
    "tenant_usage": OFF_ON,
    "key_usage": OFF_ON,
    "watch": ("off", "on", "dashboard"),
    "hooks": ("auto", "off", "on"),
    "search": ("auto", "off", "on"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
}
# Amazon S3 User Guide, "General purpose bucket naming rules".
BUCKET_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Variables of this prefix that are no settings: what the command line, the local runtime and the tests are told.
OTHER_VARIABLES = ("URL", "KEY", "SECRET", "CLOCK_INTERVAL_S")
ROUTE_PREFIX = re.compile(r"(/[A-Za-z0-9._-]{1,64}){1,4}")
# What other routes, or API Gateway itself (/ping, /sping: "REST API quotas and important notes"), answer to.
HTTP_PREFIXES = ("/docs", "/openapi.json", "/ping", "/sping")  # of the API itself, and of API Gateway
MQ_POLL_MAX = 100  # messages that one poll may bring
MQ_POLL_WAIT_MAX_S = 20  # the SQS limit of a long poll
RANGES: Mapping[str, tuple[int, int | None]] = {  # the least and the most of each number by itself
    "lease_s": (1, 3_600),
    "poll_lease_ms": (1_000, VISIBILITY_MAX_S * 1_000),
    "function_timeout_s": (1, FUNCTION_TIMEOUT_MAX_S),
    "default_timeout_ms": (0, None),
    "recover_running_after_s": (0, None),
    "payload_max_bytes": (1_024, 6 * 1_024 * 1_024 - 65_536),  # a Lambda request holds 6 MB
    "idempotency_ttl_s": (60, None),
    "tombstone_ttl_s": (14 * 86_400, None),  # as long as SQS may keep a message
    "retention_completed_s": (0, None),
    "retention_failed_s": (0, None),
    "retention_unreplayed_s": (0, None),
    "index_shards": (1, 64),
    "worker_batch_size": (1, 10),
    "mq_max_retries": (1, ATTEMPTS_MAX),
    "mq_poll_limit": (1, MQ_POLL_MAX),
    "mq_poll_wait_s": (1, MQ_POLL_WAIT_MAX_S),
    "mq_retry_max_ms": (1, DELAY_MAX_MS),
}
VARIABLE_PREFIX = "TASKYARD_"
SECRET = frozenset({"kafka"})  # settings that may hold a password: nobody is shown what they are
NUMBERS: Mapping[type, str] = {int: "a whole number", float: "a number"}
SETTLING_RESERVE_S = 3  # what a function keeps of its time for settling and returning, beside the grace


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation may choose. Each field is read from ``TASKYARD_<NAME>``."""

    stage: str = "local"  # "local" needs no access key; every other stage refuses to answer without one
    prefix: str = "taskyard"  # begins the name of every AWS resource
    region: str = "us-east-1"
    lease_s: int = 60  # how long a silent worker keeps its job
    poll_lease_ms: int = 30_000  # fastify-mq's lockTimeout, where a poll does not name its own
    mq_prefix: str = "/mq"  # what the paths of the message routes begin with
    task_prefix: str = "/api/task"  # what the paths of the task routes begin with
    kue_prefix: str = ""  # likewise of kue's /job, /jobs, /stats and /inactive; empty: they are at the root
    serendipity_prefix: str = ""  # likewise of Serendipity-Job's /application, /task and /nsq
    mq_max_retries: int = 3  # deliveries of a message that may fail, where neither it nor a subscriber says
    mq_poll_limit: int = 10  # messages that a poll brings at most, where it does not say
    mq_poll_wait_s: int = 5  # how long the poll of a consumer in Python waits for a message
    mq_retry_base_ms: int = 1_000  # the wait before a message's first retry; it doubles from retry to retry
    mq_retry_max_ms: int = 60_000  # and grows no further than this
    function_timeout_s: int = 300  # the worker function's own limit
    default_timeout_ms: int = 3_600_000  # of a task that names none; 0 is none (fastify-task)
    recover_running_after_s: int = 1_800  # from when a running task counts as stale (fastify-task)
    stop_grace_s: float = 5.0  # what an interrupted handler gets to stop by itself
    payload_max_bytes: int = 5 * 1024 * 1024  # of input, options and context together, and of an output
    idempotency_ttl_s: int = 86_400
    tombstone_ttl_s: int = 15 * 86_400  # SQS keeps a message for at most 14 days
    retention_completed_s: int = 0  # how long the clock keeps jobs that succeeded; 0: for ever
    retention_failed_s: int = 0  # likewise of failed tasks, replayed dead letters and what was canceled
    retention_unreplayed_s: int = 0  # likewise of dead letters that were not replayed
    index_shards: int = 4  # partitions of each index key; may be raised, never lowered
    cors_origins: str = ""  # comma-separated origins, or "*"; empty: no cross-origin use
    handlers: str = "chalicelib.tasks"  # comma-separated packages whose modules declare handlers
    bucket: str = ""  # of payloads, outputs and what handlers write; empty: named by infra
    worker_batch_size: int = 10  # how many messages a worker is handed at once; it runs them one after the other
    lane_concurrency: str = ""  # workers at a time on each lane of a band, "high=40,low=2"; others have no limit
    metrics: str = "auto"  # what CloudWatch is told: "off", what "alarms" look at, all in "total" or by "queue"
    tracing: str = "off"  # "on": X-Ray follows a job from its publish to its runs
    aws_client: str = "lean"  # "boto3": every call to SQS and DynamoDB goes by botocore's own client
    console: str = "on"  # whether what a handler prints and logs is kept with its task, too
    canary_every_s: int = 0  # how often the clock sends a canary over each lane; 0: never
    tenant_usage: str = "off"  # "on": what jobs have used is added up by tenant and day, too, by further writes
    key_usage: str = "off"  # likewise by flow key and day
    watch: str = "on"  # alarms; "dashboard": CloudWatch's dashboard, too, which costs more; "off": neither
    hooks: str = "auto"  # who is told what happens to jobs: "off" nobody, "on" webhooks, too; "auto": if code asks
    search: str = "auto"  # whether tasks are found by words: each word is a write; "auto": in stage local alone
    kafka: str = field(default="", repr=False)  # Kafka's brokers: host:port, properties as JSON, or the path of a file
    kafka_topics: str = ""  # the topics that are bridged to it: a JSON list, or the path of a file of one
    kafka_source: str = ""  # where Lambda reads the topics that come from Kafka: a JSON object, or the path of one
    kafka_cluster: str = "kafka"  # what its records' identities begin with; must stay, whatever its addresses are
    alarm_topic: str = ""  # the ARN of the SNS topic that alarms tell; empty: they tell nobody
    log_level: str = "INFO"

    @property
    def local(self) -> bool:
        """Whether this is the stage that runs on one machine, without keys."""
        return self.stage == "local"

    @property
    def search_is_on(self) -> bool:
        """Whether the words of tasks are indexed, and can be searched for."""
        return self.search == "on" or (self.search == "auto" and self.local)

    @property
    def told_metrics(self) -> str:
        """``metrics``, decided: what alarms look at, and where a dashboard is asked for all that it shows."""
        decided = "total" if self.watch == "dashboard" else "alarms"
        return decided if self.metrics == "auto" else self.metrics

    @property
    def base_name(self) -> str:
        """What the name of every resource begins with."""
        return f"{self.prefix}-{self.stage}"

    @property
    def jobs_table(self) -> str:
        """The ledger."""
        return f"{self.base_name}-jobs"

    @property
    def directory_table(self) -> str:
        """Topics, access keys, id blocks, idempotency keys, outbox markers."""
        return f"{self.base_name}-directory"

    @property
    def insights_table(self) -> str:
        """Projections of the ledger's change stream."""
        return f"{self.base_name}-insights"

    @property
    def dead_letter_queue(self) -> str:
        """The SQS queue that redrive policies point to."""
        return f"{self.base_name}-dead-letters"

    @property
    def hooks_queue(self) -> str:
        """The SQS FIFO queue of events that somebody is to be told of."""
        return f"{self.base_name}-hooks.fifo"

    @property
    def hooks_dead_queue(self) -> str:
        """The SQS FIFO queue of events that somebody could not be told of."""
        return f"{self.base_name}-hooks-dead.fifo"

    @property
    def visibility_s(self) -> int:
        """The lanes' own visibility time-out: the function's limit plus a margin, until a worker sets its lease."""
        return self.function_timeout_s + 30

    @property
    def objects_bucket(self) -> str:
        """Payloads and outputs above 256 KB, and what handlers write: ``bucket``, else the name of stage local's."""
        return self.bucket or f"{self.base_name}-objects"

    @property
    def message_backoff(self) -> Exponential:
        """The waits between the deliveries of a message, where neither it nor a subscriber says."""
        return Exponential(self.mq_retry_base_ms, self.mq_retry_max_ms)

    def concurrency_of(self, band: Band) -> int | None:
        """How many workers at a time a lane of ``band`` may have on Lambda, 2 to 1,000; ``None``: as many as there are.

        A limit keeps Lambda from asking an idle queue less often (``infra/cost``), so none is set unasked.
        """
        return _limits(self.lane_concurrency).get(band)

    def checked(self) -> Settings:
        """These settings, or ``InvalidInput`` naming the first that cannot work."""
        _check_ranges(self)
        _check_choices(self)
        _check_names(self)
        _check_times(self)
        _check_prefixes(self)
        _limits(self.lane_concurrency)
        return self


DEFAULTS = Settings()


def _check_ranges(chosen: Settings) -> None:
    for name, (least, most) in RANGES.items():
        value = getattr(chosen, name)
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        _expect(least <= value and (most is None or value <= most), name, expected, value)
    _expect(0 < chosen.stop_grace_s <= 60, "stop_grace_s", "above 0, at most 60", chosen.stop_grace_s)
    canary_s = chosen.canary_every_s
    _expect(canary_s == 0 or 60 <= canary_s <= 86_400, "canary_every_s", "0, or 60 to 86400", canary_s)


def _check_choices(chosen: Settings) -> None:
    for name, choices in CHOICES.items():
        value = getattr(chosen, name)
        _expect(value in choices, name, " or ".join(choices), value)


def _check_names(chosen: Settings) -> None:
    # No hyphen: the names of one stage must never begin as those of another.
    _expect(re.fullmatch(r"[a-z][a-z0-9]{0,11}", chosen.stage), "stage", "1 to 12 of a-z 0-9", chosen.stage)
    _expect(re.fullmatch(r"[a-z][a-z0-9-]{0,15}", chosen.prefix), "prefix", "1 to 16 of a-z 0-9 -", chosen.prefix)
    cluster = chosen.kafka_cluster
    _expect(re.fullmatch(r"[\w.-]{1,64}", cluster), "kafka_cluster", "1 to 64 word characters, . and -", cluster)
    is_bucket = not chosen.bucket or BUCKET_NAME.fullmatch(chosen.bucket)
    _expect(is_bucket, "bucket", "the name of an S3 bucket", chosen.bucket)
    is_topic = not chosen.alarm_topic or re.fullmatch(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[\w-]+", chosen.alarm_topic)
    _expect(is_topic, "alarm_topic", "the ARN of an SNS topic", chosen.alarm_topic)


def _check_times(chosen: Settings) -> None:
    """The times that depend on each other."""
    visible_s, least_s = chosen.visibility_s, chosen.stop_grace_s + SETTLING_RESERVE_S + 1
    expected = f"at most the lanes' visibility time-out ({visible_s} s)"
    _expect(chosen.lease_s <= visible_s, "lease_s", expected, chosen.lease_s)
    _expect(
        chosen.function_timeout_s >= least_s,
        "function_timeout_s",
        f"a second more than the grace and the {SETTLING_RESERVE_S} s that settling takes ({least_s:g} s)",
        chosen.function_timeout_s,
    )
    most_ms = chosen.mq_retry_max_ms
    expected = f"1 to TASKYARD_MQ_RETRY_MAX_MS ({most_ms})"
    _expect(1 <= chosen.mq_retry_base_ms <= most_ms, "mq_retry_base_ms", expected, chosen.mq_retry_base_ms)


def _check_prefixes(chosen: Settings) -> None:
    """Raise ``InvalidInput`` unless the paths of each group of routes can begin as was chosen."""
    beginnings: dict[str, tuple[str, ...]] = {}
    for dialect in DIALECTS:
        if dialect.setting is None:
            continue
        name, prefix = dialect.setting, getattr(chosen, dialect.setting)
        expected = "/ and a word of A-Z a-z 0-9 . _ -, one to four times over"
        _expect(ROUTE_PREFIX.fullmatch(prefix) or prefix == dialect.prefix, name, expected, prefix)
        beginnings[name] = tuple(prefix + root for root in dialect.roots)
    for name, paths in beginnings.items():
        others = [path for group, theirs in beginnings.items() if group != name for path in theirs]
        taken = (*HTTP_PREFIXES, *TAKEN_PREFIXES, *others)
        _expect(
            not any(f"{path}/".startswith(f"{other}/") for path in paths for other in taken),
            name,
            f"a path where nothing else is: none of {', '.join(taken)}",
            getattr(chosen, name),
        )


def _limits(text: str) -> dict[Band, int]:
    """The limits written as ``high=40,low=2``; raises ``InvalidInput``."""
    limits: dict[Band, int] = {}
    for entry in filter(None, text.split(",")):
        name, _, number = entry.partition("=")
        fits = name.strip() in BANDS and number.strip().isascii() and number.strip().isdigit()
        at_most = int(number) if fits else 0
        _expect(
            fits and LANE_CONCURRENCY_MIN <= at_most <= LANE_CONCURRENCY_MAX,
            "lane_concurrency",
            f"a band ({', '.join(BANDS)}), =, and {LANE_CONCURRENCY_MIN} to {LANE_CONCURRENCY_MAX}; then perhaps "
            "a comma and another",
            entry,
        )
        limits[Band(name.strip())] = at_most
    return limits


def read(environment: Mapping[str, str]) -> Settings:
    """The settings that ``environment`` describes; raises ``InvalidInput`` naming the variable at fault."""
    values: dict[str, Any] = {}
    for name in Settings.__slots__:
        text = environment.get(f"{VARIABLE_PREFIX}{name.upper()}")
        if name == "region":
            text = text or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        if text is None:
            continue
        kind = type(getattr(DEFAULTS, name))
        try:
            values[name] = kind(text)
        except ValueError:
            _expect(False, name, f"{NUMBERS[kind]}, or no such variable", text or "nothing")
    return replace(DEFAULTS, **values).checked()


def log_level(environment: Mapping[str, str]) -> str:
    """The level that ``environment`` asks for, or the default where it names none: ``read`` is who refuses it."""
    asked = environment.get(f"{VARIABLE_PREFIX}LOG_LEVEL")
    return asked if asked in CHOICES["log_level"] else DEFAULTS.log_level


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """What in ``environment`` looks like a setting and is none, each as a sentence."""
    known = [name.upper() for name in Settings.__slots__]
    found = []
    for variable in sorted(environment):
        name = variable.removeprefix(VARIABLE_PREFIX)
        if name == variable or name.startswith("TEST_") or name in (*known, *OTHER_VARIABLES):
            continue
        from difflib import get_close_matches  # imported late: only a mistake needs it

        meant = get_close_matches(name, known, 1)
        found.append(f"{variable} is no setting" + (f"; did you mean {VARIABLE_PREFIX}{meant[0]}?" if meant else ""))
    return found


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process; warns of variables that look like one and are none."""
    for mistake in misspelt(os.environ):
        logger.warning(mistake)
    return read(os.environ)


def _expect(holds: object, name: str, expected: str, got: object) -> None:
    if not holds:
        raise InvalidInput(
            "a setting is out of range", field=VARIABLE_PREFIX + name.upper(), expected=expected, got=got
        )
