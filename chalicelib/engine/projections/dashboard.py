"""How the topics are doing: where each stands, what happened lately, and how both came about.

Everything but the age of the oldest ready message is read from the projections, so an answer costs the same however
many messages are stored, and is as old as the change stream's lag (usually about a second). Depths of the past are
the present one less what each minute since has added: exact, unless changes are projected during the very read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from chalicelib.aws import threads
from chalicelib.core.errors import InvalidInput
from chalicelib.core.histogram import percentile_ms
from chalicelib.core.job import Job
from chalicelib.core.projection import MINUTE_MS, Bucket, Group, Measure, Quantity, minute_of
from chalicelib.core.states import Kind, State
from chalicelib.engine.yard import Yard
from chalicelib.store.insights import Standing
from chalicelib.store.job_lists import READ_CHUNK
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.table import chunks

SPAN_MIN_MS = 3_600_000  # what the series show at least, as fastify-mq does
POINTS_MAX = 360  # of a series; as many samples as fastify-mq keeps
OLDEST_TOPICS_MAX = 25  # of the deepest topics the ages are found: a few reads each
OLDEST_LOOKED_AT = 10  # of a topic's pending messages, by their creation
OLDEST_LOOKED_AT_MAX = 500  # the same where those all have to wait
PARALLEL_READS = 8
CLOCKS_DIFFER_MS = 60_000  # what a worker whose clock is ahead has told of the minutes to come has happened, too
SECONDS_MIN = 1.0  # what a step that has just begun counts as, so that one message is no flood


@dataclass(frozen=True, slots=True)
class Topic:
    """Where a topic stands. What is counted since ever neither falls nor forgets what was deleted."""

    depth: int  # pending messages: new, delayed, or waiting for another delivery
    totals: Counter[Quantity]
    oldest_ready_age_ms: int | None  # for how long a message has been ready to start; 0: none is; None: unknown


@dataclass(frozen=True, slots=True)
class Flow:
    """What happened to a topic, or to several, within some seconds."""

    seconds: float
    quantities: Counter[Quantity]

    def rate(self, measure: Measure) -> float:
        """How often it happened in a second."""
        return self.quantities[measure] / self.seconds

    @property
    def success_ratio(self) -> float | None:
        """Which share of the deliveries that ended were successful; ``None`` if none ended."""
        succeeded = self.quantities[Measure.SUCCEEDED]
        ended = succeeded + self.quantities[Measure.FAILED]
        return succeeded / ended if ended else None

    def percentile_ms(self, measure: Measure, share: float) -> float | None:
        """The time that ``share`` of the waits or runs did not exceed; ``None`` without any."""
        return percentile_ms(buckets_of(self.quantities, measure), share)


@dataclass(frozen=True, slots=True)
class Point:
    """A step of the series: the depth of each topic at its end, ``at_ms``, and what happened within it.

    ``flows`` names only the topics to which something happened: of thousands most rest most of the time.
    """

    at_ms: int
    depths: Mapping[str, int]
    flows: Mapping[str, Flow]

    def rate(self, topic: str, measure: Measure) -> float:
        """How often it happened to a topic in a second."""
        flow = self.flows.get(topic)
        return 0.0 if flow is None else flow.rate(measure)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What is shown. ``flows`` began at ``since_ms``; the last of ``points`` is not over yet."""

    at_ms: int
    since_ms: int
    topics: Mapping[str, Topic]
    flows: Mapping[str, Flow]
    points: list[Point]


Minutes = Mapping[str, Mapping[int, Counter[Quantity]]]  # by topic, by the beginning of the minute


def dashboard_of(yard: Yard, window_ms: int, step_ms: int | None = None, topic: str | None = None) -> Dashboard:
    """All topics, or one. Rates are of the last ``window_ms``, the series' steps take ``step_ms``: whole minutes.

    The window is rounded up so that it begins with a minute. The series are as long as the window, at least an hour.
    Raises ``InvalidInput`` where they would have more than 360 points; by default the step is as short as can be.
    """
    now_ms = yard.now_ms()
    since_ms = minute_of(now_ms - window_ms)
    step_ms = shortest_step_ms(window_ms) if step_ms is None else step_ms
    starts = step_starts(now_ms, window_ms, step_ms)
    topics = topics_of(yard, topic)
    minutes = _minutes(yard, min(since_ms, starts[0]), now_ms, topics)
    return Dashboard(
        at_ms=now_ms,
        since_ms=since_ms,
        topics=topics,
        flows=_flows(minutes, since_ms, now_ms),
        points=_points(topics, minutes, starts, step_ms, now_ms),
    )


