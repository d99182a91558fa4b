"""Acts in bulk and failures that are alike, in Python."""

from __future__ import annotations

import pytest

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.services import bulk, failures, jobs, tasks
from chalicelib.services.jobs import Filter
from chalicelib.services.records import moment_of
from tests.support.yards import Bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on


def failed(bench: Bench, topic: str, count: int) -> list[int]:
    made = [tasks.create(topic, target_id="1", target_type="t") for _ in range(count)]
    for task in made:
        tasks.complete(task, "failed", error="no paper")
    bench.clock.move(1)
    return [task.id for task in made]


def test_what_matches_is_acted_on_after_a_look_at_it(bench: Bench, topic: str) -> None:
    made = failed(bench, topic, 3)
    which = Filter(type=topic, states=["failed"])
    seen = bulk.preview("retry", which)
    assert (seen.matches, seen.sentence) == (3, f"This will retry 3 tasks of the type {topic}.")
    started = bulk.start("retry", which, by="ann")
    assert (started.state, started.matched, started.progress, started.filter.type) == ("running", 3, 0, topic)
    assert started in bulk.list()
    done = bulk.run(started)
    assert (done.state, done.done, done.by, done.progress, done.ended_at) == (
        "done",
        3,
        "ann",
        1,
        moment_of(bench.clock.ms),
    )
    assert {(each.id, each.ok) for each in bulk.results(done)} == {(job, True) for job in made}
    assert bulk.stop(done) == done


def test_named_jobs(bench: Bench, topic: str) -> None:
    first, second, _ = failed(bench, topic, 3)
    seen = bulk.preview("delete", ids=[first, str(second), 999_999])
    assert (seen.matches, seen.unsuited) == (2, 1)
    done = bulk.run(bulk.start("delete", ids=[first, str(second)]).id)
    assert (done.named, done.done) == (2, 2)
    with pytest.raises(NotFound):
        jobs.detail(first)


def test_a_step_at_a_time_until_it_is_stopped(bench: Bench, topic: str) -> None:
    failed(bench, topic, 2)
    started = bulk.start("retry", Filter(type=topic))
    assert bulk.stop(started).state == "stopped"
    assert bulk.step(started).done == 0
    assert bulk.get(started.id).state == "stopped"


def test_what_failed_alike_is_one_group(bench: Bench, topic: str) -> None:
    made = failed(bench, topic, 2)
    rebuild_counters(bench.yard)  # no projector runs here
    (group,) = failures.list(type=topic, kind="task").groups
    assert (group.count, group.total, group.sample.id in made) == (2, 2, True)
    assert len(jobs.list(type=topic, fingerprint=group.fingerprint)) == 2
    assert failures.list(type=topic, since=moment_of(bench.clock.ms)).groups == []


def test_what_cannot_be_is_refused(topic: str) -> None:
    for wrong in (
        lambda: bulk.preview("explode", Filter()),
        lambda: bulk.preview("retry"),
        lambda: bulk.preview("retry", Filter(), ids=[1]),
        lambda: bulk.preview("retry", ids=range(1, 1_002)),
        lambda: bulk.start("retry", Filter(kind="none")),
        lambda: failures.list(kind="none"),
    ):
        with pytest.raises(InvalidInput):
            wrong()
    with pytest.raises(NotFound):
        bulk.get(f"1767225600000-{topic}")
