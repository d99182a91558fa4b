"""The settings: what the environment may say, the ranges, the relations, and the names made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import SOONEST_FIRST, Lane, sqs_name
from chalicelib.core.retry import MESSAGE_BACKOFF
from chalicelib.engine.worker.begin import FUNCTION_RESERVE_MS
from chalicelib.settings import DEFAULTS, Settings, current, misspelt, read

DAY_S = 86_400
PAYLOAD_LIMIT = 6 * 1024 * 1024 - 64 * 1024

PREFIXES_BEYOND = ("", "/", "mq", "/m/", "//m", "/m q", "/{m}", "/m\n", f"/{'a' * 65}", "/a/b/c/d/e", "/ä")

# Each range: the setting, its smallest and largest value, and the nearest values beyond them.
RANGES: list[tuple[str, Any, Any, tuple[Any, ...]]] = [
    ("lease_s", 1, 330, (0, -1, 3_601)),
    ("poll_lease_ms", 1_000, 43_200_000, (999, 0, 43_200_001)),
    ("mq_max_retries", 1, 100, (0, -1, 101)),
    ("mq_poll_limit", 1, 100, (0, -1, 101)),
    ("mq_poll_wait_s", 1, 20, (0, -1, 21)),
    ("mq_retry_base_ms", 1, 60_000, (0, -1, 60_001)),
    ("mq_retry_max_ms", 1_000, 2_592_000_000, (0, -1, 2_592_000_001)),
    ("mq_prefix", "/m", f"/{'a' * 64}/B.c/d_e/f-9", PREFIXES_BEYOND),
    ("task_prefix", "/t", f"/{'a' * 64}/B.c/d_e/f-9", PREFIXES_BEYOND),
    ("function_timeout_s", 30, 1_800, (0, -1, 1_801)),
    ("default_timeout_ms", 0, 10**9, (-1,)),
    ("stop_grace_s", 0.001, 60.0, (0.0, -1.0, 60.1, float("nan"), float("inf"))),
    ("payload_max_bytes", 1_024, PAYLOAD_LIMIT, (1_023, 0, PAYLOAD_LIMIT + 1)),
    ("idempotency_ttl_s", 60, 10**9, (59, 0, -1)),
    ("tombstone_ttl_s", 14 * DAY_S, 10**9, (14 * DAY_S - 1, 0)),
    ("retention_completed_s", 0, 10**9, (-1,)),
    ("retention_failed_s", 0, 10**9, (-1,)),
    ("retention_unreplayed_s", 0, 10**9, (-1,)),
    ("index_shards", 1, 64, (0, -1, 65)),
    ("worker_batch_size", 1, 10, (0, 11)),
    ("log_level", "DEBUG", "CRITICAL", ("", "info", "TRACE", "20")),
    ("kafka_cluster", "k", "main-1.eu_west", ("", "a b", "a/b", "k" * 65, "k\n")),
    ("bucket", "abc", f"a.{'b' * 60}0", ("ab", "A" * 3, "a_b", "-ab", "ab-", "a..b", "a" * 64, "s3://abc", "a b")),
    ("stage", "a", "a12345678901", ("", "a123456789012", "A", "1a", "-a", "a-b", "a_b", "a.b", "ä", "a\n", "a b")),
    ("prefix", "t", "taskyard-0123456", ("", "taskyard-01234567", "T", "9", "-t", "t_", "t\n")),
]
BOUNDS = [(name, bound) for name, smallest, largest, _ in RANGES for bound in (smallest, largest)]
BEYOND = [(name, value) for name, _, _, beyond in RANGES for value in beyond]


def refusal(settings: Settings) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        settings.checked()
    return refused.value


# -- ranges and relations -----------------------------------------------------------------------------


def test_the_defaults_are_in_range() -> None:
    assert Settings().checked() == DEFAULTS


@pytest.mark.parametrize(("name", "value"), BOUNDS)
def test_the_ends_of_a_range_are_in_it(name: str, value: Any) -> None:
    wider = replace(DEFAULTS, lease_s=1) if name == "function_timeout_s" else DEFAULTS
    assert getattr(replace(wider, **{name: value}).checked(), name) == value


@pytest.mark.parametrize(("name", "value"), BEYOND)
def test_what_is_beyond_a_range_is_refused_by_name(name: str, value: Any) -> None:
    error = refusal(replace(DEFAULTS, **{name: value}))
    variable = f"TASKYARD_{name.upper()}"
    assert error.field == variable
    assert str(error).startswith(f"{variable}: a setting is out of range; expected ")
    assert str(error).endswith(f"; got {value if isinstance(value, str) else repr(value)}")


@pytest.mark.parametrize(
    "taken", ["/health", "/console", "/docs", "/docs/mq", "/openapi.json", "/api/task", "/api/task/mq", "/ping"]
)
def test_the_message_routes_do_not_stand_where_others_are(taken: str) -> None:
    error = refusal(replace(DEFAULTS, mq_prefix=taken))
    assert (error.field, error.got) == ("TASKYARD_MQ_PREFIX", taken)


@pytest.mark.parametrize("taken", ["/health", "/docs/task", "/mq/task", "/pools", "/sping"])
def test_nor_do_the_task_routes(taken: str) -> None:
    error = refusal(replace(DEFAULTS, task_prefix=taken))
    assert (error.field, error.got) == ("TASKYARD_TASK_PREFIX", taken)


@pytest.mark.parametrize("free", ["/healthy", "/api/mq", "/api/tasks", "/v1/mq", "/docs.mq"])
def test_they_may_stand_beside_them(free: str) -> None:
    assert replace(DEFAULTS, mq_prefix=free).checked().mq_prefix == free
    assert replace(DEFAULTS, task_prefix=free, mq_prefix="/q").checked().task_prefix == free


def test_one_may_stand_where_the_other_would_by_default() -> None:
    swapped = replace(DEFAULTS, mq_prefix="/api/task", task_prefix="/mq").checked()
    assert (swapped.mq_prefix, swapped.task_prefix) == ("/api/task", "/mq")


def test_the_first_wait_before_a_retry_is_no_longer_than_the_longest() -> None:
    error = refusal(replace(DEFAULTS, mq_retry_base_ms=501, mq_retry_max_ms=500))
    assert (error.field, error.expected, error.got) == (
        "TASKYARD_MQ_RETRY_BASE_MS",
        "1 to TASKYARD_MQ_RETRY_MAX_MS (500)",
        "501",
    )
    even = replace(DEFAULTS, mq_retry_base_ms=500, mq_retry_max_ms=500).checked()
    assert [even.message_backoff.wait_ms(retry) for retry in (1, 2, 9)] == [500, 500, 500]


def test_the_default_waits_are_those_of_fastify_mq() -> None:
    assert DEFAULTS.message_backoff == MESSAGE_BACKOFF


def test_the_largest_lease_needs_a_long_enough_function() -> None:
    """A lease is the visibility time-out, which the lanes limit to the function's own time and 30 s."""
    longest = replace(DEFAULTS, function_timeout_s=1_800, lease_s=1_830)
    assert longest.checked().lease_s == 1_830
    error = refusal(replace(longest, lease_s=1_831))
    assert (error.field, error.expected, error.got) == (
        "TASKYARD_LEASE_S",
        "at most the lanes' visibility time-out (1830 s)",
        "1831",
    )


