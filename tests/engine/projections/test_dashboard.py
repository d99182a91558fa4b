"""The dashboard's numbers against the truth: what the test did to messages, and what the ledger says of them."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chalicelib.core.errors import InvalidInput
from chalicelib.core.histogram import bucket_of
from chalicelib.core.job import Job
from chalicelib.core.projection import CountKey, Effects, Group, Measure, MinuteKey
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel, delete, replay, retry
from chalicelib.engine.polling import poll
from chalicelib.engine.projections import dashboard
from chalicelib.engine.projections.dashboard import (
    OLDEST_LOOKED_AT,
    OLDEST_TOPICS_MAX,
    Dashboard,
    buckets_of,
    dashboard_of,
    step_starts,
    together,
    topics_of,
)
from chalicelib.engine.projections.project import Change, project
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.store.insights import QUANTITIES
from tests.support.ledger import job_of, place
from tests.support.steps import a_message, a_task, counting
from tests.support.worlds import World, wiped
from tests.support.yards import START_MS

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
WINDOW_MS = 5 * MINUTE_MS
FIRST_MINUTE_MS = START_MS - START_MS % MINUTE_MS
MESSAGES = 2_000
TOPICS = ("orders", "mail", "订单")


# -- two thousand messages ----------------------------------------------------------------------------


@dataclass(slots=True)
class Day:
    """Messages of several topics that meet everything that can happen to them; and a tally of what did.

    Their records change as the ledger's transitions change them, and each change is one of the stream.
    """

    now_ms: int = START_MS
    chance: random.Random = field(default_factory=lambda: random.Random(20_261_121))  # noqa: S311  # no secret
    ledger: dict[int, Job] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    removed: int = 0
    totals: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    minutes: defaultdict[tuple[str, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    depths: dict[int, Counter[str]] = field(default_factory=dict)  # at the end of each minute, by its beginning
    waits: defaultdict[str, Counter[int | None]] = field(default_factory=lambda: defaultdict(Counter))

    def pass_by(self) -> None:
        """Messages come in and are worked on until there have been enough."""
        for amount in [100] + [10] * ((MESSAGES - 100) // 10):
            for _ in range(amount):
                self.publish()
            for _ in range(6):
                self.touch(self.chance.choice(list(self.ledger.values())))
            for _ in range(19):
                self.touch(self.chance.choice([job for job in self.ledger.values() if not job.state.terminal]))
            self.depths[self.minute_ms] = self.pending()
            self.now_ms += self.chance.randint(0, 10_000)

    def touch(self, job: Job) -> None:
        """Something happens to a message."""
        deeds = {
            State.PENDING: (self.claim, self.claim, self.claim, self.claim, self.cancel),
            State.RUNNING: (self.succeed, self.succeed, self.succeed, self.fail, self.fail, self.lose, self.cancel),
            State.SUCCESS: (self.remove,),
            State.FAILED: (self.replay, self.restart, self.remove),
            State.CANCELED: (self.restart, self.remove),
        }[job.state]
        self.chance.choice(deeds)(job)

    def publish(self, topic: str | None = None) -> None:
        name = topic or self.chance.choice(TOPICS)
        job = Job(
            id=len(self.ledger) + self.removed + 1,
            uid="b",
            kind=Kind.MESSAGE,
            type=name,
            queue=name,
            created_at_ms=self.now_ms,
            updated_at_ms=self.now_ms,
            due_at_ms=self.now_ms,
            trace_id="t",
        )
        self._write(None, job)

    def claim(self, job: Job) -> None:
        self.waits[job.type][bucket_of(self.now_ms - job.due_at_ms)] += 1
        lease = f"lease-{job.attempts}"
        self._to(job, state=State.RUNNING, attempts=job.attempts + 1, lease=lease, started_at_ms=self.now_ms)

    def lose(self, job: Job) -> None:
        """The lease ends and the clock sends the message again."""
        self._to(job, state=State.PENDING, due_at_ms=self.now_ms)

    def succeed(self, job: Job) -> None:
        self._note(job, "succeeded")
        self._to(job, state=State.SUCCESS)

    def fail(self, job: Job) -> None:
        self._note(job, "failed")
        if job.failures == 1:
            self._note(job, "dead")
            self._to(job, state=State.FAILED, failures=2)
        else:
            self._to(job, state=State.PENDING, failures=1, due_at_ms=self.now_ms)

    def cancel(self, job: Job) -> None:
        self._to(job, state=State.CANCELED)

    def restart(self, job: Job) -> None:
        if job.replayed_at_ms is None:
            self._to(job, state=State.PENDING, failures=0, due_at_ms=self.now_ms)

    def replay(self, job: Job) -> None:
        if job.replayed_at_ms is None:
            self._to(job, replayed_at_ms=self.now_ms)
            self.publish(job.type)

    def remove(self, job: Job) -> None:
        self.removed += 1
        self._write(job, None)

    def pending(self) -> Counter[str]:
        """How many messages of each topic wait, by the ledger."""
        return Counter(job.type for job in self.ledger.values() if job.state is State.PENDING)

    @property
    def minute_ms(self) -> int:
        return self.now_ms - self.now_ms % MINUTE_MS

    def _note(self, job: Job, what: str) -> None:
        self.totals[job.type][what] += 1
        self.minutes[job.type, self.minute_ms][what] += 1

    def _to(self, job: Job, **fields: Any) -> None:
        self._write(job, replace(job, updated_at_ms=self.now_ms, **fields))

    def _write(self, before: Job | None, after: Job | None) -> None:
        self.changes.append(Change(str(len(self.changes) + 1), before, after))
        if after is not None:
            self.ledger[after.id] = after
        elif before is not None:
            del self.ledger[before.id]


@pytest.fixture(scope="module")
def day() -> Day:
    """The day, over."""
    led = Day()
    led.pass_by()
    return led


@pytest.fixture(scope="module")
def read(ground: World, day: Day) -> World:
    """The world after the day: its stream was read from two shards, in batches of which some came twice."""
    wiped(ground)
    for shard in range(2):
        of_shard = [change for change in day.changes if (change.after or change.before).id % 2 == shard]  # type: ignore[union-attr]
        for start in range(0, len(of_shard), 1_000):
            project(ground.yard, f"shard-{shard}", of_shard[start : start + 1_100])
    ground.clock.ms = day.now_ms
    return ground


def measured(day: Day, what: str, since_ms: int, until_ms: int) -> Counter[str]:
    """How often it happened to each topic in the minutes that begin within a span."""
    return Counter(
        {
            topic: sum(
                tally[what]
                for (whose, at), tally in day.minutes.items()
                if whose == topic and since_ms <= at < until_ms
            )
            for topic in TOPICS
        }
    )


class TestTwoThousandMessages:
    def test_the_day_had_everything(self, day: Day) -> None:
        states = Counter(job.state for job in day.ledger.values())
        assert all(states[state] > 10 for state in State if state is not State.WAITING)
        assert day.removed > 50
        assert len(day.ledger) + day.removed > MESSAGES  # replays made more
        assert 15 * MINUTE_MS < day.now_ms - START_MS < 50 * MINUTE_MS

    def test_depths_are_the_ledger_s(self, read: World, day: Day) -> None:
        assert {name: topic.depth for name, topic in topics_of(read.yard).items()} == day.pending()

    @pytest.mark.parametrize(
        ("measure", "what"),
        [(Measure.SUCCEEDED, "succeeded"), (Measure.FAILED, "failed"), (Measure.DEAD, "dead")],
    )
    def test_totals_are_what_happened_though_much_was_removed(
        self, read: World, day: Day, measure: Measure, what: str
    ) -> None:
        found = {name: topic.totals[measure] for name, topic in topics_of(read.yard).items()}
        assert found == {name: tally[what] for name, tally in day.totals.items()}
        on_ledger = sum(job.state is State.SUCCESS for job in day.ledger.values())
        assert measure is not Measure.SUCCEEDED or sum(found.values()) > on_ledger

    @pytest.mark.parametrize("window_minutes", [1, 5, 60])
    def test_rates_are_what_happened_in_the_window(self, read: World, day: Day, window_minutes: int) -> None:
        seen = dashboard_of(read.yard, window_minutes * MINUTE_MS, MINUTE_MS)
        seconds = (seen.at_ms - seen.since_ms) / 1_000
        assert window_minutes * 60 <= seconds < (window_minutes + 1) * 60
        assert seen.since_ms % MINUTE_MS == 0
        succeeded = measured(day, "succeeded", seen.since_ms, seen.at_ms)
        failed = measured(day, "failed", seen.since_ms, seen.at_ms)
        for name, flow in seen.flows.items():
            assert flow.rate(Measure.SUCCEEDED) == succeeded[name] / seconds
            assert flow.rate(Measure.FAILED) == failed[name] / seconds
            assert flow.success_ratio == succeeded[name] / (succeeded[name] + failed[name])
        whole = together(seen.flows.values())
        assert whole.rate(Measure.SUCCEEDED) == pytest.approx(succeeded.total() / seconds)
        assert whole.success_ratio == succeeded.total() / (succeeded.total() + failed.total())

    @pytest.mark.parametrize("step_minutes", [1, 3, 7])
    def test_series_are_what_happened_in_each_step(self, read: World, day: Day, step_minutes: int) -> None:
        step_ms = step_minutes * MINUTE_MS
        seen = dashboard_of(read.yard, WINDOW_MS, step_ms)
        assert len(seen.points) == -(-60 // step_minutes)
        starts = step_starts(seen.at_ms, WINDOW_MS, step_ms)
        for start_ms, point in zip(starts, seen.points, strict=True):
            assert point.at_ms == min(start_ms + step_ms, seen.at_ms)
            seconds = (point.at_ms - start_ms) / 1_000
            for what, measure in (("succeeded", Measure.SUCCEEDED), ("dead", Measure.DEAD)):
                expected = measured(day, what, start_ms, start_ms + step_ms)
                assert {name: point.rate(name, measure) for name in TOPICS} == pytest.approx(
                    {name: expected[name] / seconds for name in TOPICS}
                )
        assert sum("orders" in point.flows for point in seen.points) * step_minutes >= 10

    def test_depths_of_the_past_are_what_they_were(self, read: World, day: Day) -> None:
        seen = dashboard_of(read.yard, WINDOW_MS, MINUTE_MS)
        known = [minute_ms for minute_ms in day.depths if minute_ms < day.minute_ms]
        assert len(known) > 10
        points = {point.at_ms: point.depths for point in seen.points}
        for minute_ms in known:
            assert +Counter(points[minute_ms + MINUTE_MS]) == day.depths[minute_ms]
        assert +Counter(points[seen.at_ms]) == day.pending()
        assert +Counter(points[FIRST_MINUTE_MS]) == Counter()  # before the first message

    def test_the_histograms_hold_every_wait(self, read: World, day: Day) -> None:
        for name, topic in topics_of(read.yard).items():
            assert buckets_of(topic.totals, Measure.WAIT_MS) == day.waits[name]
            assert topic.totals[Measure.STARTED] == day.waits[name].total()
        runs = [sum(buckets_of(topic.totals, Measure.RUN_MS).values()) for topic in topics_of(read.yard).values()]
        ended = sum(tally["succeeded"] + tally["failed"] for tally in day.totals.values())
        assert sum(runs) == ended

    def test_one_topic_alone_is_told_the_same(self, read: World) -> None:
        whole, alone = (
            dashboard_of(read.yard, WINDOW_MS, MINUTE_MS),
            dashboard_of(read.yard, WINDOW_MS, MINUTE_MS, "mail"),
        )
        assert list(alone.topics) == ["mail"]
        assert alone.topics["mail"] == whole.topics["mail"]
        assert alone.flows["mail"] == whole.flows["mail"]
        assert [point.flows.get("mail") for point in alone.points] == [
            point.flows.get("mail") for point in whole.points
        ]

    def test_what_it_costs(self, read: World) -> None:
        """Of the projections two reads; of each topic, its pending messages in each partition of the index."""
        with counting(read) as calls:
            dashboard_of(read.yard, WINDOW_MS, MINUTE_MS)
        assert calls == {"Query": 2 + len(TOPICS) * read.yard.settings.index_shards}


# -- one message ------------------------------------------------------------------------------------


def seen_by(w: World, step_ms: int = MINUTE_MS) -> Dashboard:
    """The dashboard, once the stream is read."""
    w.project()
    return dashboard_of(w.yard, WINDOW_MS, step_ms)


def depth(w: World, topic: str) -> int:
    return seen_by(w).topics[topic].depth


def totals(w: World, topic: str) -> dict[Measure, int]:
    found = seen_by(w).topics[topic].totals
    return {measure: found[measure] for measure in (Measure.SUCCEEDED, Measure.FAILED, Measure.DEAD)}


def polled(w: World, topic: str = "notes") -> Job:
    (job,) = poll.poll(w.yard, topic, 1, 30_000, "consumer")
    return job


def test_a_message_from_its_publish_to_its_replay_and_removal(w: World) -> None:
    """On the real ledger: what counts towards the depth, and what towards which total."""
    message = a_message(w, "notes", max_attempts=2)
    assert depth(w, "notes") == 1
    polled(w)
    assert depth(w, "notes") == 0  # in hand
    poll.fail(w.yard, message.id, "no")
    assert depth(w, "notes") == 1  # waits for its second delivery
    w.clock.move(2_000)
    poll.fail(w.yard, polled(w).id, "no")
    assert depth(w, "notes") == 0
    assert totals(w, "notes") == {Measure.SUCCEEDED: 0, Measure.FAILED: 2, Measure.DEAD: 1}

    successor = replay(w.yard, message.id)
    assert depth(w, "notes") == 1
    poll.complete(w.yard, polled(w).id)
    delete(w.yard, successor.id, Kind.MESSAGE)
    delete(w.yard, message.id, Kind.MESSAGE)
    assert depth(w, "notes") == 0
    assert totals(w, "notes") == {Measure.SUCCEEDED: 1, Measure.FAILED: 2, Measure.DEAD: 1}

    canceled = a_message(w, "notes")
    cancel(w.yard, canceled.id, Kind.MESSAGE)
    assert depth(w, "notes") == 0
    retry(w.yard, canceled.id, Kind.MESSAGE)
    assert depth(w, "notes") == 1
    assert totals(w, "notes") == {Measure.SUCCEEDED: 1, Measure.FAILED: 2, Measure.DEAD: 1}


def test_nothing_yet(w: World) -> None:
    seen = dashboard_of(w.yard, WINDOW_MS, MINUTE_MS)
    assert (seen.topics, seen.flows) == ({}, {})
    assert [(point.depths, point.flows) for point in seen.points] == [({}, {})] * 60
    assert together(seen.flows.values()).success_ratio is None


def test_tasks_are_no_messages(w: World) -> None:
    a_task(w, runner="manual")
    assert seen_by(w).topics == {}


def test_the_newest_step_has_the_rate_of_the_time_that_it_has_had(w: World) -> None:
    w.clock.ms = FIRST_MINUTE_MS + 12_000
    a_message(w, "notes")
    poll.complete(w.yard, polled(w).id)
    *past, newest = seen_by(w).points
    assert newest.at_ms == w.clock.ms
    assert newest.rate("notes", Measure.SUCCEEDED) == 1 / 12
    assert {point.rate("notes", Measure.SUCCEEDED) for point in past} == {0}
    w.clock.ms = FIRST_MINUTE_MS + MINUTE_MS  # a step that begins this very moment
    *_, last, newest = dashboard_of(w.yard, WINDOW_MS, MINUTE_MS).points
    assert last.rate("notes", Measure.SUCCEEDED) == 1 / 60
    assert newest.rate("notes", Measure.SUCCEEDED) == 0


def test_what_a_worker_ahead_of_the_clock_has_told_is_in_the_newest_step(w: World) -> None:
    w.clock.ms = FIRST_MINUTE_MS + 59_000
    a_message(w, "notes")
    w.clock.move(2_000)
    poll.complete(w.yard, polled(w).id)
    w.clock.move(-2_000)
    seen = seen_by(w)
    assert seen.points[-1].flows["notes"].quantities[Measure.SUCCEEDED] == 1
    assert seen.flows["notes"].quantities[Measure.SUCCEEDED] == 1
    assert [point.depths["notes"] for point in seen.points[-2:]] == [0, 0]


def test_percentiles_are_of_the_window_alone(w: World) -> None:
    a_message(w, "notes")
    w.clock.move(4_000)
    poll.complete(w.yard, polled(w).id)
    assert seen_by(w).flows["notes"].percentile_ms(Measure.WAIT_MS, 1) == 5_000  # the bucket's bound
    w.clock.move(10 * MINUTE_MS)
    flow = seen_by(w).flows["notes"]
    assert flow.percentile_ms(Measure.WAIT_MS, 1) is None
    assert flow.success_ratio is None
    assert totals(w, "notes")[Measure.SUCCEEDED] == 1


# -- the oldest message -------------------------------------------------------------------------------


def ages_ms(w: World) -> dict[str, int | None]:
    return {name: topic.oldest_ready_age_ms for name, topic in seen_by(w).topics.items()}


def test_the_oldest_ready_message_is_not_the_one_that_is_delayed(w: World) -> None:
    a_message(w, "notes", delay_ms=HOUR_MS)
    w.clock.move(1_000)
    a_message(w, "notes")
    a_message(w, "later", delay_ms=HOUR_MS)
    w.clock.move(3_000)
    assert ages_ms(w) == {"notes": 3_000, "later": 0}
    w.clock.move(HOUR_MS)
    assert ages_ms(w) == {"notes": HOUR_MS + 3_000, "later": 3_000}


def test_a_message_that_failed_is_as_old_as_its_wait_for_another_delivery(w: World) -> None:
    a_message(w, "notes")
    w.clock.move(50_000)
    assert ages_ms(w) == {"notes": 50_000}
    poll.fail(w.yard, polled(w).id, "no")
    assert ages_ms(w) == {"notes": 0}
    w.clock.move(5_000)
    assert ages_ms(w) == {"notes": 4_000}  # it was due after a second
    poll.complete(w.yard, polled(w).id)
    assert ages_ms(w) == {"notes": 0}


def test_the_oldest_ready_message_is_found_behind_delayed_ones(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(OLDEST_LOOKED_AT):
        a_message(w, "notes", delay_ms=HOUR_MS)
    assert ages_ms(w) == {"notes": 0}
    w.clock.move(1_000)
    a_message(w, "notes")
    w.clock.move(2_000)
    assert ages_ms(w) == {"notes": 2_000}
    monkeypatch.setattr(dashboard, "OLDEST_LOOKED_AT_MAX", OLDEST_LOOKED_AT)
    assert ages_ms(w) == {"notes": None}  # what the oldest do not tell is not made up


def test_what_it_costs_does_not_grow_with_the_messages(w: World) -> None:
    a_message(w, "notes")
    w.project()
    with counting(w) as few:
        dashboard_of(w.yard, WINDOW_MS, MINUTE_MS)
    for _ in range(300):
        place(w.yard, job_of(w.yard, type="notes", queue="notes"))
    with counting(w) as many:
        seen = dashboard_of(w.yard, WINDOW_MS, MINUTE_MS)
    assert seen.topics["notes"].oldest_ready_age_ms == 1_000
    assert many == few == {"Query": 2 + w.yard.settings.index_shards, "BatchGetItem": 1}


def test_of_many_topics_the_deepest_are_looked_at(w: World) -> None:
    """What a call costs does not grow with the messages, nor without end with the topics."""
    for number in range(OLDEST_TOPICS_MAX + 1):
        a_message(w, f"topic-{number:02}")
    a_message(w, f"topic-{OLDEST_TOPICS_MAX}")
    w.clock.move(1_000)
    w.project()
    with counting(w) as calls:
        topics = topics_of(w.yard)
    assert calls == {"Query": 1 + OLDEST_TOPICS_MAX * w.yard.settings.index_shards, "BatchGetItem": 1}
    unknown = [name for name, topic in topics.items() if topic.oldest_ready_age_ms is None]
    assert unknown == [f"topic-{OLDEST_TOPICS_MAX - 1}"]  # as deep as the others but for the last, and after them


# -- steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_ms", "step_ms", "count"),
    [
        (WINDOW_MS, MINUTE_MS, 60),  # an hour at least
        (WINDOW_MS, 7 * MINUTE_MS, 9),
        (6 * HOUR_MS, MINUTE_MS, 360),
        (DAY_MS, 4 * MINUTE_MS, 360),
        (WINDOW_MS, DAY_MS, 1),
    ],
)
def test_steps_begin_at_multiples_and_cover_the_span(window_ms: int, step_ms: int, count: int) -> None:
    starts = step_starts(START_MS, window_ms, step_ms)
    assert len(starts) == count
    assert all(start_ms % step_ms == 0 for start_ms in starts)
    assert {later - sooner for sooner, later in itertools.pairwise(starts)} <= {step_ms}
    assert starts[-1] <= START_MS < starts[-1] + step_ms


@pytest.mark.parametrize(
    ("window_ms", "step_ms", "shortest_ms"),
    [(6 * HOUR_MS + 1, MINUTE_MS, 2 * MINUTE_MS), (DAY_MS, 3 * MINUTE_MS, 4 * MINUTE_MS)],
)
def test_too_many_steps_are_refused_and_none_is_told(w: World, window_ms: int, step_ms: int, shortest_ms: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        dashboard_of(w.yard, window_ms, step_ms)
    assert refused.value.field == "step"
    assert refused.value.expected == f"at least {shortest_ms} for this window"
    points = dashboard_of(w.yard, window_ms).points
    assert points[1].at_ms - points[0].at_ms == shortest_ms
    assert len(points) == -(-window_ms // shortest_ms)


# -- the counters made anew ---------------------------------------------------------------------------


def test_what_happened_since_ever_outlives_counters_made_anew(w: World) -> None:
    a_message(w, "notes")
    poll.complete(w.yard, polled(w).id)
    a_message(w, "notes")
    w.project()
    for _ in range(2):
        rebuild_counters(w.yard)
        assert w.counted() == w.counts()
        topic = topics_of(w.yard)["notes"]
        assert (topic.depth, topic.totals[Measure.SUCCEEDED]) == (1, 1)


def test_what_the_stream_lost_is_counted_as_far_as_the_ledger_proves_it(w: World) -> None:
    a_message(w, "notes", max_attempts=1)
    poll.fail(w.yard, polled(w).id, "no")
    w.project()
    delete(w.yard, w.jobs()[0].id, Kind.MESSAGE)
    for outcome in (poll.complete, poll.complete, lambda yard, job_id: poll.fail(yard, job_id, "no")):
        a_message(w, "notes", max_attempts=2)
        outcome(w.yard, polled(w).id)
    cancel(w.yard, a_message(w, "notes").id, Kind.MESSAGE)
    w.stream()  # taken away, and never read
    told = (Measure.PUBLISHED, Measure.SUCCEEDED, Measure.FAILED, Measure.DEAD, Measure.CANCELED)
    for _ in range(2):
        rebuild_counters(w.yard)
        totals = topics_of(w.yard)["notes"].totals
        assert [totals[measure] for measure in told] == [4, 2, 1, 1, 1]  # the one that was removed is in the failures


def test_a_read_between_two_batches_never_sees_less(w: World) -> None:
    """Counters in Prometheus' sense: what is read later is never less, whatever happened to the messages."""
    before: Counter[Any] = Counter()
    for _ in range(3):
        a_message(w, "notes")
        job = polled(w)
        poll.complete(w.yard, job.id)
        w.project()
        delete(w.yard, job.id, Kind.MESSAGE)
        w.project()
        rebuild_counters(w.yard)
        now = topics_of(w.yard)["notes"].totals
        assert all(now[quantity] >= before[quantity] for quantity in before)
        assert now[Measure.SUCCEEDED] == before[Measure.SUCCEEDED] + 1
        before = now


def test_an_update_of_everything_fits_into_an_expression(w: World) -> None:
    """4 KB is DynamoDB's limit of an expression."""
    group = Group("message", "notes", "notes")
    effects: Effects = Counter({MinuteKey(group, FIRST_MINUTE_MS, quantity): 1 for quantity in QUANTITIES})
    effects.update({CountKey(group, state): 1 for state in State})
    sizes = [len(action["Update"]["UpdateExpression"]) for action in w.yard.insights._adding("s", effects)]
    assert len(sizes) == 2
    assert max(sizes) < 4_096


def test_updates_of_other_quantities_have_the_same_expression(w: World) -> None:
    """Each batch adds to another choice of them: what remembers expressions would grow with every choice."""
    group = Group("message", "notes", "notes")
    choices = [QUANTITIES[:3], QUANTITIES[2::-1], QUANTITIES[1:4]]
    effects: list[Effects] = [Counter({MinuteKey(group, FIRST_MINUTE_MS, one): 1 for one in some}) for some in choices]
    texts = [
        {action["Update"]["UpdateExpression"] for action in w.yard.insights._adding("s", each)} for each in effects
    ]
    assert texts[0] == texts[1] == texts[2]
