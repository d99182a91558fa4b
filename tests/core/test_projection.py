"""What changes of the ledger mean for the counters and the minute series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.histogram import bucket_of
from chalicelib.core.job import Job
from chalicelib.core.projection import (
    TIMES,
    Bucket,
    CountKey,
    Effects,
    Group,
    Measure,
    MinuteKey,
    Quantity,
    Sample,
    TaskAmountKey,
    effects_of,
    group_of,
    samples_of,
)
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import Amount, Took

PENDING, RUNNING, WAITING = State.PENDING, State.RUNNING, State.WAITING
SUCCESS, FAILED, CANCELED = State.SUCCESS, State.FAILED, State.CANCELED

MINUTE_MS = 60_000
NOON_MS = 1_750_000_020_000  # the beginning of a minute
QUARTER_MS = 1_750_000_020_000 - 420_000  # the quarter of an hour of that minute: it is seven minutes past
GROUP = Group("task", "default", "work")

NEW = Job(
    id=1,
    uid="b",
    kind=Kind.TASK,
    type="work",
    queue="default",
    created_at_ms=NOON_MS,
    updated_at_ms=NOON_MS,
    due_at_ms=NOON_MS,
    trace_id="t",
)
RUNS = replace(NEW, state=RUNNING, updated_at_ms=NOON_MS + 700, started_at_ms=NOON_MS + 700, attempts=1, lease="l1")


def count(state: State) -> CountKey:
    return CountKey(GROUP, state)


def minute(measure: Quantity, minutes: int = 0) -> MinuteKey:
    return MinuteKey(GROUP, NOON_MS + minutes * MINUTE_MS, measure)


# -- single changes -----------------------------------------------------------------------------------


def measured(changes: Iterable[tuple[Job | None, Job | None]]) -> Effects:
    """The effects of changes without histograms, backlog and statistics, which have tests of their own."""
    return Counter(
        {
            key: amount
            for key, amount in effects_of(changes).items()
            if isinstance(key, CountKey)
            or (isinstance(key, MinuteKey) and isinstance(key.measure, Measure) and key.measure is not Measure.BACKLOG)
        }
    )


def in_statistics(changes: Iterable[tuple[Job | None, Job | None]]) -> dict[Amount, int]:
    """What changes of tasks of one type, created in one quarter of an hour, mean for the statistics."""
    found = {key: amount for key, amount in effects_of(changes).items() if isinstance(key, TaskAmountKey)}
    assert {(key.type, key.runner, key.quarter_ms) for key in found} <= {("work", "system", QUARTER_MS)}
    return {key.amount: amount for key, amount in found.items()}


def test_a_publish() -> None:
    assert measured([(None, NEW)]) == {count(PENDING): 1, minute(Measure.PUBLISHED): 1}


def test_a_claim() -> None:
    assert measured([(NEW, RUNS)]) == {
        count(PENDING): -1,
        count(RUNNING): 1,
        minute(Measure.STARTED): 1,
        minute(Measure.WAIT_MS): 700,
    }


def test_a_claim_that_made_the_record_is_a_publish_too() -> None:
    late = replace(RUNS, updated_at_ms=NOON_MS + 61_000, started_at_ms=NOON_MS + 61_000)
    assert measured([(None, late)]) == {
        count(RUNNING): 1,
        minute(Measure.PUBLISHED): 1,
        minute(Measure.STARTED, 1): 1,
        minute(Measure.WAIT_MS, 1): 61_000,
    }


def test_a_delayed_job_waits_from_when_it_is_due() -> None:
    due = replace(NEW, due_at_ms=NOON_MS + 500)
    assert effects_of([(due, replace(RUNS, due_at_ms=NOON_MS + 500))])[minute(Measure.WAIT_MS)] == 200


def test_a_take_over_begins_another_attempt() -> None:
    taken = replace(RUNS, lease="l2", attempts=2, updated_at_ms=NOON_MS + 60_000, started_at_ms=NOON_MS + 60_000)
    assert measured([(RUNS, taken)]) == {minute(Measure.STARTED, 1): 1, minute(Measure.WAIT_MS, 1): 60_000}


@pytest.mark.parametrize(
    "same",
    [RUNS, replace(RUNS, lease_until_ms=5), replace(RUNS, updated_at_ms=NOON_MS + 900), replace(RUNS, requeue_count=1)],
)
def test_a_heartbeat_or_progress_is_not_counted(same: Job) -> None:
    assert measured([(RUNS, same)]) == {}


def test_a_success() -> None:
    done = replace(RUNS, state=SUCCESS, updated_at_ms=NOON_MS + 60_700)
    assert measured([(RUNS, done)]) == {
        count(RUNNING): -1,
        count(SUCCESS): 1,
        minute(Measure.SUCCEEDED, 1): 1,
        minute(Measure.RUN_MS, 1): 60_000,
    }


def test_a_failure_that_is_tried_again() -> None:
    again = replace(RUNS, state=PENDING, failures=1, updated_at_ms=NOON_MS + 1_000)
    assert measured([(RUNS, again)]) == {
        count(RUNNING): -1,
        count(PENDING): 1,
        minute(Measure.FAILED): 1,
        minute(Measure.RUN_MS): 300,
    }


def test_the_last_failure() -> None:
    dead = replace(RUNS, state=FAILED, failures=1, updated_at_ms=NOON_MS + 1_000)
    assert measured([(RUNS, dead)]) == {
        count(RUNNING): -1,
        count(FAILED): 1,
        minute(Measure.FAILED): 1,
        minute(Measure.DEAD): 1,
        minute(Measure.RUN_MS): 300,
    }


def test_a_job_that_never_started_is_dead_without_an_attempt() -> None:
    """An attempt of an earlier life, before an explicit retry, is not counted a second time."""
    before = replace(NEW, started_at_ms=NOON_MS - 3_600_000, attempts=3, attempt_limit=6)
    dead = replace(before, state=FAILED, failures=1, updated_at_ms=NOON_MS + 1_000)
    assert measured([(before, dead)]) == {count(PENDING): -1, count(FAILED): 1, minute(Measure.DEAD): 1}


def test_a_body_that_nobody_can_read() -> None:
    assert measured([(None, replace(NEW, state=FAILED))]) == {
        count(FAILED): 1,
        minute(Measure.PUBLISHED): 1,
        minute(Measure.DEAD): 1,
    }


def test_a_cancel_and_an_explicit_retry() -> None:
    canceled = replace(NEW, state=CANCELED, updated_at_ms=NOON_MS + 1)
    assert measured([(NEW, canceled)]) == {count(PENDING): -1, count(CANCELED): 1, minute(Measure.CANCELED): 1}
    assert measured([(canceled, replace(canceled, state=PENDING))]) == {count(CANCELED): -1, count(PENDING): 1}


def test_a_replayed_mark_is_not_counted() -> None:
    dead = replace(NEW, state=FAILED)
    assert measured([(dead, replace(dead, replayed_at_ms=NOON_MS + 5, updated_at_ms=NOON_MS + 5))]) == {}


def test_a_deleted_job_is_counted_no_more() -> None:
    assert measured([(replace(NEW, state=SUCCESS), None)]) == {count(SUCCESS): -1}


def test_what_cancels_out_is_left_out() -> None:
    changes = [(NEW, RUNS), (RUNS, replace(NEW, updated_at_ms=NOON_MS + 900))]
    assert set(measured(changes)) == {minute(Measure.STARTED), minute(Measure.WAIT_MS)}
    assert measured([]) == {}


def test_times_are_in_the_buckets_of_their_minutes() -> None:
    done = replace(RUNS, state=SUCCESS, updated_at_ms=NOON_MS + 60_700)
    effects = effects_of([(None, NEW), (NEW, RUNS), (RUNS, done)])
    assert {key: amount for key, amount in effects.items() if isinstance(getattr(key, "measure", None), Bucket)} == {
        minute(Bucket(Measure.WAIT_MS, 1_000)): 1,  # 700 ms
        minute(Bucket(Measure.RUN_MS, 60_000), 1): 1,
    }


def test_a_wait_of_nothing_is_in_the_first_bucket() -> None:
    at_once = replace(RUNS, updated_at_ms=NOON_MS, started_at_ms=NOON_MS)
    assert effects_of([(NEW, at_once)])[minute(Bucket(Measure.WAIT_MS, 10))] == 1


def test_the_backlog_follows_the_pending_jobs() -> None:
    later = NOON_MS + 60_000
    again = replace(RUNS, state=PENDING, failures=1, updated_at_ms=later)
    assert effects_of([(None, NEW)])[minute(Measure.BACKLOG)] == 1
    assert effects_of([(NEW, RUNS)])[minute(Measure.BACKLOG)] == -1
    assert effects_of([(RUNS, again)])[minute(Measure.BACKLOG, 1)] == 1
    for unmoved in ((None, RUNS), (NEW, replace(NEW, due_at_ms=5)), (RUNS, replace(RUNS, state=SUCCESS))):
        assert minute(Measure.BACKLOG) not in effects_of([unmoved])


def test_jobs_are_counted_by_kind_queue_and_type() -> None:
    message = replace(NEW, kind=Kind.MESSAGE, type="orders", queue="orders")
    assert group_of(NEW) == GROUP
    assert group_of(message) == Group("message", "orders", "orders")
    effects = effects_of([(None, NEW), (None, message), (None, NEW)])
    assert effects[count(PENDING)] == 2
    assert effects[CountKey(Group("message", "orders", "orders"), PENDING)] == 1


# -- the statistics of tasks --------------------------------------------------------------------------


def test_a_task_moves_from_state_to_state_in_the_quarter_of_its_creation() -> None:
    runs = replace(RUNS, first_started_at_ms=NOON_MS + 700)
    done = replace(runs, state=SUCCESS, updated_at_ms=NOON_MS + 86_400_000, completed_at_ms=NOON_MS + 86_400_000)
    assert in_statistics([(None, NEW)]) == {PENDING: 1}
    assert in_statistics([(NEW, runs)]) == {PENDING: -1, RUNNING: 1}
    assert in_statistics([(runs, done)]) == {
        RUNNING: -1,
        SUCCESS: 1,
        Took.STARTED: 1,
        Took.WAITING_MS: 700,
        Took.EXECUTION_MS: 86_399_300,
        Took.TOTAL_MS: 86_400_000,
    }


def test_a_task_that_was_to_start_later_waits_from_then() -> None:
    asked = replace(RUNS, start_at_ms=NOON_MS + 500, first_started_at_ms=NOON_MS + 700)
    dead = replace(asked, state=FAILED, completed_at_ms=NOON_MS + 1_000)
    found = in_statistics([(asked, dead)])
    assert (found[Took.WAITING_MS], found[Took.EXECUTION_MS], found[Took.TOTAL_MS]) == (200, 300, 1_000)


def test_what_took_no_time_or_no_start_is_not_averaged() -> None:
    """A person completed the first without starting it, and canceled the second."""
    by_hand = replace(NEW, state=SUCCESS, completed_at_ms=NOON_MS + 90)
    assert in_statistics([(NEW, by_hand)]) == {PENDING: -1, SUCCESS: 1, Took.TOTAL_MS: 90}
    canceled = replace(RUNS, state=CANCELED, first_started_at_ms=NOON_MS + 700, completed_at_ms=NOON_MS + 900)
    assert in_statistics([(RUNS, canceled)]) == {RUNNING: -1, CANCELED: 1}


def test_an_explicit_retry_takes_back_what_its_end_counted_for() -> None:
    dead = replace(NEW, state=FAILED, completed_at_ms=NOON_MS + 1_000)
    assert in_statistics([(None, NEW), (NEW, dead), (dead, replace(NEW, updated_at_ms=NOON_MS + 5_000))]) == {
        PENDING: 1
    }


def test_the_statistics_remember_what_was_deleted_once_it_was_done() -> None:
    done = replace(NEW, state=SUCCESS, completed_at_ms=NOON_MS)
    assert in_statistics([(done, None)]) == {}
    assert in_statistics([(NEW, None)]) == {PENDING: -1}


def test_messages_are_no_part_of_the_statistics() -> None:
    message = replace(NEW, kind=Kind.MESSAGE)
    changes = [(None, message), (message, replace(message, state=SUCCESS)), (message, None)]
    assert not [key for change in changes for key in effects_of([change]) if isinstance(key, TaskAmountKey)]


# -- any life of any job ------------------------------------------------------------------------------

Change = tuple[Job | None, Job | None]


@dataclass(slots=True)
class Life:
    """A job going from state to state as the ledger's transitions take it, and a tally of what happened."""

    job: Job | None
    changes: list[Change] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    now_ms: int = NOON_MS

    def step(self, choice: int, pause_ms: int) -> None:
        """Do one of the things that may happen to the job now."""
        if self.job is None:
            return
        self.now_ms += pause_ms
        deeds = {
            PENDING: (self.claim, self.claim, self.cancel, self.abandoned, self.wake),
            RUNNING: (self.succeed, self.fail, self.dead_letter, self.cancel, self.take_over, self.recover, self.park,
                      self.abandoned, self.wake),
            WAITING: (self.succeed, self.dead_letter, self.cancel),
            SUCCESS: (self.delete, self.wake),
            FAILED: (self.restart, self.delete, self.wake),
            CANCELED: (self.restart, self.delete),
        }[self.job.state]  # fmt: skip
        deeds[choice % len(deeds)]()

    def _to(self, job: Job, **fields: object) -> None:
        after = replace(job, updated_at_ms=self.now_ms, **fields)  # type: ignore[arg-type]
        self.changes.append((self.job, after))
        self.job = after

    def _current(self) -> Job:
        assert self.job is not None
        return self.job

    def claim(self) -> None:
        job = self._current()
        self.tally["started"] += 1
        self._to(job, state=RUNNING, attempts=job.attempts + 1, lease=f"l{job.attempts}", started_at_ms=self.now_ms)

    def take_over(self) -> None:
        self.tally["lost"] += 1
        self.claim()

    def recover(self) -> None:
        self.tally["lost"] += 1
        self._to(self._current(), state=PENDING, due_at_ms=self.now_ms)

    def succeed(self) -> None:
        self.tally["succeeded"] += 1
        self._to(self._current(), state=SUCCESS)

    def fail(self) -> None:
        self.tally["failed"] += 1
        job = self._current()
        self._to(job, state=PENDING, failures=job.failures + 1, due_at_ms=self.now_ms + 5)

    def dead_letter(self) -> None:
        self.tally["failed"] += 1
        self.tally["dead"] += 1
        job = self._current()
        self._to(job, state=FAILED, failures=job.failures + 1)

    def abandoned(self) -> None:
        job = self._current()
        self.tally["dead"] += 1
        self.tally["failed"] += job.state is RUNNING
        self._to(job, state=FAILED, failures=job.failures + 1)

    def cancel(self) -> None:
        job = self._current()
        self.tally["canceled"] += 1
        self.tally["stopped"] += job.state is not PENDING
        self._to(job, state=CANCELED)

    def park(self) -> None:
        self._to(self._current(), state=WAITING)

    def wake(self) -> None:
        self._to(self._current(), wake_at_ms=self.now_ms)

    def restart(self) -> None:
        self._to(self._current(), state=PENDING, failures=0, due_at_ms=self.now_ms)

    def delete(self) -> None:
        self.changes.append((self.job, None))
        self.job = None


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """One job's life of up to twenty steps."""
    first = replace(NEW, id=draw(st.integers(1, 9)), type=draw(st.sampled_from(("work", "rest"))))
    life = Life(first, [(None, first)], Counter(published=1))
    for _ in range(draw(st.integers(0, 20))):
        life.step(draw(st.integers(0, 500)), draw(st.integers(0, 100_000)))
    return life