@given(st.integers(1, 1_800), st.integers(1, 3_600))
def test_a_lease_never_outlives_the_visibility(function_timeout_s: int, lease_s: int) -> None:
    wished = replace(DEFAULTS, function_timeout_s=function_timeout_s, lease_s=lease_s, stop_grace_s=0.001)
    try:
        wished.checked()
    except InvalidInput:
        assert lease_s > function_timeout_s + 30 or function_timeout_s * 1_000 < FUNCTION_RESERVE_MS + 1_001
    else:
        assert lease_s <= wished.visibility_s == function_timeout_s + 30


def test_a_function_has_time_left_beyond_what_it_keeps_for_stopping() -> None:
    """It keeps 3 s for settling and the grace for stopping; a handler must get some of the rest."""
    short = replace(DEFAULTS, function_timeout_s=8, stop_grace_s=5.0, lease_s=10)
    assert refusal(short).field in ("TASKYARD_FUNCTION_TIMEOUT_S", "TASKYARD_STOP_GRACE_S")
    assert replace(short, function_timeout_s=10).checked().function_timeout_s == 10


# -- the environment ----------------------------------------------------------------------------------


def test_an_empty_environment_means_the_defaults() -> None:
    assert read({}) == DEFAULTS


def test_every_setting_is_read_from_its_variable_and_its_type_kept() -> None:
    wished = Settings(
        stage="dev",
        prefix="yard",
        region="eu-central-1",
        lease_s=30,
        poll_lease_ms=5_000,
        mq_prefix="/queue",
        task_prefix="/tasks",
        kue_prefix="/kue",
        serendipity_prefix="/serendipity",
        mq_max_retries=5,
        mq_poll_limit=25,
        mq_poll_wait_s=10,
        mq_retry_base_ms=500,
        mq_retry_max_ms=30_000,
        function_timeout_s=120,
        default_timeout_ms=0,
        recover_running_after_s=60,
        stop_grace_s=2.5,
        payload_max_bytes=2_048,
        idempotency_ttl_s=61,
        tombstone_ttl_s=20 * DAY_S,
        retention_completed_s=7 * DAY_S,
        retention_failed_s=30 * DAY_S,
        retention_unreplayed_s=90 * DAY_S,
        index_shards=8,
        cors_origins="https://one.example",
        handlers="mine.tasks",
        bucket="our-own",
        worker_batch_size=1,
        lane_concurrency="low=3",
        metrics="off",
        tracing="on",
        canary_every_s=300,
        tenant_usage="on",
        key_usage="on",
        console="off",
        aws_client="boto3",
        watch="off",
        hooks="on",
        search="on",
        kafka="b1:9092,b2:9092",
        kafka_topics='[{"topic": "t", "direction": "in"}]',
        kafka_source='{"bootstrapServers": ["b1:9092"]}',
        kafka_cluster="main",
        alarm_topic="arn:aws:sns:eu-central-1:123456789012:pager",
        log_level="DEBUG",
    )
    assert all(getattr(wished, name) != getattr(DEFAULTS, name) for name in Settings.__slots__), "a setting is missing"
    environment = {f"TASKYARD_{name.upper()}": str(getattr(wished, name)) for name in Settings.__slots__}
    found = read(environment)
    assert found == wished
    assert all(type(getattr(found, name)) is type(getattr(DEFAULTS, name)) for name in Settings.__slots__)


