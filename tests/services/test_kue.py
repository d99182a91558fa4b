"""kue's way of writing: creating, processing and following jobs in Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job, JobError
from chalicelib.core.job_events import events_of
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.retry import Exponential, Fixed
from chalicelib.core.states import State
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.handlers.signatures import place_of
from chalicelib.services import installation, kue, tasks
from tests.support.yards import Bench, moto_bench

EMAIL = {"title": "welcome email for tj", "to": "tj@learnboost.com", "template": "welcome-email"}
told: list[tuple[Any, ...]] = []


@kue.process("email", 20)
def email(job: kue.Running) -> dict[str, Any]:
    job.log("%d of %s sent to %s", 1, job.type, job.data["to"])
    job.log("100 %")
    job.progress(1, 3, {"next": 2})
    if job.data.get("bounces"):
        raise ValueError("no such address")
    return {"id": job.id}


@kue.on("job complete", "email")
def completed(job_id: int, result: Any) -> None:
    told.append(("complete", job_id, result))


@kue.on("job enqueue")
def enqueued(job_id: int, type_: str) -> None:
    told.append(("enqueue", job_id, type_))


@kue.on("progress")
def advanced(job_id: int, percent: int, data: Any) -> None:
    told.append(("progress", job_id, percent, data))


@kue.on("job failed attempt")
def failed_once(job_id: int, error: str, made: int) -> None:
    told.append(("failed attempt", job_id, error, made))


@kue.on("failed")
def failed(job_id: int, error: str) -> None:
    told.append(("failed", job_id, error))


HANDLERS = (email, completed, enqueued, advanced, failed_once, failed)


@pytest.fixture(scope="module")
def ground() -> Iterator[Bench]:
    with moto_bench(HANDLERS) as made:
        yield made


@pytest.fixture(autouse=True)
def bench(ground: Bench) -> Iterator[Bench]:
    told.clear()
    with installation.using(ground.yard):
        yield ground


def work(bench: Bench, band: Band = Band.NORMAL) -> None:
    bench.work(Lane("default", band))


class TestCreate:
    def test_the_documented_chain(self, bench: Bench) -> None:
        job = (
            kue.create("email", EMAIL)
            .priority("low")
            .attempts(5)
            .backoff({"delay": 60_000, "type": "fixed"})
            .delay(5_000)
            .ttl(1_500)
            .search_keys(["to", "title"])
            .remove_on_complete()
            .save()
        )
        record = bench.job(job.id or 0)
        assert (record.type, record.priority, record.max_attempts, record.backoff) == ("email", -10, 5, Fixed(60_000))
        assert (record.due_at_ms, record.timeout_ms) == (bench.clock.ms + 5_000, 1_500)
        assert record.remove_on_complete
        body = bench.yard.payloads.body(record)
        assert (body["input"], body["options"]["searchKeys"]) == (EMAIL, ["to", "title"])

    def test_nothing_said(self, bench: Bench) -> None:
        record = bench.job(kue.create("email").save().id or 0)
        assert (record.priority, record.max_attempts, record.backoff, record.timeout_ms) == (0, 1, Fixed(0), None)
        assert bench.yard.payloads.body(record)["input"] == {}

    def test_an_exponential_backoff_from_its_delay(self, bench: Bench) -> None:
        job = kue.create("email").delay(1_000).attempts(3).backoff({"type": "exponential"}).save()
        assert bench.job(job.id or 0).backoff == Exponential(2_000, 30 * 86_400_000)

    def test_one_key_is_one_job(self) -> None:
        first, again = (kue.create("email", EMAIL).save(idempotency_key="once") for _ in range(2))
        assert first.id == again.id

    def test_a_job_is_saved_once(self) -> None:
        job = kue.create("email", EMAIL).save()
        with pytest.raises(InvalidInput, match="saved already"):
            job.save()

    def test_a_type_without_a_handler(self) -> None:
        job = kue.create("video conversion", {"frames": 200}).save()
        assert tasks.detail(job.id or 0).status is State.PENDING

    @pytest.mark.parametrize(
        ("job", "field"),
        [
            (kue.create("", EMAIL), None),
            (kue.create("email").priority("urgent"), None),
            (kue.create("email").attempts(101), "max_attempts"),
            (kue.create("email").backoff("nobody.declared.it"), "backoff"),
        ],
    )
    def test_what_can_never_work(self, job: kue.Job, field: str | None) -> None:
        with pytest.raises(InvalidInput) as refused:
            job.save()
        assert refused.value.field == field
        assert job.id is None


class TestProcess:
    def test_a_job_is_processed(self, bench: Bench) -> None:
        job = kue.create("email", EMAIL).priority("high").save()
        work(bench, Band.HIGH)
        done = tasks.detail(job.id or 0)
        assert (done.status, done.output) == (State.SUCCESS, {"id": job.id})
        assert [entry.message for entry in reversed(done.log)] == ["1 of email sent to tj@learnboost.com", "100 %"]

    def test_it_is_found_where_it_is_written(self) -> None:
        assert [place_of(each).split(":")[0] for each in (email, completed)] == ["tests/services/test_kue.py"] * 2

    def test_its_concurrency_is_the_deployments(self, bench: Bench) -> None:
        limit = bench.yard.handlers.tasks["email"].limit
        assert limit is not None
        assert limit.concurrency == 20

    def test_a_type_processed_without_a_number_has_no_limit(self) -> None:
        unlimited = Registry.of([kue.process("free")(email)])
        assert unlimited.tasks["free"].limit is None


class TestEvents:
    def heard(self, bench: Bench, before: Job | None, after: Job) -> list[tuple[Any, ...]]:
        """What the functions are told of a change."""
        for event in events_of(before, after, "1", 0):
            for hook in bench.yard.handlers.hooks:
                if hook.what is event.what and hook.type in (None, event.type):
                    hook.function(replace(event, read_output=bench.yard.payloads.output))
        return told

    def test_of_a_success(self, bench: Bench) -> None:
        job_id = kue.create("email", EMAIL).save().id or 0
        created = bench.job(job_id)
        assert self.heard(bench, None, created) == [("enqueue", job_id, "email")]
        work(bench)
        told.clear()
        done = bench.job(job_id)
        running = replace(done, state=State.RUNNING, output=None, progress=None)
        assert self.heard(bench, running, done) == [
            ("progress", job_id, 33, {"next": 2}),
            ("complete", job_id, {"id": job_id}),
        ]

    def test_of_failures(self, bench: Bench) -> None:
        job_id = kue.create("email", EMAIL | {"bounces": True}).attempts(2).backoff({"delay": 0}).save().id or 0
        for expected in (("failed attempt", job_id, "no such address", 1), ("failed", job_id, "no such address")):
            work(bench)
            after = bench.job(job_id)
            told.clear()
            before = replace(after, state=State.RUNNING, failures=after.failures - 1, lease=after.lease)
            assert self.heard(bench, before, after) == [expected]

    def test_an_overrun_is_told_in_kues_words(self, bench: Bench) -> None:
        job_id = kue.create("email", EMAIL).ttl(1_500).save().id or 0
        after = replace(
            bench.job(job_id), state=State.FAILED, error=JobError("Timeout", "attempt 1 overran its time"), attempts=1
        )
        told.clear()
        assert self.heard(bench, replace(after, state=State.RUNNING), after) == [("failed", job_id, "TTL exceeded")]


class TestWatch:
    def test_what_a_watched_job_tells(self, bench: Bench) -> None:
        job = kue.create("email", EMAIL).save()
        heard: list[Any] = []
        job.on("progress", heard.append).on("complete", heard.append).on("failed", heard.append)
        done = job.watch(sleep=lambda _: work(bench))
        assert (done.status, heard) == (State.SUCCESS, [100, {"id": job.id}])

    def test_a_failure(self, bench: Bench) -> None:
        job = kue.create("email", EMAIL | {"bounces": True}).save()
        heard: list[Any] = []
        job.on("failed", heard.append)
        assert job.watch(sleep=lambda _: work(bench)).status is State.FAILED
        assert heard == ["no such address"]

    def test_it_ends_when_its_time_is_over(self) -> None:
        waits: list[float] = []
        job = kue.create("nobody does this").save()
        assert job.watch(3, sleep=waits.append).status is State.PENDING
        assert waits == [1.0, 1.0]

    def test_only_a_saved_job(self) -> None:
        with pytest.raises(InvalidInput):
            kue.create("email").watch()
        with pytest.raises(InvalidInput):
            kue.create("email").on("banana", print)