def interleaved(lives_led: list[Life], order: list[int]) -> list[Change]:
    """The changes of several lives in one order, each life's own order kept."""
    queues = [list(life.changes) for life in lives_led]
    merged: list[Change] = []
    for turn in order:
        waiting = [queue for queue in queues if queue]
        if waiting:
            merged.append(waiting[turn % len(waiting)].pop(0))
    return merged + [change for queue in queues for change in queue]


def totals(effects: Effects) -> Counter[Quantity]:
    found: Counter[Quantity] = Counter()
    for key, amount in effects.items():
        if isinstance(key, MinuteKey):
            found[key.measure] += amount
    return found


@given(st.lists(lives(), min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=60))
def test_counters_end_with_every_job_in_its_state_and_are_never_negative(led: list[Life], order: list[int]) -> None:
    standing: Counter[CountKey | MinuteKey] = Counter()
    for change in interleaved(led, order):
        standing.update(effects_of([change]))
        assert all(amount >= 0 for key, amount in standing.items() if isinstance(key, CountKey))
    counted = {key: amount for key, amount in standing.items() if isinstance(key, CountKey) and amount}
    assert counted == Counter(CountKey(group_of(life.job), life.job.state) for life in led if life.job is not None)


@given(st.lists(lives(), min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=60))
def test_the_statistics_have_every_task_once_in_its_last_state(led: list[Life], order: list[int]) -> None:
    found = Counter({k: n for k, n in effects_of(interleaved(led, order)).items() if isinstance(k, TaskAmountKey)})
    lasting = [next(after for _, after in reversed(life.changes) if after is not None) for life in led]
    assert found == Counter(TaskAmountKey(job.type, job.runner, QUARTER_MS, job.state) for job in lasting)