def shortest_step_ms(window_ms: int) -> int:
    """The shortest step, of whole minutes, with which the series of a window have at most 360 points."""
    return MINUTE_MS * -(-max(window_ms, SPAN_MIN_MS) // (POINTS_MAX * MINUTE_MS))


def step_starts(now_ms: int, window_ms: int, step_ms: int) -> list[int]:
    """When the steps of the series begin: at multiples of the step, the newest not after now.

    Raises ``InvalidInput`` for more than 360 of them.
    """
    span_ms = max(window_ms, SPAN_MIN_MS)
    count = -(-span_ms // step_ms)
    if count > POINTS_MAX:
        raise InvalidInput(
            "the series would have too many points",
            field="step",
            expected=f"at least {shortest_step_ms(window_ms)} for this window",
            got=step_ms,
            remedy="leave the step out",
        )
    newest_ms = now_ms - now_ms % step_ms
    return [newest_ms - back * step_ms for back in reversed(range(count))]


def topics_of(
    yard: Yard, only: str | None = None, standings: Mapping[Group, Standing] | None = None
) -> dict[str, Topic]:
    """Where every topic stands that ever had a message, by its name; or only one of them.

    ``standings`` are those of all groups, where they have been read already.
    """
    of_topics = {
        group.type: standing
        for group, standing in (yard.insights.standings() if standings is None else standings).items()
        if group.kind == Kind.MESSAGE and only in (None, group.type)
    }
    ages_ms = _oldest_ready_ages_ms(yard, of_topics)
    return {
        name: Topic(_depth(standing), standing.totals, ages_ms.get(name))
        for name, standing in sorted(of_topics.items())
    }


def buckets_of(quantities: Mapping[Quantity, int], measure: Measure) -> dict[int | None, int]:
    """The histogram of a measure, by its bounds."""
    return {
        quantity.upto_ms: count
        for quantity, count in quantities.items()
        if isinstance(quantity, Bucket) and quantity.measure is measure
    }


def together(flows: Iterable[Flow]) -> Flow:
    """The flows of several topics, within the same seconds, as one."""
    total: Counter[Quantity] = Counter()
    seconds = SECONDS_MIN
    for flow in flows:
        total.update(flow.quantities)
        seconds = flow.seconds
    return Flow(seconds, total)


def _depth(standing: Standing) -> int:
    return max(0, standing.states[State.PENDING])


def _minutes(yard: Yard, since_ms: int, now_ms: int, topics: Mapping[str, Topic]) -> Minutes:
    found: dict[str, dict[int, Counter[Quantity]]] = {name: {} for name in topics}
    until_ms = now_ms + CLOCKS_DIFFER_MS
    for (group, minute_ms), quantities in yard.insights.minutes(since_ms, until_ms).items():
        if group.kind == Kind.MESSAGE and group.type in topics:
            found[group.type][minute_ms] = quantities
    return found


def _flows(minutes: Minutes, since_ms: int, now_ms: int) -> dict[str, Flow]:
    """The flow of every topic from ``since_ms``, the beginning of a minute, to now."""
    return {
        name: Flow((now_ms - since_ms) / 1_000, _added(of_topic[at_ms] for at_ms in of_topic if at_ms >= since_ms))
        for name, of_topic in minutes.items()
    }


def _added(parts: Iterable[Counter[Quantity]]) -> Counter[Quantity]:
    total: Counter[Quantity] = Counter()
    for part in parts:
        total.update(part)
    return total


def _points(topics: Mapping[str, Topic], minutes: Minutes, starts: list[int], step_ms: int, now_ms: int) -> list[Point]:
    """The series, made from now backwards."""
    steps = _by_step(minutes, starts, step_ms)
    depths = {name: topic.depth for name, topic in topics.items()}
    points: list[Point] = []
    for start_ms, happened in zip(reversed(starts), reversed(steps), strict=True):
        end_ms = min(start_ms + step_ms, now_ms)
        seconds = max(SECONDS_MIN, (end_ms - start_ms) / 1_000)
        flows = {name: Flow(seconds, quantities) for name, quantities in happened.items()}
        points.append(Point(end_ms, {name: max(0, depth) for name, depth in depths.items()}, flows))
        depths |= {name: depths[name] - quantities[Measure.BACKLOG] for name, quantities in happened.items()}
    return points[::-1]


def _by_step(minutes: Minutes, starts: list[int], step_ms: int) -> list[defaultdict[str, Counter[Quantity]]]:
    """What happened to each topic in each step; what lies ahead of the clock belongs to the newest."""
    steps: list[defaultdict[str, Counter[Quantity]]] = [defaultdict(Counter) for _ in starts]
    for name, of_topic in minutes.items():
        for minute_ms, quantities in of_topic.items():
            if minute_ms >= starts[0]:
                steps[min((minute_ms - starts[0]) // step_ms, len(starts) - 1)][name].update(quantities)
    return steps


def _oldest_ready_ages_ms(yard: Yard, standings: Mapping[str, Standing]) -> dict[str, int]:
    """For how long the oldest ready message of each topic could have been started; 0 where none is ready.

    Looked at are the ten oldest pending messages of the 25 deepest topics, and more where all ten still have to wait.
    A topic is missing where that does not tell.
    """
    depths = {name: _depth(standing) for name, standing in standings.items()}
    deep = sorted((name for name, depth in depths.items() if depth), key=lambda name: (-depths[name], name))
    looked_at = deep[:OLDEST_TOPICS_MAX]
    with threads(PARALLEL_READS) as readers:
        oldest = dict(zip(looked_at, readers.map(lambda name: _oldest(yard, name), looked_at), strict=True))
        now_ms = yard.now_ms()
        all_seen = {name for name, ids in oldest.items() if len(ids) < OLDEST_LOOKED_AT}
        ages_ms: dict[str, int | None] = {name: 0 for name, depth in depths.items() if not depth or name in all_seen}
        for job in _pending(yard, [job_id for ids in oldest.values() for job_id in ids]):
            if job.due_at_ms <= now_ms:
                ages_ms[job.type] = max(ages_ms.get(job.type) or 0, _ready_for_ms(job, now_ms))
        waiting = [name for name in looked_at if name not in ages_ms]
        ages_ms |= dict(zip(waiting, readers.map(lambda name: _first_ready_age_ms(yard, name), waiting), strict=True))
    return {name: age_ms for name, age_ms in ages_ms.items() if age_ms is not None}


def _first_ready_age_ms(yard: Yard, topic: str) -> int | None:
    """The age of the first message of a topic that is ready, by their creation; 0 if none is.

    ``None`` if the 500 oldest that are pending all have to wait.
    """
    walked = yard.lists.walk(_pending_of(topic))
    looked_at = 0
    for _, job in islice(walked, OLDEST_LOOKED_AT_MAX):
        looked_at += 1
        if job is not None and job.due_at_ms <= (now_ms := yard.now_ms()):
            return _ready_for_ms(job, now_ms)
    return 0 if looked_at < OLDEST_LOOKED_AT_MAX else None


def _ready_for_ms(job: Job, now_ms: int) -> int:
    return now_ms - max(job.due_at_ms, job.created_at_ms)


def _pending(yard: Yard, job_ids: list[int]) -> Iterator[Job]:
    for chunk in chunks(job_ids, READ_CHUNK):
        yield from (job for job in yard.jobs.find_many(chunk) if job.state is State.PENDING)


def _oldest(yard: Yard, topic: str) -> list[int]:
    return list(islice(yard.lists.ids(_pending_of(topic), OLDEST_LOOKED_AT), OLDEST_LOOKED_AT))


def _pending_of(topic: str) -> JobQuery:
    return JobQuery(Kind.MESSAGE, topic, (State.PENDING.value,), descending=False)
