"""`taskyard import kue`, on what kue left in Redis: in a fake of it, and in the real one where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import fakeredis
import pytest
from redis import Redis

from chalicelib import backoff
from chalicelib.core.causes import Cause
from chalicelib.core.retry import DELAY_MAX_MS, Exponential, Fixed, Named
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.registry import Registry
from tests.support.imports import by_origin, export, jobs_of, load_kue, report_of, run_import
from tests.support.servers import redis_server
from tests.support.yards import Bench

CREATED = "2026-11-30T19:02:42.212Z"
URL = "redis://127.0.0.1:6379/0"


@backoff("linear")
def linear(retry: int) -> int:
    return retry * 1_000


@pytest.fixture
def redis() -> Iterator[Redis]:
    client = fakeredis.FakeRedis(decode_responses=True)
    load_kue(client)
    with patch.object(Redis, "from_url", return_value=client):
        yield client


def test_the_real_redis(bench: Bench, tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        with Redis.from_url(url) as client:
            load_kue(client)
        assert report_of("kue", url, "--dead-letters")["moved"] == 7
    assert set(by_origin(bench, Kind.TASK)) == {"1", "2", "3", "4", "6", "7", "9"}


@pytest.mark.usefixtures("redis")
def test_what_is_unfinished_is_moved_with_all_it_has(bench: Bench) -> None:
    report = report_of("kue", URL)
    assert (report["read"], report["moved"], report["left"]) == (7, 6, {"failed jobs, which --dead-letters moves": 1})
    assert [(each["id"], each["field"]) for each in report["refused"]] == [("5", "backoff")]
    found = by_origin(bench, Kind.TASK)
    assert set(found) == {"1", "2", "3", "4", "6", "9"}
    job, body = found["1"]
    assert (job.type, job.priority, job.max_attempts, job.backoff) == ("email", 10, 5, Fixed(60_000))
    assert body["input"] == {"to": "a@example.com", "title": "Grüße 你好"}
    assert body["options"]["importedFrom"] == {"system": "kue", "id": "1", "createdAt": CREATED}
    assert (found["2"][0].priority, found["2"][0].timeout_ms, found["2"][0].remove_on_complete) == (-10, 90_000, True)
    assert (found["3"][0].due_at_ms, found["3"][0].backoff) == (1_922_209_362_218, Fixed(DELAY_MAX_MS))
    assert found["4"][0].backoff == Exponential(2_000, 30_000)
    assert (found["6"][0].attempts, found["6"][0].max_attempts, found["6"][0].due_at_ms) == (1, 2, 1_922_209_362_235)
    assert (found["9"][0].type, found["9"][0].state) == ("hanging", State.PENDING)


@pytest.mark.usefixtures("redis")
def test_a_second_import_moves_nothing(bench: Bench) -> None:
    report_of("kue", URL, "--dead-letters")
    again = report_of("kue", URL, "--dead-letters")
    assert (again["moved"], again["alreadyThere"]) == (0, 7)
    assert len(jobs_of(bench, Kind.TASK)) == 7


@pytest.mark.usefixtures("redis")
def test_a_function_becomes_a_registered_one_and_is_never_run(bench: Bench) -> None:
    yard = replace(bench.yard, handlers=Registry.of([export, linear]))
    with patch("chalicelib.services.installation.yard", return_value=yard):
        assert report_of("kue", URL, "--backoff", "linear")["refused"] == []
    assert by_origin(bench, Kind.TASK)["5"][0].backoff == Named("linear")


@pytest.mark.usefixtures("redis")
def test_failed_jobs_are_moved_as_dead_letters(bench: Bench) -> None:
    report_of("kue", URL, "--dead-letters")
    job, _ = by_origin(bench, Kind.TASK)["7"]
    assert (job.type, job.state, job.cause, job.error and job.error.message) == (
        "broken", State.FAILED, Cause.ATTEMPTS_USED_UP, "Error: it is broken"
    )  # fmt: skip


@pytest.mark.usefixtures("redis")
def test_one_type(bench: Bench) -> None:
    assert report_of("kue", URL, "--type", "video")["read"] == 2
    assert set(by_origin(bench, Kind.TASK)) == {"4"}


def test_the_hash_tag_of_ioredis_and_another_prefix(bench: Bench, redis: Redis) -> None:
    redis.flushall()
    load_kue(redis, "{jobs}")
    assert report_of("kue", URL, "--prefix", "jobs")["moved"] == 6
    assert len(jobs_of(bench, Kind.TASK)) == 6


@pytest.mark.usefixtures("bench")
def test_what_is_damaged_costs_itself_alone(redis: Redis) -> None:
    redis.delete("q:job:1")
    redis.hset("q:job:2", "priority", "null")
    redis.hset("q:job:4", "data", '{"file":')
    redis.hset("q:job:9", "state", "complete")
    redis.zadd("q:jobs:inactive", {"02|17": 0})
    report = report_of("kue", URL)
    assert report["skipped"] == {"it was removed, and kue kept its id": 2, "it is complete by now": 1}
    assert {each["id"]: each["field"] for each in report["refused"]} == {"2": "priority", "4": "data", "5": "backoff"}


@pytest.mark.usefixtures("bench", "redis")
def test_the_source_stays_as_it_was(redis: Redis) -> None:
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    report_of("kue", URL, "--dead-letters")
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before


@pytest.mark.usefixtures("bench")
def test_a_redis_that_is_not_there_or_has_no_kue(redis: Redis) -> None:
    redis.flushall()
    empty = run_import("kue", URL)
    assert (empty.exit_code, "kue has made no job here" in empty.stderr) == (1, True)
    wrong = run_import("kue", "http://:hush@127.0.0.1")
    assert (wrong.exit_code, "hush" in wrong.output) == (1, False)


@pytest.mark.usefixtures("bench")
def test_a_redis_that_does_not_answer() -> None:
    result = run_import("kue", "redis://:hush@127.0.0.1:1")
    assert (result.exit_code, "Redis does not answer" in result.stderr, "hush" in result.output) == (1, True, False)


@pytest.mark.usefixtures("bench")
def test_a_key_of_another_kind_is_not_a_redis_that_does_not_answer(redis: Redis) -> None:
    redis.delete("q:jobs:inactive")
    redis.set("q:jobs:inactive", "1")
    result = run_import("kue", URL)
    assert (result.exit_code, "Redis does not answer" in result.stderr) == (1, False)
    assert "a key is of another kind than kue's" in result.stderr
    assert "--prefix" in result.stderr