def test_other_variables_are_passed_over() -> None:
    assert read({"LEASE_S": "1", "TASKYARD_UNKNOWN": "x", "taskyard_lease_s": "1", "PATH": "/bin"}) == DEFAULTS


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-2", "TASKYARD_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": "eu-west-2", "TASKYARD_REGION": ""}, "eu-west-2"),
    ],
)
def test_the_region_is_ours_or_lambdas_or_the_shells(environment: dict[str, str], region: str) -> None:
    assert read(environment).region == region


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("LEASE_S", "", "int"),
        ("LEASE_S", "60s", "int"),
        ("LEASE_S", "60.0", "int"),
        ("INDEX_SHARDS", "four", "int"),
        ("STOP_GRACE_S", "soon", "float"),
        ("PAYLOAD_MAX_BYTES", "5MB", "int"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name: str, text: str, kind: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read({f"TASKYARD_{name}": text})
    assert refused.value.field == f"TASKYARD_{name}"
    numbers = {"int": "a whole number", "float": "a number"}
    assert refused.value.expected == f"{numbers[kind]}, or no such variable"
    assert refused.value.got == (text or "nothing")


@pytest.mark.parametrize(("name", "value"), BEYOND)
def test_the_environment_is_held_to_the_ranges_too(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        read({f"TASKYARD_{name.upper()}": str(value)})
    assert refused.value.field == f"TASKYARD_{name.upper()}"


# -- what is made of them -----------------------------------------------------------------------------


def test_the_names_of_the_resources() -> None:
    dev = Settings(stage="dev", prefix="yard")
    assert (dev.base_name, dev.jobs_table, dev.directory_table, dev.insights_table, dev.dead_letter_queue) == (
        "yard-dev",
        "yard-dev-jobs",
        "yard-dev-directory",
        "yard-dev-insights",
        "yard-dev-dead-letters",
    )


def test_the_bucket_is_the_chosen_one_or_named_after_the_stage() -> None:
    assert read({"TASKYARD_STAGE": "dev"}).objects_bucket == "taskyard-dev-objects"
    assert read({"TASKYARD_STAGE": "dev", "TASKYARD_BUCKET": ""}).objects_bucket == "taskyard-dev-objects"
    assert read({"TASKYARD_STAGE": "dev", "TASKYARD_BUCKET": "our-own"}).objects_bucket == "our-own"


def test_a_lane_has_no_limit_of_workers_unless_its_band_is_given_one() -> None:
    chosen = read({"TASKYARD_LANE_CONCURRENCY": "high=40, low=3"})
    assert [chosen.concurrency_of(band) for band in SOONEST_FIRST] == [None, 40, None, None, 3]
    assert {DEFAULTS.concurrency_of(band) for band in SOONEST_FIRST} == {None}


def test_only_the_stage_local_is_local() -> None:
    assert [Settings(stage=stage).local for stage in ("local", "locals", "dev", "prod")] == [True, False, False, False]


@given(st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True), st.from_regex(r"[a-z][a-z0-9]{0,11}", fullmatch=True))
def test_every_allowed_name_leaves_room_for_a_lane(prefix: str, stage: str) -> None:
    chosen = Settings(prefix=prefix, stage=stage).checked()
    assert max(len(sqs_name(chosen.base_name, Lane("x" * 99, band))) for band in SOONEST_FIRST) <= 80


def test_a_long_value_is_shown_in_part() -> None:
    assert len(str(refusal(replace(DEFAULTS, stage="x" * 5_000)))) < 300


def test_a_misspelt_variable_is_told_with_what_was_meant(caplog: pytest.LogCaptureFixture) -> None:
    known = {f"TASKYARD_{name.upper()}": "1" for name in Settings.__slots__}
    others = {"TASKYARD_URL": "u", "TASKYARD_KEY": "k", "TASKYARD_SECRET": "s", "TASKYARD_TEST_X": "x", "PATH": "p"}
    assert misspelt({**known, **others}) == []
    assert misspelt({"TASKYARD_MQ_MAX_RETRYS": "5", "TASKYARD_QQ": ""}) == [
        "TASKYARD_MQ_MAX_RETRYS is no setting; did you mean TASKYARD_MQ_MAX_RETRIES?",
        "TASKYARD_QQ is no setting",
    ]
    current.cache_clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TASKYARD_LEAS_S", "5")
        current()
    current.cache_clear()
    assert "TASKYARD_LEAS_S is no setting; did you mean TASKYARD_LEASE_S?" in caplog.text