@given(st.lists(lives(), min_size=1, max_size=5))
def test_every_attempt_that_began_ended_or_is_under_way(led: list[Life]) -> None:
    tally: Counter[str] = Counter()
    for life in led:
        tally.update(life.tally)
    under_way = sum(life.job is not None and life.job.state in (RUNNING, WAITING) for life in led)
    measured = totals(effects_of(change for life in led for change in life.changes))
    for measure in (
        Measure.PUBLISHED, Measure.STARTED, Measure.SUCCEEDED, Measure.FAILED, Measure.DEAD, Measure.CANCELED
    ):  # fmt: skip
        assert measured[measure] == tally[measure.value], measure
    assert measured[Measure.STARTED] == (
        measured[Measure.SUCCEEDED] + measured[Measure.FAILED] + tally["lost"] + tally["stopped"] + under_way
    )


@given(st.lists(lives(), min_size=1, max_size=3), st.lists(st.integers(0, 2), max_size=40), st.integers(0, 60))
def test_a_batch_counts_what_its_parts_count(led: list[Life], order: list[int], cut: int) -> None:
    changes = interleaved(led, order)
    whole = effects_of(changes)
    parts = effects_of(changes[:cut])
    parts.update(effects_of(changes[cut:]))
    assert whole == Counter({key: amount for key, amount in parts.items() if amount})
    assert 0 not in whole.values()


@given(lives())
def test_no_time_is_negative_and_every_minute_is_a_whole_one(life: Life) -> None:
    effects = effects_of(life.changes)
    for key, amount in effects.items():
        if isinstance(key, MinuteKey):
            assert amount > 0 or key.measure is Measure.BACKLOG
            assert key.minute_ms % MINUTE_MS == 0
            assert NOON_MS <= key.minute_ms <= life.now_ms


@given(st.lists(lives(), min_size=1, max_size=5))
def test_every_time_is_in_one_bucket_of_its_histogram(led: list[Life]) -> None:
    changes = [change for life in led for change in life.changes]
    samples = [sample for before, after in changes if after is not None for sample in samples_of(before, after)]
    measured_times = totals(effects_of(changes))
    for measure in TIMES:
        buckets = Counter(bucket_of(sample.amount) for sample in samples if sample.measure is measure)
        assert buckets == {
            key.upto_ms: amount
            for key, amount in measured_times.items()
            if isinstance(key, Bucket) and key.measure is measure
        }


@given(st.lists(lives(), min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=60))
def test_the_backlog_adds_up_to_the_pending_jobs_at_every_moment(led: list[Life], order: list[int]) -> None:
    backlog, pending = 0, 0
    for change in interleaved(led, order):
        effects = effects_of([change])
        backlog += totals(effects)[Measure.BACKLOG]
        pending += sum(n for key, n in effects.items() if isinstance(key, CountKey) and key.state is PENDING)
        assert backlog == pending


# -- single samples -----------------------------------------------------------------------------------


def test_samples_are_what_the_series_add_up() -> None:
    done = replace(RUNS, state=SUCCESS, updated_at_ms=NOON_MS + 750)

    assert list(samples_of(None, NEW)) == [Sample(Measure.PUBLISHED, NOON_MS)]
    assert list(samples_of(NEW, RUNS)) == [
        Sample(Measure.STARTED, NOON_MS + 700),
        Sample(Measure.WAIT_MS, NOON_MS + 700, 700),
    ]
    assert list(samples_of(RUNS, done)) == [
        Sample(Measure.SUCCEEDED, NOON_MS + 750),
        Sample(Measure.RUN_MS, NOON_MS + 750, 50),
    ]
    assert list(samples_of(done, done)) == []


def test_a_wait_of_nothing_is_a_sample_too() -> None:
    at_once = replace(RUNS, updated_at_ms=NOON_MS, started_at_ms=NOON_MS)

    assert Sample(Measure.WAIT_MS, NOON_MS, 0) in list(samples_of(NEW, at_once))
